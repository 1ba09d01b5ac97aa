"""Nothing in a working lab looks up a name or opens a connection."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tiny_lab import REALM, chat_rows, drop, job_state, lab_up, make_lab, wait_until

HOOK = """
import os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        with open({log!r}, "a") as file:
            file.write(f"{{os.getpid()}} {{event}} {{args[1:]}}\\n")
    if event == "import" and args[0] == "torch":
        with open({log!r} + ".torch", "a") as file:
            file.write(f"{{os.getpid()}}\\n")
sys.addaudithook(watch)
"""


def test_a_lab_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "network.log"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HOOK.format(log=str(log)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    home = make_lab(tmp_path / "home", drills=False)
    with lab_up(home):
        drop(home, "mine.jsonl", chat_rows(40))
        wait_until(home, lambda lab: job_state(lab, "run-0001") == "done")
        # Started as a person would: only a new interpreter reads the hook.
        words = ["--home", str(home), "ask", "hi", "--model", "dio@latest"]
        subprocess.run([*REALM, *words], check=True, capture_output=True)
    assert Path(f"{log}.torch").exists(), "the hook must have been active where models are loaded"
    assert not log.exists(), log.read_text()
