"""The client against a real server on this machine: slow, busy, lying and hostile ones."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import ConfigError, RefusedError, UnavailableError
from realm.http import completions
from realm.http.client import Client, Limits, NoReply, Reply
from tiny_endpoint import Endpoint, said, served

QUICK = Limits(timeout_s=10.0, attempts=3, answer_bytes=1000, first_pause_s=0.001)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with served(lambda asked: "fine") as found:
        yield found


def _client(url: str, limits: Limits = QUICK, key_variable: str | None = None) -> Client:
    return Client("the service", url, key_variable, limits)


def _post(client: Client, body: bytes = b"{}") -> Reply | NoReply:
    return client.post("/chat/completions", body, may_send=lambda: True)


def test_a_good_answer_comes_back_whole(endpoint: Endpoint) -> None:
    client = _client(endpoint.url)
    reply = _post(client, b'{"a": 1}')
    assert reply == Reply(200, said("fine"), whole=True)
    assert client.checked(reply) == said("fine")
    path, asked, headers = endpoint.asked[0]
    assert (path, asked) == ("/v1/chat/completions", {"a": 1})
    assert "Authorization" not in headers


def test_a_busy_service_is_asked_again_as_often_as_allowed(endpoint: Endpoint) -> None:
    endpoint.replies = [(429, b"", {"Retry-After": "0"}), (503, b"", {"Retry-After": "Wed, 21 Oct"})]
    assert _post(_client(endpoint.url)) == Reply(200, said("fine"), whole=True)
    assert len(endpoint.asked) == 3
    endpoint.replies = [(500, b"", {})] * 3
    client = _client(endpoint.url)
    reply = _post(client)
    assert reply == NoReply("status 500", stopped=False)
    with pytest.raises(UnavailableError, match=r"the service .* gave no answer in 3 attempts: status 500"):
        client.checked(reply)


def test_the_wish_of_a_busy_service_is_met(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("realm.http.client.time.sleep", pauses.append)
    endpoint.replies = [(429, b"", {"Retry-After": "7"}), (429, b"", {"Retry-After": "inf"})]
    _post(_client(endpoint.url))
    endpoint.replies = [(503, b"", {"Retry-After": "9999999"}), (503, b"", {"Retry-After": "-1"})]
    _post(_client(endpoint.url))
    assert pauses == [7.0, 0.002, 60.0, 0.002]


def test_who_may_not_send_sends_nothing(endpoint: Endpoint) -> None:
    allowed = iter([True, False])
    endpoint.replies = [(503, b"", {})]
    reply = _client(endpoint.url).post("/x", b"{}", may_send=lambda: next(allowed))
    assert isinstance(reply, NoReply)
    assert reply.stopped
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(endpoint: Endpoint, status: int) -> None:
    with served(lambda asked: "stolen") as other:
        endpoint.replies = [(status, b"", {"Location": other.url})]
        client = _client(endpoint.url)
        with pytest.raises(RefusedError, match=f"answered with status {status}"):
            client.checked(_post(client))
        assert other.asked == []


def test_proxies_of_the_environment_are_not_used(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert isinstance(_post(_client(endpoint.url)), Reply)


def test_a_longer_answer_than_is_taken_is_cut_and_refused(endpoint: Endpoint) -> None:
    endpoint.replies = [(200, b"x" * 1000, {}), (200, b"x" * 1001, {})]
    client = _client(endpoint.url)
    assert _post(client) == Reply(200, b"x" * 1000, whole=True)
    cut = _post(client)
    assert cut == Reply(200, b"x" * 1000, whole=False)
    with pytest.raises(RefusedError, match="answered more than"):
        client.checked(cut)


def test_an_endless_answer_is_left(endpoint: Endpoint) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"y" * 65536)

    endpoint.odd = endless
    assert _post(_client(endpoint.url)) == Reply(200, b"y" * 1000, whole=False)


@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_that_only_drips_is_given_up(endpoint: Endpoint, part: str) -> None:
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if part == "body" else b"X-Slow: "))
        while not stop.wait(0.02):
            handler.wfile.write(b"z")

    endpoint.odd = drip
    limits = Limits(timeout_s=0.2, attempts=1, answer_bytes=1 << 20)
    reply = _post(_client(endpoint.url, limits))
    stop.set()
    assert reply == NoReply("TimeoutError: timed out", stopped=False)


def test_an_answer_that_breaks_off_is_asked_for_again(endpoint: Endpoint) -> None:
    body = said("whole")

    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: -len(endpoint.asked)] if len(endpoint.asked) < 3 else body)

    endpoint.odd = broken
    assert _post(_client(endpoint.url)) == Reply(200, body, whole=True)
    assert len(endpoint.asked) == 3


@pytest.mark.parametrize(
    "words", [b"", b"\x00" * 50, b"HTTP/1.1 banana\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX" * 9000]
)
def test_what_is_no_http_at_all_is_no_reply(words: bytes) -> None:
    def speak() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(words)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=speak)
        thread.start()
        reply = _post(_client(f"http://127.0.0.1:{listener.getsockname()[1]}/v1"))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert isinstance(reply, NoReply)
    assert not reply.stopped


def test_the_key_travels_in_a_header_and_is_never_told(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _client(endpoint.url, key_variable="A_KEY")
    for wrong in ("", "a\r\nX: b", "ключ"):
        monkeypatch.setenv("A_KEY", wrong)
        with pytest.raises(ConfigError, match="A_KEY holds no key"):
            _post(client)
    assert endpoint.asked == []
    monkeypatch.setenv("A_KEY", "hidden-word")
    endpoint.replies = [(403, b"go \x1b[31maway", {})]
    with pytest.raises(RefusedError, match="status 403: go") as caught:
        client.checked(_post(client))
    assert endpoint.asked[0][2]["Authorization"] == "Bearer hidden-word"
    assert "hidden-word" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1",
        "http://10.0.0.1/v1",
        "http://127.0.0.1.example.org/v1",
        "http://2130706433/v1",
        "http://[::ffff:10.0.0.1]/v1",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "https://user:word@example.org/v1",
        "https://example.org/v1?key=a",
        "https://example.org/v1#a",
        "https://example.org/v 1",
        "https://example.org:0/v1",
        "https://example.org:99999/v1",
        "https:///v1",
        "example.org/v1",
        "",
    ],
)
def test_unsafe_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|path|[Pp]ort"):
        _client(url)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner) | st.dictionaries(st.sampled_from(["choices", "message", "content"]), inner)


JSON = st.recursive(st.none() | st.integers() | st.text(), _nested).map(
    lambda value: json.dumps(value).encode()
)


@given(st.binary() | JSON)
def test_whatever_is_answered_is_read_or_not(body: bytes) -> None:
    found: Any = completions.read(body)
    assert found is None or isinstance(found, completions.Completion)


def test_what_is_understood_of_an_answer() -> None:
    good = said("hi", "length", {"total_tokens": 12})
    assert completions.read(good) == completions.Completion("hi", complete=False, tokens=12)
    for odd in (0, -5, True, "9", None, 1.5):
        found = completions.read(said("hi", usage={"total_tokens": odd}))
        assert found == completions.Completion("hi", complete=True, tokens=None)
    assert completions.read(said("\ud83d")) is None
    assert completions.read(b"[" * 100_000) is None
    assert completions.read(b'{"choices": [{"message": {"content": null}}]}') == (None, True, None)
