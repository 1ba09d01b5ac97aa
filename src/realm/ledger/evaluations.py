"""Evaluations: each suite is asked of each checkpoint once, and every answer is kept."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, insert, select
from sqlalchemy.orm import aliased

from realm.core.errors import StateError
from realm.core.records import ArtifactKind, Fence
from realm.ledger.database import Database
from realm.ledger.fences import require
from realm.ledger.lookup import alive, not_found
from realm.ledger.records import LEVEL, EvaluationRecord, NewEvaluation, ProblemResult
from realm.ledger.tables import Checkpoint, Evaluation, Result
from realm.ledger.tombstones import has_row


class ScoredPair(NamedTuple):
    """One problem that two checkpoints were asked."""

    suite: str
    key: str
    primitive: str
    a: float
    b: float
    """Scores of the two, in [0, 1]."""
    a_confidence: float | None
    b_confidence: float | None
    """Probabilities that the two gave their answers; None where nobody knows them."""


class LevelResult(NamedTuple):
    """What an evaluation at a level found."""

    id: int
    checkpoint: str
    suite: str
    skill: str
    level: int
    correct: int
    total: int
    problems: int
    loss: float | None
    context: Mapping[str, object]
    primitives: Mapping[str, Sequence[int]]
    """Right answers and problems, by primitive."""

    @property
    def accuracy(self) -> float | None:
        """Return the pooled share of right answers, in [0, 1]; None when nothing was asked."""
        return self.correct / self.total if self.total else None


class Scored(NamedTuple):
    """What one answer was worth."""

    key: str
    primitive: str
    score: float


class Evaluations:
    """Store and find evaluations and their answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, new: NewEvaluation, results: Sequence[ProblemResult], fence: Fence | None
    ) -> EvaluationRecord:
        """Store an evaluation, or return the one that is stored for this checkpoint and suite.

        Raises FencedError, NotFoundError for an unknown checkpoint, StateError for a problem that
        is answered twice.
        """
        with self._database.writing() as session:
            require(session, fence)
            row = session.scalar(_of(new.checkpoint, new.suite))
            if row is not None:
                return _record(row)
            if not has_row(session, ArtifactKind.CHECKPOINT, new.checkpoint):
                raise not_found(f"no checkpoint {new.checkpoint}", session.scalars(select(Checkpoint.hash)))
            _refuse_repeats(new.suite, results)
            row = Evaluation(
                **new.model_dump(exclude={"created_at", "problems"}),
                correct=sum(result.correct for result in results),
                score=fmean(result.score for result in results) if results else None,
                total=len(results),
                problems=len(results) if new.problems is None else new.problems,
                primitives=_by_primitive(results),
                created_at=new.created_at or self._database.clock(),
            )
            session.add(row)
            session.flush()
            rows = [
                {"evaluation": row.id, "position": position, **result.model_dump()}
                for position, result in enumerate(results)
            ]
            if rows:
                session.execute(insert(Result), rows)
            return _record(row)

    def get(self, evaluation: int) -> EvaluationRecord:
        """Return an evaluation by its id. Raises NotFoundError."""
        with self._database.reading() as session:
            row = session.get(Evaluation, evaluation)
            if row is None:
                ids = session.scalars(select(Evaluation.id).order_by(Evaluation.id.desc()))
                raise not_found(f"no evaluation has the id {evaluation}", map(str, ids))
            return _record(row)

    def find(self, checkpoint: str, suite: str) -> EvaluationRecord | None:
        """Return the evaluation of a checkpoint (full hash) on a suite, if there is one."""
        with self._database.reading() as session:
            row = session.scalar(_of(checkpoint, suite))
            return None if row is None else _record(row)

    def list(
        self,
        checkpoint: str | None = None,
        suite: str | None = None,
        skill: str | None = None,
        kind: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[EvaluationRecord]:
        """Return evaluations, newest first, of one checkpoint (full hash), suite, skill or kind."""
        conditions = _where(checkpoint=checkpoint, suite=suite, skill=skill, kind=kind)
        query = select(Evaluation).where(*conditions).order_by(Evaluation.id.desc()).limit(limit)
        with self._database.reading() as session:
            return [_record(row) for row in session.scalars(query)]

    def of_checkpoints(self, checkpoints: Iterable[str]) -> builtins.list[EvaluationRecord]:
        """Return all evaluations of some checkpoints (full hashes, up to 30,000), newest first."""
        query = select(Evaluation).where(Evaluation.checkpoint.in_(list(checkpoints)))
        with self._database.reading() as session:
            return [_record(row) for row in session.scalars(query.order_by(Evaluation.id.desc()))]

    def newest(
        self,
        campaign: str,
        hero: str,
        suite: str | None = None,
        skill: str | None = None,
        kind: str | None = None,
        level: int | None = None,
    ) -> EvaluationRecord | None:
        """Return the newest evaluation of a hero's checkpoints, of one suite, skill, kind or level."""
        conditions = _where(suite=suite, skill=skill, kind=kind, level=level)
        query = select(Evaluation).where(*conditions, _of_hero(campaign, hero))
        with self._database.reading() as session:
            row = session.scalar(query.order_by(Evaluation.id.desc()).limit(1))
            return None if row is None else _record(row)

    def levels(self, campaign: str, hero: str) -> builtins.list[LevelResult]:
        """Return what all evaluations of a hero's checkpoints at levels found, newest first.

        A hundred thousand of them take a second: nothing is read that is not told.
        """
        columns = (getattr(Evaluation, name) for name in LevelResult._fields)
        query = select(*columns).where(Evaluation.kind == LEVEL, _of_hero(campaign, hero))
        with self._database.reading() as session:
            return [LevelResult(*row) for row in session.execute(query.order_by(Evaluation.id.desc()))]

    def results(self, evaluation: int) -> builtins.list[ProblemResult]:
        """Return the answers of an evaluation in the order in which they were given."""
        query = select(Result).where(Result.evaluation == evaluation).order_by(Result.position)
        with self._database.reading() as session:
            return [ProblemResult.model_validate(row, from_attributes=True) for row in session.scalars(query)]

    def scores(self, evaluation: int) -> builtins.list[Scored]:
        """Return what the answers of an evaluation were worth, without the answers, in their order."""
        query = select(Result.key, Result.primitive, Result.score).where(Result.evaluation == evaluation)
        with self._database.reading() as session:
            return [Scored(*row) for row in session.execute(query.order_by(Result.position))]

    def scored_pairs(
        self, checkpoint_a: str, checkpoint_b: str, suites: Iterable[str]
    ) -> builtins.list[ScoredPair]:
        """Return what both made of each problem that both were asked, by suite and key."""
        a, b = aliased(Result), aliased(Result)
        of_a, of_b = aliased(Evaluation), aliased(Evaluation)
        query = (
            select(of_a.suite, a.key, a.primitive, a.score, b.score, a.confidence, b.confidence)
            .join(of_a, a.evaluation == of_a.id)
            .join(of_b, of_b.suite == of_a.suite)
            .join(b, (b.evaluation == of_b.id) & (b.key == a.key))
            .where(of_a.checkpoint == checkpoint_a, of_b.checkpoint == checkpoint_b)
            .where(of_a.suite.in_(list(suites)))
            .order_by(of_a.suite, a.key)
        )
        with self._database.reading() as session:
            return [ScoredPair(*row) for row in session.execute(query)]

    def paired(
        self, checkpoint_a: str, checkpoint_b: str, suites: Iterable[str]
    ) -> builtins.list[tuple[str, bool, bool]]:
        """Return key, right by a, right by b for each problem that both were asked, by suite and key."""
        pairs = self.scored_pairs(checkpoint_a, checkpoint_b, suites)
        return [(pair.key, pair.a == 1.0, pair.b == 1.0) for pair in pairs]


def _where(**wanted: object) -> builtins.list[ColumnElement[bool]]:
    return [getattr(Evaluation, name) == value for name, value in wanted.items() if value is not None]


def _of_hero(campaign: str, hero: str) -> ColumnElement[bool]:
    own = select(Checkpoint.hash).where(
        alive(ArtifactKind.CHECKPOINT, Checkpoint.hash),
        Checkpoint.campaign == campaign,
        Checkpoint.hero == hero,
    )
    return Evaluation.checkpoint.in_(own)


def _of(checkpoint: str, suite: str) -> Select[Evaluation]:
    return select(Evaluation).where(Evaluation.checkpoint == checkpoint, Evaluation.suite == suite)


def _refuse_repeats(suite: str, results: Sequence[ProblemResult]) -> None:
    seen: set[str] = set()
    for result in results:
        if result.key in seen:
            raise StateError(
                f"{suite}: problem {result.key!r} is answered twice", hint="give each problem its own key"
            )
        seen.add(result.key)


def _by_primitive(results: Sequence[ProblemResult]) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for result in results:
        correct, total = counts.get(result.primitive, (0, 0))
        counts[result.primitive] = (correct + result.correct, total + 1)
    return counts


def _record(row: Evaluation) -> EvaluationRecord:
    return EvaluationRecord.model_validate(row, from_attributes=True)
