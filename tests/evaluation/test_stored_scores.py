"""What the ledger keeps of an evaluation, also of one that was stored before answers had scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from pydantic import ValidationError
from sqlalchemy import text

from realm.core.clock import utc_now
from realm.core.hashing import hash_bytes
from realm.ledger.database import Database
from realm.ledger.ledger import Ledger
from realm.ledger.records import NewCheckpoint, NewEvaluation, ProblemResult
from realm.ledger.schema import MIGRATIONS

A, B = hash_bytes(b"a"), hash_bytes(b"b")
OLD = """
INSERT INTO evaluations
    (id, checkpoint, hero_step, suite, skill, level, correct, total, primitives, loss, context, created_at)
VALUES (1, :a, 4, 'bin-1', 'bin', 3, 1, 2, '{"p": [1, 2]}', 0.5, '{}', '2026-11-20T19:03:00.000000+00:00'),
    (2, :a, 4, 'none', 'bin', 3, 0, 0, '{}', NULL, '{}', '2026-11-20T19:03:00.000000+00:00')
"""
OLD_RESULTS = """
INSERT INTO problem_results (evaluation, key, position, primitive, correct, answer)
VALUES (1, 'x', 0, 'p', 1, 'yes'), (1, 'y', 1, 'p', 0, 'no')
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "new.db") as ledger:
        for content in (A, B):
            new = {"campaign": "c", "hero": "h", "size_bytes": 1, "step": 1, "hero_step": 1}
            ledger.checkpoints.add(NewCheckpoint(hash=content, **new), None)  # type: ignore[arg-type]
        yield ledger


def add(ledger: Ledger, checkpoint: str, *scores: float, suite: str = "s", **new: object) -> int:
    results = [
        ProblemResult(key=str(i), primitive="p", correct=score == 1, score=score, answer="", notes=("why",))
        for i, score in enumerate(scores)
    ]
    evaluation = NewEvaluation(checkpoint=checkpoint, hero_step=1, suite=suite, skill="k", level=0, **new)  # type: ignore[arg-type]
    return ledger.evaluations.add(evaluation, results, None).id


def test_evaluations_of_before_get_the_scores_that_their_answers_say(tmp_path: Path) -> None:
    place = tmp_path / "old.db"
    database = Database(place, utc_now)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with database.changing_schema() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text(OLD), {"a": A})
        connection.execute(text(OLD_RESULTS))
    database.close()
    with Ledger.open(place) as ledger:
        found, empty = ledger.evaluations.get(1), ledger.evaluations.get(2)
        assert (found.kind, found.score, found.problems, found.verdict) == ("level", 0.5, 2, "")
        assert (empty.score, empty.problems) == (None, 0)
        assert [(r.score, r.notes) for r in ledger.evaluations.results(1)] == [(1.0, ()), (0.0, ())]


def test_scores_notes_and_what_was_left_out_are_kept(ledger: Ledger) -> None:
    number = add(ledger, A, 1.0, 0.25, problems=9, verdict="fails for certain", kind="file")
    found = ledger.evaluations.get(number)
    assert (found.correct, found.total, found.problems) == (1, 2, 9)
    assert (found.score, found.verdict, found.kind) == (0.625, "fails for certain", "file")
    assert [(r.score, r.notes) for r in ledger.evaluations.results(number)] == [
        (1.0, ("why",)),
        (0.25, ("why",)),
    ]
    assert ledger.evaluations.list(kind="level") == []
    assert [e.id for e in ledger.evaluations.list(kind="file")] == [number]


def test_a_part_is_stored_once_for_a_checkpoint(ledger: Ledger) -> None:
    first = add(ledger, A, 1.0)
    assert add(ledger, A, 0.0) == first
    assert add(ledger, B, 0.0) != first
    assert ledger.evaluations.get(first).score == 1.0


def test_pairs_carry_both_scores(ledger: Ledger) -> None:
    add(ledger, A, 1.0, 0.5, 0.0)
    add(ledger, B, 0.5, 1.0)
    pairs = ledger.evaluations.scored_pairs(A, B, ["s"])
    assert [(p.key, p.primitive, p.a, p.b) for p in pairs] == [("0", "p", 1.0, 0.5), ("1", "p", 0.5, 1.0)]
    assert ledger.evaluations.paired(A, B, ["s"]) == [("0", True, False), ("1", False, True)]
    assert ledger.evaluations.scored_pairs(A, B, ["other"]) == []


def test_confidences_are_kept_where_they_are_known(ledger: Ledger) -> None:
    sure = {A: (0.25, None), B: (1.0, 0.5)}
    for checkpoint, confidences in sure.items():
        new = NewEvaluation(checkpoint=checkpoint, hero_step=1, suite="c", skill="k", level=0)
        results = [
            ProblemResult(key=str(i), primitive="p", correct=True, answer="", score=1, confidence=confidence)
            for i, confidence in enumerate(confidences)
        ]
        number = ledger.evaluations.add(new, results, None).id
        assert tuple(r.confidence for r in ledger.evaluations.results(number)) == confidences
        assert [tuple(row) for row in ledger.evaluations.scores(number)] == [("0", "p", 1), ("1", "p", 1)]
    found = ledger.evaluations.scored_pairs(A, B, ["c"])
    assert [(p.a_confidence, p.b_confidence) for p in found] == [(0.25, 1.0), (None, 0.5)]


def test_a_result_without_a_score_is_all_or_nothing() -> None:
    right = ProblemResult.model_validate({"key": "k", "primitive": "p", "correct": True, "answer": ""})
    wrong = ProblemResult.model_validate({"key": "k", "primitive": "p", "correct": False, "answer": ""})
    assert (right.score, wrong.score) == (1.0, 0.0)
    with pytest.raises(ValidationError):
        ProblemResult(key="k", primitive="p", correct=True, score=1.5, answer="")
