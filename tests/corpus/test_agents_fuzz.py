"""Whatever a session, an export, a terminal or a document holds, it is read or counted: no crash, no hang."""

from __future__ import annotations

import json
import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError
from realm.core.seeds import rng
from realm.corpus.agents.panes import Seam, unwrapped
from realm.corpus.agents.prompts import command_in, exchanges
from realm.corpus.agents.screen import clean
from realm.corpus.agents.shell import commands
from realm.corpus.agents.town import place_of
from realm.corpus.files.objects import utc
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally
from realm.corpus.texts.formula import read_formula
from realm.corpus.texts.sections import sections

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=12),
    st.sampled_from(
        ["u0", "u1", "u2", "u3", "t1", "t2", "user", "assistant", "text", "tool_use", "tool_result"]
    ),
)
TREES = st.recursive(
    VALUES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner)),
    max_leaves=6,
)
IDS = st.sampled_from(["u0", "u1", "u2", "u3", "u4", None, 3])
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image", "x", None])},
    optional={
        "text": TREES,
        "thinking": TREES,
        "id": st.sampled_from(["t1", "t2", None]),
        "tool_use_id": st.sampled_from(["t1", "t2", None]),
        "name": TREES,
        "input": st.one_of(TREES, st.fixed_dictionaries({"command": st.text(max_size=30)})),
        "content": st.one_of(
            TREES, st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TREES}))
        ),
        "is_error": TREES,
    },
)
SESSION_ROWS = st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "assistant", "system", "attachment", "summary", None]), "uuid": IDS},
    optional={
        "parentUuid": IDS,
        "logicalParentUuid": IDS,
        "isSidechain": st.booleans(),
        "isMeta": st.booleans(),
        "isApiErrorMessage": st.booleans(),
        "agentId": st.sampled_from(["a", "b", 1]),
        "sessionId": TREES,
        "cwd": TREES,
        "gitBranch": TREES,
        "timestamp": TREES,
        "attachment": st.one_of(
            TREES, st.fixed_dictionaries({"type": st.just("queued_command"), "prompt": TREES})
        ),
        "message": st.one_of(
            TREES,
            st.fixed_dictionaries(
                {"content": st.one_of(TREES, st.lists(BLOCKS, max_size=4))},
                optional={"id": st.sampled_from(["m1", "m2", 1]), "model": TREES},
            ),
        ),
    },
)
ISSUE_KEYS = (
    "_type", "id", "title", "status", "priority", "labels", "dependencies", "comments", "metadata",
    "created_at", "issue_id", "depends_on_id", "event_type", "new_value", "old_value", "key", "value",
    "closed_by_session",
)  # fmt: skip
ISSUE_ROWS = st.dictionaries(st.sampled_from(ISSUE_KEYS), TREES)


def _read_all(kind: str, name: str, data: bytes) -> int:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        made = SOURCES.build({"kind": kind, "name": "fuzz", "path": Path(folder) / name})
        tally = Tally()
        return sum(1 for item in list(made.items(tally)) for _ in made.read(item, tally))


def _jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@settings(max_examples=300, deadline=None)
@given(st.lists(SESSION_ROWS, max_size=8))
def test_any_session(rows: list[Any]) -> None:
    _read_all("claude_code", "0a1b2c3d-1111.jsonl", _jsonl(rows))


@settings(max_examples=150, deadline=None)
@given(st.lists(ISSUE_ROWS, max_size=6))
def test_any_export(rows: list[Any]) -> None:
    _read_all("beads", "issues.jsonl", _jsonl(rows))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    _read_all("claude_code", "0a1b2c3d-1111.jsonl", data)
    _read_all("beads", "issues.jsonl", data)
    _read_all("terminal", "pane.log", data)
    with suppress(DataError):
        _read_all("documents", "CLAUDE.md", data)


PIECES = [
    "\x1b", "[", "]", "0;t", "\x07", "\x1b\\", "\x9b", "\x9d", "\r", "\n", "\b", "\t", "2J", "H", "3A",
    "9999999C", "K", "1K", "2K", "5;5H", "P", "x", "日", "\u0301", "$ ls", "user@host:~$ a", "> b", "\\",
    "text " * 30, "\x00",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_terminal(pieces: list[str]) -> None:
    lines = list(clean("".join(pieces).splitlines(keepends=True)))
    assert not [char for line in lines for char in line if ord(char) < 32 or 127 <= ord(char) < 160]
    list(exchanges(unwrapped(lines, 10)))
    seam = Seam()
    assert seam.fresh(lines) == lines
    assert seam.fresh([*lines, "new"])[-1] == "new"


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="#=-`~<!> \n\tab*[]()", max_size=200))
def test_any_markdown(text: str) -> None:
    found = sections(text)
    assert [section.first_line for section in found] == sorted(section.first_line for section in found)
    kept = "\n".join(section.text for section in found).split()
    assert kept == text.split() or not text.strip()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=100), st.text(alphabet="ab'\"\\$()<>|&;#\n =-E", max_size=60))
def test_any_words(text: str, line: str) -> None:
    command_in(text)
    utc(text)
    place_of(f"/gt/{text}", f"polecat/{text}", ("gt",))
    assert all(command.words for command in commands(line))
    with suppress(DataError):
        read_formula(text)


def _many(draw: random.Random) -> list[str]:
    return [
        "<system-reminder>" * 20_000,
        "#" * 50_000,
        "`" * 50_000 + "\n" + "`" * 50_000,
        "[" * 50_000,
        "a@" * 20_000,
        "(x) " * 20_000 + "$ ls",
        "\x1b[" + "1;" * 50_000,
        "\x1b]" * 50_000,
        "a" * 100_000 + "\r" * 50_000,
        "$ " + "'" * 7_999,
        "<<E " * 1_900,
        "".join(draw.choices("abc \n#$\x1b", k=50_000)),
    ]


def test_long_repetitions_do_not_hang() -> None:
    for text in _many(rng("test/agents-fuzz")):
        list(exchanges(clean(text.splitlines(keepends=True))))
        sections(text)
        commands(text[:8_000])
        command_in(text[:5_000])
        row = {"type": "assistant", "uuid": "u", "message": {"content": text}}
        asked = {
            "type": "user",
            "uuid": "v",
            "parentUuid": "u",
            "message": {"content": [{"type": "text", "text": text}]},
        }
        _read_all("claude_code", "0a1b2c3d-1111.jsonl", _jsonl([row, asked]))


def test_a_long_chain_of_entries_is_followed_without_recursion() -> None:
    rows = [
        {
            "type": ("user", "assistant")[number % 2],
            "uuid": f"u{number}",
            "parentUuid": f"u{number - 1}" if number else None,
            "message": {"content": f"line {number}", "id": f"m{number}"},
        }
        for number in range(20_000)
    ]
    assert _read_all("claude_code", "0a1b2c3d-1111.jsonl", _jsonl(rows)) == 1


def test_many_branches_cycles_and_asides_take_linear_time() -> None:
    count = 20_000
    branches = [
        {"type": "user", "uuid": f"b{number}", "parentUuid": "root", "message": {"content": f"b {number}"}}
        for number in range(count)
    ]
    selfish = [
        {"type": "assistant", "uuid": f"s{number}", "parentUuid": f"s{number}", "message": {"content": "s"}}
        for number in range(count)
    ]
    asides = [
        {"type": "queue-operation", "operation": "remove", "content": f"aside {number}"}
        for number in range(count)
    ]
    assert _read_all("claude_code", "0a1b2c3d-1111.jsonl", _jsonl([*branches, *selfish, *asides])) == 1
