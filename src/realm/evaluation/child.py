"""The process that lets a checkpoint answer suites: loads the model once, grades every answer.

It writes events only; what they mean is decided by whoever started it. A grader that breaks ends
the process with an error; it is never a wrong answer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.errors import UsageError
from realm.core.events import AnswersGraded, Emit
from realm.core.records import Sha256
from realm.evaluation.suite import Suite
from realm.jobs.edge import run_told
from realm.models.profile import PROFILES, ProfileConfig
from realm.skills.skill import SKILLS

if TYPE_CHECKING:
    from realm.models.generator import Generator

_BATCH = 256
"""Problems answered between two events."""


class EvaluateJob(Config):
    """What one evaluation child does."""

    run: str
    checkpoint: Sha256
    folder: str
    """The checkpoint's files, verified by the caller."""
    suites: Annotated[tuple[Suite, ...], Field(min_length=1)]
    events: str
    """File that events are appended to."""
    max_tokens: Annotated[int, Field(ge=1)] = 64
    """Longest answer; a longer one is cut, and so wrong."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    """Processor threads; none leaves the library's own choice."""
    profile: ProfileConfig = Field(default_factory=lambda: PROFILES.config("none"))
    """The manner that the checkpoint was taught to answer in."""


def main(spec_path: Path) -> int:
    """Run the job in a spec file. Returns the exit code: 0, or 1 after a `Failed` event."""
    job = EvaluateJob.model_validate_json(spec_path.read_bytes())
    return run_told(job.run, Path(job.events), lambda emit: evaluate(job, _generator(job), emit))


def evaluate(job: EvaluateJob, generator: Generator, emit: Emit) -> None:
    """Answer and grade every problem, telling each batch. Greedy: the same answers every time."""
    for suite in job.suites:
        skill, begun = SKILLS.build(suite.config), time.monotonic()
        if (skill.name, skill.version) != (suite.skill, suite.version):
            raise UsageError(
                f"{suite.id} was made by {suite.skill} {suite.version}, here is {skill.name} {skill.version}",
                hint="build the suite again",
            )
        for start in range(0, len(suite.problems), _BATCH):
            batch = suite.problems[start : start + _BATCH]
            answers = generator.generate([p.messages for p in batch], max_tokens=job.max_tokens)
            loss, loss_tokens = generator.loss([p.solved() for p in batch])
            emit(
                AnswersGraded(
                    run=job.run,
                    checkpoint=job.checkpoint,
                    suite=suite.id,
                    results=tuple(
                        (problem.key, problem.primitive, skill.grade(problem, answer) == 1.0, answer)
                        for problem, answer in zip(batch, answers, strict=True)
                    ),
                    loss=loss,
                    loss_tokens=loss_tokens,
                    context=generator.description,
                    done=start + len(batch),
                    total=len(suite.problems),
                    seconds=time.monotonic() - begun,
                )
            )


def _generator(job: EvaluateJob) -> Generator:
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
