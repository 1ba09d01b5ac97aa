from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import ConfigError, UsageError
from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Numbers, Operands, Product
from realm.skills.passive.table import Question, primitive, write
from realm.skills.skill import SKILLS, Problem, Skill

PASSIVE = ("arithmetic", "code_trace", "combinatorics", "counting", "language_basics")
PASSIVE += ("logic", "memory", "sequence", "string_craft")

NAMED = {
    "arithmetic": "digit_sum parity compare_integers modulo operation_map",
    "logic": "truth_table_basic xor_vs_or de_morgan",
    "code_trace": "trace_assignment trace_if_else trace_loop_fixed eval_bool_expr function_call_trace",
    "combinatorics": "factorial permutation_count combination_count arrangement_word"
    " multiplication_principle",
    "counting": "string_length count_char count_objects",
    "language_basics": "synonym_easy antonym_easy pluralize_regular identify_subject sentence_type",
    "memory": "simple_fact ordinal_fact association_fact list_recall order_recall",
    "sequence": "arithmetic geometric fibonacci alternating square",
    "string_craft": "reverse_string palindrome_check substring_check sort_letters",
}


def question(problem: Problem) -> str:
    return problem.messages[-1].content


# --- every suite ------------------------------------------------------------------------


@pytest.mark.parametrize("name", PASSIVE)
def test_a_suite_has_its_primitives_and_five_levels_that_can_be_mastered(name: str) -> None:
    skill = SKILLS.build(name)
    assert set(NAMED[name].split()) <= {info.name for info in skill.primitives()}
    assert len(skill.levels()) == 5
    for info in skill.levels():
        assert info.testable
        assert len(info.testable_primitives()) >= len(info.primitives) - 1
        shares = [p.heldout / p.problems for p in info.primitives if p.problems > 1000]
        assert all(0.27 < share < 0.33 for share in shares)


@pytest.mark.parametrize("name", PASSIVE)
def test_every_wording_is_asked_and_read_back(name: str) -> None:
    skill: Any = SKILLS.load(name)
    draw = random.Random(3)
    built = SKILLS.build(name)
    for row in skill.table:
        for asked in row.questions:
            for level, space in asked.spaces.items():
                operands = space.at(draw.randrange(space.size))
                for wording in asked.wordings:
                    fields = asked.vary(operands, draw)
                    found = built.recall(write(wording, fields))
                    assert found is not None, wording
                    assert (found.key, found.primitive) == (asked.key(operands), row.info.name)
                    assert found.level <= level


@pytest.mark.parametrize("name", PASSIVE)
def test_answers_are_plain_and_said_to_be_yes_as_often_as_no(name: str) -> None:
    skill: Skill = SKILLS.build(name)
    for info in skill.levels():
        said: dict[str, Counter[str]] = {}
        for problem in skill.drills(info.level, 1500, weights={}, seed=2):
            right = problem.expected
            assert right
            assert right.isascii()
            assert right == right.strip().removesuffix(".")
            said.setdefault(problem.primitive, Counter())[right] += 1
        for one, counts in said.items():
            assert max(counts.values()) < 0.66 * sum(counts.values()), (info.level, one, counts)


def test_case_one_period_and_outer_space_are_forgiven_and_nothing_else() -> None:
    skill = SKILLS.build("memory")
    problem = next(iter(skill.drills(1, 1, weights={"ordinal_fact": 1.0}, seed=1)))
    name = problem.expected
    for answer in (name, name.upper(), name.lower(), f"{name}.", f"\n {name}.  \n"):
        assert skill.grade(problem, answer) == 1.0
    for answer in (
        "",
        ".",
        f"{name}..",
        f"{name}!",
        f"{name},",
        f'"{name}"',
        f"**{name}**",
        f"{name} {name}",
    ):
        assert skill.grade(problem, answer) == 0.0
    assert skill.grade(problem, f"Answer: {name}") == 0.0


def test_numbers_are_right_only_as_we_write_them() -> None:
    skill = SKILLS.build("sequence")
    problem = next(p for p in skill.drills(1, 50, weights={}, seed=1) if p.expected == p.expected.lstrip("-"))
    right = problem.expected
    for answer in (
        f"0{right}",
        f"+{right}",
        f"{right}.0",
        f"{right},",
        f"{right} 1",
        f"-{right}",
        f"{right}{right}",
    ):
        assert skill.grade(problem, answer) == 0.0
    assert skill.grade(problem, right.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))) == 0.0


@given(st.sampled_from(PASSIVE), st.text(max_size=60), st.text(max_size=60))
def test_hostile_prompts_and_answers_are_just_wrong(name: str, one: str, other: str) -> None:
    skill = SKILLS.build(name)
    problem = next(iter(skill.drills(1, 1, weights={}, seed=1)))
    if one.strip().removesuffix(".").lower() != problem.expected.lower():
        assert skill.grade(problem, one) == 0.0
    skill.recall(one + question(problem) + other)
    skill.recall(question(problem).replace(" ", one, 1))


@pytest.mark.parametrize("name", PASSIVE)
def test_questions_with_foreign_operands_are_not_ours(name: str) -> None:
    """Whatever stands in a field, it is refused or names a problem of the tables."""
    skill: Any = SKILLS.load(name)
    built = SKILLS.build(name)
    strange = (
        "",
        "0",
        "-0",
        "007",
        "12345678901234567890",
        "true",
        "a|b",
        "x, y, x",
        ". ",
        "(",
        "é",
        "P and",
    )
    for row in skill.table:
        for asked in row.questions:
            fields = len(asked.vary(next(iter(asked.spaces.values())).at(0), random.Random(1)))
            for piece in strange:
                found = built.recall(write(asked.wordings[0], (piece,) * fields))
                assert found is None or built.split_of(found.key), piece


def test_the_system_turn_and_the_share_are_options() -> None:
    plain, told = SKILLS.build("logic"), SKILLS.build({"kind": "logic", "system_prompt": "Be brief."})
    assert plain.system == ()
    row = next(iter(told.drills(1, 1, weights={}, seed=1)))
    assert [message.content for message in row.messages[:-1]] == ["Be brief."]
    assert told.recall(question(row)) == row
    more = SKILLS.build({"kind": "logic", "heldout_fraction": 0.35})
    kept = {p.key for p in plain.heldout(2, 20)}
    assert {more.split_of(key) for key in kept} == {"heldout"}
    with pytest.raises(ConfigError):
        SKILLS.build({"kind": "logic", "heldout_fraction": 0.5})


@pytest.mark.parametrize(
    "weights", [{"parity": -1.0}, {"parity": 0.0}, {"parity": math.nan}, {"nothing": 1.0}]
)
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        next(iter(SKILLS.build("arithmetic").drills(1, 5, weights=weights, seed=0)))


# --- the machine itself -----------------------------------------------------------------


def _held(wanted: bool, spaces: int) -> int:
    """Return a number whose key `tiny N` falls on the wanted side."""
    skill = _tiny(range(spaces))
    return next(n for n in range(spaces) if (skill.split_of(f"tiny {n}") == "heldout") == wanted)


def _tiny(numbers: range) -> PassiveSkill:
    asked = Question("tiny", ("Double {0}.",), {1: Numbers(numbers[0], numbers[-1])}, lambda n: 2 * n)

    class Tiny(PassiveSkill):
        class Config(PassiveConfig):
            kind: Literal["tiny"] = "tiny"

        name: ClassVar[str] = "tiny"
        title = "Tiny"
        steps = ("one number",)
        table = (primitive(("tiny", "Tiny", "twice a number"), 1, (asked,)),)

    return Tiny(Tiny.Config())


def test_a_space_that_is_all_held_out_yields_no_drills() -> None:
    only = _held(True, 200)
    skill = _tiny(range(only, only + 1))
    assert list(skill.drills(1, 50, weights={}, seed=1)) == []
    assert skill.probe(1, 5, seed=1) == ()
    assert [p.heldout for p in skill.level(1).primitives] == [1]
    assert skill.heldout(1, 5) == ()


def test_a_space_without_held_out_problems_is_drilled_and_never_asked() -> None:
    only = _held(False, 200)
    skill = _tiny(range(only, only + 1))
    assert [p.expected for p in skill.drills(1, 3, weights={}, seed=1)] == [str(2 * only)] * 3
    assert not skill.level(1).testable
    assert skill.heldout(1, 5) == ()


def test_a_space_is_counted_up_to_a_size_and_estimated_beyond() -> None:
    counted, estimated = (_tiny(range(size)).level(1).primitives[0] for size in (10_000, 10_001))
    assert (counted.counted, estimated.counted) == (True, False)
    assert estimated.heldout == round(0.30 * 10_001)
    skill = _tiny(range(10_000))
    sides = [skill.split_of(f"tiny {n}") for n in range(10_000)]
    assert counted.heldout == sides.count("heldout")


def test_a_template_is_read_in_one_pass_and_only_as_it_was_written() -> None:
    asked = Question(
        "sum", ("{0} + {1} = ({0})?",), {1: Product(Numbers(0, 9), Numbers(0, 99))}, lambda a, b: a + b
    )
    assert asked.read("3 + 14 = (3)?") == ((3, 14), (3, 14))
    for other in (
        "3 + 14 = (4)?",
        "3 + 14 = (3)",
        " 3 + 14 = (3)?",
        "3 + 14 = (3)??",
        "3 +14 = (3)?",
        "",
        "(",
    ):
        assert asked.read(other) is None
    assert asked.read("03 + 14 = (03)?") == (("03", 14), ("03", 14))
    assert asked.level_of(("03", 14)) is None
    assert asked.read(" + " * 1000 + "= (") is None


def test_operands_vary_without_becoming_another_problem() -> None:
    def keys(name: str, primitive: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for seed in range(6):
            for p in SKILLS.build(name).drills(1, 400, weights={primitive: 1.0}, seed=seed):
                found.setdefault(p.key, set()).add(question(p))
        return found

    for name, one in (("arithmetic", "operation_map"), ("combinatorics", "arrangement_word")):
        asked = keys(name, one)
        assert max(map(len, asked.values())) >= 3


def test_keys_name_neither_level_nor_wording() -> None:
    operands: Operands = (3, 8)
    asked = SKILLS.load("arithmetic").table[2].questions[0]  # type: ignore[attr-defined]
    assert asked.key(operands) == "compare_integers 3|8"
    assert {asked.canonical(asked.vary(operands, random.Random(n))) for n in range(9)} == {operands}


def test_the_page_names_every_primitive_with_a_key_that_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "skill-passive.md").read_text(encoding="utf-8")
    keys = [
        line.split(" | ")[-1].strip(" |").strip("`") for line in page.split("\n") if line.count(" | ") == 4
    ]
    skills = [SKILLS.build(name) for name in PASSIVE]
    for info in (info for skill in skills for info in skill.primitives()):
        assert f"`{info.name}`" in page
    told = [key.replace("\\|", "|") for key in keys if " " in key and "…" not in key]
    assert len(told) > 20
    for key in told:
        assert any(_names(skill, key) for skill in skills), key


def _names(skill: Skill, key: str) -> bool:
    try:
        return bool(skill.split_of(key))
    except UsageError:
        return False
