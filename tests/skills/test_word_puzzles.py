from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.skills.catalogue.sy import Sy
from realm.skills.catalogue.word_puzzles import WordPuzzles
from realm.skills.skill import Problem
from realm.skills.words.lexicon import SHIPPED

WORDS: dict[str, dict[str, Any]] = {
    row["word"]: row for row in map(json.loads, SHIPPED.read_text("ascii").splitlines())
}


@cache
def make() -> WordPuzzles:
    return WordPuzzles(WordPuzzles.Config())


def drills(level: int, count: int, seed: int = 0) -> list[Problem]:
    return list(make().drills(level, count, weights={}, seed=seed))


def asked(problem: Problem) -> str:
    return problem.messages[1].content


def with_clue(text: str, words: list[str]) -> list[str]:
    """Return the words whose clue a question shows, as a person would look them up."""
    [clue] = re.findall(r'clue "(?:[a-z ]+: )?([^"]+)"', text)
    return [word for word in words if clue in WORDS[word]["clues"].values()]


def listed(text: str) -> list[str]:
    [parts] = re.findall(r": ((?:[a-z]+, )*[a-z]+)\? Answer", text)
    return str(parts).split(", ")


def hinted(word: str) -> str:
    count = len(WORDS[word]["syllables"])
    return f'with {len(word)} letters and {count} syllables, beginning with "{word[0]}"'


SOLVERS: dict[str, Callable[[str], list[str]]] = {
    "syllable_assembly_ordered": lambda text: ["".join(listed(text))],
    "syllable_assembly_shuffled": lambda text: with_clue(
        text, [word for word, row in WORDS.items() if sorted(row["syllables"]) == sorted(listed(text))]
    ),
    "syllable_count": lambda text: [
        str(len(WORDS[word]["syllables"])) for word in re.findall(r'word "([a-z]+)"', text)
    ],
    "definition_to_word": lambda text: [
        word for word in with_clue(text, list(WORDS)) if hinted(word) in text
    ],
    "word_from_bank": lambda text: with_clue(text, listed(text)),
}


@pytest.mark.parametrize("level", range(1, 6))
def test_every_question_has_the_one_answer_that_the_lexicon_gives(level: int) -> None:
    problems = drills(level, 300)
    assert {problem.primitive for problem in problems} == set(SOLVERS)
    for problem in problems:
        assert SOLVERS[problem.primitive](asked(problem)) == [problem.expected]


def test_every_level_can_be_mastered() -> None:
    for info in make().levels():
        assert info.testable
        assert all(p.testable and p.counted for p in info.primitives)


def test_questions_read_back_as_their_problems() -> None:
    for level in range(1, 6):
        for problem in (
            *drills(level, 200, seed=3),
            *make().heldout(level, 30),
            *make().probe(level, 9, seed=1),
        ):
            found = make().recall(asked(problem))
            assert found is not None
            assert found.level <= level
            assert found.model_copy(update={"level": level}) == problem
            assert make().recall(asked(problem)[:-1]) is None
            assert make().recall(f"Please: {asked(problem)}") is None


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=200))
def test_any_text_may_be_recalled(text: str) -> None:
    assert make().recall(text) is None


def test_sy_and_word_puzzles_share_keys_and_split() -> None:
    sy = Sy(Sy.Config())
    for level in range(1, 6):
        for problem in drills(level, 200, seed=4):
            assert sy.split_of(problem.key) == "train"
        for problem in make().heldout(level, 40):
            assert sy.split_of(problem.key) == "heldout"
    trained = {p.key for n in range(1, 51, 5) for p in sy.drills(n, 200, weights={}, seed=0)}
    heldout = {p.key for n in range(1, 6) for p in make().heldout(n, 200)}
    assert trained.isdisjoint(heldout)
    assert trained & {p.key for n in range(1, 6) for p in drills(n, 500)}


def test_the_word_in_either_case_is_right_and_nothing_around_it() -> None:
    for problem in drills(3, 100, seed=5):
        right = problem.expected
        assert make().grade(problem, right.upper()) == 1.0
        for wrong in (
            f"The word is {right}",
            f"{right}.",
            f'"{right}"',
            right[:-1],
            f"{right}s",
            f"{right}, other",
            "",
        ):
            assert make().grade(problem, wrong) < 1.0
        if problem.primitive == "word_from_bank":
            assert make().grade(problem, ", ".join(listed(asked(problem)))) < 0.3
