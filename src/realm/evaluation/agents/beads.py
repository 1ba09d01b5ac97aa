"""A store of work items that behaves like beads: who needs whom, what is ready, no cycles.

A dependency's `issue_id` needs its `depends_on_id`. Times come from a clock that every change moves on by
a minute, so the same work leaves the same store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from realm.core.errors import DataError, NotFoundError, RealmError, RefusedError, UsageError
from realm.core.hashing import canonical_json
from realm.core.text import printable
from realm.corpus.agents.workitem import Dependency, WorkItem, read_item
from realm.corpus.files import lines
from realm.corpus.items.order import NEEDS, PARENT

GATING = NEEDS | {PARENT}
"""Types of dependency that can keep an item from being ready."""
OTHER = frozenset(
    {
        "related",
        "discovered-from",
        "replies-to",
        "relates-to",
        "duplicates",
        "supersedes",
        "tracks",
        "caused-by",
        "validates",
        "delegated-from",
    }
)
STATUSES = ("open", "in_progress", "blocked", "deferred", "closed", "pinned", "hooked")
TYPES = frozenset(
    {
        "bug",
        "feature",
        "task",
        "epic",
        "chore",
        "decision",
        "message",
        "molecule",
        "gate",
        "spike",
        "story",
        "milestone",
        "agent",
        "convoy",
        "merge-request",
        "role",
        "rig",
    }
)
_FAILED = ("fail", "reject", "wontfix", "won't fix", "cancel", "abandon", "error", "timeout", "abort")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_ITEMS, _TITLE, _TEXT, _DEPENDENCIES = 200, 500, 20_000, 50


class Store:
    """Work items by id."""

    def __init__(self, prefix: str, items: Iterable[WorkItem] = ()) -> None:
        self._prefix = prefix
        self._items = {item.id: item for item in items}
        self._minutes = 0

    @classmethod
    def read(cls, prefix: str, text: str) -> Store:
        """Read an export: one issue a line. Raises DataError with the line of a faulty one."""
        found: dict[str, WorkItem] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = lines.parse(line.encode(errors="surrogatepass"), 64)
                if isinstance(row, dict) and row.get("_type", "issue") != "issue":
                    continue
                item = read_item(row if isinstance(row, dict) else {})
            except DataError as error:
                raise DataError(error.reason, file="issues", line=number) from None
            found[item.id] = item
        return cls(prefix, found.values())

    def export(self) -> str:
        """Return the store as an export: one JSON object a line, in the order of creation."""
        return "".join(canonical_json({"_type": "issue", **item.fields()}) + "\n" for item in self)

    def __iter__(self) -> Iterator[WorkItem]:
        return iter(self._items.values())

    def __contains__(self, id_: str) -> bool:
        return id_ in self._items

    def get(self, id_: str) -> WorkItem:
        """Return one item. Raises NotFoundError."""
        if id_ not in self._items:
            raise NotFoundError(f"no issue found matching {printable(id_, 60)!r}")
        return self._items[id_]

    def create(
        self, title: str, *, id_: str | None = None, needs: Sequence[tuple[str, str]] = (), **fields: Any
    ) -> WorkItem:
        """File a new item with what it needs, as pairs of id and kind, or nothing at all.

        Raises UsageError for a field that may not be so, and what `add_need` raises.
        """
        if len(self._items) >= _ITEMS:
            raise RefusedError(f"the store holds {_ITEMS} issues, which is the most")
        id_ = id_ or self._next()
        if id_ in self._items:
            raise UsageError(f"{printable(id_, 60)} exists already")
        now = self._now()
        self._items[id_] = WorkItem(
            **{"priority": 2, **_checked({**fields, "title": title})}, id=id_, created_at=now, updated_at=now
        )
        try:
            for needed, kind in needs:
                self.add_need(id_, needed, kind)
        except RealmError:
            del self._items[id_]
            raise
        return self._items[id_]

    def update(self, id_: str, **fields: Any) -> WorkItem:
        """Change fields of an item; closing and opening again keep `closed_at` true to the status."""
        item, now = self.get(id_), self._now()
        changed = _checked(fields)
        status = changed.get("status", item.status)
        if status != "closed":
            changed |= {"closed_at": None, "close_reason": ""}
        elif not item.closed:
            changed["closed_at"] = now
        self._items[id_] = item.model_copy(update={**changed, "updated_at": now})
        return self._items[id_]

    def close(self, id_: str, reason: str) -> WorkItem:
        """Close an item. Raises UsageError where it is closed already."""
        if self.get(id_).closed:
            raise UsageError(f"{id_} is already closed")
        return self.update(id_, status="closed", close_reason=reason)

    def add_need(self, needing: str, needed: str, kind: str = "blocks") -> None:
        """Add a dependency. Raises RefusedError for one that would close a cycle."""
        item, _ = self.get(needing), self.get(needed)
        if kind not in GATING | OTHER:
            raise UsageError(f"{printable(kind, 40)!r} is no type of dependency")
        if needing == needed:
            raise RefusedError("an issue cannot depend on itself")
        if any((d.depends_on_id, d.type) == (needed, kind) for d in item.dependencies):
            raise UsageError(f"{needing} already depends on {needed} ({kind})")
        if len(item.dependencies) >= _DEPENDENCIES:
            raise RefusedError(f"{needing} has {_DEPENDENCIES} dependencies, which is the most")
        if kind in GATING and self._reaches(needed, needing):
            raise RefusedError(f"adding {needing} → {needed} would create a cycle")
        made = Dependency(issue_id=needing, depends_on_id=needed, type=kind, created_at=self._now())
        self._items[needing] = item.model_copy(update={"dependencies": (*item.dependencies, made)})

    def remove_need(self, needing: str, needed: str) -> None:
        """Remove whatever dependency one has on the other. Raises NotFoundError where there is none."""
        item = self.get(needing)
        kept = tuple(d for d in item.dependencies if d.depends_on_id != needed)
        if len(kept) == len(item.dependencies):
            raise NotFoundError(f"{needing} does not depend on {printable(needed, 60)}")
        self._items[needing] = item.model_copy(update={"dependencies": kept})

    def children(self, id_: str) -> tuple[WorkItem, ...]:
        """Return the items whose parent it is."""
        link = (id_, PARENT)
        return tuple(
            item for item in self if any((d.depends_on_id, d.type) == link for d in item.dependencies)
        )

    def blockers(self, id_: str) -> tuple[str, ...]:
        """Return what keeps an item from being ready; what blocks a parent blocks its children."""
        above = [self.get(id_).id]
        for place in above:
            parents = (d.depends_on_id for d in self._items[place].dependencies if d.type == PARENT)
            above.extend(dict.fromkeys(id_ for id_ in parents if id_ in self._items and id_ not in above))
        needs = (need for place in above for need in self._items[place].dependencies)
        return tuple(dict.fromkeys(blocker for need in needs for blocker in self._blocking(need)))

    def ready(self) -> tuple[WorkItem, ...]:
        """Return open items that nothing blocks, most urgent first."""
        free = (item for item in self if item.status == "open" and not self.blockers(item.id))
        return tuple(sorted(free, key=lambda item: 2 if item.priority is None else item.priority))

    def cycles(self) -> tuple[tuple[str, ...], ...]:
        """Return groups of items that need each other in a circle; an import may hold some."""
        reached = {id_: self._reached(id_) for id_ in self._items}
        found: dict[tuple[str, ...], None] = {}
        for id_, others in reached.items():
            if id_ in others:
                found[tuple(sorted(other for other in others if id_ in reached[other]))] = None
        return tuple(found)

    def needs(self, id_: str) -> tuple[str, ...]:
        """Return the items that one needs by a gating dependency."""
        return tuple(d.depends_on_id for d in self.get(id_).dependencies if d.type in GATING)

    def _blocking(self, need: Dependency) -> Iterable[str]:
        target = self._items.get(need.depends_on_id)
        if target is None or need.type not in NEEDS:
            return ()
        if need.type == "waits-for" and self.children(target.id):
            return (child.id for child in self.children(target.id) if not child.closed)
        if need.type == "conditional-blocks" and target.closed:
            failed = any(word in target.close_reason.lower() for word in _FAILED)
            return () if failed else (target.id,)
        return () if target.closed else (target.id,)

    def _reaches(self, start: str, goal: str) -> bool:
        return start == goal or goal in self._reached(start)

    def _reached(self, start: str) -> set[str]:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            for need in self.needs(ahead.pop()):
                if need in self._items and need not in found:
                    found.add(need)
                    ahead.append(need)
        return found

    def _next(self) -> str:
        number = len(self._items) + 1
        while f"{self._prefix}-{number}" in self._items:
            number += 1
        return f"{self._prefix}-{number}"

    def _now(self) -> datetime:
        self._minutes += 1
        return _EPOCH + timedelta(minutes=self._minutes)


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    status, kind, priority = fields.get("status"), fields.get("issue_type"), fields.get("priority")
    title = fields.get("title")
    if title is not None and not 0 < len(title.strip()) <= _TITLE:
        raise UsageError(f"a title has 1 to {_TITLE} characters")
    if status is not None and status not in STATUSES:
        raise UsageError(f"invalid status {printable(status, 40)!r}; one of: {', '.join(STATUSES)}")
    if kind is not None and kind not in TYPES:
        raise UsageError(f"invalid issue type {printable(kind, 40)!r}")
    if priority is not None and priority not in range(5):
        raise UsageError("a priority is 0 (most urgent) to 4")
    if any(isinstance(value, str) and len(value) > _TEXT for value in fields.values()):
        raise UsageError(f"a text has at most {_TEXT:,} characters")
    return fields
