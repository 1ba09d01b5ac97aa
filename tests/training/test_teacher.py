"""Teachers that write: a real HTTP server on this machine, a cache, a budget, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_methods import turns

from loopback import QuietHandler, running
from realm.core.errors import ConfigError, CorruptError, DataError, RefusedError, UnavailableError
from realm.core.records import Example
from realm.training.method import METHODS
from realm.training.teacher import TEACHERS, Answered, fetch_answers
from realm.training.teachers import endpoint

ROWS = [
    Example(messages=turns("one"), tags={"level": 1}),
    Example(messages=turns("two", "an older answer"), weight=2.0, expected="2"),
    Example(messages=turns("one"), tags={"level": 2}),
]


class Server(ThreadingHTTPServer):
    """Answers `<prompt>!`, unless `replies` say otherwise for the next requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.replies: list[tuple[int, bytes, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(QuietHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked, dict(self.headers)))
        status, body, headers = 200, _said(asked["messages"][-1]["content"] + "!"), dict[str, str]()
        if self.server.replies:
            status, body, headers = self.server.replies.pop(0)
        self.say(status, body, headers)


def _said(text: str, reason: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE_S", 0.01)
    with running(Server()) as found:
        yield found


def _teacher(server: Server, **settings: Any) -> Any:
    config = {"kind": "endpoint", "url": server.url, "model": "sage", "at_once": 1, **settings}
    return TEACHERS.build(config)


def _fetch(server: Server, cache: Path, rows: list[Example] | None = None, **settings: Any) -> Answered:
    return fetch_answers(_teacher(server, **settings), rows or ROWS, cache, file="rows.jsonl")


def test_rows_end_with_what_the_teacher_wrote(server: Server, tmp_path: Path) -> None:
    rows, dropped = _fetch(server, tmp_path / "answers", max_answer_tokens=7)
    assert dropped == {}
    assert [row.messages[-1].content for row in rows] == ["one!", "two!", "one!"]
    assert [row.tags for row in rows] == [
        {"level": 1, "teacher": "sage"},
        {"teacher": "sage"},
        {"level": 2, "teacher": "sage"},
    ]
    assert (rows[1].weight, rows[1].expected, len(rows[1].messages)) == (2.0, "2", 2)
    path, asked, headers = server.asked[0]
    assert path == "/v1/chat/completions"
    assert asked == {
        "model": "sage",
        "messages": [{"role": "user", "content": "one"}],
        "temperature": 0.0,
        "max_tokens": 7,
    }
    assert "Authorization" not in headers
    method = METHODS.build({"kind": "distillation", "teacher": _teacher(server).config})
    assert all(method.sequences(row) for row in rows)


def test_equal_prompts_are_asked_once_and_answers_kept(server: Server, tmp_path: Path) -> None:
    first = _fetch(server, tmp_path)
    assert len(server.asked) == 2
    assert _fetch(server, tmp_path) == first
    assert len(server.asked) == 2
    _fetch(server, tmp_path, temperature=0.5)
    assert len(server.asked) == 4


def test_a_fetch_that_was_cut_off_goes_on(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="budget of 1 requests"):
        _fetch(server, tmp_path, max_requests=1)
    rows, _ = _fetch(server, tmp_path, max_requests=1)
    assert [row.messages[-1].content for row in rows] == ["one!", "two!", "one!"]
    assert len(server.asked) == 2


def test_a_busy_teacher_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.replies = [(429, b"", {}), (503, b"", {})]
    rows, _ = _fetch(server, tmp_path)
    assert len(rows) == 3
    server.replies = [(500, b"", {})] * 2
    with pytest.raises(UnavailableError, match="no answer in 2 attempts: status 500"):
        _fetch(server, tmp_path, [Example(messages=turns("three"))], attempts=2)


def test_repeated_requests_count_against_the_budget(server: Server, tmp_path: Path) -> None:
    server.replies = [(429, b"", {})] * 5
    with pytest.raises(RefusedError, match="budget of 2 requests"):
        _fetch(server, tmp_path, max_requests=2)
    assert len(server.asked) == 2


def test_answers_that_end_nowhere_are_left_out_and_counted(server: Server, tmp_path: Path) -> None:
    server.replies = [(200, _said("cut", "length"), {}), (200, _said(" "), {})]
    rows, dropped = _fetch(server, tmp_path)
    assert rows == ()
    assert dropped == {"the teacher's answer was cut off": 2, "the teacher answered nothing": 1}


def test_an_answer_without_words_is_left_out_and_holds_up_no_other(server: Server, tmp_path: Path) -> None:
    server.replies = [(200, b'{"choices": [{"message": {"content": null}}]}', {})]
    rows, dropped = _fetch(server, tmp_path)
    assert [row.messages[-1].content for row in rows] == ["two!"]
    assert dropped == {"the teacher answered nothing": 2}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((302, b"", {"Location": "http://127.0.0.1:9/steal"}), "status 302"),
        ((401, b"who\x1b[31m are you", {}), "status 401: who"),
        ((200, b"not json", {}), "in another form"),
        ((200, b'{"choices": []}', {}), "in another form"),
        ((200, b"[" * 100_000, {}), "in another form"),
    ],
)
def test_strange_answers_are_refused(
    server: Server, tmp_path: Path, reply: tuple[int, bytes, dict[str, str]], reason: str
) -> None:
    server.replies = [reply]
    with pytest.raises(RefusedError, match=reason) as caught:
        _fetch(server, tmp_path, ROWS[:1])
    assert len(server.asked) == 1
    assert "\x1b" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_endless_answer_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_MAX_ANSWER_BYTES", 1000)
    server.replies = [(200, b" " * 1001, {})]
    with pytest.raises(RefusedError, match="answered more than"):
        _fetch(server, tmp_path)


def test_the_key_comes_from_the_environment_and_is_never_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="SAGE_KEY holds no key"):
        _fetch(server, tmp_path, key_variable="SAGE_KEY")
    monkeypatch.setenv("SAGE_KEY", "hidden-word")
    _fetch(server, tmp_path, key_variable="SAGE_KEY")
    assert server.asked[-1][2]["Authorization"] == "Bearer hidden-word"
    assert all(b"hidden-word" not in path.read_bytes() for path in tmp_path.iterdir())
    server.replies = [(403, b"no", {})]
    with pytest.raises(RefusedError) as caught:
        _fetch(server, tmp_path, [Example(messages=turns("four"))], key_variable="SAGE_KEY")
    assert "hidden-word" not in str(caught.value)


def test_proxies_of_the_environment_are_not_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert len(_fetch(server, tmp_path).rows) == 3


def test_a_teacher_out_of_reach_is_told_as_such(tmp_path: Path, server: Server) -> None:
    teacher = _teacher(server, url="http://127.0.0.1:1/v1", attempts=1)
    with pytest.raises(UnavailableError, match="no answer in 1 attempts: ConnectionRefusedError"):
        fetch_answers(teacher, ROWS, tmp_path, file="rows.jsonl")


def test_a_broken_cache_entry_is_named(server: Server, tmp_path: Path) -> None:
    _fetch(server, tmp_path)
    next(tmp_path.iterdir()).write_text("{")
    with pytest.raises(CorruptError, match="not a teacher's answer"):
        _fetch(server, tmp_path)


def test_rows_that_ask_nothing_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^rows\.jsonl:2: a text asks nothing"):
        _fetch(server, tmp_path, [ROWS[0], Example(text="a")])
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1",
        "ftp://127.0.0.1/v1",
        "https://user:word@example.org/v1",
        "https://example.org/v1?key=a",
        "http://127.0.0.1.example.org/v1",
        "http://2130706433/v1",
        "http://[::ffff:10.0.0.1]/v1",
        "file:///etc/passwd",
        "https:///v1",
        "example.org/v1",
    ],
)
def test_unsafe_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="teacher endpoint: url"):
        TEACHERS.config({"kind": "endpoint", "url": url, "model": "sage"})


@pytest.mark.parametrize("url", ["https://example.org/v1", "http://[::1]:8000/v1", "http://localhost/v1/"])
def test_safe_addresses_are_taken(url: str) -> None:
    config: Any = TEACHERS.config({"kind": "endpoint", "url": url, "model": "sage"})
    assert config.url == url.rstrip("/")
