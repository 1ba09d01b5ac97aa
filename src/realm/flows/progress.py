"""After training: evaluate what a run saved, move the curriculum on, call the gate.

Mastered levels are asked again now and then, so that one that is lost is noticed and told.
Each step asks the ledger what is done already, so a killed process that starts again goes on
instead of counting twice: an evaluation exists once per checkpoint and suite, and a checkpoint
counts once for the level that was tested.
"""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.errors import CorruptError
from realm.core.events import Evaluated, Interval, LevelMastered, LevelReviewed
from realm.core.records import Fence
from realm.core.seeds import seed
from realm.evaluation.intervals import wilson
from realm.flows.checkpoints import damage, set_aside, tell_set_aside
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.drills import drill_runs
from realm.flows.evaluation import answer, evaluate, level_suite, weakness_suite
from realm.flows.examination import queue_configured
from realm.flows.plan import RunPlan
from realm.flows.promotion import consider, covered_levels
from realm.flows.runs import FILE
from realm.flows.skills import (
    enabled_skills,
    mastered_levels,
    mastered_of,
    skill_state,
    store_skill_state,
    usable_skills,
)
from realm.ledger.records import CheckpointRecord, EvaluationRecord
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.rules import (
    LevelScore,
    Review,
    SkillState,
    Verdict,
    after_evaluation,
    after_review,
)


async def examine_run(supervisor: Supervisor, run: str, fence: Fence) -> None:
    """Evaluate every checkpoint of a run in the order it was saved, then measure weakness.

    One that turns out to be damaged is set aside and passed over.
    """
    lab = supervisor.lab
    ledger = lab.ledger
    saved = ledger.checkpoints.of_run(run)
    plan = RunPlan.of(ledger.runs.get(run))
    skills = usable_skills(lab, plan.recipe.where.suites or enabled_skills(lab))
    for checkpoint in saved:
        if any(checkpoint.sequence < skill_state(lab, skill).examined for skill in skills):
            continue  # done before a restart; a later one has been examined since
        last_of_file = plan.source == FILE and checkpoint is saved[-1]
        try:
            await _examine_all(supervisor, run, skills, checkpoint, fence, last_of_file=last_of_file)
        except CorruptError:
            found = damage(lab, checkpoint)
            if not found:
                raise
            set_aside(lab, checkpoint, found)
            tell_set_aside(lab, checkpoint, found, "it is not evaluated")
    saved = ledger.checkpoints.of_run(run)
    if saved:
        await _review(supervisor, run, saved[-1], fence)
    for skill in skills if saved else ():
        await _measure_weakness(supervisor, run, skill, saved[-1], fence)
    for checkpoint in saved:
        queue_configured(lab, checkpoint)


async def _examine_all(
    supervisor: Supervisor,
    run: str,
    skills: Sequence[str],
    checkpoint: CheckpointRecord,
    fence: Fence,
    *,
    last_of_file: bool,
) -> None:
    """Evaluate a checkpoint on its skills, and put it before the gate where that is due."""
    lab = supervisor.lab
    for skill in skills:
        await _examine(supervisor, run, skill, checkpoint, fence)
    covered = covered_levels(lab)
    outgrown = any(level > covered.get(skill, 0) for skill, level in mastered_levels(lab).items())
    if lab.counts and mastered_levels(lab) and (last_of_file or outgrown):
        await consider(supervisor, run, checkpoint, fence)


async def _examine(
    supervisor: Supervisor, run: str, skill: str, checkpoint: CheckpointRecord, fence: Fence
) -> None:
    lab = supervisor.lab
    before = skill_state(lab, skill)
    if before.examined >= checkpoint.sequence:
        return
    level = before.training_level
    [evaluation] = await evaluate(supervisor, run, checkpoint, [level_suite(lab, skill, level)], fence)
    after, verdict = after_evaluation(
        lab.config.curriculum,
        lab.skill(skill),
        before,
        level=level,
        checkpoint=checkpoint.hash,
        score=LevelScore(primitives=evaluation.primitives),
    )
    store_skill_state(lab, skill, after.model_copy(update={"examined": checkpoint.sequence}), fence)
    lab.emit(_evaluated(checkpoint, evaluation, verdict))
    if verdict.mastered:
        lab.emit(_mastered(skill, level, after, checkpoint))


async def _review(supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, fence: Fence) -> None:
    """Let the mastered levels count again: when they are due they are asked, else what the gate asked."""
    lab = supervisor.lab
    every, drills = lab.config.curriculum.recheck_runs, drill_runs(lab)
    due = every > 0 and run in drills and (drills.index(run) + 1) % every == 0
    mastered = mastered_levels(lab)
    for skill in [name for name in enabled_skills(lab) if name in mastered]:
        suites = {level: level_suite(lab, skill, level) for level in mastered_of(lab, skill)}
        if due and suites:
            await evaluate(supervisor, run, checkpoint, list(suites.values()), fence)
        for level, suite in suites.items():
            found = lab.ledger.evaluations.find(checkpoint.hash, suite.id)
            if found is not None and level <= skill_state(lab, skill).mastered_level:
                _count_review(lab, skill, checkpoint, found, fence)


def _count_review(
    lab: Lab, skill: str, checkpoint: CheckpointRecord, found: EvaluationRecord, fence: Fence
) -> None:
    before = skill_state(lab, skill)
    after, review = after_review(
        lab.config.curriculum,
        lab.skill(skill),
        before,
        level=found.level,
        checkpoint=checkpoint.hash,
        score=LevelScore(primitives=found.primitives),
    )
    if review.change is not None:
        # Told before it is stored: a kill in between tells it twice, never not at all.
        lab.emit(
            LevelReviewed(
                hero=lab.hero_name,
                skill=skill,
                level=review.level,
                change=review.change,
                checkpoint=checkpoint.name,
                hero_step=checkpoint.hero_step,
                pooled=wilson(found.correct, found.total),
                fails=review.fails,
                consequence=_consequence(lab.config.curriculum, review),
            )
        )
    if after != before:
        store_skill_state(lab, skill, after, fence)


def _consequence(config: CurriculumConfig, review: Review) -> str:
    if review.change == "regained":
        return "it is repeated as any mastered level is"
    if config.demote:
        return f"training goes back to level {review.level}"
    return f"it stays mastered; {config.lost_share:.0%} of the training level's rows go to lost levels"


async def _measure_weakness(
    supervisor: Supervisor, run: str, skill: str, checkpoint: CheckpointRecord, fence: Fence
) -> None:
    lab = supervisor.lab
    state = skill_state(lab, skill)
    draw = seed("weakness", lab.campaign, lab.hero_name, lab.hero.seed, skill, checkpoint.hero_step)
    suite = weakness_suite(lab, skill, state.training_level, draw)
    results = (await answer(supervisor, run, checkpoint, [suite]))[suite.id].graded
    weakness = {
        primitive: sum(not r.correct for r in results if r.primitive == primitive)
        / sum(r.primitive == primitive for r in results)
        for primitive in sorted({r.primitive for r in results})
    }
    store_skill_state(lab, skill, state.model_copy(update={"weakness": weakness}), fence)


def _evaluated(checkpoint: CheckpointRecord, found: EvaluationRecord, verdict: Verdict) -> Evaluated:
    return Evaluated(
        checkpoint=checkpoint.name,
        hero_step=checkpoint.hero_step,
        suite=found.suite,
        skill=found.skill,
        level=found.level,
        pooled=wilson(found.correct, found.total),
        primitives=intervals(found.primitives),
        passed=verdict.passed,
        streak=verdict.streak,
    )


def _mastered(skill: str, level: int, after: SkillState, checkpoint: CheckpointRecord) -> LevelMastered:
    following = after.training_level if after.training_level > level else None
    return LevelMastered(skill=skill, level=level, next_level=following, hero_step=checkpoint.hero_step)


def intervals(primitives: dict[str, tuple[int, int]]) -> dict[str, Interval]:
    """Return each primitive's right answers with their 95 % interval."""
    return {name: wilson(correct, total) for name, (correct, total) in primitives.items()}
