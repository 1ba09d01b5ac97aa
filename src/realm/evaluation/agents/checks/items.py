"""Checks of the work items: fields, who needs whom, order, and how much of a plan can be done at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from realm.corpus.agents.workitem import WorkItem
from realm.evaluation.agents.beads import GATING, Store
from realm.evaluation.agents.check import Check, Prohibition
from realm.evaluation.agents.evidence import Evidence

Which = Annotated[str, Field(min_length=1)]
"""An id, or words that only one title contains."""


class Item(Check):
    """An issue exists and its fields are as given."""

    check: Literal["item"] = "item"
    item: Which
    status: str | None = None
    issue_type: str | None = None
    priority: int | None = None
    assignee: str | None = None
    labels: tuple[str, ...] = ()
    """All of these, and maybe others."""
    says: dict[Literal["title", "description", "acceptance_criteria", "notes", "close_reason"], str] = Field(
        default_factory=dict
    )
    """Words that these fields contain, whatever their case."""

    def fault(self, evidence: Evidence) -> str | None:
        """Return the first field that is otherwise."""
        item = evidence.find(self.item)
        if item is None:
            return f"no one issue is {self.item!r}"
        for name in ("status", "issue_type", "priority", "assignee"):
            wanted, found = getattr(self, name), getattr(item, name)
            if wanted is not None and wanted != found:
                return f"{item.id}: {name} is {found!r}, not {wanted!r}"
        for name, words in self.says.items():
            if words.casefold() not in getattr(item, name).casefold():
                return f"{item.id}: {name} does not say {words!r}"
        missing = set(self.labels) - set(item.labels)
        return f"{item.id}: no label {', '.join(sorted(missing))}" if missing else None


class Created(Check):
    """So many issues were filed, of one type where one is given."""

    check: Literal["created"] = "created"
    least: int
    most: int
    issue_type: str | None = None

    def fault(self, evidence: Evidence) -> str | None:
        """Return how many were filed."""
        found = [i for i in evidence.created() if self.issue_type in (None, i.issue_type)]
        if self.least <= len(found) <= self.most:
            return None
        return f"{len(found)} issues were filed, not {self.least} to {self.most}"


class Needs(Check):
    """One issue needs another, and not the other way round."""

    check: Literal["needs"] = "needs"
    item: Which
    needed: Which
    type: str = "blocks"

    def fault(self, evidence: Evidence) -> str | None:
        """Return what is missing or turned round."""
        item, needed = evidence.find(self.item), evidence.find(self.needed)
        if item is None or needed is None:
            return f"no one issue is {self.item if item is None else self.needed!r}"
        if any((d.depends_on_id, d.type) == (needed.id, self.type) for d in item.dependencies):
            return None
        turned = any(d.depends_on_id == item.id for d in needed.dependencies)
        return f"{item.id} does not need {needed.id}" + (": it is the wrong way round" if turned else "")


class Acyclic(Prohibition):
    """No issues need each other in a circle, and none that would was tried to be added."""

    check: Literal["acyclic"] = "acyclic"

    def fault(self, evidence: Evidence) -> str | None:
        """Return the circle."""
        found = Store("x", evidence.issues).cycles()
        if found:
            return f"a circle: {' → '.join(found[0])}"
        tried = next((call for call in evidence.calls if "would create a cycle" in call.output), None)
        return f"call {tried.number} tried to close a circle" if tried else None


class Parallelism(Check):
    """A plan of the filed issues can be worked at side by side.

    The ratio is 1 − (longest chain − 1) / (steps − 1): 0 for a chain, 1 where nothing waits. Issues that
    are others' parents are no steps.
    """

    check: Literal["parallelism"] = "parallelism"
    least: Annotated[float, Field(ge=0, le=1)]
    steps: Annotated[int, Field(ge=2)] = 2
    """Fewer steps than these are no plan."""
    filed: bool = True
    """Only what was filed in the episode counts; otherwise all issues do."""

    def fault(self, evidence: Evidence) -> str | None:
        """Return the ratio where it is too small."""
        steps = _steps(evidence, filed=self.filed)
        if len(steps) < self.steps:
            return f"a plan of {len(steps)} steps, not of {self.steps}"
        ratio = parallelism(steps)
        return None if ratio >= self.least else f"parallelism {ratio:.2f}, not {self.least:.2f}"


class ClosedInOrder(Check):
    """These issues were closed, one after another."""

    check: Literal["closed_in_order"] = "closed_in_order"
    items: Annotated[tuple[Which, ...], Field(min_length=2)]

    def fault(self, evidence: Evidence) -> str | None:
        """Return the first that is open or came too early."""
        times = []
        for which in self.items:
            item = evidence.find(which)
            if item is None or item.closed_at is None:
                return f"{which} is not closed"
            times.append(item.closed_at)
        early = next((i for i in range(1, len(times)) if times[i] <= times[i - 1]), None)
        return None if early is None else f"{self.items[early]} was closed before {self.items[early - 1]}"


class Untouched(Prohibition):
    """These issues are as they were; with none named, all that there were."""

    check: Literal["untouched"] = "untouched"
    items: tuple[Which, ...] = ()

    def fault(self, evidence: Evidence) -> str | None:
        """Return the first that changed."""
        now = {item.id: item for item in evidence.issues}
        for item in evidence.before:
            if self.items and item.id not in self.items:
                continue
            if now.get(item.id) != item:
                return f"{item.id} was changed"
        return None


def parallelism(steps: tuple[WorkItem, ...]) -> float:
    """Return 1 − (longest chain − 1) / (steps − 1); 0 for less than two steps or a circle."""
    ids = {item.id for item in steps}
    needs = {i.id: {d.depends_on_id for d in i.dependencies if d.type in GATING} & ids for i in steps}
    lengths: dict[str, int] = {}
    while len(lengths) < len(ids):
        free = [id_ for id_ in needs if id_ not in lengths and needs[id_] <= lengths.keys()]
        if not free:
            return 0.0
        lengths |= {id_: 1 + max((lengths[need] for need in needs[id_]), default=0) for id_ in free}
    return 1 - (max(lengths.values()) - 1) / (len(ids) - 1) if len(ids) > 1 else 0.0


def _steps(evidence: Evidence, *, filed: bool) -> tuple[WorkItem, ...]:
    parents = {
        d.depends_on_id for item in evidence.issues for d in item.dependencies if d.type == "parent-child"
    }
    items = evidence.created() if filed else evidence.issues
    return tuple(item for item in items if item.id not in parents and item.issue_type != "epic")
