"""An OpenAI-compatible endpoint on this machine that says what it serves, and answers chats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from loopback import QuietHandler, running

JSON = {"Content-Type": "application/json"}


class Models(ThreadingHTTPServer):
    """Says at `/v1/models` what `listed` holds: names, raw bytes, or a status; chats get `answer(prompt)`."""

    daemon_threads = True

    def __init__(self, listed: tuple[str, ...] | bytes | int, answer: Callable[[str], str] = str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.listed, self.answer = listed, answer
        self.asked: list[tuple[str, str | None]] = []
        """Path and Authorization header of every request."""
        self.chats: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(QuietHandler):
    server: Models

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        listed = self.server.listed
        if isinstance(listed, tuple):
            data = [{"id": name, "object": "model", "owned_by": "realm"} for name in listed]
            listed = json.dumps({"object": "list", "data": data}).encode()
        self.say(*((listed, b"{}") if isinstance(listed, int) else (200, listed)), headers=JSON)

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        chat = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.chats.append(chat)
        said = {"role": "assistant", "content": self.server.answer(chat["messages"][-1]["content"])}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        self.say(200, json.dumps({"choices": [choice]}).encode(), JSON)


@contextmanager
def models_served(
    listed: tuple[str, ...] | bytes | int, answer: Callable[[str], str] = str
) -> Iterator[Models]:
    """Run an endpoint while the block runs."""
    with running(Models(listed, answer)) as endpoint:
        yield endpoint
