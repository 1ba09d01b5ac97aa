from __future__ import annotations

import json
import os
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import DataError, NotFoundError
from realm.evaluation import rows
from realm.evaluation.rows import Grader, grade, grader_version, read_rows, sampled

GRADERS: tuple[Grader, ...] = ("exact", "text", "choice", "number")


def write(path: Path, *given: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    return path


@pytest.mark.parametrize(
    ("grader", "expected", "right", "wrong"),
    [
        ("exact", "Paris", ["Paris", " Paris\n"], ["paris", "Paris.", "Paris Paris", "in Paris", ""]),
        (
            "text",
            "New York",
            ["new york", "  New\n York. ", "**New York**", "“New York!”"],
            ["York", "New York City", "It is New York", "New York or Boston"],
        ),
        (
            "choice",
            "B",
            [
                *(
                    "B",
                    "b",
                    "(B)",
                    "B)",
                    "B.",
                    "B) because it is so",
                    "B: the second",
                    "B) a cat",
                    "B)  A cat",
                ),
                *(
                    "B) I think so",
                    "B. I'm sure: it's an x-ray",
                    "B) vitamin-C, e.g. 5 or 3.5",
                    "B) option B",
                ),
            ],
            [
                *("A", "BA", "Bremen", "A or B", "B or A", "A) B) C)", "B) one A) two", "B) A) C) D)", "all"),
                *("B) C D A", "B: C", "B.\nC", "B) or (C", "B) c", "B) C.D", "B) C/D", "B) C-D", "B) or 'C'"),
                *("B) A", "B) A or so", "B) a", "B) is wrong, it is C.", "B) C,D", "B) **C**", "B: A\n"),
            ],
        ),
        ("choice", "2", ["2", "(2)", "2) because", "2) 345 B", "2: 4.5"], ["1", "2) 3", "2. 1 4", "2) 1,3"]),
        (
            "number",
            "1234.50",
            ["1234.5", "1,234.50", " 1234.500 ", "= 1234.5", "+1234.5", "1.2345e3"],
            [
                "1234",
                "12345",
                "1234.5 or 7",
                "about 1234.5",
                "1 2 3 4.5",
                "--1234.5",
                "1,23,4.5",
                "nan",
                "inf",
            ],
        ),
        ("number", "-7", ["-7", "−7", "-7.0", "-7."], ["7", "- 7 7", "0-7"]),
    ],
)
def test_what_counts_and_what_does_not(
    grader: Grader, expected: str, right: list[str], wrong: list[str]
) -> None:
    for answer in right:
        assert grade(grader, expected, answer) == 1.0, answer
    for answer in [*wrong, "", "   ", f"{expected} {expected}"]:
        assert grade(grader, expected, answer) == 0.0, answer


def test_only_the_grader_that_changed_has_another_version() -> None:
    assert {grader: grader_version(grader) for grader in GRADERS if grader != "choice"} == {
        "exact": "1",
        "text": "1",
        "number": "1",
    }
    assert grader_version("choice") == "2"


@pytest.mark.parametrize("grader", GRADERS)
def test_hostile_answers_take_bounded_time_and_earn_nothing(grader: Grader) -> None:
    for answer in (
        "1" * 1_000_000,
        "a)" * 60_000,
        "1," * 30_000,
        "(" * 65_000,
        " " * 65_000 + "x",
        "9e999" * 99,
        "5) " + "a " * 30_000 + "1",
        "5) " + "1." * 30_000 + " 1",
        "5) x" + "-" * 60_000 + "1",
        "5) a" + " " * 60_000 + "1",
    ):
        begun = time.process_time()
        assert grade(grader, "5", answer) == 0.0
        assert time.process_time() - begun < 1.0


@given(st.text(max_size=40), st.sampled_from(GRADERS))
def test_an_answer_that_is_graded_right_reads_as_the_expected_one(answer: str, grader: Grader) -> None:
    if grade(grader, "7", answer) == 1.0:
        assert "7" in answer or "７" in answer
        plain = " ".join(unicodedata.normalize("NFKC", answer).split())
        assert len(plain.strip(rows._MARKS + "=+-.0e")) <= len("7") or grader == "choice"


def test_rows_of_both_shapes_are_read_and_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "q.jsonl",
        {"prompt": "2 + 2?", "expected": 4, "primitive": "sums"},
        {"messages": [{"role": "user", "content": "Capital?"}], "expected": "Paris", "category": "places"},
        {"prompt": "3 + 3?", "expected": "6", "id": "six"},
    )
    found = read_rows(path, "exact")
    assert [row.tests for row in found] == ["sums", "places", "questions"]
    assert found[2].key == "six"
    assert found[0].problem().messages[0].content == "2 + 2?"
    assert found[0].problem().expected == "4"
    moved = write(tmp_path / "r.jsonl", {"prompt": "2 + 2?", "expected": 4, "primitive": "sums"})
    assert read_rows(moved, "exact")[0].key == found[0].key


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "x"}', "expected"),
        ('{"prompt": "x", "expected": "y", "answr": 1}', "answr"),
        ('{"expected": "y"}', "either a prompt or messages"),
        ('{"messages": [{"role": "assistant", "content": "x"}], "expected": "y"}', "user's turn"),
        ('{"prompt": "x", "expected": " "}', "empty"),
        ('{"prompt": "x", "expected": "many"}', "cannot read"),
        ('{"prompt": "x", "expected": true}', "expected"),
        ('{"prompt": "x", "expected": NaN}', "expected"),
        ('{"prompt": "x", "expected": 1e999}', "expected"),
        ('{"prompt": "x", "expected": null}', "expected"),
        ('{"prompt": "first", "expected": "1"}', "twice"),
        ("[" * 5000, "JSON"),
        ("not json", "JSON"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "first", "expected": "1"}\n\n' + line + "\n")
    with pytest.raises(DataError, match=reason) as caught:
        read_rows(path, "number")
    assert caught.value.line == 3


def test_a_number_is_expected_as_it_is_written(tmp_path: Path) -> None:
    given = [{"prompt": f"{n}", "expected": n} for n in (1, 1.0, 2.5)]
    found = read_rows(write(tmp_path / "q.jsonl", *given), "exact")
    assert [row.problem().expected for row in found] == ["1", "1.0", "2.5"]


def test_nothing_but_a_regular_file_is_read_and_none_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    for name, what in (("pipe", "named pipe"), ("folder", "folder")):
        with pytest.raises(DataError, match=what):
            read_rows(tmp_path / f"{name}.jsonl", "exact")


def test_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "q.jsonl", {"prompt": "x" * 200, "expected": 1})
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 100)
    with pytest.raises(DataError, match="longer than 100 bytes"):
        read_rows(path, "exact")
    monkeypatch.setattr(rows, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="more than 10"):
        read_rows(path, "exact")
    with pytest.raises(NotFoundError, match=r"gone\.jsonl") as caught:
        read_rows(tmp_path / "gone.jsonl", "exact")
    assert "suite's file" in caught.value.hint
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no rows"):
        read_rows(tmp_path / "empty.jsonl", "exact")


def test_a_sample_is_fixed_and_fewer_are_a_part_of_more(tmp_path: Path) -> None:
    given = [{"prompt": f"{n}?", "expected": n, "primitive": "ab"[n % 2]} for n in range(100)]
    found = read_rows(write(tmp_path / "q.jsonl", *given), "exact")
    few, many = sampled(found, 5), sampled(found, 30)
    assert (len(few), len(many), len(sampled(found, 1000))) == (10, 60, 100)
    assert set(few) < set(many)
    assert sampled(found[::-1], 5) != few or sampled(found, 5) == few
    assert {row.key for row in sampled(found[::-1], 5)} == {row.key for row in few}
