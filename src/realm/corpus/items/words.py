"""The words of rows about work items: how they are asked for, and the JSON that answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from realm.core.hashing import canonical_json
from realm.core.seeds import seed
from realm.corpus.agents.workitem import WorkItem

_FILE = (
    "File this as a work item.",
    "Write the work item for the following.",
    "Turn this into a well-formed issue.",
)
_ITEM_FORM = (
    "Answer with one JSON object: title, description, issue_type, priority (0 most urgent, 4 least), "
    "design, acceptance_criteria and labels where there are any, and dependencies "
    '[{"depends_on_id", "type"}]: the items that this one needs or belongs to, not those that need it.'
)
_BREAK_DOWN = (
    "Break this epic down into work items, in an order in which they can be done.",
    "Which items does this epic need? List them so that each comes behind what it needs.",
    "Plan this epic: the child items, and what each of them waits for.",
)
_CHILDREN_FORM = (
    'Answer with one JSON object: {"children": [{"key", "title", "issue_type", "priority", "needs"}]}; keys '
    "count from 1, and needs holds the keys of children that have to be closed before."
)
_CLOSE = (
    "This work item is done. Write the reason to close it with.",
    "Close this item: say in a sentence or two what was done.",
    "Write the close reason for the item below.",
)
RELATIONS: dict[str, tuple[str, ...]] = {
    "blocks": ("It needs {}.", "{} has to be closed before it can begin.", "It waits until {} is done."),
    "waits-for": ("It waits for everything under {}.",),
    "conditional-blocks": ("It is only done if {} fails.",),
    "parent-child": ("It is part of {}.", "Its parent is {}."),
    "discovered-from": ("It was found while working on {}.",),
    "related": ("It is related to {}.",),
    "relates-to": ("It relates to {}.",),
    "supersedes": ("It supersedes {}.",),
    "duplicates": ("It is a duplicate of {}.",),
    "caused-by": ("It was caused by {}.",),
    "validates": ("It validates {}.",),
    "tracks": ("It tracks {}.",),
}
"""How the dependency of an item on another is said, by type; those of other types are left out."""
_INVERSE = ("{} needs it.", "{} waits until it is done.", "It has to be closed before {} can begin.")


class Link(NamedTuple):
    """What an item has to do with another one."""

    type: str
    other: str
    title: str


def filing(item: WorkItem, links: Sequence[Link], needed_by: Sequence[Link]) -> tuple[str, str]:
    """Return the request to file an item and the item as JSON.

    Whatever needs this item is said too, and is no dependency of it: that is the other one's.
    """
    said = [_said(RELATIONS[link.type], item.id, link) for link in links]
    said += [_said(_INVERSE, item.id, link) for link in needed_by]
    request = _joined(
        _one(_FILE, item.id), item.title.strip(), item.description.strip(), "\n".join(sorted(said))
    )
    values: dict[str, Any] = {
        "title": item.title.strip(),
        "description": item.description.strip(),
        "issue_type": item.issue_type,
        "priority": item.priority,
        "design": item.design.strip(),
        "acceptance_criteria": item.acceptance_criteria.strip(),
        "labels": sorted(item.labels),
    }
    answer = {key: value for key, value in values.items() if value not in ("", None, [])}
    dependencies = [{"depends_on_id": link.other, "type": link.type} for link in links]
    answer["dependencies"] = sorted(dependencies, key=canonical_json)
    return request, canonical_json(answer)


def breakdown(epic: WorkItem, children: Iterable[dict[str, Any]]) -> tuple[str, str]:
    """Return the request to plan an epic and its children as JSON."""
    request = _joined(
        _one(_BREAK_DOWN, epic.id), _CHILDREN_FORM, epic.title.strip(), epic.description.strip()
    )
    return request, canonical_json({"children": list(children)})


def closing(item: WorkItem, done: Sequence[str]) -> tuple[str, str]:
    """Return the request to close an item, with what was done, and the reason it was closed with."""
    request = _joined(
        _one(_CLOSE, item.id),
        item.title.strip(),
        item.description.strip(),
        "What was done:\n" + "\n\n".join(done),
    )
    return request, item.close_reason.strip()


def _said(wordings: tuple[str, ...], id_: str, link: Link) -> str:
    return _one(wordings, f"{id_}/{link.other}").replace("{}", f'{link.other} "{link.title.strip()}"')


def _one(wordings: tuple[str, ...], id_: str) -> str:
    return wordings[seed("work_item/wording", wordings[0], id_) % len(wordings)]


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
