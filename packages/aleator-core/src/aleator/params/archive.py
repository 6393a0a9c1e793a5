"""What is looked at in a file before, and right after, torch reads it: that it is no larger than it seems."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from aleator.errors import CheckpointError

__all__ = ["check_archive", "is_plain"]


def check_archive(file: BinaryIO, path: Path) -> int:
    """Return the file's size, if its entries are stored as they are and no larger together than the file.

    Raises:
        CheckpointError: it is cut short, or an entry would unpack to more than there is.
    """
    size = file.seek(0, 2)
    file.seek(0)
    try:
        entries = zipfile.ZipFile(file).infolist()
    except Exception as error:  # zipfile raises whatever a damaged table makes it stumble over
        raise CheckpointError(f"{path} cannot be read: cut short, damaged or foreign ({error})") from error
    finally:
        file.seek(0)
    stored = all(entry.compress_type == zipfile.ZIP_STORED and entry.flag_bits & 1 == 0 for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(f"{path} was refused: its entries declare more than the file holds; is it damaged?")
    return size


def is_plain(content: object, size: int) -> bool:
    """Tell whether a content could have been in a file of this size as it is, each part written once.

    A few bytes can describe a list that holds itself a thousand times over, or a tensor that repeats one number
    without end: walking through them would take for ever.
    """
    left = size
    waiting = [content]
    while waiting:
        value = waiting.pop()
        left -= 1
        if isinstance(value, Tensor):
            if value.requires_grad or not value.is_contiguous():  # we write neither; the checksum does not tell
                return False
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                return False
            left -= value.numel() * value.element_size()
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, str):
            left -= len(value)
        if left < len(waiting):
            return False
    return True
