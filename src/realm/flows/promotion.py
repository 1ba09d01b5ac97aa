"""From a checkpoint to the champion: gate, probe, registration, compare-and-swap.

A candidate has to be better than the champion on the problems of all mastered levels, and worse at
nothing. Not worse is enough where better cannot be asked: against a champion that was never judged on a
level mastered since, and after a file of people's own, which no suite measures. What was decided, and why,
is stored either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from realm.core.errors import GateError
from realm.core.events import GateDecided, Promoted
from realm.core.records import Fence
from realm.evaluation.comparison import Pair
from realm.evaluation.gate import Decision, GateConfig, Part, decide
from realm.evaluation.suite import Suite
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.evaluation import answer, evaluate, level_suite
from realm.flows.plan import RunPlan
from realm.flows.runs import FILE
from realm.flows.skills import mastered_levels, skill_state
from realm.ledger.records import Champion, CheckpointRecord


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
        level_suite(lab, skill, level)
        for skill, highest in mastered_levels(lab).items()
        for level in range(skill_state(lab, skill).start_level, highest + 1)
    ]


async def consider(supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, fence: Fence) -> Decision:
    """Put a checkpoint through the gate and promote it when it passes."""
    lab = supervisor.lab
    suites = mastered_suites(lab)
    scores = await evaluate(supervisor, run, checkpoint, suites, fence)
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    pairs = await _pairs(supervisor, run, checkpoint, champion, suites, fence)
    answered = {score.suite: score.primitives for score in scores}
    decision = decide(_config(lab, run), [_part(suite, answered) for suite in suites], pairs)
    lab.emit(GateDecided(checkpoint=checkpoint.name, passed=decision.passed, reasons=decision.reasons))
    totals = {"correct": decision.correct, "total": decision.total}
    model = lab.ledger.models.register(
        lab.campaign, lab.hero_name, checkpoint.hash, scores=totals, fence=fence
    )
    stored = {**decision.model_dump(mode="json"), "mastered": mastered_levels(lab)}
    if not decision.passed:
        lab.ledger.models.record_refusal(model.name, stored)
        return decision
    await _probe(supervisor, run, checkpoint, suites[0])
    revision = champion.revision if champion else 0
    lab.ledger.models.promote(model.name, expected_revision=revision, decision=stored, fence=fence)
    lab.emit(
        Promoted(
            model=model.name, checkpoint=checkpoint.name, hash=checkpoint.hash, hero_step=checkpoint.hero_step
        )
    )
    return decision


def _config(lab: Lab, run: str) -> GateConfig:
    measured = (
        covered_levels(lab) == mastered_levels(lab) and RunPlan.of(lab.ledger.runs.get(run)).source != FILE
    )
    return lab.config.gate.model_copy(update={"must_improve": lab.config.gate.must_improve and measured})


def _part(suite: Suite, answered: Mapping[str, Mapping[str, tuple[int, int]]]) -> Part:
    return Part(
        id=suite.id,
        title=f"{suite.skill} level {suite.level}",
        category=suite.skill,
        asked=dict(Counter(problem.primitive for problem in suite.problems)),
        answered=dict(answered.get(suite.id, {})),
    )


async def _pairs(
    supervisor: Supervisor,
    run: str,
    checkpoint: CheckpointRecord,
    champion: Champion | None,
    suites: list[Suite],
    fence: Fence,
) -> list[Pair] | None:
    """Return champion and candidate on every problem of the suites; None without a champion."""
    if champion is None:
        return None
    ledger = supervisor.lab.ledger
    reigning = ledger.checkpoints.get(champion.model.checkpoint)
    await evaluate(supervisor, run, reigning, suites, fence)
    found = ledger.evaluations.scored_pairs(reigning.hash, checkpoint.hash, [suite.id for suite in suites])
    return [Pair(part=p.suite, primitive=p.primitive, before=p.a, after=p.b) for p in found]


async def _probe(supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, suite: Suite) -> None:
    """Load the published files once more and let them answer. Raises GateError when they do not."""
    probe = suite.model_copy(update={"id": f"{suite.id}/probe", "problems": suite.problems[:1]})
    [result] = (await answer(supervisor, run, checkpoint, [probe]))[probe.id].graded
    if not result.answer:
        raise GateError(f"{checkpoint.name} loads but answers nothing", hint="the champion stays as it was")
