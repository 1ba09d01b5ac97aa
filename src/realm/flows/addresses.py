"""Problems made again from their ids, within a bound on the work that a file of ids may ask for.

A row's id is an address from which the same skill with the same options makes its problem again:
`skill/level/train/seed/index` and `skill/level/eval/seed/primitive/index`. All problems before an index
are made on the way to it. So an id costs little beside the ids before it, and a lot alone: the bound counts
the problems that are passed over without being asked, and the beginning of each seed. As many as are asked
may be passed over beside, since a sample leaves out questions that came before.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

from realm.core.errors import NotFoundError, UsageError
from realm.skills.skill import Problem, Skill

MOST_ROWS = 100_000
DRAWS_PER_ROW = 20
DRAWS_AT_LEAST = 1_000

MOST_PASSED = 60_000
"""Training problems that the ids of one file may pass over, beside as many as they ask; the slowest skill
makes 7,800 a second."""
_HELDOUT_COST = 4
"""A held-out problem may take as long as so many training problems."""
_BEGIN_COST = 10
"""To begin with a level, side and seed may take as long as so many training problems."""

_MOST_INDEX = MOST_ROWS * DRAWS_PER_ROW + DRAWS_AT_LEAST
_ADDRESS = re.compile(
    r"(?P<skill>[A-Za-z0-9._-]{1,128})/(?P<level>[0-9]{1,5})/"
    r"(?:train/(?P<draw>-?[0-9]{1,20})|eval/(?P<seed>-?[0-9]{1,20})/(?P<primitive>[^\n]{1,128}))"
    r"/(?P<index>[0-9]{1,8})"
)


class Place(NamedTuple):
    """Where a problem stands among those of one level, side and seed."""

    primitive: str
    """Empty for training problems, whose primitives are drawn together."""
    at: int


class Found(NamedTuple):
    """What ids lead to."""

    problems: Mapping[str, Problem]
    too_far: frozenset[str]
    """Ids that nobody followed, because more would be passed over than the bound allows."""


class _Group(NamedTuple):
    level: int
    seed: int
    training: bool


class _Cut(NamedTuple):
    """How far a group of places is followed."""

    most: int
    """Problems to make, of each primitive if they are held out."""
    passed: int
    """What it takes of the bound."""


def follow(skill: Skill, ids: Iterable[str]) -> Found:
    """Make the problems of ids again, each group of one level, side and seed at once.

    Groups that pass over little come first, so that one far id keeps no others from being followed.
    """
    groups: dict[_Group, dict[str, Place]] = defaultdict(dict)
    for each in ids:
        if (read := _read(skill, each)) is not None:
            groups[read[0]][each] = read[1]
    problems: dict[str, Problem] = {}
    too_far: set[str] = set()
    left = MOST_PASSED
    for group, places in sorted(groups.items(), key=_passed_alone):
        left -= _BEGIN_COST
        if left < 0:
            too_far |= set(places)
            continue
        try:
            cut = _cut(skill, group, places.values(), left)
            made = _made(skill, group, cut.most, set(places.values()))
        except (NotFoundError, UsageError):
            # A level that the skill does not have: its rows are told one by one.
            continue
        left -= cut.passed
        problems |= {each: made[place] for each, place in places.items() if place in made}
        too_far |= {each for each, place in places.items() if place.at >= cut.most}
    return Found(problems, frozenset(too_far))


def grouped(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Return problems by primitive, in their order."""
    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.primitive].append(problem)
    return groups


def _read(skill: Skill, text: str) -> tuple[_Group, Place] | None:
    found = _ADDRESS.fullmatch(text)
    if found is None or found["skill"] != skill.name or int(found["index"]) > _MOST_INDEX:
        return None
    training = found["draw"] is not None
    group = _Group(int(found["level"]), int(found["draw"] if training else found["seed"]), training)
    return group, Place(found["primitive"] or "", int(found["index"]))


def _passed_alone(item: tuple[_Group, Mapping[str, Place]]) -> int:
    places = set(item[1].values())
    return max(place.at for place in places) + 1 - len(places)


def _cut(skill: Skill, group: _Group, places: Iterable[Place], left: int) -> _Cut:
    """Return how far the places can be followed."""
    sizes = sorted(p.heldout for p in skill.level(group.level).testable_primitives())
    smaller = [0, *accumulate(sizes)]
    furthest, asked = _Cut(0, 0), 0
    for index, there in sorted(Counter(place.at for place in set(places)).items()):
        most, asked = index + 1, asked + there
        if group.training:
            passed = max(0, most - 2 * asked)
        else:
            exhausted = bisect_right(sizes, most)
            made = smaller[exhausted] + most * (len(sizes) - exhausted)
            passed = _HELDOUT_COST * max(0, made - 2 * asked)
        if passed <= left:
            furthest = _Cut(most, passed)
    return furthest


def _made(skill: Skill, group: _Group, most: int, places: set[Place]) -> dict[Place, Problem]:
    if group.training:
        draws = enumerate(skill.drills(group.level, most, weights={}, seed=group.seed))
        return {place: problem for index, problem in draws if (place := Place("", index)) in places}
    if not most:
        return {}
    groups = grouped(skill.heldout(group.level, most, seed=group.seed))
    return {place: groups[place.primitive][place.at] for place in places if _held(groups, place)}


def _held(groups: Mapping[str, list[Problem]], place: Place) -> bool:
    return place.at < len(groups.get(place.primitive, ()))
