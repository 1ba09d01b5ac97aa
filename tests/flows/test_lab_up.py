"""One lab, up in a process of its own, used from outside as its owner would."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from realm import Realm
from realm.cli.main import run as run_here
from realm.core.records import ArtifactKind
from realm.ledger.records import RunRecord
from tiny_lab import REALM, chat_rows, drop, job_state, lab_up, make_lab, realm, realm_json, wait_until

HOOK = """
import os, sys
loaded = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        with open({log!r}, "a") as file:
            file.write(f"{{os.getpid()}} {{event}} {{args[1:]}}\\n")
    if event == "import" and args[0].startswith("torch.") and not loaded:
        loaded.append(args[0])
        with open({log!r} + ".torch", "a") as file:
            file.write(f"{{os.getpid()}}\\n")
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file in which new interpreters that find `site` beside it note what they connect to."""
    log = tmp_path_factory.mktemp("network") / "network.log"
    (log.parent / "site").mkdir()
    (log.parent / "site" / "sitecustomize.py").write_text(HOOK.format(log=str(log)))
    return log


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, network: Path) -> Iterator[Path]:
    path = make_lab(tmp_path_factory.mktemp("lab") / "home", drills=False)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(network.parent / "site"))
            process = stack.enter_context(lab_up(path))
        wait_until(path, lambda lab: lab.status().holder is not None)
        yield path
        assert process.poll() is None, (path / "up.log").read_text()


FILES = {
    "chats.jsonl": chat_rows(40),
    "pairs.jsonl": "".join(
        json.dumps({"prompt": f"{n}+1", "completion": str(n + 1)}) + "\n" for n in range(40)
    ),
    "text.jsonl": "".join(json.dumps({"text": f"Line {n} of a book."}) + "\n" for n in range(40)),
}


def trained(home: Path, name: str) -> RunRecord:
    """Return the ended run of a file; drop the file first unless a test before did."""
    with Realm(home) as lab:
        if all(run.title != name for run in lab.runs()):
            drop(home, name, FILES[name])
        wait_until(home, lambda lab: any(r.title == name and r.outcome == "done" for r in lab.runs()))
        run = next(run for run in lab.runs() if run.title == name)
        wait_until(home, lambda lab: job_state(lab, run.id) == "done")
        return run


@pytest.mark.parametrize("name", FILES)
def test_a_dropped_file_is_trained(home: Path, name: str) -> None:
    run = trained(home, name)
    with Realm(home) as lab:
        assert run.step == run.steps_total == 10
        assert [c.step for c in lab.checkpoints() if c.run == run.id] == [10]
        dataset = lab.lab.store.verified(ArtifactKind.DATASET, run.dataset)
        assert json.loads((dataset / "dataset.json").read_text())["scrub"] is None
        assert lab.lab.ledger.datasets.get(run.dataset).rows == 40
    assert not (home / "inbox" / name).exists()


BAD = {
    "empty.jsonl": (b"", 1, "empty"),
    "prose.jsonl": (b"hello\n", 1, "JSON"),
    "schema.jsonl": (b'{"messages": []}\n', 1, ""),
    "unknown.jsonl": (chat_rows(2).encode() + b'{"question": "?"}\n', 3, ""),
    "mute.jsonl": (b'{"messages": [{"role": "user", "content": "hi"}]}\n', 1, "assistant"),
    "long.jsonl": (b'{"text": "' + b"x" * 20_000_000 + b'"}\n', 1, "longer than"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_line_and_reason_and_kept(home: Path, name: str) -> None:
    data, line, word = BAD[name]
    with Realm(home) as lab:
        runs, datasets = len(lab.runs()), len(lab.lab.ledger.datasets.list())
    drop(home, name, data)
    wait_until(home, lambda lab: not (home / "inbox" / name).exists())
    wait_until(home, lambda lab: name in {e.file for e in refusals(lab)})
    with Realm(home) as lab:
        refusal = next(event for event in refusals(lab) if event.file == name)
        assert (refusal.line, len(lab.runs()), len(lab.lab.ledger.datasets.list())) == (line, runs, datasets)
    assert word in refusal.reason
    kept = [path for path in Path(refusal.quarantine).rglob("*") if path.is_file() and path.name == name]
    assert [path.read_bytes() == data for path in kept] == [True] or Path(
        refusal.quarantine
    ).read_bytes() == data


def refusals(lab: Realm) -> list[object]:
    return [event for _, _, event in lab.lab.ledger.events.list(kinds=["file_refused"])]


def test_the_same_file_again_gives_no_second_run(home: Path) -> None:
    trained(home, "chats.jsonl")
    drop(home, "chats.jsonl", FILES["chats.jsonl"])
    wait_until(home, lambda lab: not (home / "inbox" / "chats.jsonl").exists())
    with Realm(home) as lab:
        assert sum(run.title == "chats.jsonl" for run in lab.runs()) == 1


def test_a_second_lab_on_the_same_home_says_who_holds_it(home: Path) -> None:
    done = realm(home, "up")
    assert done.returncode == 2
    with Realm(home) as lab:
        holder = lab.status().holder
    assert holder is not None
    assert str(holder.pid) in done.stderr


def test_everything_can_be_looked_at_meanwhile(home: Path) -> None:
    trained(home, "chats.jsonl")
    status = realm_json(home, "status")
    assert status["holder"]["pid"]
    assert status["queue"]["done"] >= 1
    assert status["champion"] is None
    jobs, runs = realm_json(home, "queue", "list", "--all"), realm_json(home, "run", "list")
    assert {job["id"] for job in jobs} == {run["id"] for run in runs}
    checkpoints = realm_json(home, "ledger", "list")
    assert [c["sequence"] for c in checkpoints] == list(range(1, len(checkpoints) + 1))
    assert checkpoints[0]["hero_step"] == 0
    assert realm_json(home, "model", "list") == []
    sheet = realm_json(home, "hero")
    assert sheet["hero_step"] == checkpoints[-1]["hero_step"]
    assert sheet["inverse_loss"] > 0
    assert sheet["inverse_validation_loss"] > 0


def test_watching_an_ended_run_shows_every_step(home: Path) -> None:
    events = realm_json(home, "run", "watch", trained(home, "chats.jsonl").id)
    assert [e["step"] for e in events if e["kind"] == "step_taken"] == list(range(1, 11))


def test_a_checkpoint_answers_and_a_wrong_name_lists_what_there_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(home, "chats.jsonl")

    def said(*words: str, stdin: str = "") -> str:
        """Run a command in this process: in one of its own, each imports torch anew."""
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code, told = run_here(["--home", str(home), *words]), capsys.readouterr()
        assert code == 0, told.err
        return told.out

    answer = json.loads(said("--json", "ask", "What is 3?", "--model", "dio@0"))
    assert answer["model"]["name"].startswith("checkpoint-0-")
    done = realm(home, "chat", "dio@champion")
    assert done.returncode == 3
    assert "dio@latest" in done.stderr
    both = said("--json", "chat", "dio@latest", stdin="What is 3?\n\nWhat is 4?\n")
    assert [turn["question"] for turn in json.loads(both)] == ["What is 3?", "What is 4?"]
    assert len(said("chat", "dio@latest", stdin="What is 3?\nWhat is 4?\n").splitlines()) >= 2


def test_a_lab_opens_no_connection(home: Path, network: Path) -> None:
    """Nothing looks up a name either, whatever the tests before had the lab do."""
    trained(home, "chats.jsonl")
    loaded = Path(f"{network}.torch")
    in_lab = loaded.read_text().split()
    assert in_lab, "the hook must have been active where models are trained"
    # Started as a person would: only a new interpreter reads the hook.
    command = [*REALM, "--home", str(home), "ask", "hi", "--model", "dio@latest"]
    watched = {**os.environ, "PYTHONPATH": str(network.parent / "site")}
    subprocess.run(command, check=True, capture_output=True, env=watched)
    assert {*loaded.read_text().split()} > {*in_lab}, "the hook must have been active where models answer"
    assert not network.exists(), network.read_text()
