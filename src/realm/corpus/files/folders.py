"""Files beneath a folder from outside: listed in a stable order, no symlink followed, each fingerprinted.

Not covered: a folder that is exchanged for a symlink between listing and reading.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from realm.core.errors import DataError, NotFoundError
from realm.core.records import Record
from realm.core.text import printable
from realm.corpus.source import UNREADABLE_FOLDER, Item
from realm.corpus.tally import Tally

MAX_DEPTH = 32


class Found(Record):
    """One regular file beneath a root."""

    path: Path
    key: str
    """Relative to the root, with `/`; the file's name where the root is that file."""
    size_bytes: int
    modified_ns: int
    fingerprint: str
    """Size, modification time and inode: changes whenever somebody writes to the file or replaces it."""

    def item(self, *, more: str = "") -> Item:
        """Return the item of a source; `more` is what else its documents depend on."""
        fingerprint = f"{self.fingerprint}-{more}" if more else self.fingerprint
        return Item(key=self.key, fingerprint=fingerprint, size_bytes=self.size_bytes)


def walk(root: Path, tally: Tally, *, enter: Callable[[str], bool] = lambda name: True) -> Iterator[Found]:
    """Yield the regular files beneath `root`, or `root` itself where it is a file; sorted by key.

    `enter` is asked for each folder's name. Symlinks, special files, folders that cannot be read and
    names that are not UTF-8 are counted. Raises NotFoundError where there is nothing, DataError where
    `root` is neither a folder nor a file.
    """
    try:
        mode = os.lstat(root).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFoundError(f"{printable(str(root), 300)}: no such file or folder") from None
    if stat.S_ISREG(mode):
        yield _found(root, root.name, os.lstat(root))
        return
    if not root.is_dir():
        raise DataError("neither a file nor a folder", file=printable(root.name))
    yield from _beneath(root, "", 0, tally, enter)


def at(root: Path, key: str) -> Path:
    """Return where a listed file lies. Raises NotFoundError for a key that leads out of the root."""
    if root.is_file() and key == root.name:
        return root
    parts = key.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\0" in key:
        raise NotFoundError(f"{printable(key)}: no file of this source")
    return root.joinpath(*parts)


def _beneath(
    folder: Path, prefix: str, depth: int, tally: Tally, enter: Callable[[str], bool]
) -> Iterator[Found]:
    if depth > MAX_DEPTH:
        tally.add("a folder too deep to enter", prefix)
        return
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        tally.add(UNREADABLE_FOLDER, prefix or folder.name)
        return
    for entry in listed:
        key = prefix + entry.name
        if not _is_text(key):
            tally.add("a name that is not UTF-8", prefix or folder.name)
            continue
        try:
            state = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(state.st_mode):
            if enter(entry.name):
                yield from _beneath(folder / entry.name, key + "/", depth + 1, tally, enter)
        elif stat.S_ISREG(state.st_mode):
            yield _found(folder / entry.name, key, state)
        else:
            tally.add("a symlink or special file", key)


def _found(path: Path, key: str, state: os.stat_result) -> Found:
    return Found(
        path=path,
        key=key,
        size_bytes=state.st_size,
        modified_ns=state.st_mtime_ns,
        fingerprint=f"{state.st_size}-{state.st_mtime_ns}-{state.st_ino}",
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
