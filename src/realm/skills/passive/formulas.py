"""Formulas over propositions P, Q, R …: spaces of them, reading, and truth.

A formula has each letter once, in order, with or without `not` before it, and two-place words between.
Every inner pair stands in brackets, so that its structure can be read from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from realm.skills.passive.spaces import Operands

LETTERS = "PQRSTUV"

_TRUTH: dict[str, Callable[[bool, bool], bool]] = {
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "xor": lambda a, b: a != b,
    "implies": lambda a, b: not a or b,
    "iff": lambda a, b: a == b,
}
_TOKEN = re.compile(r"[()]|not [A-Z]|[A-Z]| (?:and|or|xor|implies|iff) ")


class Pair(NamedTuple):
    """Two formulas with a word between them."""

    word: str
    left: Formula
    right: Formula


Formula = str | Pair
"""A letter, `not ` and a letter, or a pair."""


@dataclass(frozen=True)
class Formulas:
    """Formulas of so many letters whose outermost word is one of `outer`, the others of `inner`."""

    letters: int
    outer: Sequence[str]
    inner: Sequence[str]
    arity = 1

    @property
    def size(self) -> int:
        pairs = self.letters - 2
        words = len(self.outer) * int(len(self.inner) ** pairs)
        return _shapes(self.letters) * words << self.letters

    def at(self, index: int) -> Operands:
        index, shape = divmod(index, _shapes(self.letters))
        index, first = divmod(index, len(self.outer))
        words = []
        for _ in range(self.letters - 2):
            index, place = divmod(index, len(self.inner))
            words.append(self.inner[place])
        leaves = [("not " if index >> n & 1 else "") + LETTERS[n] for n in range(self.letters)]
        return (written(_built(shape, [self.outer[first], *words], leaves)),)

    def holds(self, operands: Operands) -> bool:
        formula = read(str(operands[0]))
        if formula is None or isinstance(formula, str):
            return False
        leaves, words = _leaves(formula), _words(formula)
        return (
            [leaf.removeprefix("not ") for leaf in leaves] == list(LETTERS[: self.letters])
            and words[0] in self.outer
            and all(word in self.inner for word in words[1:])
        )


def written(formula: Formula) -> str:
    """Return a formula as text, without brackets around the whole."""
    if isinstance(formula, str):
        return formula
    left, right = (
        written(part) if isinstance(part, str) else f"({written(part)})"
        for part in (formula.left, formula.right)
    )
    return f"{left} {formula.word} {right}"


def read(text: str) -> Formula | None:
    """Return the formula that was written so, None for any other text."""
    if len(text) > 200:
        return None
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        return None
    formula, rest = _read_pair(tokens, depth=0)
    return formula if formula is not None and not rest and written(formula) == text else None


def _read_pair(tokens: list[str], depth: int) -> tuple[Formula | None, list[str]]:
    left, tokens = _read_part(tokens, depth)
    if left is None or not tokens or tokens[0].strip() not in _TRUTH:
        return left, tokens
    word = tokens[0].strip()
    right, rest = _read_part(tokens[1:], depth)
    return (Pair(word, left, right) if right is not None else None), rest


def _read_part(tokens: list[str], depth: int) -> tuple[Formula | None, list[str]]:
    if not tokens or depth > len(LETTERS):
        return None, tokens
    if tokens[0] != "(":
        return (tokens[0] if tokens[0][-1] in LETTERS else None), tokens[1:]
    inside, rest = _read_pair(tokens[1:], depth + 1)
    return (inside, rest[1:]) if rest and rest[0] == ")" else (None, rest)


def true(formula: Formula, values: Mapping[str, bool]) -> bool:
    """Return the truth of a formula under the letters' values."""
    if isinstance(formula, str):
        return values[formula[-1]] != formula.startswith("not ")
    return _TRUTH[formula.word](true(formula.left, values), true(formula.right, values))


def negated(formula: Formula) -> Formula:
    """Return the negation of a formula of `and` and `or`, with `not` only before letters."""
    if isinstance(formula, str):
        return formula.removeprefix("not ") if formula.startswith("not ") else f"not {formula}"
    word = {"and": "or", "or": "and"}[formula.word]
    return Pair(word, negated(formula.left), negated(formula.right))


def _leaves(formula: Formula) -> list[str]:
    if isinstance(formula, str):
        return [formula]
    return _leaves(formula.left) + _leaves(formula.right)


def _words(formula: Formula) -> list[str]:
    if isinstance(formula, str):
        return []
    return [formula.word, *_words(formula.left), *_words(formula.right)]


@cache
def _shapes(leaves: int) -> int:
    """Return in how many ways so many leaves can be bracketed in pairs."""
    if leaves == 1:
        return 1
    return sum(_shapes(left) * _shapes(leaves - left) for left in range(1, leaves))


def _built(shape: int, words: list[str], leaves: list[str]) -> Formula:
    """Build the shape of this number; words are taken from the outermost inward, left before right."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while shape >= _shapes(left) * _shapes(len(leaves) - left):
        shape -= _shapes(left) * _shapes(len(leaves) - left)
        left += 1
    right_shape, left_shape = divmod(shape, _shapes(left))
    return Pair(
        words[0],
        _built(left_shape, words[1:left], leaves[:left]),
        _built(right_shape, words[left:], leaves[left:]),
    )
