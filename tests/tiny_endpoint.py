"""A chat endpoint on this machine that answers as a test tells it: well, late, badly or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback import QuietHandler, running

Reply = tuple[int, bytes, dict[str, str]]


class Endpoint(ThreadingHTTPServer):
    """Answers with `answer(request)`; `replies` are used up first, then `odd` may take over."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any]], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.replies: list[Reply] = []
        self.odd: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.usage: dict[str, Any] | None = None
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [request for _, request, _ in self.asked]

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet: clients that hang up are what some tests are about."""


class _Handler(QuietHandler):
    server: Endpoint

    def do_POST(self) -> None:
        with self.server.counted():
            self._answer()

    def _answer(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked, dict(self.headers)))
        if self.server.odd is not None:
            self.server.odd(self)
            return
        if self.server.replies:
            status, body, headers = self.server.replies.pop(0)
        else:
            status, body, headers = 200, said(self.server.answer(asked), usage=self.server.usage), {}
        self.say(status, body, headers)


def said(text: str, reason: str = "stop", usage: dict[str, Any] | None = None) -> bytes:
    """Return the body of an answer."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return json.dumps({"choices": [choice], **({"usage": usage} if usage else {})}).encode()


@contextmanager
def served(answer: Callable[[dict[str, Any]], str]) -> Iterator[Endpoint]:
    """Run an endpoint while the block runs."""
    with running(Endpoint(answer)) as endpoint:
        yield endpoint
