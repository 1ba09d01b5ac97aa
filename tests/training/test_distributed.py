from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from realm.core.errors import DivergedError
from realm.core.events import Event, Failed, RolledBack, RunInterrupted, StepTaken
from realm.jobs.children import Child, WarmLauncher
from realm.jobs.tail import EventTail
from realm.models.encodings import Encoded
from realm.training.agent import cause
from realm.training.batching import Unit
from realm.training.distributed import balanced
from realm.training.engine import train
from realm.training.job import TrainJob
from training.distributed_entries import spoil
from training.tiny_ranks import Runs, spread, stage_at
from training.tiny_runs import llama, losses, qwen3, stages

LORA = {"kind": "lora", "rank": 4, "alpha": 8}


def unit(tokens: int, row: int) -> Unit:
    sequence = Encoded(np.zeros(tokens, np.int32), np.ones(tokens, np.float32), turns=1, full_tokens=tokens)
    return Unit((sequence,), row)


def norms(events: Sequence[Event]) -> list[float]:
    return [event.gradient_norm for event in events if isinstance(event, StepTaken)]


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_units_are_shared_by_tokens(ranks: int) -> None:
    units = [unit(2 + (7 * i * i) % 90, i) for i in range(40)]
    shares = balanced(units, ranks)
    assert sorted(u.row for share in shares for u in share) == list(range(40))
    assert all([u.row for u in share] == sorted(u.row for u in share) for share in shares)
    loads = [sum(u.tokens for u in share) for share in shares]
    assert max(loads) - min(loads) <= max(u.tokens for u in units)
    assert max(loads) <= 4 / 3 * sum(loads) / ranks
    assert [[u.row for u in share] for share in balanced(units, ranks)] == [
        [u.row for u in share] for share in shares
    ]


def test_with_fewer_units_than_ranks_some_get_none() -> None:
    shares = balanced([unit(5, 0), unit(9, 1)], 4)
    assert [[u.row for u in share] for share in shares] == [[1], [0], [], []]


class Plain:
    """Runs of the plain job, whole or as an adapter: each is trained once, and then only read."""

    def __init__(self, folder: Path, warm: WarmLauncher) -> None:
        self._folder, self._warm = folder, warm
        self._made: dict[str, tuple[Runs, TrainJob]] = {}
        self._events: dict[str, list[Event]] = {}

    def job(self, parameters: Any) -> TrainJob:
        return self._of(parameters)[1]

    def alone(self, parameters: Any) -> list[Event]:
        runs, job = self._of(parameters)
        return self._once(f"{parameters} alone", lambda: runs.alone(job))

    def together(self, parameters: Any, strategy: str) -> list[Event]:
        """Return the events of two ranks."""
        runs, job = self._of(parameters)
        return self._once(f"{parameters} {strategy}", lambda: runs.together(job, 2, strategy))

    def _of(self, parameters: Any) -> tuple[Runs, TrainJob]:
        name = str(parameters)
        if name not in self._made:
            folder = self._folder / str(len(self._made))
            folder.mkdir()
            runs = Runs(folder, self._warm)
            self._made[name] = runs, runs.job(parameters=parameters)
        return self._made[name]

    def _once(self, name: str, train: Callable[[], list[Event]]) -> list[Event]:
        if name not in self._events:
            self._events[name] = train()
        return self._events[name]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, warm: WarmLauncher) -> Plain:
    return Plain(tmp_path_factory.mktemp("plain"), warm)


@pytest.mark.parametrize("parameters", ["full", LORA], ids=["full", "lora"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_ranks_train_as_one_process_does(plain: Plain, strategy: str, parameters: Any) -> None:
    alone, together = plain.alone(parameters), plain.together(parameters, strategy)
    assert losses(together) == pytest.approx(losses(alone), abs=1e-5)
    assert norms(together) == pytest.approx(norms(alone), rel=1e-4)
    assert sorted(event.kind for event in together) == sorted(event.kind for event in alone)
    counts = [(e.tokens, e.trained_tokens) for e in alone if isinstance(e, StepTaken)]
    assert [(e.tokens, e.trained_tokens) for e in together if isinstance(e, StepTaken)] == counts
    mine, theirs = stage_at(alone, 6), stage_at(together, 6)
    assert sorted(p.name for p in mine.iterdir()) == sorted(p.name for p in theirs.iterdir())
    for path in mine.glob("*.safetensors"):
        expected, found = load_file(path), load_file(theirs / path.name)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3)


def test_a_sharded_model_is_loaded_by_transformers(runs: Runs) -> None:
    stage = stage_at(runs.together(runs.job(model=llama()), 2, "fsdp2"), 6)
    model, said = AutoModelForCausalLM.from_pretrained(stage, output_loading_info=True)
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    written = load_file(stage / "model.safetensors")
    assert all(torch.equal(value, written[name]) for name, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_sharded_adapter_is_loaded_by_peft(plain: Plain) -> None:
    stage = stage_at(plain.together(LORA, "fsdp2"), 6)
    base = AutoModelForCausalLM.from_pretrained(plain.job(LORA).start)
    loaded = PeftModel.from_pretrained(base, stage)
    written = load_file(stage / "adapter_model.safetensors")
    found = {name.replace(".default", ""): value for name, value in loaded.state_dict().items()}
    assert all(torch.equal(found[name], value) for name, value in written.items())
    assert any(bool(value.any()) for name, value in written.items() if "lora_B" in name)


@pytest.mark.parametrize("parameters", ["full", LORA], ids=["full", "lora"])
def test_a_run_goes_on_with_another_number_of_processes(runs: Runs, plain: Plain, parameters: Any) -> None:
    job, whole = plain.job(parameters), plain.alone(parameters)
    three = runs.together(job, 3, "fsdp2")
    assert losses(three) == pytest.approx(losses(whole), abs=1e-5)
    from_2 = job.model_copy(update={"start": str(stage_at(three, 2))})
    two = runs.together(from_2, 2, "ddp")
    assert losses(two) == pytest.approx(losses(whole)[2:], abs=1e-5)
    from_4 = job.model_copy(update={"start": str(stage_at(two, 4))})
    assert losses(runs.together(from_4, 2, "fsdp2")) == pytest.approx(losses(whole)[4:], abs=1e-5)
    assert losses(runs.alone(from_4)) == pytest.approx(losses(whole)[4:], abs=1e-5)


def test_the_same_ranks_go_on_bit_by_bit(runs: Runs, plain: Plain) -> None:
    job, whole = plain.job("full"), plain.together("full", "ddp")
    rest = runs.together(job.model_copy(update={"start": str(stage_at(whole, 2))}), 2, "ddp")
    assert losses(rest) == losses(whole)[2:]
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (stage_at(rest, 6) / name).read_bytes() == (stage_at(whole, 6) / name).read_bytes()


def test_layers_are_computed_again_and_rows_held_out_while_sharded(runs: Runs) -> None:
    memory = {"tokens_at_once": 60, "recompute_layers": 1}
    job = runs.job(model=llama(), memory=memory, where={"validation": {"share": 0.3, "every_steps": 2}})
    alone, together = runs.alone(job), runs.together(job, 2, "fsdp2")
    assert losses(together) == pytest.approx(losses(alone), abs=1e-5)
    measured = [
        [e.losses["held-out"] for e in es if e.kind == "validation_measured"] for es in (alone, together)
    ]
    assert len(measured[0]) == 3
    assert measured[1] == pytest.approx(measured[0], abs=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_ranks_go_back_together_and_give_up_together(
    runs: Runs, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = runs.job(saving={"every_steps": 1}, memory={})
    spoil(monkeypatch.setattr)
    seen: list[Event] = []
    with pytest.raises(DivergedError) as alone:
        train(job, seen.append, lambda: False)
    events, told = runs.ended(job, 2, strategy, "be_spoilt_rank")
    assert [e.to_step for e in seen if isinstance(e, RolledBack)][:3] == [2, 2, 2]
    assert sorted(event.kind for event in events) == sorted(event.kind for event in seen)
    found = cause("run", 2, told, dict.fromkeys(told, 1))
    assert (found.error, found.what) == ("DivergedError", alone.value.what)
    assert not list(Path(job.stages).glob("*-kept-*"))


def test_every_rank_holds_its_share(runs: Runs) -> None:
    job = runs.job()
    held = [json.loads(path.read_text()) for path in runs.launch("hold", job, 2, "fsdp2")]
    whole = sum(parameter.numel() for parameter in qwen3().parameters())
    assert [facts["whole"] for facts in held] == [whole, whole]
    assert sum(facts["held"] for facts in held) == whole
    assert max(facts["held"] for facts in held) < 0.6 * whole


# --- started, watched and ended by torchrun's agent ---------------------------------------


def failed(error: str, at: str = "") -> Failed:
    return Failed(run="run", error=error, what=f"{error} said", at=at)


def test_a_silent_death_is_named_before_what_it_did_to_others() -> None:
    found = cause("run", 2, {0: failed("RuntimeError", "1")}, {0: 1, 1: -9})
    assert (found.error, found.what) == (
        "ChildDiedError",
        "rank 1 of 2 (the first is 0) of run was killed by signal 9",
    )


def test_a_rank_that_the_system_killed_for_memory_is_told_as_that() -> None:
    found = cause("run", 2, {0: failed("RuntimeError", "1")}, {0: 1, 1: -9}, starved=True)
    assert found.error == "OutOfMemoryError"


def test_an_error_that_all_ranks_raise_is_told_once_and_without_a_rank() -> None:
    found = cause("run", 2, {0: failed("MaskingError", "2"), 1: failed("MaskingError", "1")}, {0: 1, 1: 1})
    assert found.what == "MaskingError said"


def test_an_error_on_purpose_is_named_before_everything_else() -> None:
    told = {0: failed("RuntimeError", "1"), 1: failed("DivergedError", "2")}
    found = cause("run", 3, told, {0: 1, 1: 1, 2: -15})
    assert (found.error, found.what) == ("DivergedError", "rank 1 of 3: DivergedError said")


def test_of_unforeseen_errors_the_first_counts() -> None:
    told = {0: failed("RuntimeError", "2"), 1: failed("ValueError", "1")}
    assert cause("run", 3, told, {0: 1, 1: 1, 2: -15}).error == "ValueError"


class Launched:
    """A run that torchrun's agent carries."""

    def __init__(self, warm: WarmLauncher, job: TrainJob, folder: Path) -> None:
        spec, self.log = folder / "training.json", folder / "log.txt"
        spec.write_text(job.model_dump_json())
        self.child: Child = warm.launch("realm.training.agent:main", spec, self.log)
        self._tail = EventTail(Path(job.events))
        self.events: list[Event] = []

    def ranks(self) -> list[psutil.Process]:
        """Return the processes of the ranks, the first first."""
        found = psutil.Process(self.child.pid).children()
        return sorted(found, key=lambda process: int(process.environ().get("RANK", -1)))

    def until(self, seen: Callable[[list[Event]], object]) -> None:
        """Follow the events until they show something; fails when the run ends before."""
        deadline = time.monotonic() + 60
        while not seen(self.events):
            assert self.child.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            self.events += self._tail.read()
            time.sleep(0.02)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = asyncio.run(asyncio.wait_for(self.child.wait(), 60))
        self.events += self._tail.read()
        return code


def eventually_gone(processes: Sequence[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_killed_rank_ends_the_run_which_goes_on_with_others(warm: WarmLauncher, runs: Runs) -> None:
    job = runs.job(steps=2000, saving={"every_steps": 2})
    launched = Launched(warm, spread(job, 2, "fsdp2"), runs.folder)
    launched.until(stages)
    ranks = launched.ranks()
    os.kill(ranks[1].pid, signal.SIGKILL)
    assert launched.end() == 1
    assert eventually_gone(ranks)
    failures = [event for event in launched.events if isinstance(event, Failed)]
    assert [failure.error for failure in failures] == ["ChildDiedError"]
    assert "rank 1 of 2 (the first is 0) of run was killed by signal 9" in failures[0].what
    saved = stages(launched.events)[-1]
    brief = runs.job(steps=saved.step + 4)
    rest = runs.together(brief.model_copy(update={"start": saved.stage}), 3, "ddp")
    alone = runs.alone(brief.model_copy(update={"events": str(runs.folder / "alone.jsonl")}))
    assert losses(rest) == pytest.approx(losses(alone)[saved.step :], abs=1e-4)


def test_sigterm_lets_all_ranks_save_and_leave(warm: WarmLauncher, runs: Runs) -> None:
    launched = Launched(warm, spread(runs.job(steps=2000), 2, "ddp"), runs.folder)
    launched.until(lambda events: any(isinstance(event, StepTaken) for event in events))
    listening = [
        connection.laddr.ip
        for process in (psutil.Process(launched.child.pid), *launched.ranks())
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    launched.child.terminate()
    assert launched.end() == 0
    assert set(listening) <= {"127.0.0.1", "::1"}
    (left,) = [event for event in launched.events if isinstance(event, RunInterrupted)]
    assert stages(launched.events)[-1].step == left.step > 0
    assert not [event for event in launched.events if isinstance(event, Failed)]


def test_ranks_die_with_a_killed_agent(warm: WarmLauncher, runs: Runs) -> None:
    launched = Launched(warm, spread(runs.job(steps=2000), 2, "ddp"), runs.folder)
    launched.until(lambda _: len(launched.ranks()) == 2)
    ranks = launched.ranks()
    launched.child.kill()
    assert launched.end() == -signal.SIGKILL
    assert eventually_gone(ranks)


def test_moments_that_cannot_be_shared_out_are_refused(warm: WarmLauncher, runs: Runs) -> None:
    job = runs.job(optimizer={"kind": "muon"})
    launched = Launched(warm, spread(job, 2, "fsdp2"), runs.folder)
    assert launched.end() == 1
    (told,) = launched.events
    assert isinstance(told, Failed)
    assert (told.error, "muon" in told.what) == ("ConfigError", True)
