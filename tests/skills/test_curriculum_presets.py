"""What each preset does: to the rows of a round at any level, and to a simulated learner over many rounds."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_learner import SKILL, School

from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.mixing import drill_weights, mix
from realm.skills.curriculum.presets import PRESETS, PresetName
from realm.skills.curriculum.rules import LevelScore, SkillState, after_review, begin
from realm.skills.curriculum.strategies import Standing, spread

FIRST, TOP = begin(SKILL, CurriculumConfig()).start_level, SKILL.level_numbers()[-1]
MIDDLE = (FIRST + TOP) // 2
ROWS = 2560
NAMES = tuple(PRESETS)
SEEDS = range(20)
ROUNDS = 20


def preset(name: PresetName) -> CurriculumConfig:
    return CurriculumConfig(preset=name)


def at(level: int, *lost: int) -> SkillState:
    """Return the state of a hero that trains at a level and has mastered all below it."""
    mastered = level - 1 if level > FIRST else 0
    return SkillState(
        skill="bin", start_level=FIRST, mastered_level=mastered, training_level=level, lost=lost
    )


def shares(name: PresetName, state: SkillState) -> tuple[float, float, float]:
    """Return the shares of the rows below, at and above the training level."""
    rows, now = mix(preset(name), SKILL, state, ROWS), state.training_level
    below = sum(count for level, count in rows.items() if level < now)
    above = sum(count for level, count in rows.items() if level > now)
    return below / ROWS, rows[now] / ROWS, above / ROWS


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_begins_where_the_others_do(name: PresetName) -> None:
    assert begin(SKILL, preset(name)) == begin(SKILL, preset("balanced"))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), count=st.integers(1000, 5000))
def test_every_level_keeps_a_sane_share_whatever_is_lost(
    name: PresetName, data: st.DataObject, count: int
) -> None:
    level = data.draw(st.sampled_from([FIRST, FIRST + 1, MIDDLE, TOP - 1, TOP]) | st.integers(FIRST, TOP))
    lost = data.draw(st.sets(st.integers(FIRST, level - 1))) if level > FIRST else set()
    config, state = preset(name), at(level, *sorted(lost))
    rows = mix(config, SKILL, state, count)
    assert sum(rows.values()) == count
    assert set(rows) == set(range(FIRST, min(level + config.preview_levels, TOP) + 1))  # none is left out
    above = min(config.preview_levels, TOP - level)
    assert rows[level] >= (1 - config.replay_share) * (1 - config.lost_share) * count / (1 + above) - 1
    assert rows[level] >= max((rows[n] for n in rows if n > level), default=0) - 1
    kept = [rows[n] for n in range(FIRST, level) if n not in lost]
    repeated = [rows[n] for n in lost]
    for equals in (kept, repeated, [n for at_level, n in rows.items() if at_level > level]):
        assert not equals or max(equals) - min(equals) <= 2
    assert not kept or not repeated or min(repeated) > max(kept)
    assert sum(kept) + sum(repeated) <= (config.replay_share + config.lost_share) * count + 1


@pytest.mark.parametrize("name", NAMES)
def test_a_level_that_is_lost_gets_more_and_those_from_here_up_pay_for_it(name: PresetName) -> None:
    for level in (FIRST + 1, MIDDLE, TOP):
        rows = mix(preset(name), SKILL, at(level), ROWS)
        more = mix(preset(name), SKILL, at(level, FIRST), ROWS)
        assert more[FIRST] - rows[FIRST] > 0.1 * ROWS
        assert all(more[n] == rows[n] for n in rows if FIRST < n < level)
        for n in range(level, max(rows) + 1):
            assert more[n] / rows[n] == pytest.approx(1 - preset(name).lost_share, abs=0.01)


@pytest.mark.parametrize("level", [FIRST + 1, MIDDLE, TOP - 3])
def test_rows_are_moved_as_the_purposes_say(level: int) -> None:
    found = {name: shares(name, at(level)) for name in NAMES}
    below, _, above = found["balanced"]
    assert found["review-heavy"][0] == pytest.approx(0.4)  # "two fifths of the rows repeat mastered levels"
    assert found["review-heavy"][0] > found["marathon"][0] > below > found["preview-heavy"][0]
    assert found["preview-heavy"][2] > 0.5 or level > TOP - 4  # "most of the rows"
    assert found["preview-heavy"][2] > above > found["marathon"][2] > found["sprint"][2]
    assert found["sprint"][1] > 0.5  # "most rows at the training level"
    assert [found[name] for name in ("focus-weakest", "exam", "catch-up")] == [found["balanced"]] * 3
    ahead = mix(preset("preview-heavy"), SKILL, at(level), ROWS)
    assert max(ahead) == min(level + 6, TOP) >= max(mix(preset("balanced"), SKILL, at(level), ROWS))


def test_levels_count_sooner_or_later_as_the_purposes_say() -> None:
    passes = {name: preset(name).evaluations for name in NAMES}
    assert passes["sprint"] == 2 < passes["balanced"] < passes["marathon"] == 5  # "two passes", "five passes"
    exam, balanced = preset("exam"), preset("balanced")
    assert exam.threshold > balanced.threshold
    assert exam.floor > balanced.floor
    assert exam.problems_per_primitive > balanced.problems_per_primitive
    again = {name: preset(name).recheck_runs for name in NAMES}
    assert again["marathon"] < again["balanced"] < again["sprint"]
    assert 0 < again["review-heavy"] < again["balanced"]


def test_weak_primitives_and_skills_get_more_as_the_purposes_say() -> None:
    names = [primitive.name for primitive in SKILL.level(MIDDLE).primitives]
    state = at(MIDDLE).model_copy(update={"weakness": dict.fromkeys(names, 0.1) | {names[0]: 0.6}})
    found = {name: drill_weights(preset(name), SKILL, state, MIDDLE) for name in NAMES}
    weak = {name: weights[names[0]] / sum(weights.values()) for name, weights in found.items()}
    assert weak["focus-weakest"] > max(share for name, share in weak.items() if name != "focus-weakest")
    behind = Standing(skill="behind", priority=0, weight=1.0, need=0.6, gained=1)
    ahead = Standing(skill="ahead", priority=0, weight=1.0, need=0.2, gained=4)
    rows = {name: spread(preset(name).strategy, [ahead, behind], ROWS)["behind"] / ROWS for name in NAMES}
    assert rows["focus-weakest"] == 0.7
    assert rows["catch-up"] == 0.8
    assert {share for name, share in rows.items() if name not in ("focus-weakest", "catch-up")} == {0.5}


@pytest.mark.parametrize("name", NAMES)
def test_a_level_is_lost_and_regained_under_every_preset(name: PresetName) -> None:
    config, state = preset(name), at(MIDDLE)
    for checkpoint, share in (("a", 0.5), ("b", 0.5), ("c", 1.0)):
        info = SKILL.level(FIRST)
        asked = {p.name: config.problems_per_primitive for p in info.testable_primitives()}
        right = {each: (round(share * count), count) for each, count in asked.items()}
        state, review = after_review(
            config, SKILL, state, level=FIRST, checkpoint=checkpoint, score=LevelScore(primitives=right)
        )
        assert review.change == {"a": None, "b": "lost", "c": "regained"}[checkpoint]
        assert (state.lost, state.training_level) == ((FIRST,) if checkpoint == "b" else (), MIDDLE)


# --- over many rounds ---------------------------------------------------------------------


@cache
def raised(name: PresetName, seed: int) -> School:
    """Return a simulated learner after twenty rounds under a preset."""
    school = School(preset(name), seed)
    for _ in range(ROUNDS):
        school.round()
    return school


def levels(name: PresetName, seed: int) -> list[int]:
    return [len(found) for found in raised(name, seed).needed.values()]


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_masters_several_levels_one_after_the_other(name: PresetName) -> None:
    for seed in SEEDS:
        for mastered in raised(name, seed).needed.values():
            assert len(mastered) >= 4
            assert list(mastered) == list(range(FIRST, FIRST + len(mastered)))
            fewest = preset(name).evaluations
            assert all(b - a >= fewest for a, b in pairwise([0, *mastered.values()]))


def test_a_sprint_needs_fewer_evaluations_than_a_marathon_and_gets_farther() -> None:
    for seed in SEEDS:
        sprint, marathon = raised("sprint", seed).needed, raised("marathon", seed).needed
        for skill, needed in marathon.items():
            assert all(sprint[skill][level] <= count for level, count in needed.items())
            # At the first level nothing is repeated yet, and a marathon previews less.
            assert all(sprint[skill][level] < count for level, count in needed.items() if level > FIRST)
        assert sum(levels("sprint", seed)) > sum(levels("marathon", seed))


def test_what_repeats_more_keeps_more_of_the_lowest_levels() -> None:
    for seed in SEEDS:
        kept = {name: raised(name, seed).kept() for name in NAMES}
        assert kept["review-heavy"] > kept["sprint"] + 0.05
        assert min(kept["review-heavy"], kept["marathon"]) > kept["balanced"]


def test_an_exam_is_passed_later_by_who_knows_more() -> None:
    for seed in SEEDS:
        assert sum(levels("exam", seed)) < sum(levels("balanced", seed))


def test_catching_up_brings_the_skills_closer_together() -> None:
    for seed in SEEDS:
        easy, hard = levels("catch-up", seed)
        ahead, behind = levels("balanced", seed)
        assert abs(easy - hard) < ahead - behind
