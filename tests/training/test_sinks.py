from __future__ import annotations

import json
import logging
import os
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from realm.core.errors import ConfigError, MissingExtraError
from realm.core.events import (
    AlertRaised,
    Event,
    Failed,
    LayersMeasured,
    PreviewWritten,
    RolledBack,
    RunFinished,
    RunInterrupted,
    RunStarted,
    StepTaken,
    ValidationMeasured,
)
from realm.training.sink import SINKS, Measured, Outcome, Relay, TrackedRun, measured_in, relay_all
from realm.training.sinks.jsonl import Figure
from realm.training.watch import Watch

LIBRARIES = {"tensorboard": "tensorboard", "trackio": "trackio", "mlflow": "mlflow", "wandb": "wandb"}
AT = "2026-11-21T09:00:00+00:00"


def _started(step: int = 0) -> RunStarted:
    return RunStarted(run="r1", steps_total=9, step=step, parameters=5, device="cpu")


def _step(step: int, loss: float = 2.0) -> StepTaken:
    return StepTaken(
        run="r1",
        at=AT,
        step=step,
        steps_total=9,
        hero_step=100 + step,
        loss=loss,
        gradient_norm=0.5,
        learning_rate=1e-3,
        tokens=200,
        trained_tokens=50,
        seconds=0.1,
        figures={"margin": 0.25},
    )


def _run(tmp_path: Path, step: int = 0) -> TrackedRun:
    settings: dict[str, str | int | float | bool] = {"rules.batch_rows": 64, "method.kind": "supervised"}
    return TrackedRun(
        run="r1", id="first-r1-1a2b", group="dio", settings=settings, folder=str(tmp_path), step=step
    )


# --- names ---------------------------------------------------------------------------------


def test_a_step_becomes_the_usual_figures() -> None:
    measured = measured_in(_step(3))
    assert measured == Measured(
        step=3,
        at=AT,
        figures={
            "train/margin": 0.25,
            "train/loss": 2.0,
            "train/grad_norm": 0.5,
            "train/learning_rate": 1e-3,
            "train/tokens_per_second": 2000.0,
            "train/trained_tokens_per_second": 500.0,
            "train/step_seconds": 0.1,
            "train/hero_step": 103.0,
        },
    )


@pytest.mark.parametrize(
    ("event", "figures"),
    [
        (
            ValidationMeasured(run="r1", step=4, losses={"held-out": 1.5}, rows={"held-out": 9}),
            {"eval/held-out_loss": 1.5},
        ),
        (
            LayersMeasured(
                run="r1", step=4, norms={"embed": 1.0}, gradients={"embed": 2.0}, drift={"head": 0.1}
            ),
            {"layers/embed/norm": 1.0, "layers/embed/grad_norm": 2.0, "layers/head/drift": 0.1},
        ),
        (AlertRaised(run="r1", step=4, alert="plateau", what="", hint=""), {"alerts/plateau": 1.0}),
        (RolledBack(run="r1", step=4, to_step=3, cause=""), {"alerts/rolled_back": 1.0}),
    ],
)
def test_other_events_with_figures(event: Event, figures: dict[str, float]) -> None:
    measured = measured_in(event)
    assert measured is not None
    assert (measured.step, measured.figures) == (4, figures)


def test_events_without_figures_are_none_of_a_trackers_business() -> None:
    assert measured_in(PreviewWritten(run="r1", step=1, samples=(("a", "b"),), source="")) is None
    assert measured_in(_started()) is None


# --- every kind ----------------------------------------------------------------------------

Found = list[tuple[int, float]]


def _read_jsonl(folder: Path) -> Found:
    lines = (folder / "r1.figures.jsonl").read_text().splitlines()
    figures = [Figure.model_validate_json(line) for line in lines]
    return [(f.step, f.value) for f in figures if f.name == "train/loss" and f.value is not None]


def _read_tensorboard(folder: Path) -> Found:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard" / "r1"))
    accumulator.Reload()
    return [(s.step, s.value) for s in accumulator.Scalars("train/loss")]


def _read_trackio(folder: Path) -> Found:
    with sqlite3.connect(folder / "trackio" / "realm.db") as database:
        rows = database.execute(
            "select step, metrics from metrics where run_name = 'first-r1-1a2b' order by id"
        ).fetchall()
    return [(step, json.loads(metrics)["train/loss"]) for step, metrics in rows]


def _read_mlflow(folder: Path) -> Found:
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("realm")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["rules.batch_rows"] == "64"
    assert run.info.status == "FINISHED"
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "train/loss")]


def _read_wandb(folder: Path) -> Found:
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # its service writes the last figures on its own time, or now
    found: Found = []
    for path in sorted(
        (folder / "wandb").glob("r1-*/wandb/offline-run-*-first-r1-1a2b/run-first-r1-1a2b.wandb")
    ):
        for data in _wandb_records(path.read_bytes()):
            history = Record.FromString(data).history.item
            values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in history}
            if "train/loss" in values:
                found.append((values["step"], values["train/loss"]))
    return found


def _wandb_records(data: bytes) -> list[bytes]:
    """Read W&B's file: LevelDB's log format in blocks of 32 KiB, behind a header of 7 bytes."""
    records, begun, place, block = list[bytes](), b"", 7, 1 << 15
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        length, part = struct.unpack_from("<HB", data, place + 4)
        begun = (b"" if part in (1, 2) else begun) + data[place + 7 : place + 7 + length]
        if part in (1, 4):
            records.append(begun)
        place += 7 + length
    return records


READERS: dict[str, Callable[[Path], Found]] = {
    "jsonl": _read_jsonl,
    "tensorboard": _read_tensorboard,
    "trackio": _read_trackio,
    "mlflow": _read_mlflow,
    "wandb": _read_wandb,
}


def _write_twice(kind: str, folder: Path) -> None:
    """Three steps, a crash, and two more from the checkpoint after step 2."""
    for steps, resumed in (((1, 2, 3), 0), ((3, 4), 2)):
        relay = Relay(kind, SINKS.build(kind), _run(folder), room=100)
        relay.emit(_started(resumed))
        for step in steps:
            relay.emit(_step(step, loss=step + resumed))
        if resumed:
            relay.emit(RunFinished(run="r1", step=4, seconds=1.0))
        assert relay.close(60.0) == 0


def test_there_is_a_reader_for_every_kind() -> None:
    assert sorted(READERS) == SINKS.names()


@pytest.mark.parametrize("kind", SINKS.names())
def test_a_resumed_run_goes_on_in_the_same_record(kind: str, tmp_path: Path) -> None:
    if kind in LIBRARIES and find_spec(LIBRARIES[kind]) is None:
        with pytest.raises(MissingExtraError, match=kind):
            SINKS.build(kind).open(_run(tmp_path))
        return
    # In a process of its own: trackers leave threads, warnings and settings behind.
    code = "import sys, test_sinks; test_sinks._check(*sys.argv[1:])"
    environment = {k: v for k, v in os.environ.items() if k != "TRACKIO_DIR"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, kind, str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "standard output belongs to whoever started the process"


def _check(kind: str, path: str) -> None:
    folder = Path(path)
    _write_twice(kind, folder)
    found = READERS[kind](folder)
    assert found[:2] == [(1, 1.0), (2, 2.0)], found
    assert found[-2:] == [(3, 5.0), (4, 6.0)], found


@pytest.mark.parametrize("kind", SINKS.names())
def test_reading_a_config_loads_no_library(kind: str) -> None:
    code = (
        f"import sys; from realm.training.watch import Watch; Watch(sinks=['{kind}']);"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", *LIBRARIES} & set(done.stdout.split())


def test_a_torn_line_of_jsonl_is_closed_first(tmp_path: Path) -> None:
    path = tmp_path / "r1.figures.jsonl"
    path.write_text('{"step": 1, "na')
    sink = SINKS.build("jsonl")
    sink.open(_run(tmp_path))
    sink.write([Measured(step=2, at="", figures={"train/loss": float("nan")})])
    sink.close("finished")
    torn, line = path.read_text().splitlines()
    assert torn == '{"step": 1, "na'
    assert Figure.model_validate_json(line) == Figure(step=2, name="train/loss", value=None, at="")


def test_secrets_have_no_place_in_a_config() -> None:
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_USERNAME"):
        SINKS.config({"kind": "mlflow", "tracking_uri": "http://me:secret@tracker:5000"})
    with pytest.raises(ConfigError, match="unknown key api_key"):
        SINKS.config({"kind": "wandb", "api_key": "secret"})


def test_a_watch_names_its_sinks_and_survives_json() -> None:
    watch = Watch.model_validate({"sinks": ["jsonl", {"kind": "wandb", "project": "p"}]})
    assert Watch.model_validate_json(watch.model_dump_json()) == watch
    assert '"project":"p"' in watch.model_dump_json()


# --- the relay -----------------------------------------------------------------------------


class Scripted:
    """A tracker that does what it is told, to see what reaches it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.failing: set[str] = set()

    def require(self) -> None:
        pass

    def open(self, run: TrackedRun) -> None:
        self._do("open", f"open {run.step}")

    def write(self, measured: Sequence[Measured]) -> None:
        self._do("write", f"write {','.join(str(m.step) for m in measured)}")

    def close(self, outcome: Outcome) -> None:
        self._do("close", f"close {outcome}")

    def _do(self, what: str, call: str) -> None:
        self.entered.set()
        self.gate.wait()
        if what in self.failing:
            raise OSError(f"{what} failed\nbadly")
        self.calls.append(call)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (RunFinished(run="r1", step=1, seconds=1.0), "finished"),
        (RunInterrupted(run="r1", step=1), "interrupted"),
        (Failed(run="r1", error="DivergedError", what=""), "failed"),
        (None, "interrupted"),
    ],
)
def test_how_a_run_ended_is_told(tmp_path: Path, end: Event | None, outcome: str) -> None:
    sink = Scripted()
    relay = Relay("scripted", sink, _run(tmp_path))
    for event in (_started(), _step(1), end):
        if event is not None:
            relay.emit(event)
    assert relay.close() == 0
    assert sink.calls == ["open 0", "write 1", f"close {outcome}"]


def test_a_child_that_starts_again_opens_the_record_at_its_step(tmp_path: Path) -> None:
    sink = Scripted()
    relay = Relay("scripted", sink, _run(tmp_path))
    for event in (_started(), _step(1), _started(1), _step(2), RunFinished(run="r1", step=2, seconds=1.0)):
        relay.emit(event)
    relay.close()
    assert sink.calls == ["open 0", "write 1", "close interrupted", "open 1", "write 2", "close finished"]


def test_a_slow_tracker_loses_events_and_nothing_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Scripted()
    sink.gate.clear()
    relay = Relay("scripted", sink, _run(tmp_path), room=5)
    relay.emit(_started())
    assert sink.entered.wait(10.0)
    with caplog.at_level(logging.WARNING):
        for step in range(1, 21):
            relay.emit(_step(step))
    assert relay.dropped == 15
    assert [r.message for r in caplog.records] == [
        "run r1 goes on without the tracker scripted where it fails: it is too slow"
    ]
    sink.gate.set()
    assert relay.close() == 15
    assert sink.calls == ["open 0", "write 1,2,3,4,5", "close interrupted"]


def test_a_tracker_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    sink = Scripted()
    sink.gate.clear()
    relay = Relay("scripted", sink, _run(tmp_path))
    relay.emit(_started())
    assert sink.entered.wait(10.0)
    relay.emit(_step(1))
    assert relay.close(0.05) == 1
    sink.gate.set()


@pytest.mark.parametrize(("failing", "dropped"), [("open", 2), ("write", 2), ("close", 0)])
def test_a_broken_tracker_is_told_of_once_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failing: str, dropped: int
) -> None:
    sink = Scripted()
    sink.failing = {failing}
    relay = Relay("scripted", sink, _run(tmp_path))
    with caplog.at_level(logging.WARNING):
        for event in (_started(), _step(1), RunInterrupted(run="r1", step=1), _started(1), _step(2)):
            relay.emit(event)
        assert relay.close() == dropped
    assert len(caplog.records) == 1
    assert f"OSError: {failing} failed badly" in caplog.records[0].message


def test_a_tracker_that_mends_gets_what_comes_after(tmp_path: Path) -> None:
    sink = Scripted()
    sink.failing = {"write"}
    relay = Relay("scripted", sink, _run(tmp_path))
    relay.emit(_started())
    relay.emit(_step(1))
    while relay.dropped == 0:
        sink.entered.wait(0.01)
    sink.failing = set()
    relay.emit(_step(2))
    assert relay.close() == 1
    assert sink.calls == ["open 0", "write 2", "close interrupted"]


def test_an_absent_library_is_named_before_anything_starts(tmp_path: Path) -> None:
    absent = [kind for kind, library in LIBRARIES.items() if find_spec(library) is None]
    for kind in absent:
        with pytest.raises(MissingExtraError, match=kind) as caught:
            relay_all(Watch.model_validate({"sinks": ["jsonl", kind]}).sinks, _run(tmp_path))
        assert caught.value.hint == f"install its extra: pip install 'realm-lab[{kind}]'"
    assert not list(tmp_path.iterdir())


def test_configured_sinks_are_fed(tmp_path: Path) -> None:
    (relay,) = relay_all(Watch.model_validate({"sinks": ["jsonl"]}).sinks, _run(tmp_path))
    for event in (_started(), _step(1), RunFinished(run="r1", step=1, seconds=1.0)):
        relay.emit(event)
    assert relay.close() == 0
    assert _read_jsonl(tmp_path) == [(1, 2.0)]
