"""From a checkpoint to the champion: gate, probe, registration, compare-and-swap.

A candidate has to be better than the champion on the problems of all mastered levels, and worse at
nothing. Not worse is enough where better cannot be asked: against a champion that was never judged on a
level mastered since, and after a file of people's own, which no suite measures. What was decided, and why,
is stored either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from realm.core.errors import CorruptError, GateError
from realm.core.events import GateDecided, Promoted
from realm.core.records import Fence
from realm.evaluation.gate import Decision, GateConfig, Part, decide
from realm.evaluation.suite import Suite
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.evaluation import answer, evaluate, level_suite, measured_alike, pairs_of, stored
from realm.flows.plan import RunPlan
from realm.flows.runs import FILE
from realm.flows.skills import mastered_levels, mastered_of
from realm.ledger.records import CheckpointRecord


def covered_levels(lab: Lab) -> dict[str, int]:
    """Return the mastered levels that the champion was judged on; empty without a champion."""
    decision = champion_decision(lab)
    return dict(decision["mastered"]) if decision else {}


def champion_decision(lab: Lab) -> dict[str, Any]:
    """Return the decision that promoted the champion; empty without a champion."""
    promoted = [
        promotion
        for promotion in lab.ledger.models.promotions(lab.campaign, lab.hero_name)
        if promotion.outcome == "promoted"
    ]
    return max(promoted, key=lambda promotion: promotion.id).decision if promoted else {}


def mastered_suites(lab: Lab) -> list[Suite]:
    """Return the held-out suites of every mastered level of every skill."""
    return [
        level_suite(lab, skill, level) for skill in mastered_levels(lab) for level in mastered_of(lab, skill)
    ]


async def consider(
    supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, fence: Fence
) -> Decision | None:
    """Put a checkpoint through the gate and promote it when it passes.

    Returns None, and says why, where the champion's files are damaged and it has to answer.
    """
    lab = supervisor.lab
    suites = mastered_suites(lab)
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    before = reigning(lab)
    await evaluate(supervisor, run, checkpoint, suites, fence)
    try:
        if before:
            await evaluate(supervisor, run, before, suites, fence)
    except CorruptError as error:
        reason = f"the champion cannot answer: {error.what}; {error.hint}"
        lab.emit(GateDecided(checkpoint=checkpoint.name, passed=False, reasons=(reason,)))
        return None
    decision = judge(lab, checkpoint, suites)
    lab.emit(GateDecided(checkpoint=checkpoint.name, passed=decision.passed, reasons=decision.reasons))
    totals = {"correct": decision.correct, "total": decision.total}
    model = lab.ledger.models.register(
        lab.campaign, lab.hero_name, checkpoint.hash, scores=totals, fence=fence
    )
    kept = {**decision.model_dump(mode="json"), "mastered": mastered_levels(lab)}
    if not decision.passed:
        lab.ledger.models.record_refusal(model.name, kept)
        return decision
    await _probe(supervisor, run, checkpoint, suites[0])
    revision = champion.revision if champion else 0
    lab.ledger.models.promote(model.name, expected_revision=revision, decision=kept, fence=fence)
    lab.emit(
        Promoted(
            model=model.name, checkpoint=checkpoint.name, hash=checkpoint.hash, hero_step=checkpoint.hero_step
        )
    )
    return decision


def reigning(lab: Lab) -> CheckpointRecord | None:
    """Return the champion's checkpoint; None while there is no champion."""
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    return lab.ledger.checkpoints.get(champion.model.checkpoint) if champion else None


def judge(lab: Lab, checkpoint: CheckpointRecord, suites: Sequence[Suite]) -> Decision:
    """Put what the ledger holds of a checkpoint and of the champion before the gate. Changes nothing.

    What either has not answered counts against the checkpoint.
    """
    answered = {score.suite: score.primitives for score in stored(lab, checkpoint, suites)}
    config, parts = _config(lab, checkpoint), [_part(suite, answered) for suite in suites]
    champion = reigning(lab)
    if champion is None:
        return decide(config, parts, None)
    asked = [suite.id for suite in suites]
    pairs = pairs_of(lab, champion.hash, checkpoint.hash, asked)
    return decide(config, parts, pairs, measured_alike(lab, champion.hash, checkpoint.hash, asked))


def _config(lab: Lab, checkpoint: CheckpointRecord) -> GateConfig:
    of_file = checkpoint.run is not None and RunPlan.of(lab.ledger.runs.get(checkpoint.run)).source == FILE
    measured = covered_levels(lab) == mastered_levels(lab) and not of_file
    return lab.config.gate.model_copy(update={"must_improve": lab.config.gate.must_improve and measured})


def _part(suite: Suite, answered: Mapping[str, Mapping[str, tuple[int, int]]]) -> Part:
    return Part(
        id=suite.id,
        title=f"{suite.skill} level {suite.level}",
        category=suite.skill,
        asked=dict(Counter(problem.primitive for problem in suite.problems)),
        answered=dict(answered.get(suite.id, {})),
    )


async def _probe(supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, suite: Suite) -> None:
    """Load the published files once more and let them answer. Raises GateError when they do not."""
    probe = suite.model_copy(update={"id": f"{suite.id}/probe", "problems": suite.problems[:1]})
    [result] = (await answer(supervisor, run, checkpoint, [probe]))[probe.id].graded
    if not result.answer:
        raise GateError(f"{checkpoint.name} loads but answers nothing", hint="the champion stays as it was")
