from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realm.core.errors import DataError
from realm.corpus.rows.detection import describe, nearest
from realm.corpus.rows.shapes import SHAPES


def _file(folder: Path, *rows: dict[str, Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_says_what_it_was_taken_for_and_why(tmp_path: Path) -> None:
    pair = {"prompt": "q", "completion": "a", "id": 3, "\u202eodd": None}
    found = describe(_file(tmp_path, {"text": "x"}, pair, pair, {"foo": 1}))
    assert found.file == "rows.jsonl"
    assert found.format == ".jsonl"
    assert found.shape == "prompt_completion"
    assert found.rows_sampled == 4
    assert found.others == (("", 1), ("text", 1))
    assert found.why == "2 of 4 rows have completion, prompt"
    assert found.keys == ("prompt", "completion", "id")


def test_a_tie_goes_to_the_earlier_shape(tmp_path: Path) -> None:
    text, chat = {"text": "x"}, {"messages": [{"role": "user", "content": "q"}]}
    assert describe(_file(tmp_path, text, chat)).shape == "messages"
    assert describe(_file(tmp_path, text, chat, text)).shape == "text"


def test_only_the_beginning_is_looked_at(tmp_path: Path) -> None:
    found = describe(_file(tmp_path, *[{"text": "x"}] * 100, *[{"prompt": "x", "completion": "y"}] * 900))
    assert (found.shape, found.rows_sampled) == ("text", 100)


@pytest.mark.parametrize(
    ("row", "seen", "hint"),
    [
        ({"promt": "q", "completion": "a"}, "'promt', 'completion'", "the nearest is prompt_completion"),
        ({"instruction": "q", "response": "a"}, "'instruction', 'response'", "the nearest is alpaca"),
        ({"original_prompt": "q", "gold_standard": "a"}, "'original_prompt'", "missing: suboptimal_response"),
        ({}, "no keys", "none is near; known are openai_preference,"),
        ({"x\x1b[2J\u202e": 1}, "a name of 6 characters", "none is near"),
        ({"issue_id": "gt-1", "event_type": "closed"}, "'issue_id'", "a source of kind beads"),
        ({"mapping": {}, "title": "t"}, "'mapping'", "a source of kind conversations"),
        ({"ts": "t", "actor": "a", "type": "done"}, "'ts'", "a source of kind events"),
        ({"parentUuid": None, "sessionId": "s", "type": "user"}, "'sessionId'", "none is near"),
        ({"parentUuid": "p", "sessionId": "s", "type": "user"}, "'parentUuid'", "of kind claude_code"),
    ],
)
def test_a_file_that_fits_nothing_is_refused_with_the_nearest(
    tmp_path: Path, row: dict[str, Any], seen: str, hint: str
) -> None:
    with pytest.raises(DataError) as refused:
        describe(_file(tmp_path, row))
    assert seen in refused.value.reason
    assert hint in refused.value.hint


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows in it"):
        describe(_file(tmp_path))


def test_the_nearest_shape_lacks_nothing_of_itself() -> None:
    for name, shape in SHAPES.items():
        assert nearest(shape.keys)[1] == [], name
