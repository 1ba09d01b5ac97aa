from __future__ import annotations

import logging
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_examples import START, checkpoint, dataset, run, save, sha
from pydantic import ValidationError

from realm.core.errors import CorruptError, NotFoundError, StateError
from realm.core.records import ArtifactKind
from realm.ledger.ledger import Ledger
from realm.ledger.tables import UtcText

KIND = ArtifactKind.CHECKPOINT


def test_a_checkpoint_gets_its_canonical_name_and_number(ledger: Ledger) -> None:
    assert ledger.checkpoints.next_sequence("first") == 1
    at = datetime(2026, 11, 21, 0, 59, tzinfo=timezone(timedelta(hours=5)))
    record = save(ledger, "c", 150, stats={"loss": 0.25}, created_at=at)
    assert (record.sequence, record.name) == (1, "checkpoint-150-20261120-1959")
    assert record.name == ledger.checkpoints.name_for(150, at)
    assert record.created_at == at
    assert record.created_at.tzinfo is not None
    assert record.stats == {"loss": 0.25}
    assert ledger.checkpoints.next_sequence("first") == 2
    assert ledger.checkpoints.next_sequence("second") == 1


def test_saving_again_returns_the_stored_row(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    base = save(ledger, "base")
    first = save(ledger, "c", 50, run="run-0001")
    assert save(ledger, "c", 50, run="run-0001") == first
    assert save(ledger, "base") == base
    assert save(ledger, "other bytes", 50, run="run-0001").sequence == 3
    assert save(ledger, "c", 50, hero="luna").sequence == 4
    with pytest.raises(NotFoundError, match="no run"):
        save(ledger, "x", run="run-0009")


def test_a_number_that_differs_from_the_sidecar_is_told(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert save(ledger, "a", sequence=1).sequence == 1
        assert caplog.records == []
        assert save(ledger, "b", 1, sequence=1).sequence == 2
    assert "its sidecar says 1" in caplog.text


def test_a_figure_that_is_no_number_is_refused() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValidationError):
            checkpoint("c", stats={"loss": value})


def test_get_takes_row_numbers_hashes_and_unique_prefixes(ledger: Ledger) -> None:
    first, second = save(ledger, "a"), save(ledger, "b", 5)
    assert ledger.checkpoints.get(second.id) == second
    assert ledger.checkpoints.get(first.hash) == first
    assert ledger.checkpoints.get(first.hash[7:19]) == first
    assert ledger.checkpoints.get(first.hash[:19]) == first
    for absent in (99, "sha256:" + "0" * 64, "zz", "", "%", "sha256:"):
        with pytest.raises(NotFoundError, match="no checkpoint"):
            ledger.checkpoints.get(absent)
    again = save(ledger, "a", 9)
    assert ledger.checkpoints.get(first.hash) == again


def test_latest_by_step_base_and_list(ledger: Ledger) -> None:
    assert ledger.checkpoints.latest("first", "dio") is None
    assert ledger.checkpoints.base("first", "dio") is None
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    base = save(ledger, "0")
    fifty = save(ledger, "50", 50, run="run-0001")
    save(ledger, "x", 70, hero="luna")
    back_at_fifty = save(ledger, "50 again", 50)
    assert ledger.checkpoints.latest("first", "dio") == back_at_fifty
    assert ledger.checkpoints.by_step("first", "dio", 50) == back_at_fifty
    assert ledger.checkpoints.by_step("first", "dio", 51) is None
    assert ledger.checkpoints.latest_of_run("run-0001") == fifty
    assert ledger.checkpoints.base("first", "dio") == base
    assert ledger.checkpoints.list("first", "dio") == [base, fifty, back_at_fifty]
    assert ledger.checkpoints.list("first", "dio", limit=2) == [fifty, back_at_fifty]


def test_checkpoints_of_a_run_and_their_number(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    save(ledger, "base")
    saved = [save(ledger, text, step, run="run-0001") for text, step in (("c", 50), ("d", 20))]
    assert ledger.checkpoints.of_run("run-0001") == saved
    assert ledger.checkpoints.of_run("run-0002") == []
    assert (ledger.checkpoints.count("first", "dio"), ledger.checkpoints.count("first", "luna")) == (3, 0)
    delete(ledger, "base")
    assert ledger.checkpoints.count("first", "dio") == 2


def test_the_lowest_of_a_loss(ledger: Ledger) -> None:
    assert ledger.checkpoints.lowest("first", "dio", "loss") is None
    save(ledger, "base")
    low = save(ledger, "low", 1, stats={"loss": 0.5, "validation_loss": 3.0})
    high = save(ledger, "high", 2, stats={"loss": 10.0, "validation_loss": 2.0})
    assert ledger.checkpoints.lowest("first", "dio", "loss") == low
    assert ledger.checkpoints.lowest("first", "dio", "validation_loss") == high
    assert ledger.checkpoints.lowest("first", "dio", "other_loss") is None


@given(st.lists(st.datetimes(timezones=st.timezones()), min_size=2, max_size=2))
def test_stored_moments_sort_as_they_follow(moments: list[datetime]) -> None:
    column = UtcText()
    try:
        texts = [column.process_bind_param(moment, None) for moment in moments]  # type: ignore[arg-type]
    except OverflowError:
        return  # before year 1 or after 9999 in UTC
    back = [column.process_result_value(text, None) for text in texts]  # type: ignore[arg-type]
    assert back == [moment.astimezone(UTC) for moment in moments]
    assert (texts[0] < texts[1]) == (back[0] < back[1])  # type: ignore[operator]


# --- deletion -----------------------------------------------------------------------------


def delete(ledger: Ledger, text: str) -> None:
    ledger.tombstones.begin_delete(KIND, sha(text))
    ledger.tombstones.finish_delete(KIND, sha(text))


def test_a_deleted_checkpoint_is_not_found_until_it_is_published_again(ledger: Ledger) -> None:
    for step in range(3):
        save(ledger, str(step), step)
    ledger.tombstones.begin_delete(KIND, sha("1"))
    ledger.tombstones.begin_delete(KIND, sha("1"))
    assert [(stone.kind, stone.hash) for stone in ledger.tombstones.pending()] == [(KIND, sha("1"))]
    assert ledger.knows(KIND, sha("1"))  # its bytes may still be there, so they are no stranger's
    assert [record.hero_step for record in ledger.checkpoints.list("first", "dio")] == [0, 2]
    assert ledger.checkpoints.by_step("first", "dio", 1) is None
    with pytest.raises(NotFoundError):
        ledger.checkpoints.get(sha("1"))
    ledger.tombstones.finish_delete(KIND, sha("1"))
    assert ledger.tombstones.pending() == []
    assert not ledger.knows(KIND, sha("1"))
    save(ledger, "1", 1)
    ledger.tombstones.finish_delete(KIND, sha("1"))  # of a deletion that was overtaken
    assert ledger.knows(KIND, sha("1"))
    assert ledger.checkpoints.get(sha("1")).sequence == 2


def test_what_is_needed_is_not_deleted(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    for step, text in enumerate(["v1", "v2", "v3", "start", "pinned", "progress", "free", "latest"]):
        extra = {"run": "run-0001"} if text == "progress" else {}
        save(ledger, text, step, pinned=text == "pinned", **extra)
    ledger.runs.update("run-0001", fence=None, start=sha("start"))
    for revision, text in enumerate(["v1", "v2", "v3"]):
        model = ledger.models.register("first", "dio", sha(text), scores={}, fence=None)
        ledger.models.promote(model.name, expected_revision=revision, decision={}, fence=None)
    needed = {
        "v3": "champion",
        "v2": "rolled back",
        "start": "start of an open run",
        "pinned": "pinned",
        "progress": "run-0001 goes on",
        "latest": "latest of dio",
    }
    for text, reason in needed.items():
        with pytest.raises(StateError, match=reason):
            ledger.tombstones.begin_delete(KIND, sha(text))
    with pytest.raises(StateError, match="open run"):
        ledger.tombstones.begin_delete(ArtifactKind.DATASET, sha("d"))
    assert ledger.tombstones.pending() == []
    for text in ("v1", "free"):
        delete(ledger, text)
    ledger.runs.end("run-0001", "done", "", None)
    for text in ("start", "progress"):
        delete(ledger, text)
    ledger.tombstones.begin_delete(ArtifactKind.DATASET, sha("d"))
    assert ledger.datasets.list() == []
    assert not ledger.datasets.exists(sha("d"))
    ledger.datasets.add(dataset(at=START))
    assert ledger.datasets.exists(sha("d"))


def test_unknown_artifacts_are_not_deleted(ledger: Ledger) -> None:
    for kind in ArtifactKind:
        with pytest.raises(NotFoundError):
            ledger.tombstones.begin_delete(kind, sha("absent"))


def test_a_deleted_checkpoint_is_never_promoted(ledger: Ledger) -> None:
    save(ledger, "a")
    save(ledger, "b", 1)
    model = ledger.models.register("first", "dio", sha("a"), scores={}, fence=None)
    delete(ledger, "a")
    with pytest.raises(NotFoundError):
        ledger.models.promote(model.name, expected_revision=0, decision={}, fence=None)
    assert ledger.models.champion("first", "dio") is None


def test_a_damaged_checkpoint_is_found_and_never_offered(ledger: Ledger) -> None:
    ledger.datasets.add(dataset())
    ledger.runs.add(run())
    base = save(ledger, "0")
    fifty = save(ledger, "50", 50, run="run-0001", stats={"loss": 2.0})
    hundred = save(ledger, "100", 100, run="run-0001", stats={"loss": 1.0})
    ledger.checkpoints.mark_damaged(hundred.hash, "model.safetensors: it is missing")
    assert ledger.checkpoints.latest("first", "dio") == fifty
    assert ledger.checkpoints.latest_of_run("run-0001") == fifty
    assert ledger.checkpoints.of_run("run-0001") == [fifty]
    assert ledger.checkpoints.lowest("first", "dio", "loss") == fifty
    found = hundred.model_copy(update={"damage": "model.safetensors: it is missing"})
    assert ledger.checkpoints.get(hundred.hash) == found
    assert ledger.checkpoints.by_step("first", "dio", 100) == found
    assert ledger.checkpoints.list("first", "dio") == [base, fifty, found]
    with pytest.raises(CorruptError, match="is damaged: model"):
        ledger.models.register("first", "dio", hundred.hash, scores={}, fence=None)
    # What would be gone on from is kept, though a newer one has a row.
    with pytest.raises(StateError, match="latest of dio"):
        ledger.tombstones.begin_delete(KIND, fifty.hash)
    # The same bytes saved again are sound, and so is what was restored.
    assert save(ledger, "100", 100, run="run-0001", stats={"loss": 1.0}) == hundred
    ledger.checkpoints.mark_damaged(fifty.hash, "it is missing")
    ledger.checkpoints.mark_sound(fifty.hash)
    assert ledger.checkpoints.of_run("run-0001") == [fifty, hundred]


def test_of_several_at_one_step_a_sound_one_is_meant(ledger: Ledger) -> None:
    first, second = save(ledger, "a", 5), save(ledger, "b", 5)
    ledger.checkpoints.mark_damaged(second.hash, "it is missing")
    assert ledger.checkpoints.by_step("first", "dio", 5) == first
