"""Logic: truth of formulas, and what follows from what.

The four truth primitives share their keys' first word and differ in the words of their formulas, so that
no formula belongs to two of them.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Literal

from realm.skills.passive.formulas import LETTERS, Formulas, negated, read, true, written
from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Arranged, Mapped, Operands, Pairs, Product, Rows, Space
from realm.skills.passive.table import Question, primitive

_CLAUSES = (
    *("the door is open", "the lamp is lit", "the road is wet", "the shop is closed", "the soup is hot"),
    *(
        "the river is frozen",
        "the bell is loud",
        "the cat is asleep",
        "the letter is sealed",
        "the tent is dry",
    ),
    *(
        "the train is late",
        "the garden is green",
        "the clock is right",
        "the bridge is safe",
        "the box is empty",
    ),
    *(
        "the wind is strong",
        "the paint is fresh",
        "the gate is locked",
        "the bread is stale",
        "the sky is clear",
    ),
)
_KINDS = ("rens", "lobs", "tavs", "mips", "dorns", "kels", "fips", "wents", "zols", "garks", "hules", "pims")
_CLAUSES_PER_SIDE = {1: (1, 1), 2: (2, 1), 3: (2, 2), 4: (3, 2), 5: (3, 3)}


# --- truth ------------------------------------------------------------------------------


def _values(letters: int) -> Space:
    """`P is true, Q is false` and so on."""

    def there(*words: str) -> Operands:
        return (", ".join(f"{letter} is {word}" for letter, word in zip(LETTERS, words, strict=False)),)

    def back(text: str) -> Operands | None:
        return tuple(part.rpartition(" ")[2] for part in str(text).split(", "))

    return Mapped(Rows(("true", "false"), letters), there, back, arity=1)


def _either_way(operands: Operands, rng: random.Random) -> Operands:
    """Ask whether a formula is true or whether it is false, so that yes is right as often as no."""
    return *operands, rng.choice(("true", "false"))


def _one_way(asked: Operands) -> Operands | None:
    return asked[:2] if asked[2] in ("true", "false") else None


def _truth(values: str, formula: str, said: str) -> str:
    parsed = read(formula)
    facts = {part[0]: part.endswith("true") for part in values.split(", ")}
    return "yes" if parsed is not None and true(parsed, facts) == (said == "true") else "no"


def _formulas(outer: tuple[str, ...], inner: tuple[str, ...]) -> Question:
    return Question(
        "truth",
        (
            "{0}. Is this formula {2}, yes or no: {1}",
            "Let this hold: {0}. Say yes or no, whether this formula is {2}: {1}",
        ),
        {n: Product(_values(n + 2), Formulas(n + 2, outer, inner)) for n in range(1, 6)},
        _truth,
        _either_way,
        _one_way,
    )


def _pushed_in(formula: str) -> str:
    parsed = read(formula)
    return written(negated(parsed)) if parsed is not None else ""


# --- contraposition ---------------------------------------------------------------------


def _negate(clause: str) -> str:
    return clause.replace(" is not ", " is ") if " is not " in clause else clause.replace(" is ", " is not ")


def _conditionals(before: int, after: int) -> Space:
    """Two lists of clauses, joined by `and`; no clause occurs twice."""
    count = before + after

    def there(*operands: str) -> Operands:
        clauses = [
            clause if kept == "yes" else _negate(clause)
            for clause, kept in zip(operands[:count], operands[count:], strict=True)
        ]
        return " and ".join(clauses[:before]), " and ".join(clauses[before:])

    def back(first: str, second: str) -> Operands | None:
        clauses = [*str(first).split(" and "), *str(second).split(" and ")]
        kept = ("no" if " is not " in clause else "yes" for clause in clauses)
        return *(clause.replace(" is not ", " is ") for clause in clauses), *kept

    return Mapped(Product(Arranged(_CLAUSES, count), Rows(("yes", "no"), count)), there, back)


def _contrapositive(first: str, second: str) -> str:
    sides = (" or ".join(map(_negate, side.split(" and "))) for side in (second, first))
    return "if {}, then {}".format(*sides)


# --- syllogism --------------------------------------------------------------------------


def _chains(kinds: int, *, forward: bool) -> Space:
    """A chain in which each kind is part of the next, and two of its kinds to ask about."""

    def there(*operands: str | int) -> Operands:
        *chain, low, high = operands
        ends = (chain[int(low)], chain[int(high)])
        return " ".join(map(str, chain)), *(ends if forward else ends[::-1])

    def back(text: str, asked: str, of: str) -> Operands | None:
        chain = str(text).split(" ")
        if asked not in chain or of not in chain:
            return None
        first, second = chain.index(asked), chain.index(of)
        return *chain, *((first, second) if forward else (second, first))

    return Mapped(Product(Arranged(_KINDS, kinds), Pairs(kinds - 1)), there, back, arity=3)


def _sentences(chain: list[str]) -> list[str]:
    return [f"All {low} are {high}." for low, high in pairwise(chain)]


def _told(operands: Operands, rng: random.Random) -> Operands:
    """Tell a chain as sentences in any order."""
    sentences = _sentences(str(operands[0]).split(" "))
    rng.shuffle(sentences)
    return " ".join(sentences), *operands[1:]


def _chained(asked: Operands) -> Operands | None:
    """Put the sentences in the chain's order."""
    words = str(asked[0]).replace(".", "").split(" ")
    above = dict(zip(words[1::4], words[3::4], strict=False))
    starts = set(above) - set(above.values())
    chain = [starts.pop()] if len(starts) == 1 else []
    while chain and chain[-1] in above and len(chain) <= len(above):
        chain.append(above[chain[-1]])
    told = sorted(" ".join(_sentences(chain)).split(" "))
    return (" ".join(chain), *asked[1:]) if told == sorted(str(asked[0]).split(" ")) else None


def _follows(told: str, asked: str, of: str) -> str:
    chained = _chained((told, asked, of))
    order = str(chained[0]).split(" ") if chained else []
    return "yes" if order.index(asked) < order.index(of) else "no"


def _syllogism(*, forward: bool) -> Question:
    return Question(
        "syllogism",
        (
            "{0} Does it follow that all {1} are {2}? Answer yes or no.",
            "Suppose this. {0} Must all {1} then be {2}? Answer yes or no.",
        ),
        {n: _chains(n + 2, forward=forward) for n in range(1, 6)},
        _follows,
        _told,
        _chained,
    )


class Logic(PassiveSkill):
    """Drill and grade formulas and inferences."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["logic"] = "logic"

    name = "logic"
    title = "Logic"
    alphabet = LETTERS
    steps = tuple(f"{n} letters, {sum(_CLAUSES_PER_SIDE[n - 2])} clauses" for n in range(3, 8))
    table = (
        primitive(
            ("truth_table_basic", "And, or, not", "the truth of a formula of `and`, `or` and `not`"),
            3,
            (_formulas(("and", "or"), ("and", "or")),),
            "logic",
        ),
        primitive(
            ("xor_vs_or", "Or and exclusive or", "the truth of a formula that has both `or` and `xor`"),
            5,
            (_formulas(("xor",), ("or",)), _formulas(("or",), ("xor",))),
            "logic",
        ),
        primitive(
            ("de_morgan", "De Morgan", "a negated formula with `not` moved to the letters"),
            6,
            (
                Question(
                    "de_morgan",
                    (
                        "Move the negation inward, so that `not` stands only before letters. Keep the order"
                        " of the letters and all other brackets: not ({0})",
                        "Write an equal formula in which no bracket is negated, with the same letters in the"
                        " same order and the same inner brackets: not ({0})",
                    ),
                    {n: Formulas(n + 2, ("and", "or"), ("and", "or")) for n in range(1, 6)},
                    _pushed_in,
                ),
            ),
            "logic",
        ),
        primitive(
            ("implication", "Implication", "the truth of `implies` between formulas"),
            5,
            (_formulas(("implies",), ("and", "or")),),
            "logic",
        ),
        primitive(
            ("biconditional", "Biconditional", "the truth of `iff` between formulas"),
            5,
            (_formulas(("iff",), ("and", "or")),),
            "logic",
        ),
        primitive(
            ("contraposition", "Contraposition", "the contrapositive of a conditional sentence"),
            6,
            (
                Question(
                    "contraposition",
                    (
                        "Give the contrapositive, with `or` in place of `and` and with the clauses of each"
                        " side in their order: if {0}, then {1}",
                        "Turn this sentence into its contrapositive. Keep the order of clauses within a side"
                        " and write `or` where it has `and`: if {0}, then {1}",
                    ),
                    {n: _conditionals(*sides) for n, sides in _CLAUSES_PER_SIDE.items()},
                    _contrapositive,
                ),
            ),
            "logic",
        ),
        primitive(
            ("syllogism", "Syllogism", "whether all of one kind are of another, along a chain of kinds"),
            4,
            (_syllogism(forward=True), _syllogism(forward=False)),
            "logic",
        ),
    )
