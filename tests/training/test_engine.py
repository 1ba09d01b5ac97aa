from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import chat, drills, llama, losses, make_job, make_start, run, stages, texts

from realm.core.errors import (
    CorruptError,
    DataError,
    DivergedError,
    MaskingError,
    OutOfMemoryError,
    StorageError,
)
from realm.core.events import (
    Event,
    MaskingProven,
    RolledBack,
    RunFinished,
    RunInterrupted,
    RunStarted,
    StepTaken,
)
from realm.core.records import Example
from realm.models.files import load
from realm.training.batches import Batches, Gradient
from realm.training.batching import Batch, Unit
from realm.training.engine import train
from realm.training.job import TrainJob
from realm.training.method import Loss
from realm.training.state import Progress, read_progress, write_progress
from realm.training.trainee import Trainee

MIXED = [*drills(9), *texts(4)]


def _bytes(stage: str) -> dict[str, bytes]:
    names = ("model.safetensors", "optimizer.safetensors", "training.json")
    return {name: (Path(stage) / name).read_bytes() for name in names}


def _from(job: TrainJob, stage: str) -> TrainJob:
    return job.model_copy(update={"start": stage})


def test_events_of_a_run_in_order(tmp_path: Path) -> None:
    events = run(make_job(tmp_path, drills(20), steps=6, saving={"every_steps": 4}))
    kinds = [event.kind for event in events]
    # A stage is told when it is written, which goes on beside the steps after it.
    told = [kind for kind in kinds if kind != "checkpoint_staged"]
    assert told == ["run_started", "masking_proven", *["step_taken"] * 6, "run_finished"]
    assert kinds.index("checkpoint_staged") >= 6
    assert kinds[-2:] == ["checkpoint_staged", "run_finished"]
    assert [(s.step, s.hero_step, s.final) for s in stages(events)] == [(4, 4, False), (6, 6, True)]
    started = next(e for e in events if isinstance(e, RunStarted))
    assert (started.steps_total, started.step, started.device) == (6, 0, "cpu")


def test_a_stage_holds_the_model_and_the_state_and_loads(tmp_path: Path) -> None:
    events = run(make_job(tmp_path, drills(20), steps=3))
    stage = Path(stages(events)[-1].stage)
    assert stage.name.startswith("run-3-")
    assert {path.name for path in stage.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    }
    load(stage)
    assert json.loads((stage / "config.json").read_text())["model_type"] == "qwen3"


def test_stats_are_those_of_the_steps_since_the_last_save(tmp_path: Path) -> None:
    events = run(make_job(tmp_path, drills(20), steps=5, saving={"every_steps": 3}))
    taken = [e for e in events if isinstance(e, StepTaken)]
    first, last = (stage.stats for stage in stages(events))
    assert first["loss"] == pytest.approx(sum(e.loss for e in taken[:3]) / 3)
    assert last["loss"] == pytest.approx(sum(e.loss for e in taken[3:]) / 2)
    assert last["tokens"] == sum(e.tokens for e in taken[3:])
    assert last["trained_tokens"] == sum(e.trained_tokens for e in taken[3:])
    assert last["learning_rate"] == taken[-1].learning_rate
    assert set(first) == {"loss", "gradient_norm", "tokens", "trained_tokens", "seconds", "learning_rate"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns(tmp_path: Path, precision: str) -> None:
    rows = [chat("Compute: " + d, d) for d in ("⓪", "①")] * 8
    job = make_job(tmp_path, rows, steps=60, schedule={"kind": "constant"}, precision=precision)
    found = losses(run(job))
    assert found[-1] < 0.05 < found[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("carry", [True, False])
@pytest.mark.parametrize("stop_after", [1, 4, 5, 9])
def test_a_stopped_run_ends_with_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, stop_after: int, carry: bool, precision: str
) -> None:
    schedule = {"kind": "linear", "clock": "hero", "warmup_steps": 3, "horizon_steps": 20}
    recipe = {"optimizer": {"carry": carry}, "schedule": schedule, "saving": {"every_steps": 5}}
    job = make_job(tmp_path, MIXED, precision=precision, **recipe)
    undisturbed = stages(run(job))[-1]
    events = run(job, stop_after=stop_after)
    assert isinstance(events[-1], RunInterrupted)
    assert events[-1].step == stages(events)[-1].step == stop_after
    resumed = run(_from(job, stages(events)[-1].stage))
    assert losses(events) + losses(resumed) == losses(run(job))
    assert _bytes(stages(resumed)[-1].stage) == _bytes(undisturbed.stage)


def test_a_killed_run_goes_on_from_its_last_save(tmp_path: Path) -> None:
    job = make_job(tmp_path, MIXED, saving={"every_steps": 2})
    every = stages(run(job))
    for stage in every[:-1]:
        assert _bytes(stages(run(_from(job, stage.stage)))[-1].stage) == _bytes(every[-1].stage)


def test_dropout_is_resumed_exactly(tmp_path: Path) -> None:
    model = llama()
    model.config.attention_dropout = 0.3
    make_start(tmp_path / "start", model)
    job = make_job(tmp_path, drills(12), steps=6)
    whole = run(job)
    half = run(job, stop_after=3)
    assert losses(half) + losses(run(_from(job, stages(half)[-1].stage))) == losses(whole)
    assert len(set(losses(whole))) == 6


def test_a_stop_before_the_first_step_saves_nothing(tmp_path: Path) -> None:
    events = run(make_job(tmp_path, drills(8)), stop_after=None)
    assert stages(events)
    job = make_job(tmp_path, drills(8))
    stopped: list[object] = []
    train(job, stopped.append, lambda: True)
    assert [type(e) for e in stopped] == [RunStarted, MaskingProven, RunInterrupted]


def test_resuming_a_run_that_is_complete_only_says_so(tmp_path: Path) -> None:
    job = make_job(tmp_path, drills(8), steps=3)
    last = stages(run(job))[-1]
    events = run(_from(job, last.stage))
    assert [type(e) for e in events] == [RunStarted, MaskingProven, RunFinished]


def test_a_second_run_continues_the_heros_life(tmp_path: Path) -> None:
    schedule = {"kind": "linear", "clock": "hero", "horizon_steps": 10}
    first = run(make_job(tmp_path, drills(8), steps=3, schedule=schedule))
    start = stages(first)[-1].stage
    second = run(_from(make_job(tmp_path, drills(8), run="second", steps=2, schedule=schedule), start))
    taken = [e for e in second if isinstance(e, StepTaken)]
    assert [(e.step, e.hero_step) for e in taken] == [(1, 4), (2, 5)]
    assert taken[0].learning_rate == pytest.approx(2e-3 * 0.7)
    progress = read_progress(Path(stages(second)[-1].stage))
    assert progress is not None
    assert (progress.run, progress.step, progress.hero_step) == ("second", 2, 5)


def test_carried_moments_change_the_next_run_and_fresh_ones_do_not(tmp_path: Path) -> None:
    start = Path(stages(run(make_job(tmp_path, drills(8), steps=3)))[-1].stage)

    def weights(carry: bool) -> bytes:
        job = make_job(tmp_path, drills(8), run="next", steps=2, optimizer={"carry": carry})
        return _bytes(stages(run(_from(job, str(start))))[-1].stage)["model.safetensors"]

    carried, fresh = weights(True), weights(False)
    (start / "optimizer.safetensors").unlink()
    assert weights(True) == weights(False) == fresh != carried


def test_a_start_that_gives_no_finite_loss_is_refused(tmp_path: Path) -> None:
    start = make_start(tmp_path / "start")
    weights = load_file(start / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, start / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DivergedError, match="before the first step"):
        run(make_job(tmp_path, drills(8)))
    assert not (tmp_path / "stages").exists()


def test_divergence_names_the_step_and_saves_nothing_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realm.training.methods.supervised import Supervised

    before = Supervised.loss
    calls: list[int] = []

    def spoilt(self: Supervised, trainee: Trainee, batch: Batch) -> Loss:
        calls.append(1)
        loss = before(self, trainee, batch)
        return Loss(loss.total * math.inf) if len(calls) >= 6 else loss

    monkeypatch.setattr(Supervised, "loss", spoilt)
    job = make_job(tmp_path, drills(8), saving={"every_steps": 4})
    events: list[Event] = []
    with pytest.raises(DivergedError, match="at step 5 the loss is inf"):
        train(job, events.append, lambda: False)
    assert [path.name.split("-")[1] for path in (tmp_path / "stages").iterdir()] == ["4"]
    back = [e for e in events if isinstance(e, RolledBack)]
    assert [(e.step, e.to_step) for e in back[:4]] == [(6, 5), (6, 5), (6, 4), (5, 4)]
    assert len(back) == job.recipe.rules.guard.max_discarded


def test_one_broken_batch_is_left_out_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realm.training.methods.supervised import Supervised

    before = Supervised.loss

    def spoilt(self: Supervised, trainee: Trainee, batch: Batch) -> Loss:
        loss = before(self, trainee, batch)
        bad = any(unit.row == 0 for unit in batch.units)
        return Loss(loss.total * math.nan) if bad else loss

    monkeypatch.setattr(Supervised, "loss", spoilt)
    job = make_job(tmp_path, drills(40), steps=8, order="given", saving={"every_steps": 4})
    events = run(job)
    discarded = [e for e in events if isinstance(e, RolledBack)]
    assert [(e.step, e.to_step) for e in discarded] == [(1, 0)]
    assert isinstance(events[-1], RunFinished)
    assert [e.step for e in events if isinstance(e, StepTaken)] == list(range(1, 9))
    progress = read_progress(Path(stages(events)[-1].stage))
    assert progress is not None
    assert (progress.step, progress.position, progress.discarded) == (8, 9, 1)


def _at_rate(rate: float, job: TrainJob) -> TrainJob:
    """Return a job at a rate that no recipe may have."""
    rules = job.recipe.rules
    optimizer = rules.optimizer.model_copy(update={"learning_rate": rate})
    rules = rules.model_copy(update={"optimizer": optimizer})
    return job.model_copy(update={"recipe": job.recipe.model_copy(update={"rules": rules})})


def test_a_last_step_that_breaks_the_weights_is_not_saved(tmp_path: Path) -> None:
    job = _at_rate(1e39, make_job(tmp_path, drills(8), steps=1, schedule={"kind": "constant"}))
    with pytest.raises(DivergedError, match="after step 1"):
        run(job)
    assert not (tmp_path / "stages").exists()


def test_a_huge_learning_rate_never_stages_a_broken_model(tmp_path: Path) -> None:
    job = make_job(
        tmp_path, drills(8), steps=40, saving={"every_steps": 1}, schedule={"kind": "constant"},
        optimizer={"weight_decay": 0.0},
    )  # fmt: skip
    job = _at_rate(1e18, job)
    with pytest.raises(DivergedError):
        run(job)
    for path in (tmp_path / "stages").iterdir():
        assert all(bool(t.isfinite().all()) for t in load_file(path / "model.safetensors").values())


def test_the_masking_proof_comes_before_any_step(tmp_path: Path) -> None:
    with pytest.raises(MaskingError):
        run(make_job(tmp_path, [chat("a", "b<|user|>")]))
    assert not (tmp_path / "stages").exists()


def test_dropped_rows_are_told(tmp_path: Path) -> None:
    events = run(make_job(tmp_path, [*drills(4), chat("①" * 400, "⓪")], steps=1))
    proven = next(e for e in events if isinstance(e, MaskingProven))
    lost = {"longer than 256 tokens": 1, "trained tokens of rows longer than 256 tokens": 2}
    assert (proven.rows, proven.dropped) == (4, lost)
    assert len(proven.checks) == 7


def test_optimizer_state_of_another_model_is_refused(tmp_path: Path) -> None:
    start = Path(stages(run(make_job(tmp_path, drills(8), steps=1)))[-1].stage)
    tensors = load_file(start / "optimizer.safetensors")
    name = next(name for name in tensors if name.startswith("exp_avg/"))
    save_file({**tensors, name: tensors[name][:1].clone()}, start / "optimizer.safetensors")
    with pytest.raises(CorruptError, match=r"exp_avg.* is \(1, 32\)"):
        run(_from(make_job(tmp_path, drills(8)), str(start)))


def test_a_garbled_training_state_is_refused(tmp_path: Path) -> None:
    start = make_start(tmp_path / "start")
    (start / "training.json").write_text('{"run": "run", "step": "many"}')
    with pytest.raises(CorruptError, match=r"training\.json"):
        run(make_job(tmp_path, drills(8)))


@pytest.mark.parametrize(("content", "line"), [("", None), ('{"text": "a"}\n{"txt": 1}\n', 2)])
def test_bad_row_files_are_refused_by_line(tmp_path: Path, content: str, line: int | None) -> None:
    job = make_job(tmp_path, [Example(text="a")])
    Path(job.rows[0].path).write_text(content)
    with pytest.raises(DataError) as caught:
        run(job)
    assert caught.value.line == line


def test_given_order_and_epochs(tmp_path: Path) -> None:
    events = run(make_job(tmp_path, drills(10), batch_rows=4, epochs=2, order="given"))
    assert len(losses(events)) == 5


def test_clipping_bounds_what_a_step_does_but_tells_the_true_norm(tmp_path: Path) -> None:
    events = run(make_job(tmp_path, drills(8), steps=2, clip_norm=1e-6))
    assert all(e.gradient_norm > 1e-3 for e in events if isinstance(e, StepTaken))


def test_a_checkpoint_is_saved_when_it_is_asked_for_and_the_run_goes_on(tmp_path: Path) -> None:
    asked = tmp_path / "save-now"
    job = make_job(tmp_path, drills(8), steps=6).model_copy(update={"save_now": str(asked)})
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepTaken) and event.step == 2:
            asked.touch()

    train(job, watch, lambda: False)
    assert [(stage.step, stage.final) for stage in stages(events)] == [(2, False), (6, True)]
    assert not asked.exists()
    assert isinstance(events[-1], RunFinished)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce] can't allocate memory: you tried"), torch.OutOfMemoryError("x")],
)
def test_memory_that_runs_out_is_recognised_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from realm.training.methods.supervised import Supervised

    before, calls = Supervised.loss, list[int]()

    def starved(self: Supervised, trainee: Trainee, batch: Batch) -> Loss:
        calls.append(1)
        if len(calls) == 4:
            raise error
        return before(self, trainee, batch)

    monkeypatch.setattr(Supervised, "loss", starved)
    job = make_job(tmp_path, drills(8), saving={"every_steps": 2})
    with pytest.raises(OutOfMemoryError, match="memory ran out") as caught:
        run(job)
    assert "realm estimate" in caught.value.hint
    assert [path.name.split("-")[1] for path in (tmp_path / "stages").iterdir()] == ["2"]


def test_smaller_packs_change_no_step(tmp_path: Path) -> None:
    job = make_job(tmp_path, MIXED, steps=4)
    whole = run(job)
    pieces = run(job.model_copy(update={"tokens_at_once": 24}))
    assert losses(pieces) == pytest.approx(losses(whole), rel=1e-5)


def _spoil(monkeypatch: pytest.MonkeyPatch, *bad: int) -> None:
    """Have the losses of these batches be no numbers."""
    units, gradient, drawn = Batches.units, Batches.gradient, list[int]()

    def draw(self: Batches, batch: int) -> list[Unit]:
        drawn.append(batch)
        return units(self, batch)

    def spoilt(self: Batches, found: Sequence[Unit]) -> Gradient:
        sound = gradient(self, found)
        return sound._replace(loss=math.nan) if drawn[-1] in bad else sound

    monkeypatch.setattr(Batches, "units", draw)
    monkeypatch.setattr(Batches, "gradient", spoilt)


@pytest.mark.parametrize(("stop", "bad", "regular"), [(5, (6, 7, 8), 4), (2, (3, 4, 5), None)])
def test_a_stop_before_the_weights_break_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, bad: tuple[int, ...], regular: int | None
) -> None:
    _spoil(monkeypatch, *bad)
    job = make_job(tmp_path, drills(21), steps=8, saving={"every_steps": 4})
    whole = run(job)
    before = run(job, stop_after=stop)
    saved = {stage.step: stage.stage for stage in stages(before)}
    back = saved[regular] if regular else job.start
    after = run(_from(job, saved[stop]).model_copy(update={"back": back}))
    assert [e.to_step for e in after if isinstance(e, RolledBack)][-1] == (regular or 0)
    assert _bytes(stages(after)[-1].stage) == _bytes(stages(whole)[-1].stage)


def test_a_save_that_somebody_asked_for_is_not_gone_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, 6, 7, 8)
    asked = tmp_path / "save-now"
    job = make_job(tmp_path, drills(21), steps=8, saving={"every_steps": 4})
    whole = run(job)
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepTaken) and event.step == 5:
            asked.touch()

    train(job.model_copy(update={"save_now": str(asked)}), watch, lambda: False)
    assert [stage.step for stage in stages(events)][:2] == [4, 5]
    assert [e.to_step for e in events if isinstance(e, RolledBack)][-1] == 4
    assert _bytes(stages(events)[-1].stage) == _bytes(stages(whole)[-1].stage)


def test_what_is_kept_to_go_back_to_may_be_removed_from_a_sound_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(tmp_path, drills(8), steps=6, saving={"every_steps": 2, "asynchronous": False})
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepTaken) and event.step == 3:
            shutil.rmtree(job.stages)

    train(job, watch, lambda: False)
    assert [stage.step for stage in stages(events)] == [2, 4, 6]
    assert isinstance(events[-1], RunFinished)
    assert [record.getMessage().split(", ")[1] for record in caplog.records] == ["kept to go back to"]


def test_a_run_whose_way_back_is_gone_ends_with_what_broke_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, 3, 4, 5)
    job = make_job(tmp_path, drills(21), steps=8, saving={"every_steps": 2})
    told: list[tuple[int, int]] = []

    def remove(event: Event) -> None:
        if isinstance(event, RolledBack):
            told.append((event.step, event.to_step))
            for kept in Path(job.stages).glob("*-kept-*"):
                shutil.rmtree(kept)

    with pytest.raises(
        DivergedError, match=r"at step 4 the loss is nan .*; what it would go back to is gone: "
    ) as caught:
        train(job, remove, lambda: False)
    assert "realm queue retry run" in caught.value.hint
    assert told == [(4, 3), (4, 3), (4, 2)]


def test_without_hard_links_what_is_kept_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil(monkeypatch, 3, 4, 5)
    job = make_job(tmp_path, drills(21), steps=4, saving={"every_steps": 2})
    linked = run(job)
    monkeypatch.setattr(os, "link", _refused(errno.EPERM))
    copied = run(job)
    assert [e.to_step for e in copied if isinstance(e, RolledBack)] == [3, 3, 2]
    assert _bytes(stages(copied)[-1].stage) == _bytes(stages(linked)[-1].stage)


def test_a_disk_that_is_full_at_the_second_name_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _refused(errno.ENOSPC))
    monkeypatch.setattr(shutil, "copyfile", _refused(errno.ENOSPC))
    job = make_job(tmp_path, drills(8), steps=4, saving={"every_steps": 2, "asynchronous": False})
    with pytest.raises(StorageError, match="No space left") as caught:
        run(job)
    assert "free some space" in caught.value.hint
    assert not list(Path(job.stages).glob("*-kept-*"))


def _refused(number: int) -> Callable[..., None]:
    def refuse(*given: object, **settings: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_stage_that_is_removed_while_it_is_written_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(progress: Progress, folder: Path) -> None:
        shutil.rmtree(folder)
        write_progress(progress, folder)

    monkeypatch.setattr("realm.training.saving.write_progress", removed)
    with pytest.raises(StorageError, match="was removed while it was written") as caught:
        run(make_job(tmp_path, drills(8), steps=2))
    assert "leave stages alone" in caught.value.hint
