"""The files of a plain folder: no symbolic link is followed, and .gitignore is honoured.

Patterns are matched by RE2, because a .gitignore is foreign text and a pattern with many stars would
keep a backtracking matcher busy for years.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from realm.core.errors import MissingExtraError, NotFoundError
from realm.corpus.source import UNREADABLE_FOLDER
from realm.corpus.tally import Tally

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_IGNORE = ".gitignore"
_IGNORE_BYTES = 65_536
_IGNORE_LINES = 2_000
_LINE_CHARS = 512
_DEEPEST = 64
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class File(NamedTuple):
    """One regular file beneath the root."""

    path: str
    """Relative to the root, with `/`."""
    size_bytes: int
    fingerprint: str


class Patterns:
    """Match paths against lines of a .gitignore; later lines win over earlier ones."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._spec = _compile(lines)

    def says(self, path: str) -> bool | None:
        """Return True for ignored, False for taken after all (`!`), None where no line speaks."""
        said: bool | None = self._spec.check_file(path).include
        return said


def walk(root: Path, tally: Tally) -> Iterator[File]:
    """Yield the files beneath a folder in a stable order; count what is no regular file or ignored.

    Raises NotFoundError where there is no such folder, MissingExtraError without pathspec or RE2.
    """
    if not root.is_dir():
        raise NotFoundError(f"{root}: no such folder")
    yield from _walk(root, "", [], tally)


def read(root: Path, path: str, limit: int) -> tuple[bytes, str] | None:
    """Return a file's bytes and fingerprint, or None where it is gone, too big or no regular file.

    Every part of the path is opened beneath the one before, and none may be a symbolic link.
    """
    *folders, name = path.split("/")
    if not name or any(part in ("", ".", "..") for part in (*folders, name)):
        return None
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in (*folders, name):
            flags = _OPEN if part is name else _OPEN | os.O_DIRECTORY
            below = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            return None
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(limit + 1)[:limit], _fingerprint(found)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _walk(root: Path, folder: str, above: list[tuple[str, Patterns]], tally: Tally) -> Iterator[File]:
    if folder.count("/") >= _DEEPEST:
        tally.add("folder too deep", folder)
        return
    try:
        with os.scandir(root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        tally.add(UNREADABLE_FOLDER, folder)
        return
    if any(entry.name == _IGNORE for entry in entries):
        above = [*above, (folder, _ignore_file(root, folder, tally))]
    for entry in entries:
        path = f"{folder}{entry.name}"
        if entry.name == ".git":
            continue
        if entry.is_symlink():
            tally.add("symbolic link", path)
        elif entry.is_dir(follow_symlinks=False):
            if _is_ignored(f"{path}/", above):
                tally.add("ignored by .gitignore", path)
            else:
                yield from _walk(root, f"{path}/", above, tally)
        elif not entry.is_file(follow_symlinks=False):
            tally.add("not a regular file", path)
        elif _is_ignored(path, above):
            tally.add("ignored by .gitignore", path)
        else:
            status = entry.stat(follow_symlinks=False)
            yield File(path, status.st_size, _fingerprint(status))


def _is_ignored(path: str, above: list[tuple[str, Patterns]]) -> bool:
    """Ask the nearest .gitignore first; a folder that is ignored is never looked into."""
    for folder, patterns in reversed(above):
        said = patterns.says(path[len(folder) :])
        if said is not None:
            return said
    return False


def _ignore_file(root: Path, folder: str, tally: Tally) -> Patterns:
    got = read(root, f"{folder}{_IGNORE}", _IGNORE_BYTES)
    lines = got[0].decode("utf-8", "replace").splitlines() if got else []
    if got is None or len(lines) > _IGNORE_LINES or any(len(line) > _LINE_CHARS for line in lines):
        tally.add(".gitignore not readable or too long", f"{folder}{_IGNORE}")
        return Patterns([])
    return Patterns(lines)


def _fingerprint(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def _compile(lines: Sequence[str]) -> GitIgnoreSpec:
    """Compile what can be; a line that is no pattern ignores nothing, as with git."""
    try:
        import re2
        from pathspec import GitIgnoreSpec
    except ImportError:
        raise MissingExtraError(
            "this needs pathspec and google-re2",
            hint="install the corpus extra: pip install 'realm-lab[corpus]'",
        ) from None
    kept: list[str] = []
    with warnings.catch_warnings():
        # pathspec also compiles each line by `re`, which warns of odd character classes.
        warnings.simplefilter("ignore", FutureWarning)
        for line in lines:
            try:
                GitIgnoreSpec.from_lines([line], backend="re2")
            except (ValueError, re.error, re2.error):
                continue
            kept.append(line)
        return GitIgnoreSpec.from_lines(kept, backend="re2")
