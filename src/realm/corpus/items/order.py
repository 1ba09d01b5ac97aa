"""How work items hang together.

A dependency's `issue_id` needs its `depends_on_id`, as in `bd dep add X Y`: X needs Y. Of a parent-child
dependency the child is the `issue_id`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

PARENT = "parent-child"
NEEDS = frozenset({"blocks", "conditional-blocks", "waits-for"})
"""Types that keep an item from being ready, beside the parent's."""


def by_needs(ids: Sequence[str], needs: Mapping[str, frozenset[str]]) -> list[str] | None:
    """Order ids so that each comes behind what it needs, otherwise as given; None for a cycle."""
    place = {id_: index for index, id_ in enumerate(ids)}
    open_: dict[str, set[str]] = {id_: {need for need in needs.get(id_, ()) if need in place} for id_ in ids}
    waiting: dict[str, list[str]] = {}
    for id_, wanted in open_.items():
        for need in wanted:
            waiting.setdefault(need, []).append(id_)
    ready = [place[id_] for id_, wanted in open_.items() if not wanted]
    heapq.heapify(ready)
    ordered: list[str] = []
    while ready:
        done = ids[heapq.heappop(ready)]
        ordered.append(done)
        for id_ in waiting.get(done, ()):
            open_[id_].discard(done)
            if not open_[id_]:
                heapq.heappush(ready, place[id_])
    return ordered if len(ordered) == len(ids) else None


def root(id_: str, parents: Mapping[str, str]) -> str:
    """Return the topmost ancestor; of a circle of parents, its smallest id."""
    way = [id_]
    while (parent := parents.get(way[-1])) is not None:
        if parent in way:
            return min(way[way.index(parent) :])
        way.append(parent)
    return way[-1]
