"""Replace a file by a new one in one step: readers see the old content or the new, whatever fails in between."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # no POSIX: there, a file that somebody has open cannot be removed, which serves as well as a lock
    fcntl = None

__all__ = ["replacing"]

_SUFFIX = ".aleator-partial"
_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write; when the block ends without an exception, it takes the place of ``path``.

    The content is synced to the disk before the name changes hands, and the folder after. Where the system allows it
    (Linux, most file systems) the new file has no name while it is written, so that a process killed then leaves
    nothing. Partial files of processes that were killed otherwise are removed before a new one is begun.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; the file at ``path`` is as it was.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to save into", str(target.parent))
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_SUFFIX}")
    _remove_stale(target)
    descriptor = _open_anonymous(target.parent)
    is_named = descriptor is None
    if descriptor is None:
        descriptor = _open_locked(partial)
    try:
        with ExitStack() as copies, os.fdopen(descriptor, "w+b") as file:
            _keep_permissions(target, descriptor)
            yield file
            file.flush()
            os.fsync(descriptor)
            if not is_named:
                is_named = True
                _give_name(file, partial, copies)
            if fcntl is None:
                file.close()
            os.replace(partial, target)
            is_named = False
    finally:
        if is_named:
            with suppress(FileNotFoundError):
                partial.unlink()
    _sync_folder(target.parent)


def _open_anonymous(folder: Path) -> int | None:
    """Open a file that has no name yet; None where the system or the file system does not know such files."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with suppress(OSError):
            return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    return None


def _open_locked(partial: Path) -> int:
    """Create a file and lock it, so that a save elsewhere does not take it for one that a killed process left."""
    while True:
        descriptor = os.open(partial, _CREATE, 0o666)
        if fcntl is None:
            return descriptor
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between the two calls above, a save elsewhere may have found the file unlocked and removed it.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


def _give_name(file: BinaryIO, partial: Path, copies: ExitStack) -> None:
    """Link a file without a name into the folder; where that is refused, copy it there.

    The copy stays open, and thereby locked, as long as ``copies`` does.
    """
    if fcntl is not None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
    folder = os.open(partial.parent, os.O_RDONLY)
    try:
        # Only when it is given a folder's descriptor does the call follow the link in /proc to the open file.
        os.link(
            f"/proc/self/fd/{file.fileno()}", partial.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True
        )
    except OSError:
        copy = copies.enter_context(os.fdopen(_open_locked(partial), "wb"))
        os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        file.seek(0)
        shutil.copyfileobj(file, copy)
        copy.flush()
        os.fsync(copy.fileno())
    finally:
        os.close(folder)


def _keep_permissions(target: Path, descriptor: int) -> None:
    """Give the new file the permissions of the one it replaces: a private file must not become readable to all."""
    if hasattr(os, "fchmod"):
        with suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))


def _remove_stale(target: Path) -> None:
    """Remove partial files of this target that no process is writing any more."""
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*{_SUFFIX}"):
        with suppress(OSError):
            if fcntl is None:
                stale.unlink()
                continue
            descriptor = os.open(stale, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink()
            finally:
                os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; systems that cannot open a folder do so by themselves."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
