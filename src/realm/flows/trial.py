"""`realm curriculum trial`: two ways to drill, each in campaigns of its own from one checkpoint.

The campaigns are named by what is compared, so a trial that was killed goes on where it was. Their
jobs stand in a queue of their own, their checkpoints never meet the gate, and the lab's own campaign
stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import accumulate, product
from pathlib import Path
from statistics import fmean
from typing import Literal

from realm.core.errors import StateError, UsageError
from realm.core.events import Interval, StepTaken, TrialArm, TrialBegun, TrialDecided
from realm.core.hashing import hash_json, short
from realm.core.records import Example, Name, Record
from realm.evaluation.intervals import pool, wilson
from realm.evaluation.repeated import compare_seeds
from realm.evaluation.suite import Suite
from realm.flows.birth import ensure_base
from realm.flows.checkpoints import resolve, verified_checkpoint
from realm.flows.children import Supervisor
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.drills import drill_rows, drill_runs, drill_seed, next_drills, queue_rows
from realm.flows.evaluation import evaluate, level_suite
from realm.flows.pace import Pace
from realm.flows.reconcile import reconcile
from realm.flows.runs import queue_job
from realm.flows.skills import drilled_skills, skill_state, store_skill_state, usable_skills
from realm.flows.training import train_step
from realm.flows.ways import two_ways
from realm.flows.worker import held
from realm.jobs.queue import JobQueue, JobState
from realm.jobs.tail import EventTail
from realm.jobs.worker import StepContext
from realm.ledger.records import CheckpointRecord, NewCheckpoint
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.rules import SkillState, begin, examinable

WORKER = "trial"
LEVELS_BELOW = 4
"""How many levels below the training level are asked in the end."""

SMALLEST_STEP = 4
"""A rest of the budget below one part in so many of a step is left unused."""

Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")


class TrialPlan(Record):
    """What is compared."""

    a: Name
    b: Name
    """Strategies or presets."""
    steps: int
    """Of each campaign, about: the budget is the tokens of so many steps."""
    seeds: int
    """Campaigns of each side."""
    start: str | None = None
    """The checkpoint to begin from; None means the hero's latest."""


class Trial(Record):
    """A trial and what it came to."""

    begun: TrialBegun
    decided: TrialDecided | None
    """None while it is not complete."""


def trials(lab: Lab) -> list[Trial]:
    """Return the trials of the lab, oldest first; of a trial with more seeds later, the newest."""
    found: dict[str, Trial] = {}
    for _, _, event in lab.ledger.events.list(kinds=["trial_begun", "trial_decided"]):
        if isinstance(event, TrialBegun):
            found[event.trial] = Trial(begun=event, decided=None)
        elif isinstance(event, TrialDecided):
            found[event.trial] = found[event.trial].model_copy(update={"decided": event})
    return list(found.values())


def run_trial(lab: Lab, plan: TrialPlan) -> TrialDecided:
    """Carry a trial to its end, or on from where it was; one that is complete is only told again.

    Raises NotFoundError for an unknown side or checkpoint, UsageError where both sides drill alike or the
    recipe cannot give them the same tokens, HeldError while the lab is up elsewhere.
    """
    ways = dict(zip(SIDES, two_ways(lab, plan.a, plan.b), strict=True))
    start = _start(lab, plan)
    known = _known(lab, plan, start) if start else None
    if known and known.decided and known.begun.seeds == plan.seeds:
        return known.decided
    _refuse_untellable(lab)
    with held(lab) as launcher:
        reconcile(lab)
        start = start or asyncio.run(ensure_base(Supervisor(lab, launcher)))
        begun = _begin(lab, plan, start, known.begun if known else None)
        queue = JobQueue(lab.home.private / "trials" / f"{begun.trial}.db", clock=lab.clock)
        pace, names = Pace(lab, begun), dict(zip(SIDES, (plan.a, plan.b), strict=True))
        try:
            for place, (number, side) in enumerate(product(range(plan.seeds), SIDES)):
                arm = _arm(lab, begun, side, number, ways[side], queue)
                tell = partial(pace.tell, names[side], number, place)
                asyncio.run(_campaign(Supervisor(arm, launcher), begun, start, tell))
            asyncio.run(_decide(Supervisor(lab, launcher), begun, start))
        finally:
            queue.close()
    told = _known(lab, plan, start)
    assert told is not None
    assert told.decided is not None, "the verdict was kept a moment ago"
    return told.decided


# --- what every campaign of a trial begins with -------------------------------------------


def _start(lab: Lab, plan: TrialPlan) -> CheckpointRecord | None:
    """Return the checkpoint to begin from; None where the hero has none and none is named."""
    if plan.start is None:
        return lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    found = resolve(lab, plan.start)
    if found.hero != lab.hero_name:
        raise UsageError(f"{plan.start} belongs to {found.hero}, not {lab.hero_name}")
    return found


def _known(lab: Lab, plan: TrialPlan, start: CheckpointRecord) -> Trial | None:
    return next((trial for trial in trials(lab) if trial.begun.trial == _id(lab, plan, start)), None)


def _refuse_untellable(lab: Lab) -> None:
    """Raise where a trial could tell nothing: no skill, or a recipe that does not follow its rows."""
    if not drilled_skills(lab):
        raise StateError(f"{lab.hero_name} has no skill that is drilled", hint="see `realm curriculum show`")
    if load_recipe(lab.home, lab.hero.recipe).recipe.rules.epochs is None:
        raise UsageError(
            f"recipe {lab.hero.recipe} trains a number of steps whatever the rows",
            hint="a trial gives both sides the same tokens: say `epochs` instead of `steps`",
        )


def _id(lab: Lab, plan: TrialPlan, start: CheckpointRecord) -> str:
    """Name a trial by all that decides how it goes; more seeds are the same trial continued."""
    settings = [lab.config.curriculum, lab.config.drills, lab.hero]
    content = [lab.campaign, lab.hero_name, start.hash, plan.a, plan.b, plan.steps]
    return short(hash_json([*content, *(each.model_dump(mode="json") for each in settings)]))


def _begin(lab: Lab, plan: TrialPlan, start: CheckpointRecord, known: TrialBegun | None) -> TrialBegun:
    """Tell the trial and keep the skill states that its campaigns begin with."""
    if known is not None and known.seeds == plan.seeds:
        return known
    trial = _id(lab, plan, start)
    origin = _named(lab, f"trial-{trial}")
    if known is None:
        for name in usable_skills(lab, lab.hero.skills):
            state = begin(lab.skill(name), lab.config.curriculum)
            if start.hero_step:
                state = skill_state(lab, name)
            store_skill_state(origin, name, state.model_copy(update={"examined": 1}), None)
    begun = TrialBegun(
        trial=trial,
        campaign=lab.campaign,
        hero=lab.hero_name,
        a=plan.a,
        b=plan.b,
        start=start.hash,
        hero_step=start.hero_step,
        seeds=plan.seeds,
        steps=plan.steps,
        budget_tokens=known.budget_tokens if known else _budget(origin, plan.steps, start),
    )
    lab.emit(begun)
    return begun


def _named(lab: Lab, campaign: str) -> Lab:
    return replace(lab, config=lab.config.model_copy(update={"campaign": campaign}))


def _budget(lab: Lab, steps: int, start: CheckpointRecord) -> int:
    """Return the tokens of so many steps on what the lab would drill next."""
    rules = load_recipe(lab.home, lab.hero.recipe).recipe.rules
    tokens = [
        count
        for drill in next_drills(lab)
        for count in _tokens(lab, drill_rows(lab, drill, drill_seed(lab, drill.skill)), start)
    ]
    if not tokens:
        raise StateError("no skill has a problem to drill", hint="see `realm curriculum show`")
    return round(fmean(tokens) * rules.batch_rows * steps)


def _tokens(lab: Lab, rows: list[Example], start: CheckpointRecord) -> list[int]:
    """Return the tokens of each row, as training counts them."""
    from realm.models.chat import load_tokenizer
    from realm.training.method import METHODS
    from realm.training.rows import rows_of
    from realm.training.settings import Settings

    recipe = load_recipe(lab.home, lab.hero.recipe).recipe
    method = METHODS.build(recipe.method)
    settings = Settings.of(
        recipe.rules.encoding,
        max_tokens=recipe.rules.max_tokens,
        method=recipe.method.model_dump(mode="json"),
        generates=method.generates,
    )
    found = rows_of(rows, load_tokenizer(Path(verified_checkpoint(lab, start))), settings, method.sequences)
    counts = [0] * len(rows)
    for line, sequences in zip(found.numbers, found.sequences, strict=True):
        counts[int(line) - 1] += sum(len(sequence.ids) for sequence in sequences)
    return counts


# --- one campaign -------------------------------------------------------------------------


def _arm(lab: Lab, begun: TrialBegun, side: Side, number: int, way: CurriculumConfig, queue: JobQueue) -> Lab:
    changes = {
        "campaign": _campaign_name(begun, side, number),
        "curriculum": way,
        # Work that would queue itself behind a run: a trial drills, and asks its own problems in the end.
        "sparring": lab.config.sparring.model_copy(update={"automatic": False}),
        "evaluation": lab.config.evaluation.model_copy(update={"suites": ()}),
    }
    config = lab.config.model_copy(update=changes)
    return replace(lab, config=config, queue=queue, counts=False)


def _campaign_name(begun: TrialBegun, side: Side, number: int) -> str:
    return f"trial-{begun.trial}-{side}-{number}"


async def _campaign(
    supervisor: Supervisor, begun: TrialBegun, start: CheckpointRecord, tell: Callable[[int], None]
) -> None:
    """Drill and train until the budget is used up; before each run tell the tokens that were used."""
    lab = supervisor.lab
    fields = start.model_dump(include={"hero", "hash", "size_bytes", "run", "step", "hero_step", "stats"})
    # Under the name and run that it has, so that whoever finds it by its hash finds the same.
    new = NewCheckpoint(**fields, campaign=lab.campaign, created_at=start.created_at)
    lab.ledger.checkpoints.add(new, None)
    for name in usable_skills(lab, lab.hero.skills):
        if lab.ledger.skills.get(lab.campaign, f"{lab.hero_name}/{name}") is None:
            origin = _named(lab, f"trial-{begun.trial}")
            store_skill_state(lab, name, skill_state(origin, name), None)
    while True:
        await _work_off(supervisor, tell)
        if not _queue_within(lab, begun.budget_tokens - _used(lab), start):
            return


async def _work_off(supervisor: Supervisor, tell: Callable[[int], None]) -> None:
    """Carry out what the campaign has queued, what a killed process left behind first."""
    lab = supervisor.lab
    for run in lab.ledger.runs.open():
        if run.campaign == lab.campaign:
            queue_job(lab, run)
    while True:
        left_behind = lab.queue.running(WORKER)
        job = left_behind[0] if left_behind else lab.queue.claim(WORKER, 1)
        if job is None:
            return
        if lab.ledger.runs.get(job.payload["run"]).outcome == "failed":
            lab.ledger.runs.reopen(job.payload["run"], lab.ledger.fences.take(f"run/{job.payload['run']}"))
        tell(_used(lab))
        await train_step(supervisor, StepContext(lab.queue, job))
        lab.queue.finish(job.id, job.attempt, JobState.DONE, "")


def _queue_within(lab: Lab, left: float, start: CheckpointRecord) -> bool:
    """Queue the next round, cut where it would exceed the tokens left. False where nothing is left."""
    rules = load_recipe(lab.home, lab.hero.recipe).recipe.rules
    round_ = [
        (drill, draw, rows, _tokens(lab, rows, start))
        for drill in next_drills(lab)
        for draw in [drill_seed(lab, drill.skill)]
        for rows in [drill_rows(lab, drill, draw)]
    ]
    epochs = rules.epochs or 1.0
    share = left / max(1.0, epochs * sum(sum(tokens) for *_, tokens in round_))
    queued = False
    for drill, draw, rows, tokens in round_:
        kept = rows
        if share < 1:
            kept = rows[: _fitting(tokens, share * sum(tokens))]
            if len(kept) * SMALLEST_STEP < rules.batch_rows:
                continue
        if kept:
            queue_rows(lab, drill, draw, kept)
            queued = True
    return queued


def _fitting(tokens: list[int], most: float) -> int:
    """Return how many rows from the first have no more tokens than that."""
    return sum(used <= most for used in accumulate(tokens))


def _used(lab: Lab) -> int:
    """Return the tokens that the campaign's runs have trained with; a step done twice counts once."""
    return sum(
        sum(
            {
                e.step: e.tokens for e in EventTail(lab.home.events(run)).read() if isinstance(e, StepTaken)
            }.values()
        )
        for run in drill_runs(lab)
    )


# --- the verdict --------------------------------------------------------------------------


async def _decide(supervisor: Supervisor, begun: TrialBegun, start: CheckpointRecord) -> None:
    """Ask the last checkpoint of each campaign the same held-out problems, compare, and tell the verdict."""
    lab = supervisor.lab
    suites = {name: list(_suites(lab, begun, name)) for name in drilled_skills(lab)}
    start_share = await _share(supervisor, f"trial-{begun.trial}", start, suites)
    arms: dict[Side, list[TrialArm]] = {"a": [], "b": []}
    for number in range(begun.seeds):
        for side in SIDES:
            arm = _named(lab, _campaign_name(begun, side, number))
            last = arm.ledger.checkpoints.latest(arm.campaign, arm.hero_name)
            assert last is not None, "a campaign of a trial begins with a checkpoint"
            share = await _share(Supervisor(arm, supervisor.launcher), arm.campaign, last, suites)
            arms[side].append(
                TrialArm(campaign=arm.campaign, checkpoint=last.hash, tokens=_used(arm), share=share)
            )
    pairs = [
        [
            [(a, b) for _, a, b in lab.ledger.evaluations.paired(one.checkpoint, other.checkpoint, ids)]
            for ids in ([suite.id for suite in found] for found in suites.values())
        ]
        for one, other in zip(arms["a"], arms["b"], strict=True)
    ]
    found = compare_seeds(pairs, purpose=begun.trial)
    decided = TrialDecided(
        trial=begun.trial,
        a=begun.a,
        b=begun.b,
        arms_a=tuple(arms["a"]),
        arms_b=tuple(arms["b"]),
        start_share=start_share,
        problems=sum(len(suite.problems) for each in suites.values() for suite in each),
        difference=found.difference,
        low=found.low,
        high=found.high,
        method=found.method,
        verdict="b" if found.low > 0 else "a" if found.high < 0 else "undecided",
    )
    lab.emit(decided)


def _suites(lab: Lab, begun: TrialBegun, skill: str) -> Iterator[Suite]:
    """Yield the levels around the one that the trial began at: some below it, itself, and the next."""
    state: SkillState = skill_state(_named(lab, f"trial-{begun.trial}"), skill)
    levels = [info.level for info in lab.skill(skill).levels() if examinable(lab.config.curriculum, info)]
    above = [level for level in levels if level > state.training_level]
    for level in levels:
        if state.training_level - LEVELS_BELOW <= level <= min(above, default=state.training_level):
            yield level_suite(lab, skill, level)


async def _share(
    supervisor: Supervisor, run: str, checkpoint: CheckpointRecord, suites: dict[str, list[Suite]]
) -> float:
    """Return the mean over the skills of the share of right answers."""
    lab = supervisor.lab
    fence = lab.ledger.fences.take(run)
    shares = []
    for found in suites.values():
        scores = await evaluate(supervisor, run, checkpoint, found, fence)
        pooled: Interval = pool([wilson(score.correct, score.total) for score in scores])
        shares.append(pooled.correct / max(1, pooled.total))
    return fmean(shares)
