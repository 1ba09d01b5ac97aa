"""Folders of sandboxes, each locked by the process that made it: what a killed one left is known by that."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "realm-town-"


def made() -> tuple[Path, int]:
    """Make an empty folder, and return it with the descriptor whose closing gives it up. Raises OSError."""
    fresh = Path(tempfile.mkdtemp(prefix="realm-fresh-"))
    fresh.chmod(0o755)
    lock = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY)
    # A file system that locks no folders locks none for those who look either, and then nothing is removed.
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # Others look at folders of the final name, which therefore only one that is locked may have.
    root = fresh.with_name(_PREFIX + fresh.name.removeprefix("realm-fresh-"))
    fresh.rename(root)
    return root, lock


def remove() -> None:
    """Remove the folders of processes of ours that ended; what cannot be removed stays."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, RecursionError):
            _remove_unheld(path)


def _remove_unheld(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(folder).st_uid == os.getuid():
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    finally:
        os.close(folder)
