"""A teacher behind an OpenAI-compatible URL, asked for words before the run.

Connections go to the configured host alone: `https`, or `http` on this machine; redirects and proxies
are not followed. The key comes from an environment variable and travels in a header only. Answers are
bounded in size and time. Not covered: streaming, tools, images.
"""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import ConfigError, DataError, RefusedError, UnavailableError
from realm.core.records import Message
from realm.core.text import printable
from realm.training.teacher import TAG, Answer

if TYPE_CHECKING:
    from realm.core.records import Example
    from realm.training.trainee import Trainee

_MAX_ANSWER_BYTES = 8 << 20
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may work."""
_FIRST_PAUSE_S = 0.5


def _safe_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("a teacher's URL holds no user, password, query or fragment")
    if parts.hostname is None or not (
        parts.scheme == "https" or (parts.scheme == "http" and _here(parts.hostname))
    ):
        raise ValueError("a teacher's URL begins with https://, or with http:// on this machine")
    return url.rstrip("/")


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Endpoint:
    """Ask a served model for whole answers."""

    token_level: ClassVar[bool] = False

    class Config(BaseConfig):
        """Where the teacher is, how it is asked, and how often at most."""

        kind: Literal["endpoint"] = "endpoint"
        url: Annotated[str, AfterValidator(_safe_url)]
        """Up to `/chat/completions`, such as `https://host/v1`."""
        model: Annotated[str, Field(min_length=1, max_length=200)]
        key_variable: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
        """Environment variable that holds the key; none sends no key."""
        temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
        max_answer_tokens: Annotated[int, Field(ge=1)] = 1024
        """Longer answers are cut off by the teacher, and then left out."""
        max_requests: Annotated[int, Field(ge=1)] = 10_000
        """Budget of one fetch, repeated requests included."""
        at_once: Annotated[int, Field(ge=1, le=64)] = 4
        attempts: Annotated[int, Field(ge=1, le=10)] = 3
        """For one prompt, where the teacher is busy or out of reach."""
        timeout_s: Annotated[float, Field(gt=0)] = 120.0

    def __init__(self, config: Config) -> None:
        self.config = config
        self._sent = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.config.model

    @property
    def identity(self) -> dict[str, str | int | float]:
        """Return URL, model and sampling settings."""
        c = self.config
        return {
            "url": c.url,
            "model": c.model,
            "temperature": c.temperature,
            "max_answer_tokens": c.max_answer_tokens,
        }

    @property
    def at_once(self) -> int:
        """Return how many requests may be under way."""
        return self.config.at_once

    def check(self, example: Example) -> None:
        """Raise DataError unless this teacher wrote the row's answer."""
        if example.tags.get(TAG) != self.name:
            raise DataError(
                f"the teacher {printable(self.name)} has not answered this row",
                file="row",
                hint="fetch its answers first; they become a dataset of their own",
            )

    def open(self, trainee: Trainee) -> None:
        """Return nothing: the rows hold its answers."""

    def write(self, prompt: Sequence[Message]) -> Answer:
        """Ask for one answer. Raises RefusedError when the budget is spent, or UnavailableError."""
        body = {
            "model": self.config.model,
            "messages": [{"role": message.role, "content": message.content} for message in prompt],
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_answer_tokens,
        }
        answer = self._patiently(json.dumps(body).encode())
        try:
            choice = json.loads(answer)["choices"][0]
            text, ended = choice["message"]["content"], choice.get("finish_reason") != "length"
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise self._error("answered in another form", answer) from None
        if not isinstance(text, str):
            raise self._error("answered without text", answer)
        return Answer(text=text, complete=ended)

    def _patiently(self, body: bytes) -> bytes:
        """Send until there is an answer or no attempt is left."""
        failure = ""
        for attempt in range(self.config.attempts):
            if attempt:
                time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            self._spend()
            try:
                status, answer = self._send(body)
            except (OSError, HTTPException) as error:
                failure = f"{type(error).__name__}: {error}"
                continue
            if status == 200:
                return answer
            if status not in _AGAIN:
                raise self._error(f"answered with status {status}", answer)
            failure = f"status {status}"
        raise UnavailableError(
            f"the teacher {self.config.url} gave no answer in {self.config.attempts} attempts: {failure}",
            hint="answers that came are kept; fetch again to go on",
        )

    def _spend(self) -> None:
        with self._lock:
            if self._sent >= self.config.max_requests:
                raise RefusedError(
                    f"the budget of {self.config.max_requests} requests to {self.config.url} is spent",
                    hint="answers that came are kept; fetch again to go on",
                )
            self._sent += 1

    def _send(self, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(self.config.url)
        connection = _connection(parts.scheme, str(parts.hostname), parts.port, self.config.timeout_s)
        try:
            connection.request("POST", f"{parts.path}/chat/completions", body, self._headers())
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER_BYTES + 1)
        finally:
            connection.close()
        if len(answer) > _MAX_ANSWER_BYTES:
            raise self._error(f"answered more than {_MAX_ANSWER_BYTES >> 20} MiB", b"")
        return response.status, answer

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.config.key_variable is None:
            return headers
        key = os.environ.get(self.config.key_variable, "")
        if not key.isascii() or not key.isprintable() or not key:
            raise ConfigError(f"the environment variable {self.config.key_variable} holds no key")
        return {**headers, "Authorization": f"Bearer {key}"}

    def _error(self, what: str, answer: bytes) -> RefusedError:
        said = printable(answer[:400].decode(errors="replace"), 200)
        return RefusedError(f"the teacher {self.config.url} {what}{': ' + said if said else ''}")


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> HTTPConnection:
    if scheme == "https":
        return HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
    return HTTPConnection(host, port, timeout=timeout_s)
