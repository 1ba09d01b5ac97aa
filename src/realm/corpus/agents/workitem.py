"""Work items as an issue tracker of agents exports them: one JSON object a line.

The fields of the export that everybody needs are read into one record; everything else that is not empty
is kept in `other` as it came. Labels, dependencies and comments lie in the item, or in files beside it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import Field

from realm.core.errors import DataError
from realm.core.records import Record
from realm.corpus.files import lines
from realm.corpus.files.objects import utc

_WORDS = ("title", "description", "design", "acceptance_criteria", "notes", "status", "issue_type")
_NAMES = ("assignee", "owner", "created_by", "close_reason", "closed_by_session", "rig")
_TIMES = ("created_at", "updated_at", "closed_at")
_LISTS = ("labels", "dependencies", "comments")
_KNOWN = {"id", "_type", "priority", "metadata", *_WORDS, *_NAMES, *_TIMES, *_LISTS}
_CLOSED = "closed"
TOMBSTONE = "tombstone"
_ITEMS_A_LIST = 10_000


class Dependency(Record):
    """`issue_id` needs (or otherwise points to) `depends_on_id`."""

    issue_id: str
    depends_on_id: str
    type: str = "blocks"
    created_at: datetime | None = None


class Comment(Record):
    """What somebody wrote under an item."""

    author: str = ""
    text: str
    created_at: datetime | None = None


class WorkItem(Record):
    """One issue."""

    id: str
    title: str
    description: str = ""
    design: str = ""
    acceptance_criteria: str = ""
    notes: str = ""
    status: str = "open"
    issue_type: str = "task"
    priority: int | None = None
    """0 (first) to 4."""
    assignee: str = ""
    owner: str = ""
    created_by: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    closed_at: datetime | None = None
    close_reason: str = ""
    closed_by_session: str = ""
    """The session that closed it: the link to what was done."""
    rig: str = ""
    labels: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    comments: tuple[Comment, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)
    other: dict[str, Any] = Field(default_factory=dict)

    @property
    def closed(self) -> bool:
        """Tell whether it is closed; there is no `done` and no `failed`."""
        return self.status == _CLOSED

    def fields(self) -> dict[str, Any]:
        """Return what is not empty as JSON values, under the export's names."""
        values = self.model_dump(mode="json", exclude={"other"})
        named = {key: value for key, value in values.items() if value not in ("", None, [], {})}
        return {**self.other, **named}


class Beside(NamedTuple):
    """What files beside the issues say of them, by the issue's id."""

    labels: dict[str, list[str]]
    dependencies: dict[str, list[Dependency]]
    comments: dict[str, list[Comment]]


def read_item(row: dict[str, Any], beside: Beside | None = None) -> WorkItem:
    """Read one line of an issues export. Raises DataError without a file for one that is no issue."""
    id_, title = row.get("id"), row.get("title")
    if not isinstance(id_, str) or not 0 < len(id_) <= 200:
        raise lines.refusal("an issue without an id")
    if not isinstance(title, str) or not title.strip():
        raise lines.refusal("an issue without a title")
    words = {key: value for key in (*_WORDS, *_NAMES) if isinstance(value := row.get(key), str) and value}
    priority = row.get("priority")
    plain = isinstance(priority, int) and not isinstance(priority, bool) and 0 <= priority <= 4
    metadata = _object(row.get("metadata"))
    return WorkItem(
        **{**words, "id": id_, "title": title},
        priority=priority if plain else None,
        **{key: utc(row.get(key)) for key in _TIMES},
        labels=_joined(_labels(row), beside.labels.get(id_, []) if beside else []),
        dependencies=_joined(_dependencies(row, id_), beside.dependencies.get(id_, []) if beside else []),
        comments=_joined(_comments(row), beside.comments.get(id_, []) if beside else []),
        metadata=metadata,
        other={key: value for key, value in row.items() if key not in _KNOWN and _says(value)},
    )


def read_dependency(row: dict[str, Any], issue: str = "") -> Dependency | None:
    """Read one dependency, None where it names no two issues."""
    issue = _name(row.get("issue_id")) or issue
    target = _name(row.get("depends_on_id"))
    if not issue or not target:
        return None
    return Dependency(
        issue_id=issue,
        depends_on_id=target,
        type=_name(row.get("type")) or "blocks",
        created_at=utc(row.get("created_at")),
    )


def read_comment(row: dict[str, Any]) -> Comment | None:
    """Read one comment, None where it has no text."""
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        return None
    return Comment(author=_name(row.get("author")), text=text, created_at=utc(row.get("created_at")))


def json_or_text(value: Any) -> Any:
    """Return what a string holds where it is a JSON object, otherwise the value as it came."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return lines.parse(value.encode(), 64)
    except (DataError, UnicodeEncodeError):
        return value


def _labels(row: dict[str, Any]) -> list[str]:
    return [label for label in _list(row, "labels") if isinstance(label, str) and label]


def _dependencies(row: dict[str, Any], issue: str) -> list[Dependency]:
    found = (read_dependency(one, issue) for one in _list(row, "dependencies") if isinstance(one, dict))
    return [one for one in found if one is not None]


def _comments(row: dict[str, Any]) -> list[Comment]:
    found = (read_comment(one) for one in _list(row, "comments") if isinstance(one, dict))
    return [one for one in found if one is not None]


def _list(row: dict[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    return value[:_ITEMS_A_LIST] if isinstance(value, list) else []


def _joined(first: list[Any], second: list[Any]) -> tuple[Any, ...]:
    """Join without repeating what both say."""
    return tuple(dict.fromkeys([*first, *second]))


def _object(value: Any) -> dict[str, Any]:
    value = json_or_text(value)
    return value if isinstance(value, dict) else {}


def _name(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= 200 else ""


def _says(value: Any) -> bool:
    return value not in (None, "", 0, "{}", [], {}) and len(json.dumps(value)) <= 1_000_000
