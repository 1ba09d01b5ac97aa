"""Hard examples: the rows whose right answers a checkpoint finds least probable.

How hard a row is, is the mean cross-entropy of what its assistant turns say, nats a token. The very hardest
rows are left out, because among them are those that are wrong rather than hard. The process that measures
writes events only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.events import Emit, RowsMeasured
from realm.core.records import Example
from realm.evaluation.child import ModelJob, generator_of
from realm.jobs.edge import run_told

if TYPE_CHECKING:
    from realm.models.generator import Confident

_BATCH = 256
"""Rows measured between two events."""


class MiningConfig(Config):
    """Which rows are hard."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Of the rows that are left, the hardest first."""
    noise_share: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """The very hardest, which are left out."""


class MineJob(ModelJob):
    """What one measuring process does."""

    rows: str
    """A dataset's `rows.jsonl`."""
    total: Annotated[int, Field(ge=1)]
    """Rows in it."""


def main(spec_path: Path) -> int:
    """Run the job in a spec file. Returns the exit code: 0, or 1 after a `Failed` event."""
    job = MineJob.model_validate_json(spec_path.read_bytes())
    return run_told(job.run, Path(job.events), lambda emit: measure(job, generator_of(job), emit))


def measure(job: MineJob, generator: Confident, emit: Emit) -> None:
    """Tell how hard each chat is, batch by batch; texts without an assistant are passed over."""
    begun, done = time.monotonic(), 0
    with Path(job.rows).open("rb") as file:
        chats = _chats(file)
        while batch := list(islice(chats, _BATCH)):
            found = generator.confidences([row.messages for _, row in batch])
            done = batch[-1][0] + 1
            emit(
                RowsMeasured(
                    run=job.run,
                    losses=tuple(
                        (index, -each.log_probability / each.tokens)
                        for (index, _), each in zip(batch, found, strict=True)
                        if each.tokens
                    ),
                    done=done,
                    total=job.total,
                    seconds=time.monotonic() - begun,
                )
            )


def hardest(losses: Sequence[tuple[int, float]], config: MiningConfig) -> list[int]:
    """Return the rows to take, in their own order; `losses` holds row and nats a token.

    Of rows equally hard the earlier counts as harder.
    """
    order = sorted(losses, key=lambda each: (-each[1], each[0]))
    left = order[round(len(order) * config.noise_share) :]
    return sorted(index for index, _ in left[: round(len(left) * config.share)])


def _chats(lines: Iterator[bytes]) -> Iterator[tuple[int, Example]]:
    for index, line in enumerate(lines):
        row = Example.model_validate_json(line)
        if row.messages and row.messages[-1].role == "assistant":
            yield index, row
