"""Read answers in any format, and score them.

| answer | score |
|---|---|
| all words and no other; `json_output_format`: in exactly the JSON that was asked for | 1.0 |
| another that can be read | 0.9 (`json_output_format`: 0.5) × words right / max(words given, words asked) |
| a number that is not the right one; mixed formats, sentences, nothing, more than 16,384 characters | 0.0 |

Words are compared as a set, in upper case. A word that is given twice counts as given twice. Labels
may be numbers, letters or roman. A code fence around the whole answer is taken off. Nested JSON is
wholly right only where it was asked for and its inventory of the bank is right too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from realm.skills.skill import Problem
from realm.skills.words import keys
from realm.skills.words.formats import CSV_HEADER, YAML_HEADER, Nested
from realm.skills.words.labels import are_labels

MAX_ANSWER = 16_384
"""Characters that an answer may have; the longest right one of the shipped lexicon has about 1,300."""
PARTLY = 0.9
"""What an answer that is not wholly right can reach."""
UNSTRUCTURED = 0.5
"""What right words can reach in another form than the JSON that was asked for."""

_WORD = re.compile(r"[A-Za-z]{1,32}")
_FENCE = re.compile(r"```[a-z]{0,10}\n(.*)\n```", re.DOTALL)
_LABELLED = re.compile(r"(?:([0-9]{1,2}|[A-Za-z]{1,4})(?:[.)] +| ?[=:] ?))([A-Za-z]{1,32})")
_LISTED = re.compile(r"[-*•] +([A-Za-z]{1,32})")
_JSON_STARTS = ("[", "{")
_RULE = re.compile(r"-{3,20}|:-{2,20}:?")

Given = Sequence[tuple[str | None, str]]
"""Words with their labels, where they have some."""


def grade(problem: Problem, answer: str) -> float:
    """Score an answer to a problem of the seven primitives."""
    if len(answer) > MAX_ANSWER:
        return 0.0
    answer = answer.strip()
    if answer == problem.expected:
        return 1.0
    if problem.primitive == "syllable_count":
        return 0.0
    right = {name.upper() for name in keys.names(problem.key)}
    text = _unfenced(answer)
    value = _loads(text) if text[:1] in _JSON_STARTS else None
    given = _words(_read_json(value) if text[:1] in _JSON_STARTS else _read_text(text), len(right))
    share = len(right.intersection(given)) / max(len(given), len(right), 1)
    strict = problem.primitive == "json_output_format"
    exact = strict or (isinstance(value, dict) and "solutions" in value)
    if share == 1.0 and (not exact or _same(problem, value)):
        return 1.0
    return (UNSTRUCTURED if strict else PARTLY) * share


def _words(given: Given, count: int) -> list[str]:
    """Return the words in upper case; none if a word or label is none. Labels go as far as `count`."""
    labels = [label for label, _ in given if label is not None]
    if not all(_WORD.fullmatch(word) for _, word in given) or not are_labels(labels, count):
        return []
    return [word.upper() for _, word in given]


def _same(problem: Problem, value: Any) -> bool:
    """Say whether JSON is what was asked for: a list in any order, all else as it should be."""
    normal = _JSON_FORMS.get(problem.form)
    found = normal(value) if normal else None
    return normal is not None and found is not None and found == normal(_loads(problem.expected))


def _unfenced(answer: str) -> str:
    fenced = _FENCE.fullmatch(answer)
    return fenced[1].strip() if fenced else answer


# --- reading ------------------------------------------------------------------------------


def _read_json(value: Any) -> Given:
    if isinstance(value, dict) and "solutions" in value:
        value = _nested_words(value["solutions"])
    if isinstance(value, list):
        value = [(None, word) for word in value]
    pairs: list[Any] = list(value.items()) if isinstance(value, dict) else value or []
    return pairs if all(isinstance(word, str) for _, word in pairs) else []


def _nested_words(solutions: Any) -> list[Any]:
    if not isinstance(solutions, list) or not all(isinstance(item, dict) for item in solutions):
        return []
    return [item.get("answer") for item in solutions]


def _loads(text: str) -> Any:
    """Read JSON, None where it is none or names a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _read_table(text: str) -> Given:
    rows = [[cell.strip() for cell in line.strip().split("|")] for line in text.split("\n")]
    if len(rows) < 3 or any(len(row) != 4 or row[0] or row[3] for row in rows):
        return []
    headed = [cell.lower() for cell in rows[0][1:3]] == ["label", "word"]
    if not headed or not all(_RULE.fullmatch(cell) for cell in rows[1][1:3]):
        return []
    return [(row[1], row[2]) for row in rows[2:]]


def _read_text(text: str) -> Given:
    if text.startswith("|"):
        return _read_table(text)
    lines = [line.strip() for line in text.split("\n")]
    if lines[0] in _HEADED:
        return _HEADED[lines[0]](lines[1:])
    if len(lines) == 1 and (";" in text or "," in text):
        return [(None, word.strip()) for word in text.split(";" if ";" in text else ",")]
    if _LISTED.fullmatch(lines[0]):
        return _bullets(lines)
    if _LABELLED.fullmatch(lines[0]):
        return _each(_LABELLED, lines)
    return [(None, line) for line in lines]


def _bullets(lines: list[str]) -> Given:
    found = [_LISTED.fullmatch(line) for line in lines]
    return [(None, match[1] if match else "") for match in found]


def _each(pattern: re.Pattern[str], lines: list[str]) -> Given:
    found = [pattern.fullmatch(line) for line in lines]
    return [(match[1], match[2]) if match else ("", "") for match in found]


_CSV_ROW = re.compile(r"([0-9]{1,2}|[A-Za-z]{1,4}), ?([A-Za-z]{1,32})")
_HEADED: dict[str, Callable[[list[str]], Given]] = {
    CSV_HEADER: lambda lines: _each(_CSV_ROW, lines),
    YAML_HEADER: _bullets,
}


# --- structure ----------------------------------------------------------------------------


def _list(value: Any) -> list[str] | None:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return sorted(word.upper() for word in value)


def _map(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(word, str) for word in value.values()):
        return None
    return {label.upper(): word.upper() for label, word in value.items()}


def _nested(value: Any) -> Nested | None:
    try:
        nested = Nested.model_validate(value)
    except ValidationError:
        return None
    solutions = [s.model_copy(update={"answer": s.answer.upper()}) for s in nested.solutions]
    inventory = nested.inventory_check
    tiles = sorted(inventory.unused_tiles)
    return Nested(
        solutions=sorted(solutions, key=lambda solution: solution.ans_num),
        inventory_check=inventory.model_copy(update={"unused_tiles": tiles}),
    )


_JSON_FORMS: dict[str, Callable[[Any], object]] = {
    "json_list": _list,
    "json_map": _map,
    "json_nested": _nested,
}
