"""A teacher behind an OpenAI-compatible URL, asked for words before the run.

Where it may be reached, and how much is taken from it: see `realm.http.client`. Not covered: streaming,
tools, images.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError, RefusedError
from realm.core.records import Message, Seconds
from realm.core.text import printable
from realm.http import completions
from realm.http.client import FIRST_PAUSE_S, MAX_ANSWER_BYTES, Client, KeyVariable, Limits, NoReply, SafeUrl
from realm.training.teacher import TAG, Answer

if TYPE_CHECKING:
    from realm.core.records import Example
    from realm.training.trainee import Trainee

_MAX_ANSWER_BYTES = MAX_ANSWER_BYTES
_FIRST_PAUSE_S = FIRST_PAUSE_S


class Endpoint:
    """Ask a served model for whole answers."""

    token_level: ClassVar[bool] = False

    class Config(BaseConfig):
        """Where the teacher is, how it is asked, and how often at most."""

        kind: Literal["endpoint"] = "endpoint"
        url: SafeUrl
        """Up to `/chat/completions`, such as `https://host/v1`."""
        model: Annotated[str, Field(min_length=1, max_length=200)]
        """The name it is served under."""
        key_variable: KeyVariable | None = None
        """Environment variable that holds the key; none sends no key."""
        temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
        """The teacher's, of sampling; 0 asks for the likeliest answer."""
        max_answer_tokens: Annotated[int, Field(ge=1)] = 1024
        """Longer answers are cut off by the teacher, and then left out."""
        max_requests: Annotated[int, Field(ge=1)] = 10_000
        """Requests while one run is queued, repeated ones included."""
        at_once: Annotated[int, Field(ge=1, le=64)] = 4
        """Requests under way at the same time."""
        attempts: Annotated[int, Field(ge=1, le=10)] = 3
        """For one prompt, where the teacher is busy or out of reach."""
        timeout_s: Seconds = 120.0
        """How long one request may take, seconds."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._client = Client(
            "the teacher",
            config.url,
            config.key_variable,
            Limits(config.timeout_s, config.attempts, _MAX_ANSWER_BYTES, _FIRST_PAUSE_S),
        )
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
                hint="queue the run by `realm train` or the inbox: both let the teacher answer first",
            )

    def open(self, trainee: Trainee) -> None:
        """Return nothing: the rows hold its answers."""

    def write(self, prompt: Sequence[Message]) -> Answer:
        """Ask for one answer. Raises RefusedError when the budget is spent, or UnavailableError."""
        turns = [(message.role, message.content) for message in prompt]
        c = self.config
        body = completions.request(c.model, turns, c.temperature, c.max_answer_tokens)
        reply = self._client.post(completions.PATH, json.dumps(body).encode(), may_send=self._may_send)
        if isinstance(reply, NoReply) and reply.stopped:
            raise RefusedError(
                f"the budget of {c.max_requests} requests to {c.url} is spent",
                hint="answers that came are kept: queue the run again to go on",
            )
        answer = self._client.checked(reply)
        found = completions.read(answer)
        if found is None:
            raise self._client.refusal("answered in another form", answer)
        return Answer(text=found.text or "", complete=found.complete)

    def _may_send(self) -> bool:
        with self._lock:
            self._sent += 1
            return self._sent <= self.config.max_requests
