"""Ids lead to their problems, and a file of ids asks for no more work than its bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import NotFoundError
from realm.flows.addresses import MOST_PASSED, follow
from realm.flows.samples import sample, skill_of
from realm.skills.skill import LevelInfo, Problem, level_info

PRIMITIVES = ("one", "two words", "a/b")


class Endless:
    """A skill of endless problems that counts those that it makes, and what it begins with."""

    name = "endless"

    def __init__(self) -> None:
        self.made, self.begun = 0, 0

    def level(self, n: int) -> LevelInfo:
        if n != 1:
            raise NotFoundError(f"no level {n}")
        counts = {name: [(10**9, 10**8, False)] for name in PRIMITIVES}
        return level_info(1, "", "", counts)

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        self.begun += 1
        for index in range(count):
            self.made += 1
            yield problem(PRIMITIVES[index % 3])

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        self.begun += 1
        self.made += 3 * per_primitive
        return tuple(problem(name) for name in PRIMITIVES for _ in range(per_primitive))


@cache
def problem(primitive: str) -> Problem:
    return Problem(key="k", primitive=primitive, level=1, messages=(), expected="x")


@pytest.mark.parametrize(
    "far",
    [
        ["endless/1/train/1/2000999"],
        [f"endless/1/train/{seed}/{MOST_PASSED}" for seed in range(3)],
        ["endless/1/eval/0/a/b/2000999"],
        [f"endless/1/eval/{seed}/two words/{MOST_PASSED // 12}" for seed in range(3)],
    ],
)
def test_far_ids_are_not_followed_and_keep_no_others_from_it(far: list[str]) -> None:
    skill: Any = Endless()
    near = ["endless/1/train/9/3", "endless/1/eval/0/a/b/2", "endless/1/train/1/30"]
    found = follow(skill, [*far, *near, "endless/2/train/0/0", "endless/1/eval/0/three/0"])
    assert set(found.problems) == set(near)
    assert found.problems["endless/1/eval/0/a/b/2"].primitive == "a/b"
    assert found.too_far == set(far)
    assert skill.made < 100


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train/{}/{}", "eval/{}/one/{}", "eval/{}/a/b/{}"]),
            st.integers(0, 3),
            st.integers(0, 40_000) | st.integers(0, 9),
        ),
        min_size=1,
    )
)
def test_the_work_of_any_ids_is_bounded_and_each_is_followed_or_told(
    asked: list[tuple[str, int, int]],
) -> None:
    skill: Any = Endless()
    ids = {"endless/1/" + form.format(seed, index) for form, seed, index in asked}
    found = follow(skill, ids)
    assert skill.made <= MOST_PASSED + 2 * len(ids)
    assert not found.too_far & set(found.problems)
    assert found.too_far | set(found.problems) == ids


def test_one_bound_holds_for_all_seeds_levels_and_sides_together() -> None:
    skill: Any = Endless()
    far = MOST_PASSED * 2 // 5
    ids = [f"endless/1/train/{seed}/{far}" for seed in range(4)]
    ids += [f"endless/1/eval/{seed}/one/{far // 12}" for seed in range(4)]
    found = follow(skill, ids)
    assert (len(found.problems), len(found.too_far)) == (2, 6)


def test_every_seed_costs_something_to_begin_with() -> None:
    skill: Any = Endless()
    ids = [f"endless/1/train/{seed}/0" for seed in range(MOST_PASSED)]
    found = follow(skill, ids)
    assert len(found.problems) == skill.begun < MOST_PASSED / 5
    assert len(found.too_far) == len(ids) - skill.begun


def test_what_a_large_sample_gives_is_followed() -> None:
    skill = skill_of("bin")
    for level, split in ((3, "train"), (6, "eval")):
        given_ = sample(skill, level, 3_000, seed=4, split=split)  # type: ignore[arg-type]
        found = follow(skill, (each.id for each in given_))
        assert found.problems == {each.id: each.problem for each in given_}
        assert not found.too_far
