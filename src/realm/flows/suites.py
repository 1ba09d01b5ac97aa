"""Evaluate a model on a suite, here and now or in the lab that is up, and compare two models on one."""

from __future__ import annotations

from realm.core.errors import RefusedError, StateError
from realm.core.records import Priority, Record
from realm.evaluation.comparison import Difference, Pair
from realm.evaluation.comparison import compare as difference
from realm.evaluation.score import Scoring, SuiteScore
from realm.evaluation.suitefile import ResolvedTask, load_suite, suite_names
from realm.evaluation.task import Size
from realm.flows.carrying import carried_out
from realm.flows.checkpoints import chosen
from realm.flows.context import Lab
from realm.flows.evaluation import measured_alike, pairs_of, stored
from realm.flows.examination import Asked, plan, queue
from realm.jobs.queue import Job, JobState
from realm.ledger.records import CheckpointRecord


class SuiteInfo(Record):
    """A suite file, in short."""

    name: str
    version: str
    title: str
    size: Size
    tasks: int
    configured: bool
    """Asked of every checkpoint after a run."""


class Evaluated(Record):
    """What a model made of a suite, and how it was measured."""

    model: str
    """Name of the checkpoint."""
    checkpoint: str
    hero_step: int
    score: SuiteScore
    evaluations: tuple[int, ...]
    """Ids of the parts in the ledger."""
    contexts: tuple[dict[str, str], ...]
    """Ways in which the parts were measured: backend, template, sampling, seed, code version."""


class Compared(Record):
    """Two models on the same problems."""

    suite: str
    before: str
    after: str
    labels: tuple[str, ...]
    """What differs in how they were measured and has to be said."""
    tasks: tuple[Difference, ...]
    overall: Difference


def suites(lab: Lab) -> list[SuiteInfo]:
    """Return the suites that can be asked: the realm's own and the shipped ones."""
    found = (load_suite(lab.home.suites, name) for name in suite_names(lab.home.suites))
    return [
        SuiteInfo(
            name=suite.name,
            version=suite.version,
            title=suite.title,
            size=suite.size,
            tasks=len(suite.tasks),
            configured=suite.name in lab.config.evaluation.suites,
        )
        for suite in found
    ]


def ask(
    lab: Lab, model: str | None, suite: str, *, size: Size | None = None, risk: float | None = None
) -> Asked:
    """Resolve a model's name and a suite's. Raises NotFoundError, listing what there is.

    Without a name the champion, else the latest checkpoint. With a risk, 0 included, parts end early.
    """
    return Asked(lab, plan(lab, chosen(lab, model), suite, size=size, risk=risk))


def begin(lab: Lab, asked: Asked) -> Job | None:
    """Queue what is missing, before everything that is not as urgent; None where nothing is."""
    return None if asked.complete else queue(lab, asked, Priority.HIGH)


def finish(lab: Lab, job: Job) -> Job:
    """Have a queued examination carried out, as `carried_out` does. StateError where it did not end well."""
    ended = carried_out(lab, job)
    if ended.state is not JobState.DONE:
        raise StateError(
            f"{ended.id} {ended.state.value}: {ended.reason or 'no reason was given'}",
            hint="ask again with the same command; what was answered is kept",
        )
    return ended


def evaluated(lab: Lab, asked: Asked) -> Evaluated:
    """Return what a model made of a suite, from the ledger. Raises StateError where a part is missing."""
    found = stored(lab, asked.checkpoint, asked.parts)
    if len(found) < len(asked.parts):
        raise StateError(
            f"{asked.checkpoint.name} has answered {len(found)} of {len(asked.parts)} parts of"
            f" {asked.examination.suite.name} ({asked.suite.size})",
            hint=f"evaluate it first: {_command(asked)}",
        )
    contexts = [{str(name): str(value) for name, value in record.context.items()} for record in found]
    return Evaluated(
        model=asked.checkpoint.name,
        checkpoint=asked.checkpoint.hash,
        hero_step=asked.checkpoint.hero_step,
        score=asked.score(),
        evaluations=tuple(record.id for record in found),
        contexts=tuple(context for i, context in enumerate(contexts) if context not in contexts[:i]),
    )


def _command(asked: Asked) -> str:
    suite = asked.examination.suite.name
    return f"`realm eval run {asked.checkpoint.hash[7:19]} --suite {suite} --size {asked.suite.size}`"


def compare(lab: Lab, before: Asked, after: Asked) -> Compared:
    """Compare two models on one suite, problem by problem.

    Raises StateError where one has not answered it, and RefusedError where the two were not measured in
    the same way or one of them was ended early.
    """
    groups, labels = paired(lab, before, after)
    return Compared(
        suite=after.suite.config.name,
        before=before.checkpoint.name,
        after=after.checkpoint.name,
        labels=labels,
        tasks=tuple(difference(name, pairs) for name, pairs in groups.items()),
        overall=difference("all problems", [pair for pairs in groups.values() for pair in pairs]),
    )


def paired(lab: Lab, before: Asked, after: Asked) -> tuple[dict[str, list[Pair]], tuple[str, ...]]:
    """Return both models on every problem of a suite, by task, and what has to be said with it.

    Raises what `compare` does.
    """
    for asked in (before, after):
        evaluated(lab, asked)
    labels = _labels(lab, before.checkpoint, after)
    one, other = before.checkpoint.hash, after.checkpoint.hash
    return {
        task.entry.name: _as_scored(task.entry.scoring, pairs_of(lab, one, other, _ids(task)))
        for task in after.suite.tasks
    }, labels


def _ids(task: ResolvedTask) -> list[str]:
    return [part.id for part in task.parts]


def _as_scored(scoring: Scoring, pairs: list[Pair]) -> list[Pair]:
    """Return pairs by the task's scoring: wholly right or not, or what answers are worth."""
    if scoring == "graded":
        return pairs
    return [
        pair.model_copy(update={"before": float(pair.before == 1.0), "after": float(pair.after == 1.0)})
        for pair in pairs
    ]


def _labels(lab: Lab, before: CheckpointRecord, after: Asked) -> tuple[str, ...]:
    """Return what has to be said of how both were measured. Raises RefusedError where it keeps them apart."""
    found = measured_alike(lab, before.hash, after.checkpoint.hash, [part.id for part in after.parts])
    if found.against:
        raise RefusedError(
            f"{before.name} and {after.checkpoint.name} were not measured alike: {'; '.join(found.against)}",
            hint="see both with `realm eval show`; only what was measured alike says which one is better",
        )
    return found.labels
