"""From a checkpoint to the champion: gate, probe, registration, compare-and-swap.

The gate asks two things of a candidate: every mastered primitive is above its threshold, and
on the same problems it is not significantly worse than the champion. What was decided, and
why, is stored either way.
"""

from __future__ import annotations

from realm.core.errors import GateError
from realm.core.events import GateDecided, Promoted
from realm.core.records import Fence
from realm.evaluation.gate import Decision, decide
from realm.evaluation.suite import Suite
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.evaluation import answer, evaluate, level_suite
from realm.flows.skills import mastered_levels
from realm.ledger.records import Champion, CheckpointRecord


def covered_levels(lab: Lab) -> dict[str, int]:
    """Return the mastered levels that the champion was judged on; empty without a champion."""
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    return dict(champion.decision["mastered"]) if champion else {}


def mastered_suites(lab: Lab) -> list[Suite]:
    """Return the held-out suites of every mastered level of every skill."""
    return [
        level_suite(lab, skill, level)
        for skill, highest in mastered_levels(lab).items()
        for level in range(lab.skill_start(skill), highest + 1)
    ]


async def consider(supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, fence: Fence) -> Decision:
    """Put a checkpoint through the gate and promote it when it passes."""
    lab = supervisor.lab
    suites = mastered_suites(lab)
    scores = await evaluate(supervisor, run, checkpoint, suites, fence)
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    pairs = await _pairs(supervisor, run, checkpoint, champion, suites, fence)
    decision = decide(lab.config.gate, suites, {score.suite: score.primitives for score in scores}, pairs)
    lab.emit(GateDecided(checkpoint=checkpoint.name, passed=decision.passed, reasons=decision.reasons))
    if decision.passed:
        await _promote(supervisor, run, checkpoint, champion, decision, suites, fence)
    else:
        lab.ledger.models.record_refusal(
            lab.campaign, lab.hero_name, checkpoint.hash, _stored(lab, decision), fence
        )
    return decision


async def _pairs(
    supervisor: Supervisor,
    run: str,
    checkpoint: CheckpointRecord,
    champion: Champion | None,
    suites: list[Suite],
    fence: Fence,
) -> list[tuple[str, bool, bool]] | None:
    """Return (problem, champion right, candidate right) on the suites; None without a champion."""
    if champion is None:
        return None
    ledger = supervisor.lab.ledger
    reigning = ledger.checkpoints.get(champion.model.checkpoint)
    await evaluate(supervisor, run, reigning, suites, fence)
    return ledger.evaluations.paired(reigning.hash, checkpoint.hash, [suite.id for suite in suites])


async def _promote(
    supervisor: Supervisor,
    run: str,
    checkpoint: CheckpointRecord,
    champion: Champion | None,
    decision: Decision,
    suites: list[Suite],
    fence: Fence,
) -> None:
    """Load the published files once more and let them answer; then swap the champion row."""
    lab = supervisor.lab
    probe = suites[0].model_copy(update={"id": f"{suites[0].id}/probe", "problems": suites[0].problems[:1]})
    [result] = (await answer(supervisor, run, checkpoint, [probe]))[probe.id]
    if not result.answer:
        raise GateError(f"{checkpoint.name} loads but answers nothing", hint="the champion stays as it was")
    models = lab.ledger.models
    scores = {"correct": decision.correct, "total": decision.total}
    model = models.register(lab.campaign, lab.hero_name, checkpoint.hash, scores=scores, fence=fence)
    revision = champion.revision if champion else 0
    models.promote(model.name, expected_revision=revision, decision=_stored(lab, decision), fence=fence)
    lab.emit(
        Promoted(
            model=model.name, checkpoint=checkpoint.name, hash=checkpoint.hash, hero_step=checkpoint.hero_step
        )
    )


def _stored(lab: Lab, decision: Decision) -> dict[str, object]:
    return {**decision.model_dump(mode="json"), "mastered": mastered_levels(lab)}
