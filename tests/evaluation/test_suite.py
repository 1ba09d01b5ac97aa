from __future__ import annotations

import re

import pytest

from realm.core.errors import StateError
from realm.core.events import Graded
from realm.evaluation.intervals import wilson
from realm.evaluation.score import score
from realm.evaluation.suite import Suite, build_suite, probe_suite
from realm.skills.catalogue.bin import Bin

SKILL = Bin(Bin.Config())


def answers(suite: Suite, wrong: int = 0) -> list[Graded]:
    return [
        Graded(key=p.key, primitive=p.primitive, score=float(i >= wrong), answer=p.expected)
        for i, p in enumerate(suite.problems)
    ]


def test_the_id_says_what_is_asked_and_stays() -> None:
    suite = build_suite(SKILL, 3, 40)
    assert suite == build_suite(Bin(Bin.Config()), 3, 40)
    assert re.fullmatch(r"bin-1-l3-\d+-[0-9a-f]{12}", suite.id)
    assert str(len(suite.problems)) in suite.id.split("-")
    assert Suite.model_validate_json(suite.model_dump_json()) == suite


def test_another_content_has_another_id() -> None:
    lsb = Bin(Bin.Config(digit_order="lsb"))
    ids = [
        build_suite(SKILL, 3, 40).id,
        build_suite(SKILL, 3, 30).id,
        build_suite(SKILL, 4, 40).id,
        build_suite(lsb, 3, 40).id,
        probe_suite(SKILL, 3, 24, seed=1).id,
        probe_suite(SKILL, 3, 24, seed=2).id,
    ]
    assert len(set(ids)) == len(ids)


def test_a_probe_is_marked_and_asks_training_problems() -> None:
    probe = probe_suite(SKILL, 3, 24, seed=7)
    assert "-probe-s7-" in probe.id
    assert {SKILL.split_of(p.key) for p in probe.problems} == {"train"}


def test_scores_are_per_primitive_and_pooled() -> None:
    suite = build_suite(SKILL, 3, 40)
    found = score(suite, answers(suite, wrong=5))
    assert found.pooled == wilson(len(suite.problems) - 5, len(suite.problems))
    first = suite.problems[0].primitive
    size = sum(p.primitive == first for p in suite.problems)
    assert found.primitives[first] == wilson(size - 5, size)
    assert set(found.primitives) == {p.primitive for p in suite.problems}


def test_part_of_an_evaluation_is_no_score() -> None:
    suite = build_suite(SKILL, 3, 40)
    whole = answers(suite)
    for partial in ([], whole[1:], [*whole, whole[0]], [whole[1], *whole[1:]]):
        with pytest.raises(StateError, match="do not match"):
            score(suite, partial)
