from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from realm.core.errors import ConfigError, NotFoundError, UsageError
from realm.skills.catalogue.bin import Bin
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.mixing import drill_weights, mix, standing
from realm.skills.curriculum.rules import (
    LevelScore,
    Review,
    SkillState,
    after_evaluation,
    after_review,
    asked_each,
    begin,
    examinable,
    examined,
    mastered_numbers,
    passed,
    placed,
    why_unusable,
)
from realm.skills.skill import LevelInfo, LevelPrimitive, level_info

SKILL = Bin(Bin.Config())


class Few(Bin):
    """Five levels, of at most 8,691 problems."""

    def level_numbers(self) -> range:
        return range(1, 6)

    def levels(self) -> tuple[LevelInfo, ...]:
        return super().levels()[:5]


FEW = Few(Bin.Config())
TOP = SKILL.levels()[-1].level
CONFIG = CurriculumConfig()


def score(level: int, share: float, **changed: tuple[int, int]) -> LevelScore:
    """A full evaluation of a level with the same share of right answers everywhere."""
    parts = {p.name: min(40, p.heldout) for p in SKILL.level(level).testable_primitives()}
    return LevelScore(primitives={n: (round(total * share), total) for n, total in parts.items()} | changed)


def step(
    state: SkillState, level: int, checkpoint: str, share: float, config: CurriculumConfig = CONFIG
) -> SkillState:
    return after_evaluation(
        config, SKILL, state, level=level, checkpoint=checkpoint, score=score(level, share)
    )[0]


def test_a_hero_begins_at_the_lowest_level_that_can_be_tested() -> None:
    state = begin(SKILL, CONFIG)
    assert (state.start_level, state.training_level, state.mastered_level) == (3, 3, 0)
    larger = begin(SKILL, CurriculumConfig(minimum_total=600))
    assert larger.start_level == 4
    with pytest.raises(ConfigError, match="bin"):
        begin(FEW, CurriculumConfig(minimum_total=10**6))


def test_three_passes_in_a_row_by_three_checkpoints_master_a_level() -> None:
    state = begin(SKILL, CONFIG)
    for number, checkpoint in enumerate("abc", start=1):
        state, verdict = after_evaluation(
            CONFIG, SKILL, state, level=3, checkpoint=checkpoint, score=score(3, 1.0)
        )
        assert (verdict.passed, verdict.counted, verdict.streak) == (True, True, number)
        assert verdict.mastered == (number == 3)
    assert (state.mastered_level, state.training_level, state.streak) == (3, 4, 0)
    assert state.streak_checkpoints == ()
    assert SkillState.model_validate_json(state.model_dump_json()) == state


def test_a_fail_starts_the_row_anew() -> None:
    state = begin(SKILL, CONFIG)
    for checkpoint, share in (("a", 1.0), ("b", 1.0), ("c", 0.5), ("d", 1.0), ("e", 1.0)):
        state = step(state, 3, checkpoint, share)
    assert (state.mastered_level, state.streak, state.streak_checkpoints) == (0, 2, ("d", "e"))


def test_one_checkpoint_never_counts_twice() -> None:
    state = begin(SKILL, CONFIG)
    for checkpoint in "aaabbbaab":
        state = step(state, 3, checkpoint, 1.0)
    assert (state.streak, state.evaluations) == (2, 2)
    state = step(state, 3, "a", 0.0)
    assert state.streak == 2


def test_scores_of_another_level_change_nothing() -> None:
    """Late scores of an easy level once moved a hero up level after level."""
    state = begin(SKILL, CONFIG)
    for number in range(60):
        state = step(state, 3, f"c{number}", 1.0)
    assert (state.mastered_level, state.training_level) == (3, 4)
    for level in (1, 2, 3, 5, 8):
        after, verdict = after_evaluation(
            CONFIG, SKILL, state, level=level, checkpoint="x", score=score(level, 1.0)
        )
        assert after == state
        assert not verdict.counted


def test_the_last_level_is_mastered_once_and_training_stays_there() -> None:
    state, mastered = begin(SKILL, CONFIG), []
    for number in range(3 * TOP):
        level = state.training_level
        state, verdict = after_evaluation(
            CONFIG, SKILL, state, level=level, checkpoint=f"c{number}", score=score(level, 1.0)
        )
        mastered += [level] if verdict.mastered else []
    assert mastered == list(range(3, TOP + 1))
    assert (state.mastered_level, state.training_level) == (TOP, TOP)


@settings(deadline=None, max_examples=150)
@given(
    needed=st.integers(1, 4),
    history=st.lists(
        st.tuples(st.integers(1, 8), st.integers(0, 12), st.sampled_from([0.0, 0.7, 0.9, 1.0])),
        max_size=60,
    ),
)
def test_no_level_without_enough_different_passes_in_a_row(
    needed: int, history: list[tuple[int, int, float]]
) -> None:
    config = CurriculumConfig(evaluations=needed)
    state = begin(SKILL, config)
    row: list[str] = []
    judged: set[str] = set()
    for level, number, share in history:
        before, checkpoint = state, f"c{number}"
        state = step(state, level, checkpoint, share, config)
        if level != before.training_level or checkpoint in judged or level <= before.mastered_level:
            assert state == before
            continue
        judged.add(checkpoint)
        row = [*row, checkpoint] if share >= 0.8 else []
        if len(row) == needed:
            assert (state.mastered_level, state.training_level) == (level, min(level + 1, TOP))
            row, judged = [], set()
        else:
            assert (state.mastered_level, state.training_level) == (before.mastered_level, level)
        assert state.streak_checkpoints == tuple(row)
        assert state.streak == len(set(row))


def test_what_passes() -> None:
    info = SKILL.level(5)

    def ok(found: LevelScore, **options: Any) -> bool:
        return passed(CurriculumConfig(**options), info, found)

    assert ok(score(5, 0.8))
    assert not ok(score(5, 0.775))
    assert ok(score(5, 0.9, binary_compare=(30, 40)))
    assert not ok(score(5, 1.0, binary_compare=(29, 40)))
    assert ok(score(5, 1.0, binary_compare=(20, 40)), primitive_floor=0.5)
    assert not ok(score(5, 0.9), threshold=0.95)


def test_a_partial_or_empty_evaluation_never_passes() -> None:
    info = SKILL.level(4)
    whole = score(4, 1.0).primitives
    assert passed(CONFIG, info, LevelScore(primitives=whole))
    assert not passed(CONFIG, info, LevelScore(primitives={}))
    for name in whole:
        rest = {other: part for other, part in whole.items() if other != name}
        assert not passed(CONFIG, info, LevelScore(primitives=rest))
        assert not passed(CONFIG, info, LevelScore(primitives={**whole, name: (29, 29)}))
    assert not passed(CONFIG, SKILL.level(2), LevelScore(primitives={"binary_compare": (200, 200)}))


def test_untestable_primitives_neither_help_nor_harm() -> None:
    info = SKILL.level(4)
    assert passed(CONFIG, info, score(4, 0.9, binary_to_decimal=(0, 40)))
    assert not passed(CONFIG, info, score(4, 0.75, binary_to_decimal=(4000, 4000)))


def test_a_stricter_minimum_tests_fewer_primitives() -> None:
    info = LevelInfo(
        level=1,
        name="x",
        description="",
        primitives=tuple(
            LevelPrimitive(name=n, problems=900, heldout=held, testable=True)
            for n, held in (("small", 35), ("big", 300))
        ),
        testable=True,
    )
    config = CurriculumConfig(minimum_per_primitive=40, problems_per_primitive=120)
    assert [p.name for p in examined(config, info)] == ["big"]


def test_settings_that_nothing_could_pass_are_refused() -> None:
    for options in (
        {"problems_per_primitive": 20},
        {"primitive_floor": 0.9},
        {"threshold": 0.0},
        {"evaluations": 0},
        {"replay_share": 1.0},
    ):
        with pytest.raises(ValidationError):
            CurriculumConfig.model_validate(options)
    assert CurriculumConfig(threshold=0.9).floor == 0.85


def test_weak_primitives_are_drilled_more() -> None:
    state = begin(SKILL, CONFIG).model_copy(update={"weakness": {"bitwise_and": 0.0, "binary_compare": 0.5}})
    weights = drill_weights(CONFIG, SKILL, state, 3)
    assert weights["bitwise_and"] == 1.0
    assert weights["binary_compare"] == pytest.approx(1.5)
    assert weights["bitwise_or"] == 2.0  # nobody measured it
    assert len(weights) == 10
    assert drill_weights(CONFIG, SKILL, state, 4) == weights  # a preview
    later = state.model_copy(update={"mastered_level": 3, "training_level": 4})
    assert set(drill_weights(CONFIG, SKILL, later, 3).values()) == {1.0}  # a replay


def test_weakness_is_forgotten_with_the_level_it_was_measured_at() -> None:
    state = begin(SKILL, CONFIG).model_copy(update={"weakness": {"bitwise_and": 0.0}})
    for checkpoint in "abc":
        state = step(state, 3, checkpoint, 1.0)
    assert state.weakness == {}


@given(
    start=st.integers(1, TOP),
    mastered=st.integers(0, TOP),
    count=st.integers(0, 5000),
    replay=st.floats(0, 0.49),
    preview=st.floats(0, 1),
    ahead=st.integers(0, 3),
)
def test_rows_are_spread_over_levels(
    start: int, mastered: int, count: int, replay: float, preview: float, ahead: int
) -> None:
    mastered = mastered if mastered >= start else 0
    training = min(mastered + 1, TOP) if mastered else start
    state = SkillState(skill="bin", start_level=start, mastered_level=mastered, training_level=training)
    config = CurriculumConfig(replay_share=replay, preview_weight=preview, preview_levels=ahead)
    rows = mix(config, SKILL, state, count)
    assert sum(rows.values()) == count
    assert all(rows.values())
    below = [n for n in range(start, mastered + 1) if n != training]
    above = [n for n in range(training + 1, training + 1 + ahead) if n <= TOP]
    assert set(rows) <= {training, *below, *above}
    for levels in (below, above):
        spread = [rows.get(level, 0) for level in levels]
        assert not spread or max(spread) - min(spread) <= 1
    again = sum(rows.get(level, 0) for level in below)
    assert abs(again - (count * replay if below else 0)) <= 0.5
    here = (count - again) / (1 + preview * len(above))
    assert abs(rows.get(training, 0) - here) <= 0.5 + 1e-9
    assert all(abs(rows.get(level, 0) - preview * here) <= 1.5 for level in above)


def test_a_level_and_three_above_get_the_same_by_default() -> None:
    assert mix(CurriculumConfig(), SKILL, begin(SKILL, CONFIG), 400) == {3: 100, 4: 100, 5: 100, 6: 100}
    assert mix(CurriculumConfig(), SKILL, mastered_to(3), 1600) == {3: 300, 4: 325, 5: 325, 6: 325, 7: 325}


def mastered_to(level: int) -> SkillState:
    return SkillState(skill="bin", start_level=3, mastered_level=level, training_level=level + 1)


def review(
    state: SkillState, level: int, checkpoint: str, share: float, config: CurriculumConfig = CONFIG
) -> tuple[SkillState, Review]:
    return after_review(config, SKILL, state, level=level, checkpoint=checkpoint, score=score(level, share))


def test_two_fails_in_a_row_lose_a_mastered_level_and_one_pass_brings_it_back() -> None:
    state = mastered_to(5)
    changes = []
    for checkpoint, share in (("a", 0.5), ("b", 0.9), ("c", 0.5), ("c", 0.5), ("d", 0.5), ("e", 0.5)):
        state, found = review(state, 4, checkpoint, share)
        changes.append(found.change)
    assert changes == [None, None, None, None, "lost", None]
    assert (state.lost, state.mastered_level, state.training_level) == ((4,), 5, 6)
    assert SkillState.model_validate_json(state.model_dump_json()) == state
    state, found = review(state, 4, "f", 0.9)
    assert (found.change, state.lost, state.failed_reviews) == ("regained", (), {})


def test_a_lost_level_is_repeated_more_and_the_other_mastered_ones_as_before() -> None:
    state = mastered_to(5)
    rows = mix(CONFIG, SKILL, state, 1000)
    more = mix(CONFIG, SKILL, state.model_copy(update={"lost": (4,)}), 1000)
    assert more[4] - rows[4] == round(sum(rows[n] for n in rows if n > 5) * CONFIG.lost_share)
    assert (more[3], more[5]) == (rows[3], rows[5])


def test_a_lost_level_is_trained_again_where_the_config_says_so() -> None:
    config = CurriculumConfig(demote=True, lost_evaluations=1)
    state, found = review(mastered_to(6).model_copy(update={"streak": 2}), 4, "a", 0.5, config)
    assert found.change == "lost"
    assert (state.mastered_level, state.training_level, state.streak, state.lost) == (3, 4, 0, ())
    state, _ = review(mastered_to(6), 3, "a", 0.5, config)
    assert (state.mastered_level, state.training_level) == (0, 3)
    state, found = review(state, 5, "b", 0.5, config)  # asked before, and not mastered any more
    assert (found.change, state.training_level) == (None, 3)


def test_a_level_set_by_hand_masters_nothing() -> None:
    state = placed(CONFIG, SKILL, mastered_to(4), 7)
    assert (state.mastered_level, state.training_level) == (4, 7)
    state = placed(CONFIG, SKILL, state, 4)
    assert (state.mastered_level, state.training_level) == (3, 4)
    assert placed(CONFIG, SKILL, state, 3).mastered_level == 0
    with pytest.raises(UsageError, match="too small"):
        placed(CONFIG, SKILL, state, 2)
    with pytest.raises(NotFoundError):
        placed(CONFIG, SKILL, state, 99)


@given(
    sizes=st.lists(st.integers(0, 400), max_size=12),
    each=st.integers(30, 80),
    total=st.integers(1, 1_000),
)
def test_a_level_is_asked_enough_and_no_more_than_it_needs(sizes: list[int], each: int, total: int) -> None:
    config = CurriculumConfig(problems_per_primitive=each, minimum_total=total)
    info = level_info(1, "", "", {f"p{i}": [(size, size, True)] for i, size in enumerate(sizes)})
    most = asked_each(config, info)

    def asked(count: int) -> int:
        return sum(min(p.heldout, count) for p in examined(config, info))

    assert most >= each
    assert examinable(config, info) == (info.testable and asked(most) >= total)
    if most > each:
        assert asked(most - 1) < total <= asked(most)
    if asked(each) >= total:
        assert most == each  # what is stored under a suite's id is found again


@pytest.mark.parametrize("preset", ["balanced", "exam"])
def test_the_shipped_levels_are_asked_what_the_setting_says(preset: Any) -> None:
    config = CurriculumConfig(preset=preset)
    infos = [info for info in SKILL.levels() if examinable(config, info)]
    assert {asked_each(config, info) for info in infos} == {config.problems_per_primitive}


def test_one_primitive_is_enough() -> None:
    info = level_info(1, "", "", {"sums": [(10_000, 2_923, True)]})
    assert examinable(CONFIG, info)
    assert asked_each(CONFIG, info) == 100
    assert passed(CONFIG, info, LevelScore(primitives={"sums": (80, 100)}))
    assert not passed(CONFIG, info, LevelScore(primitives={"sums": (40, 40)}))


class Gapped(Bin):
    """Bin with every other level left away."""

    first = 3

    def level_numbers(self) -> range:
        return range(self.first, 12, 2)

    def level(self, n: int) -> LevelInfo:
        if n not in self.level_numbers():
            raise NotFoundError(f"gap has no level {n}")
        return SKILL.level(n)

    def levels(self) -> tuple[LevelInfo, ...]:
        return tuple(map(self.level, self.level_numbers()))


def test_levels_may_have_gaps() -> None:
    skill = Gapped(Bin.Config())
    state = begin(skill, CONFIG)
    assert list(mix(CONFIG, skill, state, 400)) == [3, 5, 7, 9]
    for number in range(6):
        state, verdict = after_evaluation(
            CONFIG,
            skill,
            state,
            level=state.training_level,
            checkpoint=f"c{number}",
            score=score(state.training_level, 1.0),
        )
        assert verdict.counted
    assert (state.mastered_level, state.training_level) == (5, 7)
    assert mastered_numbers(CONFIG, skill, state) == [3, 5]
    assert list(mix(CONFIG, skill, state, 400)) == [3, 5, 7, 9, 11]
    assert standing(CONFIG, skill, "gap", state).gained == 2
    back = placed(CONFIG, skill, state, 5)
    assert (back.mastered_level, back.training_level) == (3, 5)
    assert placed(CONFIG, skill, state, 3).mastered_level == 0
    assert placed(CONFIG, skill, state, 11).mastered_level == 5


def test_a_level_too_small_in_between_is_not_mastered() -> None:
    class Thin(Bin):
        def level(self, n: int) -> LevelInfo:
            info = super().level(n)
            return info.model_copy(update={"testable": info.testable and n != 4})

    skill, state = Thin(Bin.Config()), begin(SKILL, CONFIG)
    state = state.model_copy(update={"mastered_level": 5, "training_level": 6})
    assert mastered_numbers(CONFIG, skill, state) == [3, 5]
    assert placed(CONFIG, skill, state, 5).mastered_level == 3


def test_what_cannot_be_examined_says_why() -> None:
    class Zero(Gapped):
        first = 0

    class Empty(Gapped):
        first = 12

    assert why_unusable(SKILL, CONFIG) is None
    zero = Zero(Bin.Config())
    assert why_unusable(zero, CONFIG) == "bin has a level 0, but levels are numbered from 1 on"
    with pytest.raises(ConfigError, match="numbered from 1"):
        begin(zero, CONFIG)
    assert why_unusable(Empty(Bin.Config()), CONFIG) == "bin has no levels"
    much = CurriculumConfig(minimum_total=10**6)
    (best,) = [max(FEW.levels(), key=lambda info: sum(p.heldout for p in examined(much, info)))]
    said = why_unusable(FEW, much)
    assert said is not None
    assert f"{10**6} are needed" in said
    assert f"level {best.level} has most" in said
