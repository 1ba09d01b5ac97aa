"""Exports of beads, an issue tracker of agents: every issue and every event a record, memories as texts.

An issue's `fields` are those of the export, under its names; what its dependencies, labels and comments
files say is joined in. An event's `fields` hold the new values and of the old ones those that changed. A
dependency `{issue_id: X, depends_on_id: Y}` means that X needs Y.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from realm.core.errors import DataError, NotFoundError
from realm.core.hashing import hash_json, short
from realm.core.paths import expanded
from realm.core.records import Name
from realm.corpus.agents.issues import find_export, is_issue, newest, read_beside, read_items
from realm.corpus.agents.sessions import session_of
from realm.corpus.agents.workitem import TOMBSTONE, Beside, WorkItem, json_or_text, read_dependency, read_item
from realm.corpus.document import Document, Origin
from realm.corpus.files.folders import Found
from realm.corpus.files.objects import text_of, utc
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally

_MEMORY = "kv.memory."
_EMPTY: tuple[Any, ...] = (None, "", [], {})


class Beads:
    """Read issues, events, dependencies and memories of an export."""

    version = "1"

    class Config(SourceConfig):
        """Where the export lies."""

        kind: Literal["beads"] = "beads"
        path: Path
        """A `.jsonl` file, its folder, a `.beads` folder or a repository with one."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._path = expanded(config.path)

    def items(self, tally: Tally) -> Iterator[Item]:
        """List the export's files. Raises NotFoundError where there is none."""
        export = find_export(self._path, tally)
        beside = short(hash_json([found.fingerprint for found in export.beside])) if export.beside else ""
        for found in export.main:
            yield found.item(more=beside)

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield a document a line; what the files beside say is held in memory."""
        export = find_export(self._path, Tally())
        found = next((found for found in export.main if found.key == item.key), None)
        if found is None:
            raise NotFoundError(f"{item.key}: no file of this export")
        beside = read_beside(export, tally) if item.key == export.main[0].key else Beside({}, {}, {})
        told: set[str] = set()
        for number, row in newest(found, tally):
            document = self._document(row, number, found, beside, tally)
            if document:
                told.add(document.id)
                yield document
        _count_untold(beside, told, tally)

    def folders(self) -> tuple[Path, ...]:
        """Return where to listen for a new export: its folder, not the whole repository around it."""
        try:
            main = find_export(self._path, Tally()).main
        except NotFoundError:
            return (self._path if self._path.name == ".beads" else self._path / ".beads",)
        return tuple({found.path.parent for found in main})

    def closing_sessions(self) -> Iterator[str]:
        """Yield the ids of sessions that closed an issue. Raises NotFoundError where there is no export."""
        for item in read_items(self._path, Tally()):
            session = session_of(item)
            if session:
                yield session

    def _document(
        self, row: dict[str, Any], number: int, found: Found, beside: Beside, tally: Tally
    ) -> Document | None:
        place = f"{found.key}:{number}"
        if row.get("_type") == "memory" or "key" in row:
            return self._memory(row, number, found, tally)
        if "event_type" in row:
            return self._event(row, number, found, tally)
        if "depends_on_id" in row:
            return self._dependency(row, number, found, tally)
        if row.get("status") == TOMBSTONE:
            tally.add("a tombstone", place)
            return None
        if not is_issue(row):
            tally.add("a line of another type", place)
            return None
        try:
            item = read_item(row, beside)
        except DataError as error:
            tally.add(error.reason, place)
            return None
        if item.closed != (item.closed_at is not None):
            tally.add("closed_at does not fit the status (kept)", place)
        return self._issue(item, number, found)

    def _issue(self, item: WorkItem, number: int, found: Found) -> Document:
        return Document(
            id=item.id,
            form="record",
            fields=item.fields(),
            tags={"task": "work_item", "issue_type": item.issue_type, **self.config.tags},
            group=item.id,
            origin=self._origin(
                found, number, item.id, session=session_of(item), rig=item.rig, at=item.created_at
            ),
        )

    def _event(self, row: dict[str, Any], number: int, found: Found, tally: Tally) -> Document | None:
        if not text_of(row, "event_type"):
            tally.add("an event without a type", f"{found.key}:{number}")
            return None
        issue = text_of(row, "issue_id")[:200]
        fields = {key: value for key, value in row.items() if value not in _EMPTY}
        new, old = json_or_text(row.get("new_value")), json_or_text(row.get("old_value"))
        if isinstance(new, dict) and isinstance(old, dict):
            old = {key: value for key, value in old.items() if key in new}
        fields.update({key: value for key, value in (("new_value", new), ("old_value", old)) if value})
        return Document(
            id=f"event/{_id(row, number)}",
            form="record",
            fields=fields,
            tags={"task": "work_item_event", **self.config.tags},
            group=issue or f"event/{number}",
            origin=self._origin(found, number, issue or None, at=utc(row.get("created_at"))),
        )

    def _dependency(self, row: dict[str, Any], number: int, found: Found, tally: Tally) -> Document | None:
        dependency = read_dependency(row)
        if dependency is None:
            tally.add("a line that names no issue", f"{found.key}:{number}")
            return None
        return Document(
            id=f"dependency/{number}",
            form="record",
            fields=dependency.model_dump(mode="json", exclude_none=True),
            tags={"task": "work_item_dependency", **self.config.tags},
            group=dependency.issue_id,
            origin=self._origin(found, number, dependency.issue_id, at=dependency.created_at),
        )

    def _memory(self, row: dict[str, Any], number: int, found: Found, tally: Tally) -> Document | None:
        key, value = text_of(row, "key"), text_of(row, "value") or text_of(row, "content")
        if row.get("_type") != "memory" and not key.startswith(_MEMORY):
            tally.add("a setting", f"{found.key}:{number}")
            return None
        subject = key.removeprefix(_MEMORY)[:200]
        if not subject or not value.strip():
            tally.add("a memory without a key or a text", f"{found.key}:{number}")
            return None
        return Document(
            id=f"memory/{subject}",
            form="text",
            text=value,
            fields={
                "subject": subject,
                "version": text_of(row, "updated_at") or None,
                "convention": "memory",
            },
            tags={"task": "memory", **self.config.tags},
            origin=self._origin(found, number, None, at=utc(row.get("updated_at"))),
        )

    def _origin(
        self,
        found: Found,
        number: int,
        item: str | None,
        *,
        session: str | None = None,
        rig: Name = "",
        at: Any = None,
    ) -> Origin:
        return Origin(
            source=self.config.name,
            kind=self.config.kind,
            path=found.key,
            first_line=number,
            last_line=number,
            session=session,
            work_item=item,
            rig=self.config.rig or rig or None,
            contributor=self.config.contributor,
            licence=self.config.licence or "unknown",
            made_by="mixed",
            at=at,
        )


def _id(row: dict[str, Any], number: int) -> str:
    """Return an event's own id, or its line where it has none."""
    value = row.get("id")
    plain = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
    return str(value) if plain else f"line{number}"


def _count_untold(beside: Beside, told: set[str], tally: Tally) -> None:
    """Count what is said about issues that are not in the export."""
    for issue in sorted(beside.labels.keys() - told):
        tally.add("a label of an issue that is not there", issue, len(beside.labels[issue]))
    for issue in sorted(beside.dependencies.keys() - told):
        tally.add("a dependency of an issue that is not there", issue, len(beside.dependencies[issue]))
    for issue in sorted(beside.comments.keys() - told):
        tally.add("a comment on an issue that is not there", issue, len(beside.comments[issue]))
