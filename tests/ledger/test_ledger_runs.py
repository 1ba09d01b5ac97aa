from __future__ import annotations

from datetime import timedelta

import pytest
from ledger_examples import START, dataset, run, sha

from realm.core.errors import NotFoundError, StateError
from realm.core.events import DatasetAdded, Promoted
from realm.ledger.ledger import Ledger
from realm.ledger.records import SkillRecord


def test_datasets_are_added_once_and_found_by_prefix(ledger: Ledger) -> None:
    stored = ledger.datasets.add(dataset())
    again = ledger.datasets.add(dataset().model_copy(update={"name": "other name"}))
    assert stored == again == dataset()
    assert ledger.datasets.get(sha("d")) == stored
    assert ledger.datasets.get(sha("d")[7:15]) == stored
    assert ledger.datasets.exists(sha("d"))
    assert not ledger.datasets.exists(sha("d")[:20])


def test_datasets_are_listed_newest_first(ledger: Ledger) -> None:
    for number in range(4):
        ledger.datasets.add(dataset(f"d{number}", START + timedelta(minutes=number)))
    assert [record.name for record in ledger.datasets.list()] == ["d3", "d2", "d1", "d0"]
    assert [record.name for record in ledger.datasets.list(limit=2)] == ["d3", "d2"]


def test_what_is_not_there_is_answered_with_at_most_ten_that_are(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError, match="none yet"):
        ledger.datasets.get("abc")
    for number in range(12):
        ledger.datasets.add(dataset(f"d{number}"))
    with pytest.raises(NotFoundError) as caught:
        ledger.datasets.get("%")
    assert caught.value.hint.count("sha256:") == 10
    assert "and 2 more" in caught.value.hint
    prefixes = [sha(f"d{number}")[7] for number in range(12)]
    twice = next(prefix for prefix in prefixes if prefixes.count(prefix) > 1)
    with pytest.raises(NotFoundError, match="several"):
        ledger.datasets.get(twice)


def test_a_run_goes_from_plan_to_outcome(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    planned = ledger.runs.add(run())
    assert planned.outcome is None
    assert ledger.runs.open() == [planned]
    ledger.runs.update(planned.id, fence=None, started_at=START, start=sha("base"), steps_total=50)
    moved = ledger.runs.update(planned.id, fence=None, step=20)
    assert (moved.step, moved.steps_total, moved.start, moved.started_at) == (20, 50, sha("base"), START)
    ended = ledger.runs.end(planned.id, "done", "all steps taken", None)
    assert ended == ledger.runs.get(planned.id) == ledger.runs.end(planned.id, "done", "again", None)
    assert (ended.outcome, ended.reason) == ("done", "all steps taken")
    assert ended.ended_at is not None
    assert ledger.runs.open() == []
    for refused in (
        lambda: ledger.runs.end(planned.id, "failed", "", None),
        lambda: ledger.runs.update(planned.id, fence=None, step=21),
        lambda: ledger.runs.reopen(planned.id, None),
    ):
        with pytest.raises(StateError, match="run-0001"):
            refused()


def test_a_failed_run_is_tried_again_and_keeps_its_reason(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    ledger.runs.end("run-0001", "failed", "out of memory", None)
    opened = ledger.runs.reopen("run-0001", None)
    assert (opened.outcome, opened.reason, opened.ended_at) == (None, "out of memory", None)
    assert ledger.runs.open() == [opened]


def test_a_run_is_added_once_and_its_id_means_one_plan(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    ledger.runs.update("run-0001", fence=None, step=7)
    assert ledger.runs.add(run()).step == 7
    with pytest.raises(StateError, match="another run has this id"):
        ledger.runs.add(run(spec_hash=sha("other")))
    with pytest.raises(NotFoundError, match="no dataset"):
        ledger.runs.add(run(2, of="absent"))
    assert [record.id for record in ledger.runs.list()] == ["run-0001"]


def test_runs_are_listed_newest_first(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    for number in (1, 2, 3):
        ledger.runs.add(run(number))
    assert [record.id for record in ledger.runs.list(limit=2)] == ["run-0003", "run-0002"]
    with pytest.raises(NotFoundError) as caught:
        ledger.runs.get("run-9999")
    assert caught.value.hint == "there are: run-0003, run-0002, run-0001"


def test_skill_states_are_replaced(ledger: Ledger) -> None:
    assert ledger.skills.get("first", "dio/bin") is None
    for level in (1, 2):
        record = SkillRecord(campaign="first", skill="dio/bin", state={"level": level}, updated_at=START)
        ledger.skills.put(record)
        assert ledger.skills.get("first", "dio/bin") == record
    assert ledger.skills.get("second", "dio/bin") is None


def test_kept_events_come_back_in_order(ledger: Ledger) -> None:
    added = DatasetAdded(dataset=sha("d"), name="d", spec="chat_sft_v1", rows=3)
    promoted = Promoted(
        at="2026-11-20T20:00:00+01:00", model="dio-v1", checkpoint="c", hash=sha("c"), hero_step=5
    )
    ids = [ledger.events.keep(event) for event in (added, promoted, added)]
    listed = ledger.events.list()
    assert [(number, event) for number, _, event in listed] == list(
        zip(ids, (added, promoted, added), strict=True)
    )
    assert listed[1][1].isoformat() == "2026-11-20T19:00:00+00:00"
    assert [number for number, _, _ in ledger.events.list(kinds=["dataset_added"])] == [ids[0], ids[2]]
    assert [number for number, _, _ in ledger.events.list(after_id=ids[0], limit=1)] == [ids[1]]
