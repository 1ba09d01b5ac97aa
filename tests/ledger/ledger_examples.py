"""Records that the ledger's tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from realm.core.hashing import hash_bytes
from realm.ledger.ledger import Ledger
from realm.ledger.records import (
    CheckpointRecord,
    DatasetRecord,
    EvaluationRecord,
    NewCheckpoint,
    NewEvaluation,
    ProblemResult,
    RunRecord,
)

START = datetime(2026, 11, 20, 19, 3, tzinfo=UTC)


def sha(text: str) -> str:
    return hash_bytes(text.encode())


class Ticking:
    """A clock that goes on by one second at each look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def dataset(name: str = "d", at: datetime = START) -> DatasetRecord:
    return DatasetRecord(
        hash=sha(name), name=name, spec="chat_sft_v1", rows=3, size_bytes=99, source="drill", created_at=at
    )


def run(number: int = 1, of: str = "d", **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": f"run-{number:04d}",
        "campaign": "first",
        "hero": "dio",
        "title": "Drill",
        "dataset": sha(of),
        "spec": {"recipe": {"steps": 50}},
        "spec_hash": sha("spec"),
        "created_at": START,
    }
    return RunRecord(**(fields | changes))


def checkpoint(text: str, hero_step: int = 0, **changes: Any) -> NewCheckpoint:
    fields: dict[str, Any] = {
        "campaign": "first",
        "hero": "dio",
        "hash": sha(text),
        "size_bytes": 1000,
        "step": hero_step,
        "hero_step": hero_step,
    }
    return NewCheckpoint(**(fields | changes))


def save(ledger: Ledger, text: str, hero_step: int = 0, **changes: Any) -> CheckpointRecord:
    return ledger.checkpoints.add(checkpoint(text, hero_step, **changes), None)


def answers(pattern: str, primitive: str = "add") -> list[ProblemResult]:
    """Return results by a pattern such as `"110"`, with keys p0, p1, …"""
    return [
        ProblemResult(key=f"p{index}", primitive=primitive, correct=mark == "1", answer=mark)
        for index, mark in enumerate(pattern)
    ]


def evaluate(ledger: Ledger, text: str, pattern: str, suite: str = "bin/1") -> EvaluationRecord:
    new = NewEvaluation(checkpoint=sha(text), hero_step=0, suite=suite, skill="bin", level=1)
    return ledger.evaluations.add(new, answers(pattern), None)
