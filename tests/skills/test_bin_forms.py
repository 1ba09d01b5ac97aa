from __future__ import annotations

import re
from collections import Counter

import pytest
from bin_reader import FORMS, PYTHON, check, core, make, read
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.skills.bits.operations import OPERATIONS
from realm.skills.catalogue.bin import KEY_LEVEL, LEVELS


@settings(deadline=None, max_examples=120)
@given(
    level=st.integers(1, LEVELS),
    seed=st.integers(0, 2**32),
    order=st.sampled_from(["msb", "lsb"]),
    pad=st.none() | st.integers(1, 12),
    answer=st.sampled_from(["echo", "result"]),
    auxiliary=st.sampled_from([0.0, 0.3]),
    operations=st.sampled_from(["core", "all"]),
)
def test_every_problem_reads_back_as_itself_and_is_right(
    level: int, seed: int, order: str, pad: int | None, answer: str, auxiliary: float, operations: str
) -> None:
    skill = make(
        digit_order=order,
        pad_digits=pad,
        answer=answer,
        auxiliary=auxiliary,
        operations=operations,
        symbol_keys=0.5,
        variants={"plain": 1, "verify": 1, "show_work": 1, "trace": 1},
    )
    for problem in (*skill.drills(level, 40, weights={}, seed=seed), *skill.heldout(level, 2, seed=seed)):
        question = check(problem, order, answer)
        assert question.keyed <= (level >= KEY_LEVEL)
        recalled = skill.recall(problem.messages[-1].content)
        assert recalled is not None
        assert recalled.model_copy(update={"level": level}) == problem
        assert recalled.level <= level


def test_out_of_the_box_every_operation_and_form_is_drilled() -> None:
    rows = [*make().drills(8, 4000, weights={}, seed=0), *make().heldout(8, 60)]
    questions = [check(row, "msb", "echo") for row in rows]
    assert {q.operation for q in questions} == set(PYTHON) == set(OPERATIONS)
    assert {q.form for q in questions} == set(FORMS.values())
    assert 0.7 < sum(q.keyed for q in questions) / len(questions) < 0.8
    below = [read(row.messages[-1].content) for row in make().drills(7, 500, weights={}, seed=0)]
    assert not any(q.keyed for q in below)


def test_every_operation_belongs_to_one_primitive() -> None:
    found: dict[str, set[str]] = {}
    for row in make(symbol_keys=0).drills(6, 6000, weights={}, seed=1):
        found.setdefault(read(row.messages[-1].content).operation, set()).add(row.primitive)
    split_by_carry = {"add", "subtract", "increment", "decrement"}
    assert {operation for operation, primitives in found.items() if len(primitives) > 1} == split_by_carry


def test_a_symbol_key_names_decoys_and_no_sign_or_name_twice() -> None:
    places = Counter[int]()
    for row in make(symbol_keys=1.0).drills(9, 600, weights={}, seed=2):
        first, second, question = row.messages[-1].content.split("\n")
        names = [pair.split(" = ") for pair in second.removeprefix("Names: ").split(", ")]
        assert first[5] != first[12]
        assert 3 <= len(names) <= 5
        assert len({alias for alias, _ in names}) == len({operation for _, operation in names}) == len(names)
        used = re.search(r": (\w+)\(", question)
        assert used
        places[[alias for alias, _ in names].index(used[1])] += 1
    assert len(places) == 5
    assert places.most_common(1)[0][1] < 250


# --- reading back and grading ---------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(level=st.sampled_from([2, 4, 9, 30]), index=st.integers(0, 29), data=st.data(), seed=st.integers(0, 9))
def test_what_is_read_back_is_asked_in_just_those_words(
    level: int, index: int, data: st.DataObject, seed: int
) -> None:
    skill = make()
    text = [*skill.drills(level, 30, weights={}, seed=seed)][index].messages[-1].content
    place = data.draw(st.integers(0, len(text)))
    piece = data.draw(st.sampled_from(["", "⓪", "①", "_", " ", "=", "3", "-", ")", "\n", "add", "٣", "²"]))
    changed = text[:place] + piece + text[place + data.draw(st.integers(0, 2)) :]
    found = skill.recall(changed)
    if found is not None:
        assert found.messages[-1].content == changed
        check(found, "msb", "echo")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Compute: ",
        "Compute: add(①①, ①) ",
        "Compute: add(①①, ①, ①)",
        "Compute: add(⓪①, ①)",
        "Compute: add(11, 1)",
        "Compute: subtract(①, ①①)",
        "Compute: divide(①, ⓪)",
        "Compute: decrement(⓪)",
        "Compute: signed_add(①①, ①)",
        "Compute: signed_add(⓪①, ⓪①, width=2)",
        "Compute: negate(①⓪, width=2)",
        "Compute: negate(①, width=99)",
        "Compute: add(①①, ①, width=3)",
        "Compute: tobinary(007)",
        f"Compute: add({'①' * 32}, ①)",
        "Compute: sqrt(①)",
        "Compute [prove]: add(①, ①)",
        "Fill in: add(①, ①) = ①⓪",
        "Fill in: add(_, _) = ①⓪",
        "Fill in: bitwise_and(_, ①) = ①",
        "Fill in: subtract(_, ①) = 3",
        "Find the error: add(①, ①) = ①⓪",
        "Find the error: add(①, ①) = ⓪①",
        "True or false: add(①, ①) = ①⓪⓪",
        "Compare: equals(①, ①) and ①",
        "Overflow in 0 bits: add(①, ①)",
        "Key: ◇ = ⓪, ◇ = ①\nNames: zor = add, mip = subtract, tav = equals\nCompute: zor(◇, ◇)",
        "Key: ◇ = ⓪, ◆ = ①\nNames: zor = add, zor = subtract, tav = equals\nCompute: zor(◆, ◆)",
        "Key: ◇ = ⓪, ◆ = ①\nNames: zor = add, mip = subtract, tav = equals\nCompute: add(◆, ◆)",
        "Key: ◇ = ⓪, ◆ = ①\nNames: zor = add, mip = subtract\nCompute: zor(◆, ◆)",
        "Compute: add(" + "①" * 1_000_000,
        "True or false: " + "add(" * 300,
    ],
)
def test_what_is_no_question_is_not_read_back(text: str) -> None:
    assert make().recall(text) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Compute: add(①①, ①)", "add(①①, ①) = ①⓪⓪"),
        ("Compute [verify]: add(①①, ①)", "add(①①, ①) = ①⓪⓪\nVerification: 3 + 1 = 4"),
        ("Compute [show-work]: add(①①, ①)", "add(①①, ①) = ①⓪⓪\nCarries out of positions: 0, 1"),
        (
            "Compute [trace]: add(①①, ①)",
            "add(①①, ①) = ①⓪⓪\nposition 0: ① + ① + ⓪ = ⓪ carry ①\nposition 1: ① + ⓪ + ① = ⓪ carry ①",
        ),
        (
            "Compute [verify]: divide(①①①, ①⓪)",
            "divide(①①①, ①⓪) = ①①\nVerification: 7 / 2 = 3 remainder 1",
        ),
        ("Compute: negate(⓪①①, width=3)", "negate(⓪①①, width=3) = ①⓪①"),
        ("Compute: signed_add(①①⓪, ⓪①①, width=3)", "signed_add(①①⓪, ⓪①①, width=3) = ⓪⓪①"),
        ("True or false: add(①①, ①) = ①⓪①", "⓪"),
        ("Find the error: add(①①, ①) = ①⓪①", "position 0 is ⓪"),
        ("Fill in: add(①①, _) = ①⓪⓪", "①"),
        ("Compare: add(①①, ①) and ①①", ">"),
        ("Overflow in 2 bits: add(①①, ①)", "①"),
        ("Compute reversed: add(①①, ①)", "⓪⓪①"),
        (
            "Key: ◇ = ⓪, ◆ = ①\nNames: mip = subtract, zor = add, tav = lessthan\nCompute: zor(◆◆, ◆)",
            "zor(◆◆, ◆) = ◆◇◇",
        ),
    ],
)
def test_documented_examples(question: str, answer: str) -> None:
    problem = make().recall(question)
    assert problem is not None
    assert problem.expected == answer


def test_questions_of_other_configs_are_not_read_back() -> None:
    asked = {
        form: [row for row in make().drills(5, 400, weights={}, seed=0) if row.form == form]
        for form in ("", "verify", "truth")
    }
    assert core().recall("Compute: add(①①, ①)") is not None
    assert core().recall("Compute: multiply(①①, ①)") is None
    assert core(pad_digits=4).recall("Compute: add(①①, ①)") is None
    for form in ("verify", "truth"):
        assert core(operations="all").recall(asked[form][0].messages[-1].content) is None
    keyed = next(make(symbol_keys=1.0, auxiliary=0, variants={"plain": 1}).drills(9, 1, weights={}, seed=0))
    assert core(operations="all").recall(keyed.messages[-1].content) is None


def test_answers_of_several_lines_are_right_only_as_a_whole() -> None:
    skill = make()
    recalled = skill.recall("Compute [trace]: add(①①, ①)")
    assert recalled is not None
    first, *lines = recalled.expected.split("\n")
    assert len(lines) == 2
    grade = [
        skill.grade(recalled, answer)
        for answer in (
            recalled.expected,
            f"{first}\n{lines[0]}\nposition 1: wrong",
            f"{recalled.expected}\n{lines[1]}",
            f"{first}\n{lines[1]}\n{lines[0]}",
            first,
            "\n".join(lines),
            f"{first}{first}",
            "\n".join(["add(①①, ①) = ①⓪①", *lines]),
            "",
        )
    ]
    assert grade == pytest.approx([1.0, 0.7, 0.5 + 0.4 * 2 / 3, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    assert skill.grade(recalled, "\n".join([first, *lines] * 100_000)) == 0.0


def test_a_level_of_huge_numbers_is_visited_by_index() -> None:
    skill = make()
    problems = skill.heldout(LEVELS, 60)
    assert len({p.key for p in problems}) == len(problems) == 600
    assert max(int(n) for p in problems for n in p.key.split(" ")[1:]) > 2**30
    assert skill.heldout(LEVELS, 20, seed=1) != skill.heldout(LEVELS, 20)
