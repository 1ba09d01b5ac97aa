"""Draw training problems and visit either side of a level, for every skill that asks binary arithmetic."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from realm.core import seeds
from realm.skills.bits import sides
from realm.skills.bits.operations import OPERATIONS, Operands
from realm.skills.bits.spaces import Space
from realm.skills.drilling import running_shares
from realm.skills.skill import LevelInfo, Side, level_info
from realm.skills.split import shuffled

TOP_BIT_SHARE = 0.5
"""Share of drills whose larger operand has the level's top bit; the others are uniform."""

Way = tuple[str, Space]
"""An operation as it is asked, and where its problems come from."""

Ways = Mapping[str, tuple[Way, ...]]
"""Ways of each primitive; one that stands there twice is asked twice as often."""


class Asked(NamedTuple):
    """A problem that was chosen, not yet written; the operands stand as they are asked."""

    primitive: str
    operation: str
    operands: Operands


class Deck:
    """Problems of one skill: which ways each primitive has, and what share is held back."""

    def __init__(self, skill: str, version: str, share: float, ways: Ways, drill_ways: Ways) -> None:
        self._skill = skill
        self._version = version
        self._share = share
        self._ways = ways
        self._drill_ways = drill_ways

    def level(self, level: int, bits: int, name: str) -> LevelInfo:
        """Return a level's table."""
        counts = {
            primitive: [sides.count(self._share, bits, space) for space in {space for _, space in ways}]
            for primitive, ways in self._ways.items()
        }
        return level_info(level, name, f"Operands from 0 to {2**bits - 1}.", counts)

    def trainable(self, bits: int) -> dict[str, list[Way]]:
        """Return the ways of each primitive that have training problems."""
        found = {
            primitive: [way for way in ways if sides.training(self._share, bits, way[1])]
            for primitive, ways in self._drill_ways.items()
        }
        return {primitive: ways for primitive, ways in found.items() if ways}

    def drills(
        self, level: int, bits: int, count: int, *, weights: Mapping[str, float], seed: int
    ) -> Iterator[tuple[Asked, random.Random]]:
        """Draw training problems, each with the generator that its wording may draw from."""
        ways = self.trainable(bits)
        if not ways:
            return
        names = list(ways)
        shares = running_shares(self._skill, self._ways, names, weights)
        topped = {way[1]: _has_top(self._share, bits, way[1]) for some in ways.values() for way in some}
        for index in range(count):
            rng = seeds.rng(f"{self._skill}/drills", self._version, level, seed, index)
            primitive = rng.choices(names, cum_weights=shares)[0]
            operation, space = rng.choice(ways[primitive])
            operands = self._draw(space, bits, rng, top=topped[space])
            swapped = OPERATIONS[operation].swapped
            yield Asked(primitive, operation, operands[::-1] if swapped else operands), rng

    def sample(self, primitive: str, bits: int, count: int, side: Side, seed: int) -> list[Asked]:
        """Return up to `count` distinct problems of one side, the primitive's ways in turn.

        Which operand of a commutative operation comes first is decided by the key.
        """
        turns = list(self._ways[primitive])
        walks = {space: self._walk(space, bits, side, seed) for _, space in turns}
        found: list[Asked] = []
        while turns and len(found) < count:
            operation, space = turns.pop(0)
            operands = next(walks[space], None)
            if operands is not None:
                found.append(Asked(primitive, operation, self._placed(operation, operands)))
                turns.append((operation, space))
        return found

    def side(self, operation: str, operands: Operands) -> Side:
        """Return the side a problem falls on."""
        return "heldout" if sides.is_heldout(self._share, operation, operands) else "train"

    def _draw(self, space: Space, bits: int, rng: random.Random, *, top: bool) -> Operands:
        """Draw a training problem of a space that has some; uniform, or with the top bit set."""
        least = 1 << bits - 1 if rng.random() < TOP_BIT_SHARE and top else 0
        size = space.entries(bits)
        while True:
            operands = space.draw(bits, rng) if space.draw else space.at(bits, rng.randrange(size))
            if (not space.draw and max(operands) < least) or not space.accept(*operands):
                continue
            if not sides.is_heldout(self._share, space.operation, operands):
                return operands

    def _walk(self, space: Space, bits: int, side: Side, seed: int) -> Iterator[Operands]:
        """Visit one side of a space in hashed order, each canonical problem once."""
        rng = seeds.rng(f"{self._skill}/{side}", self._version, space.operation, space.base, bits, seed)
        for operands in sides.canonical_entries(bits, space, shuffled(space.entries(bits), rng)):
            if sides.is_heldout(self._share, space.operation, operands) == (side == "heldout"):
                yield operands

    def _placed(self, operation: str, operands: Operands) -> Operands:
        """Return canonical operands as they are asked."""
        known = OPERATIONS[operation]
        if known.swapped:
            return operands[::-1]
        if not known.commutative:
            return operands
        key = " ".join([known.canonical, *map(str, operands)])
        mirrored = seeds.seed(f"{self._skill}/order", self._version, key) & 1
        return operands[::-1] if mirrored else operands


@cache
def _has_top(share: float, bits: int, space: Space) -> bool:
    """Say whether a training problem uses the top bit: one that the level below lacks."""
    return sides.training(share, bits, space) > sides.training(share, bits - 1, space)
