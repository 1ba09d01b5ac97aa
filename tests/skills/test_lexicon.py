from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from realm.core.errors import DataError, NotFoundError
from realm.skills.words.lexicon import MAX_LINE_BYTES, SHIPPED, gives_away, lexicon

ROWS: list[dict[str, Any]] = [json.loads(line) for line in SHIPPED.read_text("ascii").splitlines()]
HARBOR = {
    "word": "harbor",
    "syllables": ["har", "bor"],
    "rarity": 1,
    "clues": {"definition": "where ships dock", "synonym": "port", "domain": "seafaring"},
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_shipped_lexicon_has_enough_words_each_once_in_order() -> None:
    names = [row["word"] for row in ROWS]
    assert len(names) >= 800
    assert names == sorted(set(names))
    assert [word.word for word in lexicon().words] == names


def test_every_shipped_word_is_whole() -> None:
    kinds = {"definition", "synonym", "hypernym", "example", "domain", "antonym", "etymology"}
    for row in ROWS:
        assert set(row) == {"word", "syllables", "rarity", "clues"}
        assert re.fullmatch("[a-z]+", row["word"])
        assert "".join(row["syllables"]) == row["word"]
        assert all(row["syllables"])
        assert row["rarity"] in (1, 2, 3, 4, 5)
        assert len(row["clues"]) >= 3
        assert "definition" in row["clues"]
        assert set(row["clues"]) <= kinds


def test_no_shipped_clue_gives_its_word_away() -> None:
    for row in ROWS:
        stem = row["word"][: max(4, len(row["word"]) - 2)]
        for clue in row["clues"].values():
            assert row["word"] not in clue.lower()
            assert not re.search(rf"\b{stem}", clue.lower()), (row["word"], clue)


def test_no_two_shipped_words_are_defined_alike() -> None:
    definitions = Counter(row["clues"]["definition"].lower() for row in ROWS)
    assert set(definitions.values()) == {1}


def test_the_shipped_words_spread_over_lengths_and_rarities() -> None:
    lengths = Counter(len(row["syllables"]) for row in ROWS)
    rarities = Counter(row["rarity"] for row in ROWS)
    assert set(lengths) == {2, 3, 4, 5, 6}
    assert min(lengths.values()) >= 40
    assert set(rarities) == {1, 2, 3, 4, 5}
    assert min(rarities.values()) >= 80


def test_the_lexicon_is_shipped() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert f"**/*{SHIPPED.suffix}" in project["tool"]["setuptools"]["package-data"]["realm"]


def test_a_lexicon_of_ones_own_is_read(tmp_path: Path) -> None:
    other = {**HARBOR, "word": "haven", "syllables": ["ha", "ven"]}
    other["clues"] = {"definition": "a safe place", "synonym": "port", "domain": "seafaring"}
    found = lexicon(write(tmp_path / "own.jsonl", HARBOR, other))
    assert [word.word for word in found.words] == ["harbor", "haven"]
    assert found.syllables == ("bor", "ha", "har", "ven")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"syllables": ["har", "bour"]}, "do not join"),
        ({"syllables": ["har", "", "bor"]}, "do not join"),
        ({"rarity": 6}, "rarity"),
        ({"word": "Harbor"}, "word"),
        ({"clues": {"definition": "where ships dock", "synonym": "port"}}, "clues"),
        ({"clues": {"hypernym": "a place", "synonym": "port", "domain": "sea"}}, "definition is missing"),
        ({"clues": {**HARBOR["clues"], "synonym": "Harbored ships"}}, "gives the word away"),  # type: ignore[dict-item]
        ({"clues": {**HARBOR["clues"], "synonym": "port | quay"}}, "clues"),  # type: ignore[dict-item]
        ({"clues": {**HARBOR["clues"], "rhyme": "barber"}}, "clues"),  # type: ignore[dict-item]
        ({"note": "x"}, "note"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    good = {**HARBOR, "word": "port", "syllables": ["port"]}
    good["clues"] = {"definition": "a place", "synonym": "quay", "domain": "sea"}
    path = write(tmp_path / "bad.jsonl", good, {**HARBOR, **change})
    with pytest.raises(DataError, match=reason) as caught:
        lexicon(path)
    assert caught.value.line == 2


def test_words_and_definitions_stand_in_a_lexicon_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="again"):
        lexicon(write(tmp_path / "twice.jsonl", HARBOR, HARBOR))
    with pytest.raises(DataError, match="defined like 'harbor'"):
        lexicon(
            write(tmp_path / "alike.jsonl", HARBOR, {**HARBOR, "word": "seaport", "syllables": ["seaport"]})
        )


def test_what_is_no_lexicon_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        lexicon(tmp_path / "none.jsonl")
    for content in (b"{", b"\xff\xfe\n", b"[]\n", b"\n", b"x" * (MAX_LINE_BYTES + 1)):
        path = tmp_path / f"{len(content)}.jsonl"
        path.write_bytes(content)
        with pytest.raises(DataError):
            lexicon(path)


def test_odd_paths_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file/x", "a\0b"):
        with pytest.raises(NotFoundError, match="no such file"):
            lexicon(tmp_path / name)
    for name in ("loop", "pipe", ".", "x" * 300):
        with pytest.raises(DataError, match=r"not readable|not a regular file"):
            lexicon(tmp_path / name)
    (tmp_path / "link").symlink_to(write(tmp_path / "own.jsonl", HARBOR))
    assert [word.word for word in lexicon(tmp_path / "link").words] == ["harbor"]


def test_a_clue_may_have_letters_of_the_word_inside_others() -> None:
    assert not gives_away("action", "what an actor does, in practice")
    assert gives_away("action", "something Actionable")
    assert gives_away("only", "the one and only")
    assert gives_away("harbor", "a harbinger of ships")
    assert gives_away("port", "Seaports have one")
