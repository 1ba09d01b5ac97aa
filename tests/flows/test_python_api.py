from __future__ import annotations

from pathlib import Path

from realm import Realm
from realm.core.events import CheckpointSaved, Event
from tiny_lab import chat_rows, job_state, make_lab


def test_a_lab_is_used_from_python_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(chat_rows(40))
    seen: list[Event] = []
    with Realm(make_lab(tmp_path / "home", drills=False)) as lab:
        lab.attach(seen.append)
        job = lab.add(tmp_path / "mine.jsonl")
        assert lab.add(tmp_path / "mine.jsonl") == job  # the same file is trained once
        lab.up(lambda: job_state(lab, job.id) in ("done", "failed"))

        assert job_state(lab, job.id) == "done"
        assert [run.step for run in lab.runs()] == [10]
        assert [event.hero_step for event in seen if isinstance(event, CheckpointSaved)] == [0, 10]
        assert lab.checkpoint("dio@10") == lab.checkpoint("dio@latest")
        assert lab.sheet().inverse_loss is not None
        assert lab.champion() is None
        conversation = lab.chat("dio@latest")
        first = conversation.ask("What is 3?")
        assert conversation.ask("What is 3?") == first  # this hero is shown one question at a time
        assert lab.ask("What is 3?", model="dio@10") == first
    assert (tmp_path / "mine.jsonl").exists()
