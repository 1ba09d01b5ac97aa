from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import pytest

from realm.skills.catalogue.sy import Sy
from realm.skills.skill import Problem
from realm.skills.words.dimensions import LEVELS, MOST_TILES, table
from realm.skills.words.lexicon import SHIPPED

WORDS: dict[str, dict[str, Any]] = {
    row["word"]: row for row in map(json.loads, SHIPPED.read_text("ascii").splitlines())
}
SEVERAL = ("multi_word_assembly", "json_output_format")
PROBLEMS = 1000
"""Problems that each level is measured on, all primitives alike."""
ROWS = {
    "also": 1,
    "a kind of": 2,
    "for example": 2,
    "field": 3,
    "opposite": 3,
    "origin": 4,
}
STEPS = {"words": 1, "fewest": 1, "most": 1, "lowest": 1, "highest": 1, "herrings": 1}
"""What a dimension that is a whole number rises by; the other two rise by about 0.05 and 0.25."""


class Seen(NamedTuple):
    """What the problems of one level show, read as a person would."""

    words: int
    fewest: int
    most: int
    lowest: int
    highest: int
    herrings: int
    shared: float
    hints: float
    syllables: float
    rarity: float
    tiles: int
    marks: frozenset[str]


@cache
def skill() -> Sy:
    return Sy(Sy.Config())


def asked(problem: Problem) -> str:
    return problem.messages[1].content


def bank(problem: Problem) -> list[str]:
    [line] = set(re.findall(r"^(?:Bank|Words): (.+)$", asked(problem), re.M))
    return re.split(r" [|/] ", line)


def clues(problem: Problem) -> list[str]:
    return re.findall(r" — (.+?)(?= // |$)", asked(problem), re.M)


def row_of(clue: str) -> int:
    if re.match(r"\d+ letters", clue):
        return 3
    if clue.startswith("starts with "):
        return 4
    return ROWS.get(clue.partition(": ")[0], 1)


def marks_of(problem: Problem) -> set[str]:
    lines = asked(problem).splitlines()
    banks = [i for i, line in enumerate(lines) if line.startswith("Bank: ")]
    marks = {
        "bank first": banks == [1],
        "bank twice": len(banks) == 2,
        "bank in groups": " / " in lines[banks[0]],
        "letters": bool(re.search(r"\bB\. ", asked(problem))),
        "roman numbers": bool(re.search(r"\bIII\. ", asked(problem))),
        "blanks as (?)": "(?)" in asked(problem),
        "one line": " // " in asked(problem),
        "cut short": " ..." in asked(problem),
    }
    return {mark for mark, there in marks.items() if there}


@cache
def seen(level: int) -> Seen:
    counts, herrings, tiles, shares, rows = set(), set(), 0, [], []
    used: list[dict[str, Any]] = []
    marks: set[str] = set()
    for problem in skill().drills(level, PROBLEMS, weights={}, seed=level):
        words = [WORDS[name] for name in problem.key.split(" ")[1:]]
        used += words
        of = Counter(syllable for word in words for syllable in word["syllables"])
        if problem.primitive in SEVERAL:
            counts.add(len(words))
            shares.append(sum(times for times in of.values() if times > 1) / of.total())
            marks |= marks_of(problem)
            rows += [row_of(clue) for clue in clues(problem)]
        elif problem.primitive == "word_from_bank":
            counts.add(len(bank(problem)))
        if problem.primitive in (*SEVERAL, "syllable_assembly_shuffled"):
            assert len(set(bank(problem))) == len(bank(problem))
            herrings.add(len(bank(problem)) - len(of))
            tiles = max(tiles, len(bank(problem)))
    [count], [herring] = counts, herrings
    lengths, rarities = [len(word["syllables"]) for word in used], [word["rarity"] for word in used]
    return Seen(
        count,
        min(lengths),
        max(lengths),
        min(rarities),
        max(rarities),
        herring,
        mean(shares),
        mean(rows),
        mean(lengths),
        mean(rarities),
        tiles,
        frozenset(marks),
    )


def test_the_first_level_and_the_last_are_those_of_the_format() -> None:
    first, last = seen(1), seen(LEVELS)
    assert first[:6] == (4, 2, 3, 1, 1, 0)
    assert last[:6] == (10, 4, 6, 3, 5, 6)
    assert first.shared < 0.02
    assert 0.76 <= last.shared <= 0.84
    assert first.hints == 1
    assert last.hints > 3.8


@pytest.mark.parametrize("level", range(2, LEVELS + 1))
def test_each_level_is_harder_in_a_dimension_and_easier_in_none(level: int) -> None:
    before, here = seen(level - 1), seen(level)
    for name in STEPS:
        assert getattr(here, name) >= getattr(before, name), name
    for name, noise in (("shared", 0.015), ("hints", 0.05), ("syllables", 0.12), ("rarity", 0.12)):
        assert getattr(here, name) > getattr(before, name) - noise, name
    harder = [name for name in STEPS if getattr(here, name) >= getattr(before, name) + STEPS[name]]
    harder += ["shared"] if here.shared > before.shared + 0.02 else []
    harder += ["hints"] if here.hints > before.hints + 0.15 else []
    assert harder
    assert before.marks <= here.marks


@pytest.mark.parametrize("level", range(1, LEVELS + 1))
def test_problems_keep_to_the_dimensions_of_their_level(level: int) -> None:
    dims, here = table()[level - 1], seen(level)
    assert here[:6] == (dims.words, *dims.syllables, *dims.rarity, dims.herrings)
    assert here.shared == pytest.approx(dims.shared, abs=0.035)
    assert dims.hints - 0.15 <= here.hints <= dims.hints + 0.05
    assert here.tiles <= MOST_TILES


def test_the_signal_degrades_at_its_levels() -> None:
    first, relabelled = {"bank first"}, {"bank twice", "bank in groups", "letters", "roman numbers"}
    blurred = {"blanks as (?)", "one line", "cut short"}
    for level in range(1, LEVELS + 1):
        expected = first if level >= 6 else set()
        expected = expected | (relabelled if level >= 16 else set()) | (blurred if level >= 31 else set())
        assert seen(level).marks == expected, level


def test_the_table_changes_in_one_or_two_dimensions_at_each_level() -> None:
    for easier, harder in pairwise(table()):
        one, other = easier.model_dump(exclude={"level"}), harder.model_dump(exclude={"level"})
        assert 1 <= sum(one[name] != other[name] for name in one) <= 2


def test_a_bank_says_how_many_tiles_are_left_over() -> None:
    for level in (1, 20, 50):
        for problem in skill().drills(level, 50, weights=dict.fromkeys(SEVERAL, 1.0), seed=3):
            needed = {s for name in problem.key.split(" ")[1:] for s in WORDS[name]["syllables"]}
            assert f" Left over: {len(set(bank(problem)) - needed)}.\n" in asked(problem)


def test_sets_of_words_are_many_and_no_word_is_left_out() -> None:
    problems = list(skill().drills(LEVELS, 600, weights={"multi_word_assembly": 1.0}, seed=4))
    assert len({problem.key for problem in problems}) == len(problems)
    used = Counter(name for problem in problems for name in problem.key.split(" ")[1:])
    rare = [word for word, row in WORDS.items() if row["rarity"] >= 3 and len(row["syllables"]) >= 4]
    assert len(used) > 0.95 * len(rare)
    assert max(used.values()) < 0.15 * len(problems)


def test_every_level_can_be_mastered_and_says_what_was_counted() -> None:
    for info in skill().levels():
        assert info.testable
        assert all(p.testable for p in info.primitives)
        assert [p.counted for p in info.primitives] == [True] * 5 + [False] * 2


def test_words_that_share_nothing_have_a_larger_bank_without_herrings(tmp_path: Path) -> None:
    letters = "bcdfghjklmnpqrstvwxz"
    rows = []
    for first in letters:
        for second in "ae":
            syllables = [f"{first}{second}{vowel}{first}" for vowel in "aeiou"]
            clues = {"definition": f"{first}, {second}", "synonym": f"{second}, {first}", "domain": "sounds"}
            rows.append({"word": "".join(syllables), "syllables": syllables, "rarity": 3, "clues": clues})
    path = tmp_path / "apart.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    own = Sy(Sy.Config(lexicon=path))
    problems = list(own.drills(LEVELS, 10, weights=dict.fromkeys(SEVERAL, 1.0), seed=0))
    assert len(problems) == 10
    for problem in problems:
        assert len(bank(problem)) == 50
        assert " Left over: 0.\n" in asked(problem)
        assert own.grade(problem, problem.expected) == 1.0
        assert own.recall(asked(problem)) is not None
