from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bin_reader import SHORT, core, make, parse, read

from realm.core.errors import ConfigError, UsageError
from realm.skills.bits.sides import is_heldout
from realm.skills.bits.writing import Script, call
from realm.skills.catalogue.bin import LEVELS, Bin
from realm.skills.skill import SKILLS, Problem


def digest(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(problem: Problem) -> list[object]:
    texts = [m.content for m in problem.messages]
    return [problem.key, problem.primitive, problem.level, texts, problem.expected]


RECORDED = {
    3: ("8d50e2b7cc11eea0", "7569827853d3b0f8", "1fb362d76d0eecf2", "aa2a51df1453c772"),
    4: ("d41a7fa8aa61d828", "5946eb6737cd8b6f", "e09e5a5c338f2c75", "74ab2f5d169c2a8b"),
    5: ("56cc46901388493c", "f453c6df89e0c2b5", "7705f42af02cb0ce", "eeca41f7cee66ddd"),
    6: ("96c2b4ac1af093cf", "d0def2e5ead09898", "5e200e2b348ceb17", "1a8370310d9fa887"),
    8: ("2d76d850c8ecd57f", "3eb1373aadeebb3c", "ad58466cc7ff323d", "35ca517e9c576dfe"),
}
"""Per level: 500 drills by equal and by rising weights, 40 held-out problems and 24 probes a primitive."""


@pytest.mark.parametrize("level", RECORDED)
def test_the_short_form_asks_what_it_always_asked(level: int) -> None:
    skill = make(**SHORT)
    rising = {p.name: 0.1 + 3.0 * i / 10 for i, p in enumerate(skill.level(level).primitives)}
    assert RECORDED[level] == (
        digest([plain(p) for p in skill.drills(level, 500, weights={}, seed=7)]),
        digest([plain(p) for p in skill.drills(level, 500, weights=rising, seed=123456789)]),
        digest([plain(p) for p in skill.heldout(level, 40)]),
        digest([plain(p) for p in skill.probe(level, 24, seed=9)]),
    )
    assert not any(p.form for p in skill.heldout(level, 5))


def test_the_short_form_has_the_same_words_and_tables_as_ever() -> None:
    skill = make(**SHORT)
    assert digest([list(part) for part in skill.vocabulary()]) == "4520d77e396df1a0"
    assert digest([info.model_dump() for info in skill.levels()[:8]]) == "197910aa0a30ce33"


def test_small_problems_stay_on_their_side() -> None:
    sides = bytearray()
    for operation in (
        *("add", "subtract", "bitwise_and", "bitwise_or", "bitwise_xor"),
        *("equals", "lessthan", "greaterthan"),
    ):
        for a in range(0, 512, 5):
            for b in range(a % 3, 512, 3):
                if operation != "subtract" or a >= b:
                    sides.append(is_heldout(0.30, operation, (a, b)))
    for operation in ("todecimal", "tobinary"):
        sides += bytes(is_heldout(0.30, operation, (a,)) for a in range(512))
    assert hashlib.sha256(bytes(sides)).hexdigest()[:16] == "7cfb3f0728129fcb"


def test_large_problems_and_other_operations_stay_on_their_side() -> None:
    keys = [
        f"{name} {a * 2_000_003} {b}"
        for name in ("add", "lessthan", "multiply")
        for a in range(60)
        for b in (1, 511, 70_000)
    ]
    keys += [
        f"{name} {a}" for name in ("increment", "decrement", "negate", "todecimal") for a in range(600, 900)
    ]
    keys += [f"add {a} {b}" for a in range(-20, 0) for b in range(20)]
    sides = bytes(make().split_of(key) == "heldout" for key in keys)
    assert hashlib.sha256(sides).hexdigest()[:16] == "15c23995bfe580f0"
    for name in ("add", "bitwise_xor", "divide"):
        fixed = [make().split_of(f"{name} 100000 {n}") for n in range(5000, 6000)]
        other = [make().split_of(f"{name} {n} 5000") for n in range(100_000, 101_000)]
        for drawn in (fixed, other):
            assert 0.25 < drawn.count("heldout") / 1000 < 0.35


def test_what_the_short_form_leaves_out_can_be_asked_for() -> None:
    short = make(**SHORT).config
    assert (short.operations, short.auxiliary, short.symbol_keys) == ("core", 0.0, 0.0)
    assert short.variants.shares() == {"": 1.0, "verify": 0.0, "show-work": 0.0, "trace": 0.0}
    assert Bin.Config.model_validate(short.model_dump()) == short
    more = make(**SHORT, operations="all", variants={"trace": 2})
    forms = {row.form for row in more.drills(4, 60, weights={}, seed=0)}
    assert forms == {"trace"}
    with pytest.raises(ConfigError, match="share above 0"):
        make(variants={"plain": 0})


@pytest.mark.parametrize(
    ("level", "operations"), [(1, "all"), (2, "all"), (3, "all"), (4, "core"), (5, "all")]
)
def test_counts_equal_brute_force(level: int, operations: str) -> None:
    skill = make(operations=operations)
    found: dict[str, Counter[str]] = {}
    for primitive, key in (*all_problems(level), *(more_problems(level) if operations == "all" else ())):
        found.setdefault(primitive, Counter())[skill.split_of(key)] += 1
    table = {p.name: (p.problems, p.heldout) for p in skill.level(level).primitives}
    assert table == {name: (c.total(), c["heldout"]) for name, c in found.items()}
    assert all(p.counted for p in skill.level(level).primitives)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.25, 0.30, 0.35])
def test_counts_equal_brute_force_at_every_level(share: float) -> None:
    skill = core(heldout_fraction=share)
    for level in range(1, 9):
        found: dict[str, Counter[str]] = {}
        for primitive, key in all_problems(level):
            found.setdefault(primitive, Counter())[skill.split_of(key)] += 1
        table = {p.name: (p.problems, p.heldout) for p in skill.level(level).primitives}
        assert table == {name: (c.total(), c["heldout"]) for name, c in found.items()}


def test_large_spaces_carry_their_size_and_share() -> None:
    for skill in (make(), core()):
        for info in skill.levels():
            for p in info.primitives:
                if not p.counted:
                    assert (
                        p.problems * 77 // 256 - 10 <= p.heldout <= p.problems * 77 // 256 + 10
                        or info.level < 12
                    )
                    assert p.problems > 4096
        assert not any(p.counted for p in skill.levels()[-1].primitives)
        assert skill.level(LEVELS).testable
        sizes = {p.name: p.problems for p in core().level(30).primitives}
        assert sizes["bitwise_and"] == 2**30 * (2**31 + 1)
        assert sizes["binary_to_decimal"] == 2**31


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


def more_problems(level: int) -> Iterator[tuple[str, str]]:
    size, half = 2 ** (level + 1), 2**level
    for a in range(size):
        yield f"binary_add_{'with' if a % 2 else 'no'}_carry", f"increment {a}"
        yield "binary_add_no_carry", f"multiply_by_2 {a}"
        yield "binary_sub_no_borrow", f"divide_by_2 {a}"
        if a:
            yield f"binary_sub_{'no' if a % 2 else 'with'}_borrow", f"decrement {a}"
        for b in range(a, size):
            yield "binary_add_with_carry", f"multiply {a} {b}"
            yield "binary_compare", f"minimum {a} {b}"
            yield "binary_compare", f"maximum {a} {b}"
            if a:
                yield "binary_sub_with_borrow", f"divide {b} {a}"
    for a in range(-half, half):
        if a > -half:
            yield "binary_sub_with_borrow", f"negate {a}"
            yield "binary_compare", f"absolute_value {a}"
        for b in range(-half, half):
            if a <= b and a < 0 and -half <= a + b < half:
                yield "binary_add_with_carry", f"add {a} {b}"
            if -half <= a - b < half and not a >= b >= 0:
                yield "binary_sub_with_borrow", f"subtract {a} {b}"


def test_split_is_fair_to_small_levels_and_leaves_nothing_untrainable() -> None:
    for info in core().levels()[:8]:
        problems = sum(p.problems for p in info.primitives)
        assert 0.25 <= sum(p.heldout for p in info.primitives) / problems <= 0.35
        for p in info.primitives:
            assert p.problems < 30 or 0.25 <= p.heldout / p.problems <= 0.35
    for share in (0.25, 0.30, 0.35):
        for info in core(heldout_fraction=share).levels()[:8]:
            assert all(p.problems > p.heldout for p in info.primitives)


def test_split_fraction_is_bounded() -> None:
    for share in (0.0, 0.2, 0.4):
        with pytest.raises(ConfigError, match="heldout_fraction"):
            SKILLS.build({"kind": "bin", "heldout_fraction": share})


def test_wordings_of_one_problem_share_a_side() -> None:
    skill = make()
    assert len({skill.split_of("add 3 5"), skill.split_of("add 5 3")}) == 1
    sides = [skill.split_of(f"lessthan {a} {b}") for a in range(8) for b in range(8)]
    assert sides == [skill.split_of(f"greaterthan {b} {a}") for a in range(8) for b in range(8)]


@pytest.mark.parametrize(
    "key",
    [
        *("", "add", "add 3", "add 3 5 7", "add 03 5", "add 3 2147483648", "mul 3 5", "add 3  5", "add -0 3"),
        *(
            "divide 3 0",
            "decrement 0",
            "lessthan -1 2",
            "negate",
            "add ٣ 5",
            "add 3 5\n",
            "add 3 " + "9" * 10**6,
        ),
    ],
)
def test_a_key_that_is_no_problem_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        make().split_of(key)


def test_padded_forms_have_one_width_each() -> None:
    skill = make(**SHORT)
    widths: dict[str, set[tuple[int, ...]]] = {}
    for level in (1, 3, 5):
        for row in skill.drills(level, 1500, weights={}, seed=0):
            question = read(row.messages[1].content)
            parts = [len(part) for part in question.parts]
            widths.setdefault(question.operation, set()).add((*parts, len(row.expected)))
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
        script = Script(lsb=options.get("digit_order") == "lsb", pad=options.get("pad_digits", 0))
        asked = call(script, operation, operands)
        return asked.text(), asked.result

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
            truths.setdefault(operation, Counter())[row.expected] += 1
            truths.setdefault(f"{operation} tied", Counter())[str(operands[0] == operands[1])] += 1
        for operation in ("equals", "lessthan", "greaterthan"):
            assert 0.44 < truths[operation]["①"] / truths[operation].total() < 0.56
            assert truths[f"{operation} tied"]["True"] > 100


def test_operands_of_all_sizes_are_drilled() -> None:
    level = 8
    rows = list(core().drills(level, 3000, weights={"bitwise_xor": 1.0}, seed=0))
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
    asked = [p for p in core().heldout(8, 40) if p.primitive == "bitwise_xor"]
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
    page = (Path(__file__).parents[2] / "docs" / "skill-bin.md").read_text(encoding="utf-8")
    assert levels_table() in page, f"docs/skill-bin.md should hold:\n\n{levels_table()}"


def levels_table() -> str:
    levels = core().levels()[:8]
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
