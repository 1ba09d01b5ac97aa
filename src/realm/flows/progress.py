"""After training: evaluate what a run saved, move the curriculum on, call the gate.

Each step asks the ledger what is done already, so a killed process that starts again goes on
instead of counting twice: an evaluation exists once per checkpoint and suite, and a checkpoint
counts once for the level that was tested.
"""

from __future__ import annotations

from realm.core.events import Evaluated, Interval, LevelMastered
from realm.core.records import Fence
from realm.core.seeds import seed
from realm.evaluation.intervals import wilson
from realm.flows.children import Supervisor
from realm.flows.evaluation import answer, evaluate, level_suite, weakness_suite
from realm.flows.plan import RunPlan
from realm.flows.promotion import consider, covered_levels
from realm.flows.runs import FILE
from realm.flows.skills import mastered_levels, skill_state, store_skill_state
from realm.ledger.records import CheckpointRecord, EvaluationRecord
from realm.skills.curriculum import LevelScore, SkillState, Verdict, after_evaluation


async def examine_run(supervisor: Supervisor, run: str, fence: Fence) -> None:
    """Evaluate every checkpoint of a run in the order it was saved, then measure weakness."""
    lab = supervisor.lab
    ledger = lab.ledger
    saved = [c for c in ledger.checkpoints.list(lab.campaign, lab.hero_name) if c.run == run]
    plan = RunPlan.of(ledger.runs.get(run))
    skills = plan.recipe.where.suites or tuple(lab.hero.skills)
    for checkpoint in saved:
        if any(checkpoint.sequence < skill_state(lab, skill).examined for skill in skills):
            continue  # done before a restart; a later one has been examined since
        for skill in skills:
            await _examine(supervisor, run, skill, checkpoint, fence)
        last_of_file = plan.source == FILE and checkpoint is saved[-1]
        if mastered_levels(lab) and (last_of_file or covered_levels(lab) != mastered_levels(lab)):
            await consider(supervisor, run, checkpoint, fence)
    for skill in skills if saved else ():
        await _measure_weakness(supervisor, run, skill, saved[-1], fence)


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
