"""Writes that are on the disk when they return, and errors that say what the disk refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realm.core.errors import StorageError

_NEXT_STEPS = {
    errno.ENOSPC: "free some space, then try again; nothing that was saved before is harmed",
    errno.EDQUOT: "free some space or raise the quota, then try again",
    errno.EROFS: "mount the filesystem writable, or choose another home",
    errno.EACCES: "mend the permissions of this path, or choose another home",
    errno.EIO: "check the disk (see `dmesg`), and move the home to a healthy one",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a StorageError that names the path and the next step."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NEXT_STEPS:
            raise
        raise StorageError(f"{path}: {error.strerror}", hint=_NEXT_STEPS[error.errno]) from error


def fsync_file(path: Path) -> None:
    """Flush a file's bytes to the disk. Raises StorageError: then the file must be written anew."""
    _fsync_path(path, os.O_RDONLY | os.O_NOFOLLOW)


def fsync_dir(path: Path) -> None:
    """Flush a folder's entries to the disk: what was created, renamed or removed in it."""
    _fsync_path(path, os.O_RDONLY | os.O_DIRECTORY)


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and flush it. Raises FileExistsError where there is one already."""
    with explained(path), path.open("xb") as file:
        file.write(data)
        file.flush()
        _fsync(file.fileno(), path)


def rename_dir(source: Path, target: Path) -> None:
    """Rename a file or folder and flush both parents, so that it survives a power cut."""
    with explained(target):
        os.rename(source, target)
    fsync_dir(target.parent)
    if source.parent != target.parent:
        fsync_dir(source.parent)


def make_dir(path: Path) -> None:
    """Make a folder and its parents, and flush its entry even when it existed already.

    A process that was killed may have made it without flushing.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()] or [path]
    for folder in reversed(missing):
        with explained(folder):
            folder.mkdir(exist_ok=True)
        fsync_dir(folder.parent)


def _fsync_path(path: Path, flags: int) -> None:
    with explained(path):
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        _fsync(descriptor, path)
    finally:
        os.close(descriptor)


def _fsync(descriptor: int, path: Path) -> None:
    # A second fsync may report success for pages that the kernel has already dropped.
    try:
        os.fsync(descriptor)
    except OSError as error:
        step = _NEXT_STEPS.get(error.errno or 0, _NEXT_STEPS[errno.EIO])
        raise StorageError(
            f"{path}: not flushed to the disk ({error.strerror}), so this save failed",
            hint=f"{step}; what this save held must be written anew",
        ) from error
