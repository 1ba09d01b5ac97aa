"""Which problems of binary arithmetic are held back, and how many of a space.

All skills that ask such problems share this split: it knows keys, not who asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache

from realm.skills.bits import spaces
from realm.skills.bits.operations import Operands, canonical
from realm.skills.bits.spaces import Space
from realm.skills.split import PairSplit

SPLIT_VERSION = 1871
"""Part of the hash that decides the split. Changing it spoils every earlier evaluation.

Chosen so that chance is fair to small levels too: at every level, each primitive with 30 problems or
more has 25 to 35 % of them held out, and no way of asking is left without training problems.
"""

DOMAIN = "bin"
_TABLE_BITS = 9
_WIDTH = 1 << _TABLE_BITS
_TABLED = frozenset(
    {"add", "subtract", "bitwise_and", "bitwise_or", "bitwise_xor", "equals", "lessthan"}
    | {"todecimal", "tobinary"}
)
"""Operations whose problems with operands below 512 are decided a row at a time."""
_COMMUTATIVE = ("add", "bitwise_and", "bitwise_or", "bitwise_xor", "equals")
_VISITED = 4096
"""Spaces of other operations are counted up to so many entries."""


@cache
def split(share: float) -> PairSplit:
    """Return the split that holds back this share of all small problems."""
    return PairSplit(DOMAIN, SPLIT_VERSION, share, width=_WIDTH)


def is_heldout(share: float, operation: str, operands: Operands) -> bool:
    """Say whether a problem is held out, in whichever wording it is asked."""
    operation, operands = canonical(operation, operands)
    first, second = operands if len(operands) == 2 else (0, operands[0])
    if 0 <= first < _WIDTH and 0 <= second < _WIDTH and operation in _TABLED:
        return split(share).row(operation, first)[second] == 1
    text = f"{DOMAIN}/split {SPLIT_VERSION} {operation} {first} {second}"
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] < share * 256


def count(share: float, bits: int, space: Space) -> tuple[int, int, bool]:
    """Return (canonical problems, held-out ones, whether those were counted one by one)."""
    problems = space.problems(bits)
    if bits <= _TABLE_BITS and (known := _tabled(share, bits).get(space)):
        return *known, True
    if space.entries(bits) <= _VISITED:
        return problems, _visited(share, bits, space), True
    return problems, problems * _parts(share) // 256, False


def training(share: float, bits: int, space: Space) -> int:
    """Return how many problems of a space may be trained on."""
    problems, heldout, _ = count(share, bits, space)
    return problems - heldout


def _parts(share: float) -> int:
    """Return how many of 256 byte values hold a problem back."""
    return sum(byte < share * 256 for byte in range(256))


def canonical_entries(bits: int, space: Space, indices: Iterator[int]) -> Iterator[Operands]:
    """Yield the operands of the indices that name an accepted problem in its canonical form."""
    for index in indices:
        operands = space.at(bits, index)
        if not operands or not space.accept(*operands):
            continue
        if canonical(space.operation, operands)[1] == operands:
            yield operands


@cache
def _visited(share: float, bits: int, space: Space) -> int:
    entries = canonical_entries(bits, space, iter(range(space.entries(bits))))
    return sum(is_heldout(share, space.operation, operands) for operands in entries)


@cache
def _tabled(share: float, bits: int) -> dict[Space, tuple[int, int]]:
    """Return exact (problems, held-out ones) of the tabled spaces, counted a row at a time."""
    row, size = split(share).row, 1 << bits
    numbers = range(size)
    up = {op: sum(row(op, a).count(1, a, size) for a in numbers) for op in (*_COMMUTATIVE, "lessthan")}
    down = {op: sum(row(op, a).count(1, 0, a + 1) for a in numbers) for op in ("subtract", "lessthan")}
    same = {op: sum(row(op, a)[a] for a in numbers) for op in ("equals", "lessthan")}
    disjoint = sum(row("add", a)[b] for a in numbers for b in _submasks(~a & size - 1) if b >= a)
    subset = sum(row("subtract", a)[b] for a in numbers for b in _submasks(a))
    heldout = {
        spaces.NO_CARRY: disjoint,
        spaces.CARRY: up["add"] - disjoint,
        spaces.NO_BORROW: subset,
        spaces.BORROW: down["subtract"] - subset,
        spaces.AND: up["bitwise_and"],
        spaces.OR: up["bitwise_or"],
        spaces.XOR: up["bitwise_xor"],
        spaces.EQUAL: same["equals"],
        spaces.UNEQUAL: up["equals"] - same["equals"],
        spaces.ORDERED: up["lessthan"] + down["lessthan"] - same["lessthan"],
        spaces.BELOW: up["lessthan"] - same["lessthan"],
        spaces.ABOVE: down["lessthan"] - same["lessthan"],
        spaces.TIED: same["lessthan"],
        spaces.TO_DECIMAL: row("todecimal", 0).count(1, 0, size),
        spaces.TO_BINARY: row("tobinary", 0).count(1, 0, size),
    }
    return {space: (space.problems(bits), number) for space, number in heldout.items()}


def _submasks(mask: int) -> Iterator[int]:
    """Yield every number whose bits are all in the mask."""
    part = mask
    while part:
        yield part
        part = part - 1 & mask
    yield 0
