from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import ConfigError, UsageError
from realm.skills.catalogue.bin import Bin

PYTHON: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "bitwise_and": lambda a, b: a & b,
    "bitwise_or": lambda a, b: a | b,
    "bitwise_xor": lambda a, b: a ^ b,
    "equals": lambda a, b: int(a == b),
    "lessthan": lambda a, b: int(a < b),
    "greaterthan": lambda a, b: int(a > b),
    "todecimal": lambda a: a,
    "tobinary": lambda a: a,
}
COMMUTATIVE = {"add", "bitwise_and", "bitwise_or", "bitwise_xor", "equals"}
CALL = re.compile(r"Compute: (\w+)\(([^)]*)\)")


def make(**options: Any) -> Bin:
    return Bin(Bin.Config(**options))


def read(digits: str, order: str) -> int:
    """Read a number as a person would who knows only the digit order."""
    assert digits
    digits = digits if order == "msb" else digits[::-1]
    if set(digits) <= {"⓪", "①"}:
        return int(digits.replace("⓪", "0").replace("①", "1"), 2)
    assert digits.isascii()
    return int(digits)


def parse(text: str, order: str) -> tuple[str, list[int]]:
    match = CALL.fullmatch(text)
    assert match, text
    return match[1], [read(part, order) for part in match[2].split(", ")]


def canonical_key(operation: str, operands: list[int]) -> str:
    if operation == "greaterthan":
        operation, operands = "lessthan", operands[::-1]
    if operation in COMMUTATIVE:
        operands = sorted(operands)
    return " ".join([operation, *map(str, operands)])


@settings(deadline=None, max_examples=60)
@given(
    level=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    order=st.sampled_from(["msb", "lsb"]),
    pad=st.none() | st.integers(1, 12),
    answer=st.sampled_from(["echo", "result"]),
)
def test_every_row_reads_back_as_its_problem_and_is_right(
    level: int, seed: int, order: str, pad: int | None, answer: str
) -> None:
    skill = make(digit_order=order, pad_digits=pad, answer=answer)
    for row in skill.drills(level, 30, weights={}, seed=seed):
        user, said = row.messages[1].content, row.messages[2].content
        operation, operands = parse(user, order)
        assert canonical_key(operation, operands) == row.tags["key"]
        assert all(0 <= n < 2 ** (level + 1) for n in operands)
        result = said
        if answer == "echo":
            call, result = said.split(" = ")
            assert user == f"Compute: {call}"
        binary = set(result) <= {"⓪", "①"}
        assert binary == (operation != "todecimal")
        # A comparison is one digit; read it in either order.
        assert read(result, order) == PYTHON[operation](*operands)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_counts_equal_brute_force(level: int) -> None:
    skill = make()
    found: dict[str, Counter[str]] = {}
    for primitive, key in all_problems(level):
        found.setdefault(primitive, Counter())[skill.split_of(key)] += 1
    table = {p.name: (p.problems, p.heldout) for p in skill.level(level).primitives}
    assert table == {name: (c.total(), c["heldout"]) for name, c in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.25, 0.30, 0.35])
def test_counts_equal_brute_force_at_every_level(share: float) -> None:
    skill = make(heldout_fraction=share)
    for level in range(1, 9):
        found: dict[str, Counter[str]] = {}
        for primitive, key in all_problems(level):
            found.setdefault(primitive, Counter())[skill.split_of(key)] += 1
        table = {p.name: (p.problems, p.heldout) for p in skill.level(level).primitives}
        assert table == {name: (c.total(), c["heldout"]) for name, c in found.items()}


def all_problems(level: int) -> Iterator[tuple[str, str]]:
    size = 2 ** (level + 1)
    for a in range(size):
        yield "binary_to_decimal", f"todecimal {a}"
        yield "decimal_to_binary", f"tobinary {a}"
        for b in range(size):
            yield "binary_compare", f"lessthan {a} {b}"
            if a <= b:
                yield f"binary_add_{'with' if a & b else 'no'}_carry", f"add {a} {b}"
                yield "binary_compare", f"equals {a} {b}"
                for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
                    yield name, f"{name} {a} {b}"
            if a >= b:
                yield f"binary_sub_{'with' if b & ~a else 'no'}_borrow", f"subtract {a} {b}"


def test_split_is_fair_to_small_levels_and_leaves_nothing_untrainable() -> None:
    for info in make().levels():
        problems = sum(p.problems for p in info.primitives)
        assert 0.25 <= sum(p.heldout for p in info.primitives) / problems <= 0.35
        for p in info.primitives:
            assert p.problems < 30 or 0.25 <= p.heldout / p.problems <= 0.35
    for share in (0.25, 0.30, 0.35):
        for info in make(heldout_fraction=share).levels():
            assert all(p.problems > p.heldout for p in info.primitives)


def test_split_fraction_is_bounded() -> None:
    from realm.skills.skill import SKILLS

    for share in (0.0, 0.2, 0.4):
        with pytest.raises(ConfigError, match="heldout_fraction"):
            SKILLS.build({"kind": "bin", "heldout_fraction": share})


def test_wordings_of_one_problem_share_a_side() -> None:
    skill = make()
    assert len({skill.split_of("add 3 5"), skill.split_of("add 5 3")}) == 1
    sides = [skill.split_of(f"lessthan {a} {b}") for a in range(8) for b in range(8)]
    assert sides == [skill.split_of(f"greaterthan {b} {a}") for a in range(8) for b in range(8)]


@pytest.mark.parametrize(
    "key", ["", "add", "add 3", "add 3 5 7", "add 03 5", "add 3 512", "mul 3 5", "subtract 3 5"]
)
def test_a_key_that_is_no_problem_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        make().split_of(key)


def test_padded_forms_have_one_width_each() -> None:
    skill = make(digit_order="lsb", pad_digits=6, answer="result")
    widths: dict[str, set[tuple[int, ...]]] = {}
    for level in (1, 3, 5):
        for row in skill.drills(level, 1500, weights={}, seed=0):
            match = CALL.fullmatch(row.messages[1].content)
            assert match
            parts = [len(part) for part in match[2].split(", ")]
            widths.setdefault(match[1], set()).add((*parts, len(row.messages[2].content)))
    assert widths == {
        "add": {(6, 6, 7)},
        "subtract": {(6, 6, 6)},
        "bitwise_and": {(6, 6, 6)},
        "bitwise_or": {(6, 6, 6)},
        "bitwise_xor": {(6, 6, 6)},
        "equals": {(6, 6, 1)},
        "lessthan": {(6, 6, 1)},
        "greaterthan": {(6, 6, 1)},
        "todecimal": {(6, 2)},
        "tobinary": {(2, 6)},
    }


def test_written_examples() -> None:
    def written(operation: str, *operands: int, **options: Any) -> tuple[str, str]:
        return make(**options)._write(operation, operands)

    assert written("add", 3, 1) == ("add(①①, ①)", "①⓪⓪")
    assert written("add", 3, 1, digit_order="lsb", pad_digits=4) == ("add(①①⓪⓪, ①⓪⓪⓪)", "⓪⓪①⓪⓪")
    assert written("subtract", 2, 2) == ("subtract(①⓪, ①⓪)", "⓪")
    assert written("greaterthan", 3, 1, pad_digits=3) == ("greaterthan(⓪①①, ⓪⓪①)", "①")
    assert written("todecimal", 17) == ("todecimal(①⓪⓪⓪①)", "17")
    assert written("todecimal", 17, digit_order="lsb", pad_digits=7) == ("todecimal(①⓪⓪⓪①⓪⓪)", "710")
    assert written("tobinary", 17, pad_digits=7) == ("tobinary(017)", "⓪⓪①⓪⓪⓪①")
    assert written("add", 9, 1, pad_digits=3) == ("add(①⓪⓪①, ⓪⓪⓪①)", "⓪①⓪①⓪")


def test_no_constant_answer_wins_at_comparing() -> None:
    skill = make(answer="result")
    for level in range(2, 9):
        rows = list(skill.drills(level, 4000, weights={"binary_compare": 1.0}, seed=0))
        truths: dict[str, Counter[str]] = {}
        for row in rows:
            operation, operands = parse(row.messages[1].content, "msb")
            truths.setdefault(operation, Counter())[row.messages[2].content] += 1
            truths.setdefault(f"{operation} tied", Counter())[str(operands[0] == operands[1])] += 1
        for operation in ("equals", "lessthan", "greaterthan"):
            assert 0.44 < truths[operation]["①"] / truths[operation].total() < 0.56
            assert truths[f"{operation} tied"]["True"] > 100


def test_operands_of_all_sizes_are_drilled() -> None:
    level = 8
    rows = list(make().drills(level, 3000, weights={"bitwise_xor": 1.0}, seed=0))
    sizes = Counter(max(parse(r.messages[1].content, "msb")[1]).bit_length() for r in rows)
    assert sizes[9] / 3000 > 0.7
    assert sum(sizes[n] for n in range(9)) > 200


def test_an_evaluation_of_comparing_takes_operations_in_turn() -> None:
    skill = make(answer="result")
    for info in skill.levels():
        asked = [p for p in skill.heldout(info.level, 40) if p.primitive == "binary_compare"]
        if not asked:
            continue
        operations = Counter(parse(p.messages[1].content, "msb")[0] for p in asked)
        assert max(operations.values()) - min(operations.values()) <= 1
        equals = [p for p in asked if p.key.startswith("equals")]
        if info.level >= 4:
            assert sum(p.expected == "①" for p in equals) * 3 >= len(equals)
        truths = Counter(p.expected for p in asked)
        assert max(truths.values()) / len(asked) < 0.75


def test_operands_of_an_evaluation_come_in_both_orders() -> None:
    asked = [p for p in make().heldout(8, 40) if p.primitive == "bitwise_xor"]
    ascending = sum(a < b for a, b in (parse(p.messages[1].content, "msb")[1] for p in asked))
    assert 10 <= ascending <= 30


def test_a_weakness_probe_asks_trained_problems_of_untestable_primitives_too() -> None:
    skill = make()
    problems = skill.probe(3, 24, seed=9)
    assert {p.primitive for p in problems} == {p.name for p in skill.primitives()}
    assert len({p.key for p in problems}) == len(problems)


def test_weights_that_mean_nothing_are_refused() -> None:
    skill = make()
    for weights in (
        {"bitwise_not": 1.0},
        {"bitwise_and": -1.0},
        {"bitwise_and": 0.0},
        {"bitwise_and": float("nan")},
    ):
        with pytest.raises(UsageError):
            next(skill.drills(3, 1, weights=weights, seed=0))


def test_documented_table_equals_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "skills.md").read_text(encoding="utf-8")
    assert levels_table() in page, f"docs/skills.md should hold:\n\n{levels_table()}"


def levels_table() -> str:
    levels = make().levels()
    head = ["primitive", *(f"level {info.level}" for info in levels)]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * len(levels)]
    for i, primitive in enumerate(make().primitives()):
        cells = [info.primitives[i] for info in levels]
        lines.append(
            f"| {primitive.name} | "
            + " | ".join(str(c.heldout) if c.testable else f"({c.heldout})" for c in cells)
            + " |"
        )
    testable = [sum(p.heldout for p in info.testable_primitives()) for info in levels]
    lines.append("| **testable in all** | " + " | ".join(map(str, testable)) + " |")
    lines.append(
        "| **can be mastered** | " + " | ".join("yes" if i.testable else "no" for i in levels) + " |"
    )
    return "\n".join(lines)


def main() -> None:
    print(levels_table())


if __name__ == "__main__":
    main()
