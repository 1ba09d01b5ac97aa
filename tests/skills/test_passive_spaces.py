from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.skills.passive import formulas
from realm.skills.passive.formulas import Formulas
from realm.skills.passive.spaces import (
    Arranged,
    Bags,
    Joined,
    Listed,
    Mapped,
    Numbers,
    Pairs,
    Product,
    Rows,
    Space,
    Words,
    value,
)
from realm.skills.skill import SKILLS

PASSIVE = ("arithmetic", "code_trace", "combinatorics", "counting", "language_basics")
PASSIVE += ("logic", "memory", "sequence", "string_craft")

SMALL: dict[str, tuple[Space, list[tuple[int | str, ...]]]] = {
    "numbers": (Numbers(-1, 2), [(-1,), (0,), (1,), (2,)]),
    "words": (Words(("a", "b")), [("a",), ("b",)]),
    "listed": (Listed((("a", 1), ("b", 2))), [("a", 1), ("b", 2)]),
    "rows": (Rows("ab", 3), list(itertools.product("ab", repeat=3))),
    "arranged": (Arranged("abcd", 3), list(itertools.permutations("abcd", 3))),
    "bags": (Bags(2, 5, 3), list(itertools.combinations_with_replacement(range(2, 6), 3))),
    "pairs": (Pairs(4), list(itertools.combinations(range(5), 2))),
    "product": (Product(Words("ab"), Numbers(0, 1)), list(itertools.product("ab", (0, 1)))),
    "joined": (Joined(Rows("ab", 2)), [("aa",), ("ab",), ("ba",), ("bb",)]),
    "listed text": (Joined(Arranged(("x", "y"), 2), ", "), [("x, y",), ("y, x",)]),
    "mapped": (
        Mapped(Numbers(0, 2), lambda n: (n, 2 * n), lambda n, twice: (n,)),
        [(0, 0), (1, 2), (2, 4)],
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_space_has_each_of_its_members_once(name: str) -> None:
    space, members = SMALL[name]
    found = [space.at(index) for index in range(space.size)]
    assert sorted(found, key=str) == sorted(members, key=str)
    assert all(space.holds(member) and len(member) == space.arity for member in members)


@pytest.mark.parametrize("name", SMALL)
def test_a_space_holds_nothing_else(name: str) -> None:
    space, members = SMALL[name]
    others: tuple[int | str, ...] = (-9, 3, 99, "", "c", "a b", "x, y, x", "aaaa", "y, y")
    for operands in itertools.product(others, repeat=space.arity):
        assert space.holds(operands) == (operands in members), operands


@pytest.mark.parametrize(("length", "size"), [(2, 4 * 2), (3, 2 * 8 * 2 * 2), (4, 5 * 16 * 2 * 4)])
def test_formulas_are_all_different_and_read_back(length: int, size: int) -> None:
    space = Formulas(length, ("and", "or"), ("and", "xor"))
    found = {str(space.at(index)[0]) for index in range(space.size)}
    assert len(found) == space.size == size
    for text in found:
        assert space.holds((text,))
        formula = formulas.read(text)
        assert formula is not None
        assert formulas.written(formula) == text


def test_formulas_of_another_form_are_not_held() -> None:
    space = Formulas(3, ("implies",), ("and",))
    assert space.holds(("P implies (Q and not R)",))
    for text in (
        *("P and (Q and R)", "(P implies Q) implies R", "P implies (Q or R)", "Q implies (P and R)", "P"),
        *("P implies Q and R", "(P implies (Q and R))", "P implies (Q and R", "P implies (Q and (R))", ""),
        *("P  implies (Q and R)", "p implies (q and r)", "(" * 150, "not not P", "P implies"),
    ):
        assert not space.holds((text,)), text


@given(st.sampled_from((3, 4, 5)), st.data())
def test_a_formula_is_as_true_as_python_says(length: int, data: st.DataObject) -> None:
    space = Formulas(length, ("and", "or", "xor", "iff", "implies"), ("and", "or", "xor", "iff", "implies"))
    text = str(space.at(data.draw(st.integers(0, space.size - 1)))[0])
    values = {letter: data.draw(st.booleans()) for letter in formulas.LETTERS[:length]}
    formula = formulas.read(text)
    assert formula is not None
    code = text.replace("not P", "(not P)")
    for letter in formulas.LETTERS:
        code = code.replace(f"not {letter}", f"(1-{letter})")
    signs = {" and ": "*", " or ": "|", " xor ": "^", " iff ": "==", " implies ": "<="}
    for word, sign in signs.items():
        code = code.replace(word, sign)
    assert formulas.true(formula, values) == bool(eval(code, {}, dict(values)))


@given(st.integers(2, 6), st.data())
def test_a_negated_formula_is_true_where_the_formula_is_not(length: int, data: st.DataObject) -> None:
    space = Formulas(length, ("and", "or"), ("and", "or"))
    formula = formulas.read(str(space.at(data.draw(st.integers(0, space.size - 1)))[0]))
    assert formula is not None
    opposite = formulas.negated(formula)
    assert "not (" not in formulas.written(opposite)
    for row in itertools.product((True, False), repeat=length):
        values = dict(zip(formulas.LETTERS, row, strict=False))
        assert formulas.true(formula, values) != formulas.true(opposite, values)


@given(st.text(max_size=30), st.integers(-(10**18) + 1, 10**18 - 1))
def test_a_text_is_a_number_only_where_we_would_write_it_so(text: str, number: int) -> None:
    assert str(value(text)) == text
    assert value(str(number)) == number
    for other in (f"0{number}", f"+{number}", f" {number}", f"{number}.0", "-0", "٣", "1" * 40):
        assert value(other) == other


@pytest.mark.parametrize("name", PASSIVE)
def test_the_spaces_of_the_tables_name_each_problem_once(name: str) -> None:
    """A size is a count only if no two indices give one key, and the level is found by what a space holds."""
    draw = random.Random(7)
    for row in SKILLS.load(name).table:  # type: ignore[attr-defined]
        keys: dict[int, set[str]] = {}
        for question in row.questions:
            for level, space in question.spaces.items():
                size = space.size
                places = range(size) if size <= 400 else {draw.randrange(size) for _ in range(150)}
                members = [space.at(index) for index in (*places, size - 1)]
                assert all(space.holds(member) for member in members), (row.info.name, level)
                assert all(len(member) == space.arity for member in members)
                found = {question.key(member) for member in members}
                assert len(found) == len({*places, size - 1}), (row.info.name, level)
                assert keys.setdefault(level, set()).isdisjoint(found), (row.info.name, level)
                keys[level] |= found
