"""The teacher shaper against a real endpoint on this machine, its answers kept on the disk."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import ConfigError, CorruptError, RefusedError, StorageError, UnavailableError
from realm.core.records import Message
from realm.corpus import specs
from realm.corpus.document import Document, Origin
from realm.corpus.shaper import SHAPERS, Row
from realm.corpus.shapers.teacher import Teacher
from realm.corpus.tally import Tally
from realm.corpus.teaching.store import Answer, AnswerStore
from realm.corpus.teaching.verifying import (
    Fault,
    faulty_code,
    faulty_json,
    json_object,
    syntax_gate,
    without_thoughts,
)
from realm.http.client import Limits
from tiny_endpoint import Endpoint, said, served

LIMITS = Limits(timeout_s=10.0, attempts=2, answer_bytes=20_000, first_pause_s=0.001)
DOMAINS = {"flecs": {"system": "You know FLECS."}, "godot": {"system": "You know Godot."}}


def _wise(asked: dict[str, Any]) -> str:
    """Answer what the shaper asks for, each piece in its own way."""
    turns = [turn["content"] for turn in asked["messages"] if turn["role"] == "user"]
    words = turns[0] if "…" in turns[0] else turns[-1]
    mark = words.split("piece-")[1].split()[0] if "piece-" in words else "0"
    if '"answer": "…"' in words:
        return json.dumps({"instruction": f"Join both parts of {mark}.", "answer": f"Joined {mark}."})
    if '"instruction": "…"' in words:
        return json.dumps({"instruction": f"Write the part called {mark}."})
    return f"An answer to {words}"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with served(_wise) as found:
        yield found


def _text(number: int, domain: str = "flecs", text: str | None = None, **more: Any) -> Document:
    return Document(
        id=f"a.md#{number}",
        form="text",
        text=text or f"The text of piece-{number} is long enough.",
        tags={"domain": domain, "role": "helper"},
        group="a.md",
        origin=Origin(source="docs", kind="documents", path="a.md", first_line=number + 1, licence="MIT"),
        **more,
    )


def _chat(question: str, *, system: str = "Old system.") -> Document:
    turns = [
        ("system", system),
        ("user", "Hello"),
        ("assistant", "Yes?"),
        ("user", question),
        ("assistant", "?"),
    ]
    return Document(
        id=f"chat-{question}",
        form="chat",
        messages=tuple(Message.model_validate({"role": role, "content": text}) for role, text in turns),
        tags={"domain": "flecs"},
        origin=Origin(source="chats", kind="chat_jsonl"),
    )


def _shaper(endpoint: Endpoint, tmp_path: Path, limits: Limits = LIMITS, **settings: Any) -> Teacher:
    file = str(tmp_path / "answers" / "sage.db")
    config = {"url": endpoint.url, "model": "sage", "answers_file": file, "at_once": 1, **settings}
    return Teacher(Teacher.Config.model_validate(config), limits=limits)


def _counts(tally: Tally) -> dict[str, int]:
    return {reason.reason: reason.count for reason in tally.reasons()}


def _shape(shaper: Teacher, documents: list[Document]) -> tuple[list[Row], dict[str, int]]:
    tally = Tally()
    return list(shaper.shape(iter(documents), tally)), _counts(tally)


def test_a_unit_becomes_the_answer_to_the_request_that_the_model_wrote(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    rows, counts = _shape(_shaper(endpoint, tmp_path, domains=DOMAINS), [_text(1), _text(2, "godot")])
    assert counts == {}
    assert [[m.content for m in row.example.messages] for row in rows] == [
        ["You know FLECS.", "Write the part called 1.", "The text of piece-1 is long enough."],
        ["You know Godot.", "Write the part called 2.", "The text of piece-2 is long enough."],
    ]
    row = rows[0]
    assert row.example.tags == {"domain": "flecs", "role": "helper", "task": "reverse"}
    assert (row.origin.made_by, row.origin.generator) == ("mixed", f"sage@{endpoint.url}")
    assert (row.origin.path, row.origin.first_line, row.origin.licence) == ("a.md", 2, "MIT")
    assert (row.document, row.shaper, row.group) == ("a.md#1", "teacher@2", "docs/a.md")
    specs.verify("chat_sft_v1", row.example)


def test_code_is_shown_and_answered_in_a_fence_that_it_cannot_close(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    code = "print('piece-3')\ntext = '''\n```\n'''"
    rows, _ = _shape(_shaper(endpoint, tmp_path), [_text(3, text=code, language="python")])
    assert rows[0].example.messages[-1].content == f"````python\n{code}\n````"
    assert rows[0].example.tags["language"] == "python"
    assert f"````python\n{code}\n````" in endpoint.requests[0]["messages"][-1]["content"]


def test_a_request_is_answered_anew_under_the_domains_system_prompt(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    rows, _ = _shape(_shaper(endpoint, tmp_path, tasks=["answer"], domains=DOMAINS), [_chat("Why?")])
    assert [(m.role, m.content, m.weight) for m in rows[0].example.messages] == [
        ("system", "You know FLECS.", 1.0),
        ("user", "Hello", 1.0),
        ("assistant", "Yes?", 0.0),
        ("user", "Why?", 1.0),
        ("assistant", "An answer to Why?", 1.0),
    ]
    assert endpoint.requests[0]["messages"][0] == {"role": "system", "content": "You know FLECS."}
    rows, _ = _shape(_shaper(endpoint, tmp_path, tasks=["answer"]), [_chat("Why?")])
    assert rows[0].example.messages[0].content == "Old system."


def test_nothing_is_asked_twice(endpoint: Endpoint, tmp_path: Path) -> None:
    documents = [_text(1), _text(2), _text(1)]
    rows, _ = _shape(_shaper(endpoint, tmp_path), documents)
    assert len(endpoint.asked) == 2
    again, _ = _shape(_shaper(endpoint, tmp_path), documents)
    assert again == rows
    assert len(endpoint.asked) == 2
    _shape(_shaper(endpoint, tmp_path, temperature=0.7), documents)
    _shape(_shaper(endpoint, tmp_path, model="other"), documents)
    assert len(endpoint.asked) == 6


def test_equal_requests_under_way_are_sent_once(endpoint: Endpoint, tmp_path: Path) -> None:
    gate = threading.Event()

    def slow(asked: dict[str, Any]) -> str:
        gate.wait(0.2)
        return _wise(asked)

    endpoint.answer = slow
    rows, _ = _shape(_shaper(endpoint, tmp_path, at_once=4), [_text(1)] * 4)
    assert len(rows) == 4
    assert len(endpoint.asked) == 1


def test_several_are_asked_at_once_and_rows_keep_their_order(endpoint: Endpoint, tmp_path: Path) -> None:
    both = threading.Barrier(3)

    def together(asked: dict[str, Any]) -> str:
        both.wait(timeout=20)
        return _wise(asked)

    endpoint.answer = together
    rows, _ = _shape(_shaper(endpoint, tmp_path, at_once=3), [_text(n) for n in range(1, 10)])
    assert endpoint.most_at_once == 3
    assert [row.document for row in rows] == [f"a.md#{n}" for n in range(1, 10)]


def test_only_a_window_of_documents_is_read_ahead(endpoint: Endpoint, tmp_path: Path) -> None:
    taken = 0

    def many() -> Iterator[Document]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield _text(number)

    rows = _shaper(endpoint, tmp_path, at_once=2).shape(many(), Tally())
    next(rows)
    assert taken <= 4
    rows.close()  # type: ignore[attr-defined]
    assert len(endpoint.asked) <= 4


def test_a_killed_run_asks_again_only_for_what_was_under_way(endpoint: Endpoint, tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        from pathlib import Path
        import test_teacher_shaper as t
        from tiny_endpoint import Endpoint
        class There:
            url = {endpoint.url!r}
        shaper = t._shaper(There(), Path({str(tmp_path)!r}), at_once=2)
        for row in shaper.shape([t._text(n) for n in range(1, 41)], t.Tally()):
            print(row.document, flush=True)
    """)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path}
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    for _ in range(10):
        assert child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    before = len(endpoint.asked)
    assert 10 <= before < 40
    rows, counts = _shape(_shaper(endpoint, tmp_path), [_text(n) for n in range(1, 41)])
    assert (len(rows), counts) == (40, {})
    times = Counter(json.dumps(request) for request in endpoint.requests)
    assert len(times) == 40
    assert sum(times.values()) - 40 <= 2


def test_a_budget_of_requests_ends_cleanly_and_says_what_is_left(endpoint: Endpoint, tmp_path: Path) -> None:
    documents = [_text(n) for n in range(1, 6)]
    shaper = _shaper(endpoint, tmp_path, max_requests=3)
    rows, counts = _shape(shaper, documents)
    assert len(rows) == 3
    assert counts == {"budget spent: left for the next run": 2}
    assert shaper.left.requests == 0
    rows, counts = _shape(shaper, documents)
    assert (len(rows), counts, shaper.left.requests) == (5, {}, 1)
    assert len(endpoint.asked) == 5


def test_repeated_attempts_are_requests_too(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.replies = [(429, b"", {})]
    shaper = _shaper(endpoint, tmp_path, max_requests=2)
    assert len(_shape(shaper, [_text(1)])[0]) == 1
    assert shaper.left.requests == 0
    assert shaper.left.tokens > 20_000_000 - 4000


def test_a_budget_of_tokens_counts_what_the_endpoint_counted(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.usage = {"total_tokens": 1000}
    shaper = _shaper(endpoint, tmp_path, max_tokens=3000, max_answer_tokens=100)
    rows, counts = _shape(shaper, [_text(n) for n in range(1, 10)])
    assert len(rows) == 3
    assert counts == {"budget spent: left for the next run": 6}
    assert (shaper.left.tokens, shaper.left.requests) == (0, 9_997)


def test_requests_under_way_are_held_against_the_budget_of_tokens(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.usage = {"total_tokens": 1300}
    shaper = _shaper(endpoint, tmp_path, max_tokens=2000, max_answer_tokens=1000, at_once=8)
    rows, _ = _shape(shaper, [_text(n) for n in range(1, 9)])
    assert len(rows) == len(endpoint.asked) == 1
    assert shaper.left.tokens == 700


def test_tokens_that_nobody_counted_are_estimated(endpoint: Endpoint, tmp_path: Path) -> None:
    shaper = _shaper(endpoint, tmp_path, max_tokens=10_000, max_answer_tokens=4000)
    _shape(shaper, [_text(1), _text(2)])
    assert 9000 < shaper.left.tokens < 9900


def test_an_answer_that_does_not_parse_is_asked_for_once_more_with_the_reason(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.replies = [(200, said("Sure! Here is your instruction"), {})]
    rows, counts = _shape(_shaper(endpoint, tmp_path), [_text(1)])
    assert (len(rows), counts) == (1, {})
    again = endpoint.requests[1]["messages"]
    assert again[-2] == {"role": "assistant", "content": "Sure! Here is your instruction"}
    assert 'answer with one JSON object with "instruction"' in again[-1]["content"]
    endpoint.asked.clear()
    endpoint.replies = [(200, said("no"), {}), (200, said('{"instruction": 5}'), {})]
    documents = [_text(7)]
    assert _shape(_shaper(endpoint, tmp_path), documents) == ([], {"the answer's JSON has other keys": 1})
    assert _shape(_shaper(endpoint, tmp_path), documents) == ([], {"the answer's JSON has other keys": 1})
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("cut", "length"), "the answer was cut off"),
        (said(""), "the answer is not the JSON asked for"),
        (said('{"instruction": "short"}'), "the request is too short or too long"),
        (said(json.dumps({"instruction": "long " * 2000})), "the request is too short or too long"),
        (
            said(json.dumps({"instruction": "Write this: The text of piece-1 is long enough."})),
            "the request gives the answer away",
        ),
        (said("[" * 5000), "the answer is not the JSON asked for"),
        (said('{"instruction": "\\ud83d alone is half"}'), "the answer is not the JSON asked for"),
    ],
)
def test_answers_that_are_not_believed_are_counted(
    endpoint: Endpoint, tmp_path: Path, answer: bytes, reason: str
) -> None:
    endpoint.replies = [(200, answer, {})] * 2
    assert _shape(_shaper(endpoint, tmp_path), [_text(1)]) == ([], {reason: 1})


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>busy</html>", "the endpoint answered in another form"),
        (200, b'{"choices": []}', "the endpoint answered in another form"),
        (200, b"x" * 30_000, "the endpoint answered too much"),
        (400, b"context too long", "the endpoint refused the request"),
    ],
)
def test_bad_replies_cost_one_document_and_are_not_kept(
    endpoint: Endpoint, tmp_path: Path, status: int, body: bytes, reason: str
) -> None:
    endpoint.replies = [(status, body, {})]
    rows, counts = _shape(_shaper(endpoint, tmp_path), [_text(1), _text(2)])
    assert ([row.document for row in rows], counts) == (["a.md#2"], {reason: 1})
    rows, counts = _shape(_shaper(endpoint, tmp_path), [_text(1), _text(2)])
    assert (len(rows), counts) == (2, {})


def test_an_endpoint_that_fails_again_and_again_ends_the_run(endpoint: Endpoint, tmp_path: Path) -> None:
    documents = [_text(n) for n in range(1, 30)]
    shaper = _shaper(endpoint, tmp_path)
    endpoint.replies = [(500, b"", {})] * 100
    with pytest.raises(UnavailableError, match="failed 5 times in a row"):
        _shape(shaper, documents)
    assert len(endpoint.asked) == 10
    endpoint.replies = []
    assert len(_shape(shaper, documents)[0]) == 29


@pytest.mark.parametrize("status", [302, 401, 404])
def test_what_would_meet_every_request_ends_the_run(endpoint: Endpoint, tmp_path: Path, status: int) -> None:
    endpoint.replies = [(status, b"no", {"Location": "http://127.0.0.1:9/steal"})]
    with pytest.raises(RefusedError, match=f"answered with status {status}"):
        _shape(_shaper(endpoint, tmp_path), [_text(1), _text(2)])
    assert len(endpoint.asked) == 1


def test_a_slow_endpoint_is_given_up(endpoint: Endpoint, tmp_path: Path) -> None:
    stop = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        stop.wait(20)

    endpoint.odd = hang
    limits = Limits(timeout_s=0.05, attempts=1)
    assert _shape(_shaper(endpoint, tmp_path, limits), [_text(1)]) == ([], {"the endpoint gave no answer": 1})
    stop.set()


def test_code_has_to_pass_its_gate(endpoint: Endpoint, tmp_path: Path) -> None:
    domains = {"flecs": {"system": "Lua only.", "answers": "code", "language": "lua"}}
    good = "So:\n```lua\nlocal a = 1\n```\nDone."
    answers = ["```lua\nlocal = = 1\n```", good, "no code at all", "```python\nx = 1\n```"]
    endpoint.replies = [(200, said(answer), {}) for answer in answers]
    documents = [_chat("one"), _chat("two")]
    rows, counts = _shape(_shaper(endpoint, tmp_path, tasks=["answer"], domains=domains), documents)
    assert [row.example.messages[-1].content for row in rows] == [good]
    assert counts == {"the answer has no code": 1}
    assert "lua code has a syntax error" in endpoint.requests[1]["messages"][-1]["content"]


def test_json_has_to_be_json(endpoint: Endpoint, tmp_path: Path) -> None:
    domains = {"flecs": {"system": "JSON only.", "answers": "json"}}
    endpoint.replies = [(200, said("{'a': 1}"), {}), (200, said('```json\n{"a": 1}\n```'), {})]
    rows, counts = _shape(_shaper(endpoint, tmp_path, tasks=["answer"], domains=domains), [_chat("one")])
    assert counts == {}
    assert rows[0].example.messages[-1].content == '```json\n{"a": 1}\n```'


LUA = """local held = {}

-- Add one thing.
local function add(thing)
    held[#held + 1] = thing
end

function broken(a
    return ) a
end

function M.drop_piece(at)
    table.remove(held, at)
end
"""


def test_a_file_of_code_is_shown_function_by_function(endpoint: Endpoint, tmp_path: Path) -> None:
    rows, counts = _shape(_shaper(endpoint, tmp_path), [_text(1, text=LUA, language="lua")])
    assert counts == {}
    assert [(row.origin.first_line, row.origin.last_line) for row in rows] == [(5, 7), (13, 15)]
    assert rows[1].example.messages[-1].content.startswith("```lua\nfunction M.drop_piece(at)\n")
    assert {row.document for row in rows} == {"a.md#1"}
    assert len({row.origin.first_line for row in rows}) == len(endpoint.asked) == 2


def test_code_that_does_not_parse_costs_no_request(endpoint: Endpoint, tmp_path: Path) -> None:
    documents = [_text(1, text="local a = = 1 -- and more of it", language="lua")]
    assert _shape(_shaper(endpoint, tmp_path), documents) == ([], {"a text whose code does not parse": 1})
    assert endpoint.asked == []


def test_functions_of_two_domains_are_joined(endpoint: Endpoint, tmp_path: Path) -> None:
    documents = [_text(1, text=LUA, language="lua"), _text(2, "godot", text=LUA, language="lua")]
    rows, counts = _shape(_shaper(endpoint, tmp_path, tasks=[], cross=[{**CROSS, "pairs": 2}]), documents)
    assert (len(rows), counts) == (2, {})
    assert {str(row.example.tags["with"]) for row in rows} == {"docs/a.md#2:6", "docs/a.md#2:14"}


def test_code_is_parsed_in_several_threads() -> None:
    good, bad = "\n".join(f"local a{n} = f({n})" for n in range(3000)), "local a = ( 1"
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = list(pool.map(lambda code: syntax_gate("lua", code), [good, bad] * 12))
    assert found == [True, False] * 12


CROSS = {"domains": ["flecs", "godot"], "pairs": 3, "system": "You know both."}


def test_units_of_two_domains_are_joined_by_a_seeded_choice(endpoint: Endpoint, tmp_path: Path) -> None:
    def settings(seed: int) -> dict[str, Any]:
        return {"tasks": [], "cross": [CROSS], "seed": seed}

    documents = [_text(n) for n in range(1, 20)] + [_text(n, "godot") for n in range(20, 40)]
    rows, counts = _shape(_shaper(endpoint, tmp_path, **settings(1)), documents)
    assert (len(rows), counts) == (3, {})
    row = rows[0]
    assert row.example.messages[0].content == "You know both."
    assert row.example.messages[1].content.startswith("Join both parts of ")
    assert row.example.tags["domain"] == "flecs+godot"
    assert row.example.tags["task"] == "cross"
    assert str(row.example.tags["with"]).startswith("docs/a.md#")
    assert len({row.document for row in rows}) == 3
    groups = {each.split_group for each in documents if each.tags["domain"] == "godot"}
    assert all(len(each.also) == 1 and each.also[0] in groups for each in rows)
    same, _ = _shape(_shaper(endpoint, tmp_path, **settings(1)), documents[::-1])
    assert same == rows
    other, _ = _shape(_shaper(endpoint, tmp_path, **settings(2)), documents)
    assert {row.document for row in other} != {row.document for row in rows}


def test_a_row_of_two_licences_has_both(endpoint: Endpoint, tmp_path: Path) -> None:
    godot = _text(2, "godot")
    other = godot.model_copy(update={"origin": godot.origin.model_copy(update={"licence": "CC0-1.0"})})
    shaper = _shaper(endpoint, tmp_path, tasks=[], cross=[CROSS])
    rows, counts = _shape(shaper, [_text(1), other, other])
    assert rows[0].origin.licence == "MIT AND CC0-1.0"
    assert counts == {"too few units for a row of two domains": 2}
    unknown = godot.model_copy(update={"origin": godot.origin.model_copy(update={"licence": "unknown"})})
    assert _shape(shaper, [_text(1), unknown])[0][0].origin.licence == "unknown"


def test_what_is_not_asked_about_is_counted(endpoint: Endpoint, tmp_path: Path) -> None:
    documents = [
        _text(1, "elsewhere"),
        _text(2, text="short"),
        _text(3, text="long " * 4000),
        _chat("a chat"),
        Document(id="r", form="record", fields={"a": 1}, tags={"domain": "flecs"}, origin=_text(1).origin),
    ]
    assert _shape(_shaper(endpoint, tmp_path, domains=DOMAINS), documents) == (
        [],
        {
            "a document of a form that the teacher is not asked about": 2,
            "a text too short or too long to be shown to the teacher": 2,
            "a domain that the teacher's config does not name": 1,
        },
    )
    assert endpoint.asked == []


def test_answers_are_kept_for_their_owner_alone(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGE_KEY", "hidden-word")
    folder = tmp_path / "answers"
    folder.mkdir()
    file = folder / "sage.db"
    file.touch(mode=0o644)
    _shape(_shaper(endpoint, tmp_path, key_variable="SAGE_KEY"), [_text(1)])
    assert endpoint.asked[0][2]["Authorization"] == "Bearer hidden-word"
    assert [path.name for path in folder.iterdir()] == ["sage.db"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"hidden-word" not in file.read_bytes()
    assert b"long enough" not in file.read_bytes()


def test_files_that_are_no_store_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.txt"
    foreign.write_text("my notes, nothing else " * 100)
    with pytest.raises(CorruptError, match=r"notes\.txt: not a store of answers"):
        AnswerStore(foreign)
    assert foreign.read_text() == "my notes, nothing else " * 100
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as base:
        base.execute("PRAGMA application_id=7")
        base.execute("CREATE TABLE t (a)")
    base.close()
    with pytest.raises(CorruptError):
        AnswerStore(other)
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "target.db")
    with pytest.raises(StorageError, match="a link or a folder"):
        AnswerStore(link)
    assert not (tmp_path / "target.db").exists()
    with pytest.raises(StorageError, match="a link or a folder"):
        AnswerStore(tmp_path)


def test_two_stores_share_one_file(tmp_path: Path) -> None:
    first, second = AnswerStore(tmp_path / "a.db"), AnswerStore(tmp_path / "a.db")
    first.put("key", Answer("one", complete=True))
    assert second.get("key") == Answer("one", complete=True)
    second.put("key", Answer("two", complete=False))
    assert first.get("key") == Answer("two", complete=False)
    assert first.get("other") is None
    first.close()
    second.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://example.org/v1"},
        {"cross": [{**CROSS, "domains": ["a", "a"]}]},
        {"domains": {"flecs": {"system": " "}}},
        {"domains": {"flecs": {"system": "x", "answers": "code"}}},
        {"domains": {"flecs": {"system": "x", "language": "lua"}}},
        {"tasks": ["think"]},
        {"max_requests": 0},
        {"nonsense": 1},
    ],
)
def test_configs_without_a_meaning_are_refused(settings: dict[str, Any]) -> None:
    config = {"kind": "teacher", "url": "https://example.org/v1", "model": "sage", "answers_file": "a.db"}
    SHAPERS.config(config)
    with pytest.raises(ConfigError):
        SHAPERS.config({**config, **settings})


@given(st.text() | st.text(alphabet="`~{}[]\"': \nlua<think>/"))
def test_whatever_a_model_says_is_read_or_refused(words: str) -> None:
    shown = without_thoughts(words)
    found = json_object(shown, ("instruction",))
    assert isinstance(found, Fault) or set(found) == {"instruction"}
    assert faulty_json(shown) is None or isinstance(faulty_json(shown), Fault)
    faulty_code(shown, "lua", syntax_gate)


def test_thoughts_are_left_out() -> None:
    assert without_thoughts("<think>\nhm, {1}\n</think>\n\n{}") == "{}"
    assert without_thoughts("I say <think> is a tag </think>") == "I say <think> is a tag </think>"
