"""Exports of an issue tracker of agents: which files belong together, and their issues joined."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from realm.core.errors import DataError, NotFoundError
from realm.core.text import printable
from realm.corpus.agents.workitem import (
    TOMBSTONE,
    Beside,
    WorkItem,
    read_comment,
    read_dependency,
    read_item,
)
from realm.corpus.files.folders import Found, walk
from realm.corpus.files.objects import read_objects, text_of
from realm.corpus.tally import Tally

_ISSUES = ("issues.jsonl", "beads.jsonl")
_BESIDE = ("dependencies.jsonl", "labels.jsonl", "comments.jsonl")
_OWN = ("events.jsonl", "config.jsonl")
_PLACES = ("", "backup", ".beads", ".beads/backup")


class Export(NamedTuple):
    """The files of one export."""

    main: tuple[Found, ...]
    """Read on their own: issues, events, settings with memories; or the one file that was named."""
    beside: tuple[Found, ...]
    """Say more about the issues: dependencies, labels, comments."""


def find_export(path: Path, tally: Tally) -> Export:
    """Find an export: a file, its folder, the tracker's folder, or a repository with one.

    Of several beneath one folder the first in that order is taken, others are counted. Raises
    NotFoundError where there is none.
    """
    if path.is_file():
        return Export(tuple(walk(path, tally)), ())
    found: list[Export] = []
    for place in _PLACES:
        folder = path / place if place else path
        export = _in_folder(folder) if folder.is_dir() and not folder.is_symlink() else None
        if export and found:
            tally.add("another export beside the one that was read", place)
        elif export:
            found.append(export)
    if not found:
        raise NotFoundError(
            f"{printable(str(path), 300)}: no export of work items",
            hint="export one with `bd export -o issues.jsonl`, or name the file",
        )
    return found[0]


def read_items(path: Path, tally: Tally) -> Iterator[WorkItem]:
    """Yield the issues of an export, each id once, with what the files beside say of them."""
    export = find_export(path, tally)
    beside = read_beside(export, tally)
    for found in export.main:
        for number, row in newest(found, tally):
            if is_issue(row):
                try:
                    yield read_item(row, beside)
                except DataError as error:
                    tally.add(error.reason, f"{found.key}:{number}")


def is_issue(row: dict[str, Any]) -> bool:
    """Tell whether a line is an issue that is still there."""
    other = {"event_type", "depends_on_id", "key", "label", "issue_id"} & row.keys()
    return row.get("_type", "issue") == "issue" and not other and row.get("status") != TOMBSTONE


def newest(found: Found, tally: Tally) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines of a file; of an id given twice only the one that was updated last.

    Reads the file twice and holds its ids.
    """
    best: dict[str, tuple[str, int]] = {}
    for number, row in read_objects(found.path, Tally(), found.key):
        id_ = text_of(row, "id")
        if id_ and is_issue(row):
            best[id_] = max(best.get(id_, ("", 0)), (text_of(row, "updated_at"), number))
    for number, row in read_objects(found.path, tally, found.key):
        id_ = text_of(row, "id")
        if id_ in best and is_issue(row) and best[id_][1] != number:
            tally.add("an older line of the same id", f"{found.key}:{number}")
            continue
        yield number, row


def read_beside(export: Export, tally: Tally) -> Beside:
    """Read what files beside the issues say; held in memory."""
    beside = Beside({}, {}, {})
    for found in export.beside:
        for number, row in read_objects(found.path, tally, found.key):
            if not _take_beside(row, beside):
                tally.add("a line that names no issue", f"{found.key}:{number}")
    return beside


def _take_beside(row: dict[str, Any], beside: Beside) -> bool:
    issue, label = text_of(row, "issue_id"), text_of(row, "label")
    if not issue:
        return False
    if "depends_on_id" in row:
        dependency = read_dependency(row)
        if dependency:
            beside.dependencies.setdefault(issue, []).append(dependency)
        return dependency is not None
    if label:
        beside.labels.setdefault(issue, []).append(label)
        return True
    comment = read_comment(row)
    if comment:
        beside.comments.setdefault(issue, []).append(comment)
    return comment is not None


def _in_folder(folder: Path) -> Export | None:
    listed = {found.key: found for found in walk(folder, Tally(), enter=lambda name: False)}
    issues = next((listed[name] for name in _ISSUES if name in listed), None)
    own = tuple(listed[name] for name in _OWN if name in listed)
    if issues is None and not own:
        return None
    beside = tuple(listed[name] for name in _BESIDE if name in listed)
    return Export(((issues,) if issues else ()) + own, beside)
