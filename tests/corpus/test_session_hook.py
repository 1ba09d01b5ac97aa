from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from realm.core.errors import ConfigError, DataError
from realm.corpus.agents.hook import EVENTS, hook_entry, merge_into, transcript_of


def test_the_entry_has_the_shape_of_the_agents_settings(tmp_path: Path) -> None:
    entry = hook_entry(tmp_path / "my lab")
    assert set(entry) == {"hooks"}
    assert tuple(entry["hooks"]) == EVENTS
    for groups in entry["hooks"].values():
        [group] = groups
        [hook] = group["hooks"]
        assert hook["type"] == "command"
        assert f"realm --home '{tmp_path}/my lab' data add --from-hook" in hook["command"]
        assert hook["timeout"] > 0
    json.dumps(entry)


@pytest.mark.parametrize("status", [0, 1, 2, 4, 130])
def test_the_hook_never_holds_an_agent_up(tmp_path: Path, status: int) -> None:
    program = tmp_path / "realm"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/told\ncat >> {tmp_path}/told\necho out\nexit {status}\n'
    )
    program.chmod(0o755)
    entry = hook_entry(tmp_path / "it's", program=(str(program),), events=("Stop",))
    command = entry["hooks"]["Stop"][0]["hooks"][0]["command"]
    done = subprocess.run(["sh", "-c", command], input=b"payload", capture_output=True, env=dict(os.environ))
    assert done.returncode == (1 if status else 0)
    assert done.stdout == b""
    assert (tmp_path / "told").read_text() == f"--home {tmp_path}/it's data add --from-hook\npayload"


def test_merging_keeps_everything_else_and_replaces_our_own(tmp_path: Path) -> None:
    other = {"type": "command", "command": "gt signal stop"}
    settings = {"model": "x", "hooks": {"Stop": [{"hooks": [other]}], "PreToolUse": [{"matcher": "*"}]}}
    before = json.dumps(settings)
    merged = merge_into(settings, hook_entry(tmp_path))
    assert json.dumps(settings) == before
    assert merged["model"] == "x"
    assert merged["hooks"]["PreToolUse"] == [{"matcher": "*"}]
    assert merged["hooks"]["Stop"][0] == {"hooks": [other]}
    assert len(merged["hooks"]["Stop"]) == 2
    assert merge_into(merged, hook_entry(tmp_path)) == merged
    moved = merge_into(merged, hook_entry(tmp_path / "moved"))
    assert len(moved["hooks"]["Stop"]) == 2
    assert "moved" in moved["hooks"]["Stop"][1]["hooks"][0]["command"]
    mixed = {"hooks": {"Stop": [{"matcher": "", "hooks": [other, *merged["hooks"]["Stop"][1]["hooks"]]}]}}
    assert merge_into(mixed, hook_entry(tmp_path))["hooks"]["Stop"][0] == {"matcher": "", "hooks": [other]}


@pytest.mark.parametrize("settings", [{"hooks": []}, {"hooks": {"Stop": {}}}])
def test_settings_of_another_shape_are_left_alone(tmp_path: Path, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        merge_into(settings, hook_entry(tmp_path))


@pytest.mark.parametrize("events", [(), ("PreToolUse",)])
def test_only_events_that_end_something_are_taken(tmp_path: Path, events: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        hook_entry(tmp_path, events=events)


def test_the_hooks_input_names_the_session(tmp_path: Path) -> None:
    told = {"session_id": "x", "transcript_path": str(tmp_path / "a.jsonl"), "hook_event_name": "Stop"}
    assert transcript_of(json.dumps(told).encode()) == tmp_path / "a.jsonl"
    home = transcript_of(b'{"transcript_path": "~/x.jsonl"}')
    assert home.is_absolute()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"transcript_path": null}',
        b'{"transcript_path": "/etc/passwd"}',
        b'{"transcript_path": "a.jsonl"}',
        b'{"transcript_path": "/a\\u0000.jsonl"}',
        b'{"transcript_path": "' + b"/" * 2_000_000 + b'.jsonl"}',
    ],
)
def test_any_other_input_is_refused(payload: bytes) -> None:
    with pytest.raises(DataError):
        transcript_of(payload)
