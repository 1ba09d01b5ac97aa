"""Generate with a model that an OpenAI-compatible service holds.

Where it may be reached, and how much is taken from it: see `realm.http.client`. What a temperature above 0
draws is up to the service; it is told a seed. Not covered: tools, images, losses (the service has them,
the interface does not).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.errors import UnavailableError
from realm.core.records import Message, Seconds
from realm.core.seeds import seed as seed_of
from realm.http import completions
from realm.http.client import Client, KeyVariable, Limits, SafeUrl

_SEED_BITS = 31
"""What services take for a seed."""
LOAD_ADAPTER = "/load_lora_adapter"
"""vLLM's, below the API's root; see its page on LoRA adapters."""


class Service(Config):
    """Where a served model is reached."""

    url: SafeUrl
    """Up to `/chat/completions`, such as `https://host/v1`."""
    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The name it is served under."""
    key_variable: KeyVariable | None = None
    """Environment variable that holds the key; none sends no key."""
    at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests under way at the same time."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """For one prompt, where the service is busy or out of reach."""
    timeout_s: Seconds = 120.0
    """How long one request may take, seconds."""


class Endpoint:
    """Generate by asking a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        limits = Limits(timeout_s=service.timeout_s, attempts=service.attempts)
        self._client = Client("the model", service.url, service.key_variable, limits)

    @property
    def description(self) -> dict[str, str]:
        """Say what generates; what the service does inside is not known."""
        return {"backend": f"endpoint {self._service.url}", "model": self._service.model}

    def load_adapter(self, name: str, folder: str) -> None:
        """Have a vLLM service load an adapter that lies at the same path there, under this name.

        A name is loaded once: the service caches by it, so the same name must mean the same bytes. Raises
        UnavailableError, or RefusedError with what the service said.
        """
        body = json.dumps({"lora_name": name, "lora_path": folder}).encode()
        reply = self._client.post(LOAD_ADAPTER, body, may_send=lambda: True)
        if b"already been loaded" not in getattr(reply, "body", b""):
            self._client.checked(reply)

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Return one answer a prompt, in order. Raises UnavailableError or RefusedError."""

        def one(index: int) -> str:
            drawn = seed_of("generate", seed, index) >> (63 - _SEED_BITS)
            turns = [(message.role, message.content) for message in prompts[index]]
            body = completions.request(
                self._service.model, turns, temperature, max_tokens, top_p=top_p, seed=drawn
            )
            return self._ask(json.dumps(body).encode())

        with ThreadPoolExecutor(self._service.at_once) as pool:
            return list(pool.map(one, range(len(prompts))))

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yield the answer in one piece."""
        yield from self.generate(
            [messages], max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed
        )

    def loss(self, chats: Sequence[Sequence[Message]]) -> tuple[float, int]:
        """Raise UnavailableError: the interface tells no losses."""
        raise UnavailableError(
            f"{self._client.whose} tells no losses", hint="measure them with the checkpoint's own files"
        )

    def _ask(self, body: bytes) -> str:
        answer = self._client.checked(self._client.post(completions.PATH, body, may_send=lambda: True))
        found = completions.read(answer)
        if found is None:
            raise self._client.refusal("answered in another form", answer)
        return found.text or ""
