"""What is said to an OpenAI-compatible `/chat/completions`, and what is understood of its answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

PATH = "/chat/completions"


class Completion(NamedTuple):
    """One answer."""

    text: str | None
    """None where the model said nothing in words: a tool call, a refusal in a field of its own."""
    complete: bool
    """It ended by itself, not at a limit."""
    tokens: int | None
    """Prompt and answer together, where the service counted them."""


def request(
    model: str, turns: Iterable[tuple[str, str]], temperature: float, max_answer_tokens: int, **more: float
) -> dict[str, Any]:
    """Return the body for a chat of (role, content) turns; `more` are fields such as `top_p` and `seed`."""
    return {
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in turns],
        "temperature": temperature,
        "max_tokens": max_answer_tokens,
        **more,
    }


def read(body: bytes) -> Completion | None:
    """Return the first choice, or None where the answer has another form or is no valid Unicode."""
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        text, ended = choice["message"]["content"], choice.get("finish_reason") != "length"
        if isinstance(text, str):
            text.encode()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return Completion(text if isinstance(text, str) else None, ended, _tokens(answer))


def _tokens(answer: dict[str, Any]) -> int | None:
    usage = answer.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) and total > 0 else None
