"""Files of tensors and plain data: safe to read from anybody, and whole or not there at all.

*Safe*: a file is read with ``torch.load(weights_only=True)``, which builds tensors and plain containers and runs
nothing else. *Whole*: the content is written aside and synced to the disk before it takes the name; inside are the
format's version and a SHA-256 of the content, so that damage is noticed before anything is used.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from aleator.errors import CheckpointError
from aleator.params.archive import check_archive, is_plain
from aleator.params.content import checksum, snapshot
from aleator.params.replacement import replacing

__all__ = ["FORMAT_VERSION", "MapLocation", "read_checkpoint", "write_checkpoint"]

FORMAT = "aleator-checkpoint"
FORMAT_VERSION = 1
_ARCHIVE = b"PK\x03\x04"  # the zip archive that torch.save makes

MapLocation = Callable[[Any, str], Any] | torch.device | str | dict[str, str] | None


def write_checkpoint(path: str | os.PathLike[str], payload: Mapping[str, Any], kind: str) -> None:
    """Write tensors and plain data to a file that is either the old one or wholly the new one.

    The payload is copied first, so that a training that goes on in another thread does not tear the file. A failure
    leaves the last good file and nothing beside it. A process that is killed leaves the last good file; where the
    file system cannot write without a name (``O_TMPFILE``, Linux), the kill can leave a hidden partial file too, which
    the next save to the same path removes.

    Args:
        path: where to write; a symbolic link is followed. An existing file keeps its permissions.
        payload: by name: tensors, None, booleans, numbers, strings, and lists, tuples and dicts of these.
        kind: what the file holds, such as ``"aleator.params"``; reading asks for the same kind.

    Raises:
        TypeError: the payload holds something else; the message says where. Nothing is written.
        OSError: the folder is missing, full or not writable.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_checkpoint(f"{folder}/run.pt", {"step": 3, "loc": torch.zeros(2)}, "example")
        ...     read_checkpoint(f"{folder}/run.pt", "example")
        {'step': 3, 'loc': tensor([0., 0.])}
    """
    content = snapshot(payload, "payload")
    envelope = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "kind": str(kind),
        "checksum": checksum([FORMAT_VERSION, str(kind), content]),
        "content": content,
    }
    with replacing(path) as file:
        torch.save(envelope, file)


def read_checkpoint(path: str | os.PathLike[str], kind: str, map_location: MapLocation = None) -> dict[str, Any]:
    """Read what :func:`write_checkpoint` wrote; no code in the file is run.

    Args:
        path: the file.
        kind: the kind it was written with.
        map_location: where to put the tensors, as in ``torch.load``; ``"meta"`` is not supported.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is cut short, damaged, foreign, of another kind, or written by a newer Aleator.
    """
    path = Path(path)
    with path.open("rb") as file:
        # torch would take other, older formats too, with readers of their own: no need to let a stranger choose.
        if file.read(len(_ARCHIVE)) != _ARCHIVE:
            raise CheckpointError(f"{path} is damaged, or no file of Aleator: it does not begin as one")
        size = check_archive(file, path)
        envelope = _load(file, path, map_location)
    try:
        is_whole = is_plain(envelope, size)
    except (NotImplementedError, RuntimeError):  # a tensor without a dense storage
        is_whole = False
    if not is_whole:
        raise CheckpointError(
            f"{path} was refused: its content is larger than the file, or none that Aleator writes; is it damaged?"
        )
    if not isinstance(envelope, dict) or envelope.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no file of Aleator: expected the format {FORMAT!r}; was another tool its writer?"
        )
    version = envelope.get("version")
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path} is damaged: {version!r} is no version of the file format; use an earlier copy")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, and this Aleator reads up to {FORMAT_VERSION}; "
            "upgrade with: pip install -U aleator-core"
        )
    found, content = envelope.get("kind"), envelope.get("content")
    if isinstance(found, str) and found != kind and _is_intact(envelope):
        raise CheckpointError(f"{path} holds {found!r}, but {kind!r} was asked for; load it with what saved it")
    if not _is_intact(envelope) or not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum; use an earlier copy")
    return content


def _load(file: BinaryIO, path: Path, map_location: MapLocation) -> object:
    try:
        return torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        # torch's own text ends in the advice to load the file unsafely: do not pass that on.
        raise CheckpointError(
            f"{path} was refused: it is damaged, or holds something other than tensors and plain data "
            "(nothing in it was run); expected a file written by Aleator"
        ) from None
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: cut short, damaged or foreign ({_first_line(error)})") from error


def _is_intact(envelope: Mapping[str, Any]) -> bool:
    try:
        found = checksum([envelope.get("version"), envelope.get("kind"), envelope.get("content")])
    except (RuntimeError, TypeError):
        return False
    return found == envelope.get("checksum")


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
