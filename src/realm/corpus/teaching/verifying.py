"""What of a model's answer is believed: only what parses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from realm.corpus.code.languages import ALIASES
from realm.corpus.texts.fences import blocks

Gate = Callable[[str, str], bool | None]
"""`gate(language, code)`: whether the code parses, None where the language has no gate."""

_THOUGHTS_END = "</think>"


class Fault(NamedTuple):
    """Why an answer is not used."""

    reason: str
    """Short and fixed, for the tally."""
    advice: str
    """Told to the model, once."""


def syntax_gate(language: str, code: str) -> bool | None:
    """Parse code by its language's grammar. Raises MissingExtraError where there are none."""
    from realm.corpus.code.syntax import GRAMMARS, parses

    return parses(code, language) if language in GRAMMARS else None


def without_thoughts(text: str) -> str:
    """Return the answer behind what a reasoning model thought aloud before it."""
    if text.lstrip().startswith("<think>") and _THOUGHTS_END in text:
        return text.partition(_THOUGHTS_END)[2].strip()
    return text.strip()


def json_object(text: str, keys: tuple[str, ...]) -> dict[str, str] | Fault:
    """Return an answer's JSON object of non-empty strings with exactly these keys."""
    found = _parsed(text)
    wanted = ", ".join(f'"{key}"' for key in keys)
    if not isinstance(found, dict):
        return Fault("the answer is not the JSON asked for", f"answer with one JSON object with {wanted}")
    values = {key: value for key, value in found.items() if isinstance(value, str) and value.strip()}
    if set(values) != set(keys) or len(found) != len(keys):
        return Fault(
            "the answer's JSON has other keys", f"the object has {wanted} and nothing else, all of them text"
        )
    return values


def faulty_json(text: str) -> Fault | None:
    """Return what is wrong with an answer that has to be JSON."""
    if _parsed(text) is None:
        return Fault("the answer is not the JSON asked for", "answer with valid JSON and nothing else")
    return None


def faulty_code(text: str, language: str | None, gate: Gate) -> Fault | None:
    """Return what is wrong with an answer's code.

    Every block of a language that has a gate must pass it; where a `language` is asked for, there must
    be a block of it. A fence without a language is taken to be of the one asked for.
    """
    seen = False
    for block in blocks(text):
        named = ALIASES.get(block.language, block.language) or language or ""
        parses = gate(named, block.code) if named else None
        if parses is False or not block.closed:
            return Fault(
                "the answer's code does not parse", f"the {named} code has a syntax error or ends nowhere"
            )
        seen = seen or (named == language and parses is True)
    if language is not None and not seen:
        return Fault(
            "the answer has no code", f"put {language} code into a closed block fenced as ```{language}"
        )
    return None


def _parsed(text: str) -> Any:
    fenced = [block.code for block in blocks(text) if block.language in ("", "json")]
    words = fenced[0] if len(fenced) == 1 and text.startswith(("```", "~~~")) else text
    try:
        found = json.loads(words)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return found
