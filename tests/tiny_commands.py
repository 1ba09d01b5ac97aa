"""`realm` commands in processes of their own, forked from one that has imported the package.

To start an interpreter and import the package takes a second, and tests run hundreds of commands. Whoever
tests the start itself runs `tiny_lab.REALM`.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from realm.jobs.children import Child, WarmLauncher

PRELOAD = ("realm.cli.main", "realm.lab", "dbos", "alembic.command")
TIMEOUT_S = 240.0


def run_command(*words: str, stdin: str = "", cwd: Path | None = None) -> CompletedProcess[str]:
    """Run one command and return how it ended, as `subprocess.run` would with the environment of now."""
    with tempfile.TemporaryDirectory(prefix="command") as made:
        folder = Path(made)
        (folder / "stdin").write_text(stdin, encoding="utf-8")
        spec = {"words": words, "cwd": str(cwd or Path.cwd()), "environment": dict(os.environ)}
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        child = _launch(folder / "spec.json", folder / "log")
        try:
            code = asyncio.run(_ended(child))
        finally:
            child.kill()
        texts = [(folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
    return CompletedProcess(["realm", *words], code, *texts)


def main(spec_path: Path) -> int:
    """Run the command of a spec file in this process."""
    spec = json.loads(spec_path.read_text(encoding="utf-8"))
    os.environ.clear()
    os.environ.update(spec["environment"])
    os.chdir(spec["cwd"])
    for number, (name, flags) in enumerate(
        [("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY | os.O_CREAT), ("stderr", os.O_WRONLY | os.O_CREAT)]
    ):
        os.dup2(os.open(spec_path.with_name(name), flags, 0o600), number)
    sys.argv = ["realm", *spec["words"]]
    from realm.cli.main import run

    return run(spec["words"])


async def _ended(child: Child) -> int:
    return await asyncio.wait_for(child.wait(), TIMEOUT_S)


def _launch(spec: Path, log: Path) -> Child:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # what a test has set is not for all others
        return _launcher().launch("tiny_commands:main", spec, log)


@cache
def _launcher() -> WarmLauncher:
    launcher = WarmLauncher(PRELOAD)
    atexit.register(launcher.close)
    return launcher
