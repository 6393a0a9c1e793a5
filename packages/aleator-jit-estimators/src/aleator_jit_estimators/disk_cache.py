"""Built packages on disk: private to the user, bounded, whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

__all__ = ["DiskCache", "Entry", "default_folder"]

_MOST_ENTRIES = 200
_LONGEST_BUILD = 24 * 3600.0  # seconds; a folder of a build that is older was left by a process that is no more


class Entry(NamedTuple):
    """A package on disk.

    Attributes:
        path: the package.
        notes: what was written down beside it.
    """

    path: Path
    notes: dict[str, Any]


def default_folder() -> Path:
    """Return ``$ALEATOR_CACHE``, else ``aleator/steps`` in the user's cache directory."""
    stated = os.environ.get("ALEATOR_CACHE")
    if stated:
        return Path(stated)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aleator" / "steps"


@final
class DiskCache:
    """A folder of packages, each with its checksum and notes.

    Packages are machine code: the folder must belong to the user and be closed to all others, or nothing is loaded.

    Args:
        folder: where it is; made with mode 0700 when something is stored.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder

    def is_private(self) -> bool:
        """Tell whether the folder exists, is the user's own and nobody else may write or read it."""
        try:
            found = os.lstat(self.folder)
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077

    def find(self, name: str) -> Entry | None:
        """Return an entry that is whole, and ``None`` for one that is absent or damaged; a damaged one is removed."""
        if not self.is_private():
            return None
        path, notes = self.folder / f"{name}.pt2", self.folder / f"{name}.json"
        try:
            written = json.loads(notes.read_text(encoding="utf-8"))
            if _checksum(path) == written["sha256"] and zipfile.is_zipfile(path):
                os.utime(path)
                return Entry(path, written)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.remove(name)
        return None

    def store(self, name: str, build: Callable[[str], None], notes: dict[str, Any]) -> Entry:
        """Build a package aside and put it in place at once; two processes that build the same one do no harm.

        Raises:
            OSError: the folder cannot be made, or is not the user's own.
        """
        self.prepare()
        with tempfile.TemporaryDirectory(prefix=".building-", dir=self.folder) as aside:
            built = Path(aside) / "step.pt2"
            build(str(built))
            written = {**notes, "sha256": _checksum(built)}
            text = Path(aside) / "notes.json"
            text.write_text(json.dumps(written), encoding="utf-8")
            os.replace(built, self.folder / f"{name}.pt2")
            os.replace(text, self.folder / f"{name}.json")
        self._bound()
        return Entry(self.folder / f"{name}.pt2", written)

    def prepare(self) -> None:
        """Make the folder, and remove what builds that were killed have left in it.

        Raises:
            OSError: it cannot be made, or is not the user's own.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.is_private():
            raise OSError(f"{self.folder} is open to others or not the user's own; set ALEATOR_CACHE to a private one")
        for left in self.folder.glob(".building-*"):
            if time.time() - _used_at(left) > _LONGEST_BUILD:
                shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time build in the background; the lock of a process that is killed falls."""
        try:
            import fcntl
        except ImportError:  # not on this system: two builds of one entry do no harm, they only take longer
            yield
            return
        with open(self.folder / ".lock", "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def names(self) -> list[str]:
        """Return the entries, the one used last first."""
        if not self.is_private():
            return []
        return [path.stem for path in sorted(self.folder.glob("*.pt2"), key=_used_at, reverse=True)]

    def remove(self, name: str) -> None:
        """Remove an entry, if it is there."""
        for ending in (".json", ".pt2"):
            (self.folder / f"{name}{ending}").unlink(missing_ok=True)

    def _bound(self) -> None:
        for name in self.names()[_MOST_ENTRIES:]:
            self.remove(name)


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process removed it
        return 0.0
