"""Spaces of operands: how many there are, the one at an index, and whether one belongs.

A space names each of its members exactly once, so that its size is a count. None holds its members in
memory. Members are tuples of whole numbers and ASCII text; text that reads as a number is a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, isqrt, perm, prod
from typing import Protocol

Value = int | str
Operands = tuple[Value, ...]

_NUMBER = re.compile(r"-?[1-9][0-9]{0,17}|0")


def value(text: str) -> Value:
    """Return a number where the text is one as we write it, otherwise the text."""
    return int(text) if _NUMBER.fullmatch(text) else text


class Space(Protocol):
    """Operands by index."""

    @property
    def arity(self) -> int:
        """Return how many operands a member has."""

    @property
    def size(self) -> int:
        """Return how many members there are."""

    def at(self, index: int) -> Operands:
        """Return the member at an index from 0 to size-1."""

    def holds(self, operands: Operands) -> bool:
        """Say whether these operands are a member."""


@dataclass(frozen=True)
class Numbers:
    """Whole numbers from `first` to `last`."""

    first: int
    last: int
    arity = 1

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def at(self, index: int) -> Operands:
        return (self.first + index,)

    def holds(self, operands: Operands) -> bool:
        (number,) = operands
        return isinstance(number, int) and self.first <= number <= self.last


@dataclass(frozen=True)
class Words:
    """One of some texts, all different."""

    words: Sequence[str]
    arity = 1

    @property
    def size(self) -> int:
        return len(self.words)

    def at(self, index: int) -> Operands:
        return (self.words[index],)

    def holds(self, operands: Operands) -> bool:
        return operands[0] in tuple(self.words)


@dataclass(frozen=True)
class Listed:
    """Members that are written down, all different and of one length."""

    members: Sequence[Operands]

    @property
    def arity(self) -> int:
        return len(self.members[0])

    @property
    def size(self) -> int:
        return len(self.members)

    def at(self, index: int) -> Operands:
        return self.members[index]

    def holds(self, operands: Operands) -> bool:
        return operands in self.members


@dataclass(frozen=True)
class Rows:
    """Rows of `length` items, repetition allowed."""

    items: Sequence[str]
    length: int

    @property
    def arity(self) -> int:
        return self.length

    @property
    def size(self) -> int:
        return int(len(self.items) ** self.length)

    def at(self, index: int) -> Operands:
        row = []
        for _ in range(self.length):
            index, digit = divmod(index, len(self.items))
            row.append(self.items[digit])
        return tuple(row)

    def holds(self, operands: Operands) -> bool:
        return set(operands) <= set(self.items)


@dataclass(frozen=True)
class Arranged:
    """Rows of `length` different items."""

    items: Sequence[str]
    length: int

    @property
    def arity(self) -> int:
        return self.length

    @property
    def size(self) -> int:
        return perm(len(self.items), self.length)

    def at(self, index: int) -> Operands:
        left, row = list(self.items), []
        for _ in range(self.length):
            index, place = divmod(index, len(left))
            row.append(left.pop(place))
        return tuple(row)

    def holds(self, operands: Operands) -> bool:
        return set(operands) <= set(self.items) and len(set(operands)) == self.length


@dataclass(frozen=True)
class Bags:
    """`length` numbers from `first` to `last` in rising order, repetition allowed."""

    first: int
    last: int
    length: int

    @property
    def arity(self) -> int:
        return self.length

    @property
    def size(self) -> int:
        return comb(self.last - self.first + self.length, self.length)

    def at(self, index: int) -> Operands:
        bag, top = [], self.last - self.first + self.length - 1
        for place in range(self.length, 0, -1):
            while comb(top, place) > index:
                top -= 1
            index -= comb(top, place)
            bag.append(self.first + top - place + 1)
        return tuple(reversed(bag))

    def holds(self, operands: Operands) -> bool:
        numbers = [n for n in operands if isinstance(n, int)]
        return (
            len(numbers) == self.length
            and numbers == sorted(numbers)
            and self.first <= numbers[0]
            and numbers[-1] <= self.last
        )


@dataclass(frozen=True)
class Pairs:
    """Two numbers from 0 to `last`, the first one smaller."""

    last: int
    arity = 2

    @property
    def size(self) -> int:
        return self.last * (self.last + 1) // 2

    def at(self, index: int) -> Operands:
        larger = (1 + isqrt(1 + 8 * index)) // 2
        return index - larger * (larger - 1) // 2, larger

    def holds(self, operands: Operands) -> bool:
        a, b = operands
        return isinstance(a, int) and isinstance(b, int) and 0 <= a < b <= self.last


class Product:
    """Members of several spaces, side by side."""

    def __init__(self, *parts: Space) -> None:
        self._parts = parts
        self.arity = sum(part.arity for part in parts)
        self.size = prod(part.size for part in parts)

    def at(self, index: int) -> Operands:
        """Return the member at an index."""
        found: Operands = ()
        for part in self._parts:
            index, place = divmod(index, part.size)
            found += part.at(place)
        return found

    def holds(self, operands: Operands) -> bool:
        """Say whether these operands are a member."""
        start = 0
        for part in self._parts:
            if not part.holds(operands[start : start + part.arity]):
                return False
            start += part.arity
        return True


class Joined:
    """A member's operands written as one text."""

    arity = 1

    def __init__(self, inner: Space, separator: str = "") -> None:
        self._inner, self._separator = inner, separator
        self.size = inner.size

    def at(self, index: int) -> Operands:
        """Return the member at an index."""
        return (self._separator.join(map(str, self._inner.at(index))),)

    def holds(self, operands: Operands) -> bool:
        """Say whether the text is a member."""
        text = str(operands[0])
        parts = text.split(self._separator) if self._separator else list(text)
        return len(parts) == self._inner.arity and self._inner.holds(tuple(map(value, parts)))


class Mapped:
    """A space told in other operands. `back` undoes `there`, and gives None for what is no member."""

    def __init__(
        self,
        inner: Space,
        there: Callable[..., Operands],
        back: Callable[..., Operands | None],
        arity: int = 2,
    ) -> None:
        self._inner, self._there, self._back = inner, there, back
        self.size, self.arity = inner.size, arity

    def at(self, index: int) -> Operands:
        """Return the member at an index."""
        return self._there(*self._inner.at(index))

    def holds(self, operands: Operands) -> bool:
        """Say whether these operands are a member."""
        inner = self._back(*operands)
        return (
            inner is not None
            and len(inner) == self._inner.arity
            and self._inner.holds(inner)
            and self._there(*inner) == operands
        )
