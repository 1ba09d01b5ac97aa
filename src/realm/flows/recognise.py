"""Say what kind of source lies at a path, from what the path shows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from realm.core.errors import DataError, NotFoundError, UsageError
from realm.core.paths import expanded
from realm.core.text import printable
from realm.corpus.agents.issues import find_export
from realm.corpus.agents.sessions import default_projects
from realm.corpus.files import lines
from realm.corpus.repos.gitclone import protocol_of
from realm.corpus.repos.gitfiles import git_dir_of
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally

_SESSION_FILE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.jsonl")
_LOOKED_AT = 200
"""Entries of a folder, and lines of a file, at most."""
_LINE_BYTES = 1_000_000
_ISSUE = {"id", "title", "status", "issue_type"}
_TURN = {"uuid", "sessionId", "type"}


def kind_of(place: str) -> str:
    """Return the kind of source at a path or git URL.

    Raises UsageError where nothing shows it, NotFoundError where nothing is, ConfigError for a URL that is
    not taken.
    """
    if protocol_of(place) is not None:
        return "repo"
    path = expanded(Path(place))
    if not path.exists():
        raise NotFoundError(f"{printable(place, 300)}: no such file or folder")
    for kind, shows in _SIGNS.items():
        if shows(path):
            return kind
    raise UsageError(
        f"{printable(place, 300)}: what kind of source this is does not show",
        hint=f"say it with --kind, one of: {', '.join(SOURCES.names())}",
    )


def _is_repository(path: Path) -> bool:
    return path.is_dir() and git_dir_of(path) is not None


def _has_sessions(path: Path) -> bool:
    if path.is_file():
        return any(row.keys() >= _TURN for row in _first_rows(path))
    if path.absolute() == default_projects().absolute() or path.parts[-2:] == (".claude", "projects"):
        return True
    folders = [path, *(path / entry.name for entry in _entries(path) if entry.is_dir(follow_symlinks=False))]
    return any(
        _SESSION_FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        for folder in folders
        for entry in _entries(folder)
    )


def _has_issues(path: Path) -> bool:
    if path.is_file():
        return any(row.keys() >= _ISSUE for row in islice(_first_rows(path), 1))
    try:
        return bool(find_export(path, Tally()).main)
    except NotFoundError:
        return False


_SIGNS: dict[str, Callable[[Path], bool]] = {
    "repo": _is_repository,
    "claude_code": _has_sessions,
    "beads": _has_issues,
    "chat_jsonl": Path.is_file,
}
"""What shows a kind, the surest first."""


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(islice(entries, _LOOKED_AT))
    except OSError:
        return []


def _first_rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix != lines.SUFFIX:
        return
    with lines.open_regular(file) as opened:
        for number in range(1, _LOOKED_AT + 1):
            try:
                yield lines.parse(lines.strip(opened.readline(_LINE_BYTES), number), 64)
            except DataError:
                return
