"""HTTP servers of this machine that run in a thread while a test uses them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

Server = TypeVar("Server", bound=ThreadingHTTPServer)
NO_HEADERS: Mapping[str, str] = {}


class QuietHandler(BaseHTTPRequestHandler):
    """Answers without a line on stderr for each request."""

    def say(self, status: int, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Run a server while the block runs."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
