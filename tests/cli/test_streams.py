"""Standard output that is full, has no reader, or cannot hold every character."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_lab import REALM

SHORT = ["skill", "sample", "bin", "--level", "5", "--count", "2"]
LONG = [*SHORT[:-1], "1500"]
TABLE = ["skill", "list"]


@pytest.mark.parametrize("words", [SHORT, LONG, ["--json", *LONG], TABLE, ["--help"]])
def test_a_reader_that_left_is_no_failure(words: list[str]) -> None:
    with subprocess.Popen([*REALM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [SHORT, LONG, TABLE, ["--version"]])
def test_a_full_disk_under_standard_output_is_one_message(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*REALM, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("realm: standard output: No space left on device\n")
    assert ("Traceback" in done.stderr, "Exception" in done.stderr) == (False, False)


def test_what_is_lost_is_told_once() -> None:
    code = """
from realm.cli.streams import prepare_output
prepare_output()
try:
    print("x", flush=True)
except BrokenPipeError as error:
    assert error.filename == "standard output"
    print("y", flush=True)
"""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_cannot_hold_is_written_so_that_json_reads_it_back(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for words in (["--json", *SHORT], SHORT):
        done = subprocess.run([*REALM, *words], env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        text = done.stdout.decode(encoding)
        rows = json.loads(text) if "--json" in words else [json.loads(line) for line in text.splitlines()]
        assert "①" in "".join(row["expected"] for row in rows)
    code = "from realm.cli.streams import prepare_output; prepare_output(); print('é 😀 \\udcff①')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert json.loads(f'"{done.stdout.decode(encoding).rstrip()}"') == "é 😀 \udcff①"
