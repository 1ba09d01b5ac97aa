"""The process that lets a checkpoint answer suites: loads the model once, grades every answer.

It writes events only; what they mean is decided by whoever started it. A grader that breaks ends
the process with an error; it is never a wrong answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.errors import UsageError
from realm.core.events import AnswersGraded, Emit, Graded
from realm.core.records import Sha256
from realm.evaluation import early
from realm.evaluation.asking import Asking
from realm.evaluation.suite import Suite
from realm.evaluation.task import TASKS, Elsewhere, Task
from realm.jobs.edge import run_told
from realm.models.profile import PROFILES, ProfileConfig
from realm.skills.skill import Problem

if TYPE_CHECKING:
    from realm.models.engines.transformers import Transformers
    from realm.models.generator import Generator

_BATCH = 256
"""Problems answered between two events, at most."""


class ModelJob(Config):
    """What a process is told that lets a checkpoint answer."""

    run: str
    checkpoint: Sha256
    folder: str
    """The checkpoint's files, verified by the caller."""
    events: str
    """File that events are appended to."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    """Processor threads; none leaves the library's own choice."""
    profile: ProfileConfig = Field(default_factory=lambda: PROFILES.config("none"))
    """The manner that the checkpoint was taught to answer in."""


class EvaluateJob(ModelJob):
    """What one evaluation child does."""

    suites: Annotated[tuple[Suite, ...], Field(min_length=1)]


def main(spec_path: Path) -> int:
    """Run the job in a spec file. Returns the exit code: 0, or 1 after a `Failed` event."""
    job = EvaluateJob.model_validate_json(spec_path.read_bytes())
    return run_told(job.run, Path(job.events), lambda emit: evaluate(job, generator_of(job), emit))


def evaluate(job: EvaluateJob, generator: Generator, emit: Emit) -> None:
    """Answer and grade every suite's problems, telling each batch.

    A suite's batches are its own, so that its answers depend on nothing else that is asked in this process.
    """
    for suite in job.suites:
        _evaluate(job, suite, generator, emit)


def _evaluate(job: EvaluateJob, suite: Suite, generator: Generator, emit: Emit) -> None:
    task, begun = TASKS.build(suite.task), time.monotonic()
    if task.version != suite.version:
        raise UsageError(
            f"{suite.id} was made by {suite.skill} {suite.version}, here is version {task.version}",
            hint="build the suite again",
        )
    asking, context = Asking(task, generator, suite), _context(task, generator, suite)
    problems = early.order(suite.id, suite.problems) if suite.early else list(suite.problems)
    scores: list[float] = []
    for start in range(0, len(problems), stride := early.STRIDE if suite.early else _BATCH):
        batch = problems[start : start + stride]
        results = asking.answer(batch)
        scores += [result.score for result in results]
        verdict = early.verdict(suite.early, scores, len(problems)) if suite.early else ""
        loss, loss_tokens = _loss(generator, batch)
        emit(
            AnswersGraded(
                run=job.run,
                checkpoint=job.checkpoint,
                suite=suite.id,
                results=tuple(
                    Graded(key=problem.key, primitive=problem.primitive, **result.model_dump())
                    for problem, result in zip(batch, results, strict=True)
                ),
                loss=loss,
                loss_tokens=loss_tokens,
                context=context,
                done=start + len(batch),
                total=len(problems),
                seconds=time.monotonic() - begun,
                verdict=verdict,
            )
        )
        if verdict:
            return


def _context(task: Task, generator: Generator, suite: Suite) -> dict[str, str]:
    """Say how answers come about, before the first one: a server that is away costs no answers."""
    if isinstance(task, Elsewhere):
        return task.asked_elsewhere()
    return {**generator.description, **suite.conditions}


def _loss(generator: Generator, batch: Sequence[Problem]) -> tuple[float, int]:
    """Return the loss of the right answers; problems that have none written down are left out."""
    known = [problem.solved() for problem in batch if problem.expected]
    return generator.loss(known) if known else (0.0, 0)


def generator_of(job: ModelJob) -> Transformers:
    """Load the checkpoint of a job, on the device and with the threads that it says."""
    import torch

    from realm.models.engines.transformers import Transformers
    from realm.models.files import load

    if job.threads is not None:
        torch.set_num_threads(job.threads)
    device = job.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load(Path(job.folder))
    loaded.model.to(device)
    return Transformers(loaded, PROFILES.build(job.profile).logits_processors(loaded.tokenizer))
