"""A safe client for an API that a person configured.

Connections go to the configured host alone: `https`, or `http` on this machine; redirects and proxies
are not followed. The key comes from an environment variable and travels in a header only. Answers are
bounded in size, an exchange in time from the first byte sent to the last one read.
Not covered: streaming, connections that are kept open, and a name server that sends an `https` host's
name to an inner address (its certificate would have to match).
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from realm.core.errors import ConfigError, RefusedError, UnavailableError
from realm.core.text import printable

MAX_ANSWER_BYTES = 8 << 20
FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may work."""
OK = 200
# Anything else could end the request line early and begin a request of its own.
_PATH = re.compile(r"[A-Za-z0-9._~/%@:+=,;!$&'()*-]*")


def _safe_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("a service's URL holds no user, password, query or fragment")
    if parts.hostname is None or not (
        parts.scheme == "https" or (parts.scheme == "http" and _here(parts.hostname))
    ):
        raise ValueError("a service's URL begins with https://, or with http:// on this machine")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("a service's path holds letters, digits and marks of ASCII only")
    if parts.port == 0:
        raise ValueError("a service's port is 1 to 65535")
    return url.rstrip("/")


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


SafeUrl = Annotated[str, AfterValidator(_safe_url)]
"""Of an API's root, such as `https://host/v1`; the end slash is taken off."""
KeyVariable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]
"""Environment variable that holds a key."""


class Reply(NamedTuple):
    """What came back, whatever it says."""

    status: int
    body: bytes
    whole: bool
    """False where the answer was longer than the client takes; `body` is then its beginning."""


class NoReply(NamedTuple):
    """Why nothing came back."""

    why: str
    """Printable."""
    stopped: bool
    """The caller did not let the request go out."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client waits, how much it takes and how often it asks."""

    timeout_s: float = 120.0
    """For connecting, and then for the exchange as a whole."""
    attempts: int = 3
    """Of one request, where the service is busy or out of reach."""
    answer_bytes: int = MAX_ANSWER_BYTES
    first_pause_s: float = FIRST_PAUSE_S
    """Before the second attempt; it doubles, and a longer wish of the service is met up to a minute."""


class Client:
    """Exchange JSON with one service; usable from several threads."""

    def __init__(
        self, whose: str, url: str, key_variable: str | None, limits: Limits, *, key: str | None = None
    ) -> None:
        self.whose = f"{whose} {url}"
        """The service in messages."""
        self._url = urlsplit(_safe_url(url))
        self._key_variable = key_variable
        self._key = key
        """Sent where no variable is named."""
        self._limits = limits

    def post(self, path: str, body: bytes, *, may_send: Callable[[], bool]) -> Reply | NoReply:
        """Send until there is an answer that is not to be asked for again.

        `may_send` is asked before every attempt. Raises ConfigError where the key is missing.
        """
        return self._exchange("POST", path, body, may_send)

    def get(self, path: str, *, may_send: Callable[[], bool]) -> Reply | NoReply:
        """Ask for a path as `post` does."""
        return self._exchange("GET", path, None, may_send)

    def _exchange(
        self, method: str, path: str, body: bytes | None, may_send: Callable[[], bool]
    ) -> Reply | NoReply:
        why, pause = "", self._limits.first_pause_s
        for attempt in range(self._limits.attempts):
            if attempt:
                time.sleep(pause)
                pause = self._limits.first_pause_s * 2**attempt
            headers = self._headers()
            if not may_send():
                return NoReply("it may not be asked", stopped=True)
            try:
                reply, wish_s = self._send(method, path, body, headers)
            except (OSError, HTTPException) as error:
                why = printable(f"{type(error).__name__}: {error}")
                continue
            if reply.status not in _AGAIN:
                return reply
            why = f"status {reply.status}"
            pause = min(max(pause, wish_s), _LONGEST_PAUSE_S)
        return NoReply(why, stopped=False)

    def refusal(self, what: str, answer: bytes = b"") -> RefusedError:
        """Return the error that says what the service did, with the beginning of its words."""
        said = printable(answer[:400].decode(errors="replace"), 200)
        return RefusedError(f"{self.whose} {what}{': ' + said if said else ''}")

    def checked(self, reply: Reply | NoReply) -> bytes:
        """Return the body of a good reply.

        Raises UnavailableError where there is none, and RefusedError for any other.
        """
        if isinstance(reply, NoReply):
            raise UnavailableError(
                f"{self.whose} gave no answer in {self._limits.attempts} attempts: {reply.why}",
                hint="see that it answers at its URL, then repeat the command: a teacher's answers are kept",
            )
        if not reply.whole:
            raise self.refusal(f"answered more than {self._limits.answer_bytes >> 20} MiB")
        if reply.status != OK:
            raise self.refusal(f"answered with status {reply.status}", reply.body)
        return reply.body

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[Reply, float]:
        connection = _connection(
            self._url.scheme, str(self._url.hostname), self._url.port, self._limits.timeout_s
        )
        try:
            connection.connect()
            with _deadline(connection.sock, self._limits.timeout_s):
                connection.request(method, f"{self._url.path}{path}", body, headers)
                response = connection.getresponse()
                answer = response.read(self._limits.answer_bytes + 1)
                if len(answer) <= self._limits.answer_bytes and response.length:
                    raise IncompleteRead(b"", response.length)
        finally:
            connection.close()
        whole = len(answer) <= self._limits.answer_bytes
        return Reply(response.status, answer[: self._limits.answer_bytes], whole), _wish_s(response)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key_variable is None:
            return headers if self._key is None else {**headers, "Authorization": f"Bearer {self._key}"}
        key = os.environ.get(self._key_variable, "")
        if not key.isascii() or not key.isprintable() or not key:
            raise ConfigError(f"the environment variable {self._key_variable} holds no key")
        return {**headers, "Authorization": f"Bearer {key}"}


@contextmanager
def _deadline(sock: socket.socket, timeout_s: float) -> Iterator[None]:
    """End the exchange after `timeout_s`; a socket's own timeout begins anew with every byte."""
    late = threading.Event()

    def end() -> None:
        late.set()
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is closed already, which is what was wanted.
            return

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException):
        if late.is_set():
            raise TimeoutError("timed out") from None
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError("timed out")


def _wish_s(response: HTTPResponse) -> float:
    """Return how long the service wants to be left alone; 0 where it names no plain number."""
    try:
        wish = float(response.headers.get("Retry-After", "0")[:20])
    except ValueError:
        return 0.0
    return wish if math.isfinite(wish) and wish > 0 else 0.0


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> HTTPConnection:
    if scheme == "https":
        return HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
    return HTTPConnection(host, port, timeout=timeout_s)
