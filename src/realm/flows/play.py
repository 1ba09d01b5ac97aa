"""`realm play`: turn the wheel from a blank model to a promoted champion, then let it answer."""

from __future__ import annotations

import asyncio
import time

from realm.core.errors import StateError, UnavailableError
from realm.core.events import Interval
from realm.core.records import Record
from realm.core.seeds import rng
from realm.evaluation.intervals import pool
from realm.flows.children import Supervisor
from realm.flows.context import Lab
from realm.flows.control import waiting_for
from realm.flows.evaluation import answer
from realm.flows.progress import intervals
from realm.flows.promotion import champion_decision, covered_levels, mastered_suites
from realm.flows.reconcile import reconcile
from realm.flows.skills import mastered_levels, mastered_of
from realm.flows.worker import held, work
from realm.jobs.queue import JobState
from realm.ledger.records import Champion

THRESHOLD = "0.95"
"""`play` asks for more than the 0.80 of a campaign that runs for months."""
PRESET = "sprint"
"""Two levels within minutes; the default of a campaign takes longer for the first, and leaves more behind."""
MAX_STEPS = 2000
QUESTIONS = 5


class ChampionSummary(Record):
    """The model that was promoted."""

    name: str
    hash: str
    step: int


class Answered(Record):
    """One held-out problem and what the champion said."""

    prompt: str
    answer: str
    correct: bool


class PlaySummary(Record):
    """What a play came to. Every figure is the champion's, on held-out problems."""

    seconds: float
    """Wall time of this call."""
    hero: str
    levels_gained: int
    mastered: dict[str, int]
    """Highest mastered level by skill."""
    accuracy: dict[str, Interval]
    """Per testable primitive, over all mastered levels."""
    pooled: Interval
    champion: ChampionSummary | None
    gate: dict[str, object]
    """The decision that promoted the champion, with its reasons."""
    answers: tuple[Answered, ...]


def play(lab: Lab, *, levels: int, max_steps: int) -> PlaySummary:
    """Work until so many levels are gained and a champion covers them, or the steps run out.

    A play that was interrupted goes on; one that is complete only answers its questions again.
    """
    started = time.monotonic()

    def complete() -> bool:
        return lab.queue.idle() and (
            _reached(lab, levels) or _spent(lab, max_steps) or bool(waiting_for(lab))
        )

    with held(lab) as launcher:
        reconcile(lab)
        if not complete():
            work(lab, launcher, complete, below=1)
        _refuse_to_wait(lab)
        answers = asyncio.run(_ask(Supervisor(lab, launcher)))
    return summarise(lab, time.monotonic() - started, answers)


def summarise(lab: Lab, seconds: float, answers: tuple[Answered, ...]) -> PlaySummary:
    """Pool the champion's stored evaluations over all mastered levels."""
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    scores: dict[str, list[Interval]] = {}
    if champion is not None:
        for suite in mastered_suites(lab):
            evaluation = lab.ledger.evaluations.find(champion.model.checkpoint, suite.id)
            for name, interval in intervals(evaluation.primitives if evaluation else {}).items():
                scores.setdefault(name, []).append(interval)
    accuracy = {name: pool(found) for name, found in sorted(scores.items())}
    return PlaySummary(
        seconds=round(seconds, 1),
        hero=lab.hero_name,
        levels_gained=levels_gained(lab),
        mastered=mastered_levels(lab),
        accuracy=accuracy,
        pooled=pool(list(accuracy.values())),
        champion=_champion(lab, champion) if champion else None,
        gate=champion_decision(lab),
        answers=answers,
    )


def levels_gained(lab: Lab) -> int:
    """Count mastered levels over all skills; levels too small to test are not gained."""
    return sum(len(mastered_of(lab, name)) for name in mastered_levels(lab))


def _champion(lab: Lab, champion: Champion) -> ChampionSummary:
    checkpoint = lab.ledger.checkpoints.get(champion.model.checkpoint)
    return ChampionSummary(name=champion.model.name, hash=checkpoint.hash, step=checkpoint.hero_step)


def _reached(lab: Lab, levels: int) -> bool:
    return levels_gained(lab) >= levels and covered_levels(lab) == mastered_levels(lab)


def _spent(lab: Lab, max_steps: int) -> bool:
    latest = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    return latest is not None and latest.hero_step >= max_steps


def _refuse_to_wait(lab: Lab) -> None:
    waiting = waiting_for(lab)
    failed = lab.queue.list({JobState.FAILED})
    if waiting and failed:
        raise UnavailableError(
            f"{failed[0].id} failed: {failed[0].reason}",
            hint=f"`realm --home {lab.home.root} queue retry {failed[0].id}`, then play again",
        )
    if waiting:
        raise StateError(waiting, hint="then play again")


async def _ask(supervisor: Supervisor) -> tuple[Answered, ...]:
    """Let the champion answer held-out problems of the highest mastered level, drawn by the seed."""
    lab = supervisor.lab
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    if champion is None:
        return ()
    checkpoint = lab.ledger.checkpoints.get(champion.model.checkpoint)
    suite = mastered_suites(lab)[-1]
    draw = rng("play questions", lab.campaign, lab.hero.seed)
    asked = suite.model_copy(
        update={"id": f"{suite.id}/questions", "problems": tuple(draw.sample(suite.problems, QUESTIONS))}
    )
    results = (await answer(supervisor, "play", checkpoint, [asked]))[asked.id].graded
    prompts = {problem.key: problem.messages[-1].content for problem in asked.problems}
    return tuple(Answered(prompt=prompts[r.key], answer=r.answer, correct=r.correct) for r in results)
