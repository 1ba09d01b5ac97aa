from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from realm.core.errors import UnavailableError
from realm.jobs import lifeline
from realm.jobs.children import Child, WarmLauncher, launch_cold

HERE = Path(__file__).parent
Launch = Callable[[str, Path, Path], Child]


@pytest.fixture(autouse=True)
def entries_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))


@pytest.fixture
def warm() -> Iterator[WarmLauncher]:
    launcher = WarmLauncher(["json"])
    yield launcher
    launcher.close()


@pytest.fixture(params=["warm", "cold"])
def launch(request: pytest.FixtureRequest, warm: WarmLauncher) -> Launch:
    return warm.launch if request.param == "warm" else launch_cold


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.json"
    path.write_text("{}")
    return path


def entry(function: str) -> str:
    return f"jobs_child_entries:{function}"


def eventually(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_returns_its_exit_code_and_its_output(launch: Launch, spec: Path, tmp_path: Path) -> None:
    spec.write_text('{"code": 3}')
    log = tmp_path / "logs" / "child.log"
    assert asyncio.run(launch(entry("leave_with"), spec, log).wait()) == 3
    assert asyncio.run(launch(entry("succeed"), spec, log).wait()) == 0
    assert "worked on spec.json" in log.read_text()


def test_a_crash_leaves_a_traceback_in_the_log(launch: Launch, spec: Path, tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    assert asyncio.run(launch(entry("crash"), spec, log).wait()) == 1
    assert "ValueError: no such luck" in log.read_text()


def test_an_unknown_entry_is_a_failed_child(launch: Launch, spec: Path, tmp_path: Path) -> None:
    assert asyncio.run(launch(entry("nothing"), spec, tmp_path / "log").wait()) == 1
    assert "nothing" in (tmp_path / "log").read_text()


def test_terminate_lets_a_child_save(launch: Launch, spec: Path, tmp_path: Path) -> None:
    child = launch(entry("save_and_leave"), spec, tmp_path / "log")
    eventually(spec.with_suffix(".ready").exists)
    assert child.poll() is None
    child.terminate()
    assert asyncio.run(child.wait()) == 7
    assert spec.with_suffix(".saved").exists()
    child.terminate()
    child.kill()
    assert child.poll() == 7


def test_kill_ends_the_whole_session(launch: Launch, spec: Path, tmp_path: Path) -> None:
    child = launch(entry("have_a_child"), spec, tmp_path / "log")
    pid_file = spec.with_suffix(".pid")
    eventually(lambda: pid_file.exists() and pid_file.read_text())
    child.kill()
    assert asyncio.run(child.wait()) == -signal.SIGKILL
    eventually(lambda: is_gone(int(pid_file.read_text())), 2.0)


def test_a_dead_child_leaves_no_grandchild(launch: Launch, spec: Path, tmp_path: Path) -> None:
    child = launch(entry("have_a_child"), spec, tmp_path / "log")
    pid_file = spec.with_suffix(".pid")
    eventually(lambda: pid_file.exists() and pid_file.read_text())
    os.kill(child.pid, signal.SIGKILL)
    assert asyncio.run(child.wait()) == -signal.SIGKILL
    eventually(lambda: is_gone(int(pid_file.read_text())), 2.0)


def test_a_child_sees_no_secret_and_no_foreign_file(
    launch: Launch, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_tell")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do_not_tell")
    for name in ("PYTHON_API_TOKEN", "PYTHONPWD", "LC_PAT", "PYTORCH_DSN", "OMP_PIN", "PASSWORD"):
        monkeypatch.setenv(name, "do_not_tell")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with (tmp_path / "private").open("w"):
        assert asyncio.run(launch(entry("show_surroundings"), spec, tmp_path / "log").wait()) == 0
    facts = json.loads(spec.with_suffix(".facts").read_text())
    assert facts["environ"]["OMP_NUM_THREADS"] == "1"
    assert "do_not_tell" not in facts["proc"] + json.dumps(facts["environ"])
    assert facts["session"]
    assert not [file for file in facts["files"] if file.endswith("private")]
    assert "torch" not in facts["modules"]
    assert "dbos" not in facts["modules"]


def test_a_cancelled_wait_leaves_the_child_and_its_code(launch: Launch, spec: Path, tmp_path: Path) -> None:
    child = launch(entry("sleep"), spec, tmp_path / "log")

    async def give_up() -> None:
        await asyncio.wait_for(child.wait(), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert child.poll() is None
    child.kill()
    assert asyncio.run(child.wait()) == -signal.SIGKILL


def test_no_exit_code_is_lost(warm: WarmLauncher, spec: Path, tmp_path: Path) -> None:
    specs = [tmp_path / f"{code}.json" for code in range(40)]
    for code, path in enumerate(specs):
        path.write_text(json.dumps({"code": code}))

    async def all_codes() -> list[int]:
        children = [warm.launch(entry("leave_with"), path, tmp_path / "log") for path in specs]
        return await asyncio.gather(*(child.wait() for child in children))

    assert asyncio.run(all_codes()) == list(range(40))


def test_a_preloaded_module_is_there_already(spec: Path, tmp_path: Path) -> None:
    launcher = WarmLauncher(["colorsys"])
    launcher.start()
    try:
        assert asyncio.run(launcher.launch(entry("show_surroundings"), spec, tmp_path / "log").wait()) == 0
    finally:
        launcher.close()
    assert "colorsys" in json.loads(spec.with_suffix(".facts").read_text())["modules"]


def test_a_module_that_cannot_be_imported_is_named(spec: Path, tmp_path: Path) -> None:
    launcher = WarmLauncher(["no_such_module_anywhere"])
    with pytest.raises(UnavailableError, match="no_such_module_anywhere"):
        launcher.launch(entry("succeed"), spec, tmp_path / "log")
    launcher.close()


def test_an_unwritable_log_is_refused_and_the_next_launch_works(
    warm: WarmLauncher, spec: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match="no child was started"):
        warm.launch(entry("succeed"), spec, tmp_path)
    assert asyncio.run(warm.launch(entry("succeed"), spec, tmp_path / "log").wait()) == 0


def test_a_killed_zygote_takes_its_children_along_and_is_replaced(
    warm: WarmLauncher, spec: Path, tmp_path: Path
) -> None:
    child = warm.launch(entry("have_a_child"), spec, tmp_path / "log")
    pid_file = spec.with_suffix(".pid")
    eventually(lambda: pid_file.exists() and pid_file.read_text())
    zygote = psutil.Process(child.pid).ppid()
    os.kill(zygote, signal.SIGKILL)
    assert asyncio.run(asyncio.wait_for(child.wait(), 2.0)) == -signal.SIGKILL
    eventually(lambda: is_gone(child.pid) and is_gone(int(pid_file.read_text())), 2.0)
    assert asyncio.run(warm.launch(entry("succeed"), spec, tmp_path / "log").wait()) == 0


def test_a_launch_while_a_dead_zygote_is_being_buried_gets_another_one(
    warm: WarmLauncher, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = warm.launch(entry("sleep"), spec, tmp_path / "log")
    end_group, asked = lifeline.end_group, threading.Event()

    def slowly(pid: int) -> None:
        asked.wait(10.0)
        end_group(pid)

    monkeypatch.setattr(lifeline, "end_group", slowly)
    os.kill(psutil.Process(child.pid).ppid(), signal.SIGKILL)
    another = warm.launch(entry("succeed"), spec, tmp_path / "log")
    asked.set()
    assert asyncio.run(another.wait()) == 0
    assert asyncio.run(asyncio.wait_for(child.wait(), 2.0)) == -signal.SIGKILL


def test_close_ends_everything_even_while_modules_are_being_imported(spec: Path, tmp_path: Path) -> None:
    launcher = WarmLauncher(["json"])
    child = launcher.launch(entry("sleep"), spec, tmp_path / "log")
    launcher.close()
    assert asyncio.run(asyncio.wait_for(child.wait(), 2.0)) == -signal.SIGKILL
    eventually(lambda: is_gone(child.pid), 2.0)
    early = WarmLauncher(["asyncio", "sqlite3", "pydantic"])
    early.start()
    started = time.monotonic()
    early.close()
    assert time.monotonic() - started < 2.0


def test_a_launch_that_waits_for_the_imports_is_refused_by_close(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(HERE), str(tmp_path))))
    launcher = WarmLauncher(["slow_to_import"])
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(30)")
    launcher.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(launcher.launch, entry("succeed"), spec, tmp_path / "log")
        launcher.close()
        with pytest.raises(UnavailableError):
            waiting.result(timeout=20)


PARENT = """
import sys, time
from pathlib import Path
from realm.jobs.children import WarmLauncher, launch_cold
folder = Path(sys.argv[1])
warm = WarmLauncher(["json"])
children = [
    warm.launch("jobs_child_entries:have_a_child", folder / "warm.json", folder / "log"),
    launch_cold("jobs_child_entries:have_a_child", folder / "cold.json", folder / "log"),
]
(folder / "pids").write_text(" ".join(str(child.pid) for child in children))
time.sleep(600)
"""


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env=environment)
    files = [tmp_path / name for name in ("pids", "warm.pid", "cold.pid")]
    eventually(lambda: all(file.exists() and file.read_text() for file in files), 20.0)
    warm, cold = (int(pid) for pid in files[0].read_text().split())
    family = [psutil.Process(warm).ppid(), warm, cold, int(files[1].read_text())]
    parent.kill()
    parent.wait()
    eventually(lambda: all(is_gone(pid) for pid in family), 2.0)
    # A cold child's own child has nobody left who would know of it.
    psutil.Process(int(files[2].read_text())).kill()
