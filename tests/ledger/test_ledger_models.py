from __future__ import annotations

import threading
from pathlib import Path

import pytest
from ledger_examples import answers, evaluate, save, sha

from realm.core.errors import NotFoundError, RealmError, StateError
from realm.core.records import ArtifactKind
from realm.ledger.ledger import Ledger
from realm.ledger.records import LEVEL, ModelRecord, NewEvaluation, ProblemResult


def register(ledger: Ledger, text: str, step: int = 0) -> ModelRecord:
    save(ledger, text, step)
    return ledger.models.register("first", "dio", sha(text), scores={"accuracy": 0.9}, fence=None)


# --- evaluations --------------------------------------------------------------------------


def test_an_evaluation_counts_its_answers(ledger: Ledger) -> None:
    save(ledger, "c")
    results = [*answers("110"), *(r.model_copy(update={"key": "x" + r.key}) for r in answers("0", "xor"))]
    new = NewEvaluation(
        checkpoint=sha("c"), hero_step=50, suite="bin/1", skill="bin", level=1, context={"seed": 7}
    )
    stored = ledger.evaluations.add(new, results, None)
    assert (stored.correct, stored.total) == (2, 4)
    assert stored.primitives == {"add": (2, 3), "xor": (0, 1)}
    assert stored.accuracy == 0.5
    assert stored.context == {"seed": 7}
    assert ledger.evaluations.get(stored.id) == stored
    assert ledger.evaluations.find(sha("c"), "bin/1") == stored
    assert ledger.evaluations.find(sha("c"), "bin/2") is None
    assert ledger.evaluations.results(stored.id) == results


def test_a_suite_is_asked_once(ledger: Ledger) -> None:
    save(ledger, "c")
    first = evaluate(ledger, "c", "11")
    assert evaluate(ledger, "c", "00") == first
    assert [result.correct for result in ledger.evaluations.results(first.id)] == [True, True]
    with pytest.raises(NotFoundError):
        evaluate(ledger, "absent", "1")


def test_a_problem_answered_twice_is_refused_whole(ledger: Ledger) -> None:
    save(ledger, "c")
    twice: list[ProblemResult] = answers("1") * 2
    with pytest.raises(StateError, match="'p0' is answered twice"):
        ledger.evaluations.add(
            NewEvaluation(checkpoint=sha("c"), hero_step=0, suite="s", skill="bin", level=1), twice, None
        )
    assert ledger.evaluations.list() == []


def test_a_heros_evaluations_are_its_own(ledger: Ledger) -> None:
    """Checkpoints of another hero, of another campaign and deleted ones count for nothing."""
    for text, changes in {"a": {}, "b": {}, "other": {"hero": "luna"}, "past": {"campaign": "old"}}.items():
        save(ledger, text, **changes)
    save(ledger, "gone")
    save(ledger, "a", hero_step=5)  # the same bytes again
    first, second = evaluate(ledger, "a", "110"), evaluate(ledger, "b", "1", suite="bin/2")
    for text in ("other", "past", "gone"):
        evaluate(ledger, text, "1")
    ledger.tombstones.begin_delete(ArtifactKind.CHECKPOINT, sha("gone"))
    own, found = ("first", "dio"), ledger.evaluations
    assert [(each.id, each.checkpoint, each.accuracy) for each in found.levels(*own)] == [
        (second.id, sha("b"), 1.0),
        (first.id, sha("a"), 2 / 3),
    ]
    assert found.levels(*own)[1].primitives == {"add": [2, 3]}
    assert found.newest(*own) == second
    assert found.newest(*own, suite="bin/1", skill="bin", kind=LEVEL, level=1) == first
    assert found.newest(*own, level=2) is None
    assert found.newest("first", "nobody") is None
    assert [each.id for each in found.of_checkpoints([sha("b"), sha("a")])] == [second.id, first.id]
    assert found.of_checkpoints([]) == []


def test_evaluations_are_listed_newest_first_and_by_what_they_are(ledger: Ledger) -> None:
    save(ledger, "a")
    save(ledger, "b", 1)
    ids = [evaluate(ledger, text, "1", suite).id for text in "ab" for suite in ("bin/1", "bin/2")]
    assert [record.id for record in ledger.evaluations.list()] == ids[::-1]
    assert [record.id for record in ledger.evaluations.list(checkpoint=sha("a"))] == ids[1::-1]
    assert [record.id for record in ledger.evaluations.list(suite="bin/1", limit=1)] == [ids[2]]
    assert ledger.evaluations.list(skill="sy") == []
    with pytest.raises(NotFoundError, match="999"):
        ledger.evaluations.get(999)


def test_paired_results_are_of_the_same_problems(ledger: Ledger) -> None:
    save(ledger, "a")
    save(ledger, "b", 1)
    evaluate(ledger, "a", "110", "bin/1")
    evaluate(ledger, "b", "01", "bin/1")
    evaluate(ledger, "a", "1", "bin/2")
    evaluate(ledger, "b", "1", "bin/3")
    pairs = ledger.evaluations.paired(sha("a"), sha("b"), ["bin/1", "bin/2", "bin/3"])
    assert pairs == [("p0", True, False), ("p1", True, True)]
    assert ledger.evaluations.paired(sha("a"), sha("b"), ["bin/2"]) == []


# --- models -------------------------------------------------------------------------------


def test_versions_count_up_and_a_checkpoint_has_one(ledger: Ledger) -> None:
    first, second = register(ledger, "a"), register(ledger, "b", 1)
    assert (first.name, second.name, first.status) == ("dio-v1", "dio-v2", "candidate")
    assert register(ledger, "a") == first
    save(ledger, "a", campaign="second")
    elsewhere = ledger.models.register("second", "dio", sha("a"), scores={}, fence=None)
    assert elsewhere.name == "dio-v3"
    assert ledger.models.list() == [first, second, elsewhere]
    assert ledger.models.get("dio-v2") == second
    with pytest.raises(NotFoundError, match="dio-v1"):
        ledger.models.get("dio-v9")
    with pytest.raises(NotFoundError, match="no checkpoint"):
        ledger.models.register("first", "luna", sha("a"), scores={}, fence=None)


def test_promotion_moves_the_champion_and_archives_the_old_one(ledger: Ledger) -> None:
    first, second = register(ledger, "a"), register(ledger, "b", 1)
    assert ledger.models.champion("first", "dio") is None
    champion = ledger.models.promote(first.name, expected_revision=0, decision={"p": 0.01}, fence=None)
    assert (champion.model.name, champion.model.status, champion.revision) == ("dio-v1", "active", 1)
    assert ledger.models.rollback_target("first", "dio") is None
    champion = ledger.models.promote(second.name, expected_revision=1, decision={}, fence=None)
    assert ledger.models.champion("first", "dio") == champion
    assert ledger.models.get("dio-v1").status == "archived"
    target = ledger.models.rollback_target("first", "dio")
    assert target is not None
    assert target.name == "dio-v1"
    ledger.models.promote(target.name, expected_revision=2, decision={"rollback": True}, fence=None)
    assert ledger.models.get("dio-v1").status == "active"
    steps = [(row.from_model, row.to_model) for row in ledger.models.promotions("first", "dio")]
    assert steps == [("dio-v2", "dio-v1"), ("dio-v1", "dio-v2"), (None, "dio-v1")]
    assert ledger.models.promotions("first", "dio")[-1].decision == {"p": 0.01}


def test_a_moved_champion_and_a_second_coronation_are_refused(ledger: Ledger) -> None:
    first, second = register(ledger, "a"), register(ledger, "b", 1)
    ledger.models.promote(first.name, expected_revision=0, decision={}, fence=None)
    with pytest.raises(StateError, match=r"revision 1, expected 0"):
        ledger.models.promote(second.name, expected_revision=0, decision={}, fence=None)
    with pytest.raises(StateError, match="already"):
        ledger.models.promote(first.name, expected_revision=1, decision={}, fence=None)
    assert len(ledger.models.promotions("first", "dio")) == 1


def test_a_refusal_is_remembered_and_changes_no_champion(ledger: Ledger) -> None:
    first, second = register(ledger, "a"), register(ledger, "b", 1)
    ledger.models.promote(first.name, expected_revision=0, decision={}, fence=None)
    refusal = ledger.models.record_refusal(second.name, {"reasons": ["not better"]})
    assert (refusal.outcome, refusal.from_model, refusal.to_model) == ("refused", "dio-v1", "dio-v2")
    assert ledger.models.promotions("first", "dio")[0] == refusal
    champion = ledger.models.champion("first", "dio")
    assert champion is not None
    assert champion.model.name == "dio-v1"
    assert ledger.models.get("dio-v2").status == "candidate"


def test_of_two_promotions_at_once_exactly_one_wins(ledger: Ledger, place: Path) -> None:
    names = [register(ledger, text, step).name for step, text in enumerate(["base", "a", "b"])]
    ledger.models.promote(names[0], expected_revision=0, decision={}, fence=None)
    wins = 0
    for revision in range(1, 21):
        outcomes: list[str] = []
        barrier = threading.Barrier(2)

        def attempt(
            name: str,
            revision: int = revision,
            barrier: threading.Barrier = barrier,
            into: list[str] = outcomes,
        ) -> None:
            with Ledger.open(place) as own:
                barrier.wait()
                try:
                    own.models.promote(name, expected_revision=revision, decision={}, fence=None)
                except RealmError as error:
                    into.append(type(error).__name__)
                else:
                    into.append("won")

        champion = ledger.models.champion("first", "dio")
        assert champion is not None
        contenders = [name for name in names if name != champion.model.name]
        threads = [threading.Thread(target=attempt, args=(name,)) for name in contenders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["StateError", "won"]
        wins += 1
    assert wins == 20
    assert len(ledger.models.promotions("first", "dio")) == 21
    active = [model for model in ledger.models.list() if model.status == "active"]
    assert len(active) == 1
