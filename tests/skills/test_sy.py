from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import ConfigError, UsageError
from realm.skills.catalogue.sy import Sy
from realm.skills.skill import SKILLS, Problem
from realm.skills.words.dimensions import table
from realm.skills.words.formats import FORMATS, JSON_FORMATS, FormatName, Solved
from realm.skills.words.grading import MAX_ANSWER
from realm.skills.words.labels import NUMBERS
from realm.skills.words.lexicon import SHIPPED, lexicon

WORDS: dict[str, dict[str, Any]] = {
    row["word"]: row for row in map(json.loads, SHIPPED.read_text("ascii").splitlines())
}
SEVERAL = ("multi_word_assembly", "json_output_format")
SINGLE = (
    "syllable_assembly_ordered",
    "syllable_assembly_shuffled",
    "syllable_count",
    "definition_to_word",
    "word_from_bank",
)


@cache
def make(formats: tuple[FormatName, ...] = get_args(FormatName)) -> Sy:
    return Sy(Sy.Config(formats=formats))


def drills(level: int, count: int, primitive: str = "", seed: int = 1) -> list[Problem]:
    weights = {primitive: 1.0} if primitive else {}
    return list(make().drills(level, count, weights=weights, seed=seed))


def asked(problem: Problem) -> str:
    return problem.messages[1].content


def names(problem: Problem) -> list[str]:
    return problem.key.split(" ")[1:]


def bank(problem: Problem) -> list[str]:
    """Read the bank as a person would."""
    [line] = set(re.findall(r"^(?:Bank|Words|Word): (.+)$", asked(problem), re.M))
    return re.split(r" [|/] ", line)


def solved(problem: Problem) -> list[str]:
    """Read a right answer with readers of the standard formats."""
    text = problem.expected
    readers = {
        "json_list": json.loads,
        "json_map": lambda t: list(json.loads(t).values()),
        "json_nested": lambda t: [s["answer"] for s in json.loads(t)["solutions"]],
        "numbered_list": lambda t: re.findall(r"^\w+\. (\w+)$", t, re.M),
        "lines": str.splitlines,
        "comma_list": lambda t: t.split(", "),
        "markdown_table": lambda t: re.findall(r"^\| \w+ \| ([A-Z]+) \|$", t, re.M),
        "semicolon_list": lambda t: t.split("; "),
        "csv": lambda t: [row["word"] for row in csv.DictReader(io.StringIO(t))],
        "key_value": lambda t: [line.split("=")[1] for line in t.splitlines()],
        "yaml_list": lambda t: yaml.safe_load(t)["answers"],
        "bulleted_list": yaml.safe_load,
    }
    return list(readers[problem.form](text)) if problem.form else [text]


# --- questions and answers ----------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 10, 20, 30, 40, 50])
def test_right_answers_are_right_by_the_lexicon(level: int) -> None:
    for problem in drills(level, 250, seed=level):
        words = [WORDS[name] for name in names(problem)]
        if problem.primitive == "syllable_count":
            assert problem.expected == str(len(words[0]["syllables"]))
            assert bank(problem) == names(problem)
            continue
        answers = solved(problem)
        assert sorted(answers) == sorted(name.upper() for name in names(problem))
        blanks = re.findall(r"((?:(?:___|\(\?\)) ?)+)(?:\([^?]*\) )?— ", asked(problem))
        if problem.primitive == "word_from_bank":
            assert answers[0].lower() in bank(problem)
            continue
        assert [len(run.split()) for run in blanks] == [len(WORDS[a.lower()]["syllables"]) for a in answers]
        if problem.primitive == "definition_to_word":
            assert f"({len(answers[0])} letters" in asked(problem)
        elif problem.primitive == "syllable_assembly_ordered":
            tiles = iter(bank(problem))
            assert all(syllable in tiles for syllable in words[0]["syllables"])
        else:
            assert all(set(word["syllables"]) <= set(bank(problem)) for word in words)


def test_clues_are_those_of_the_word_and_mean_no_other_word_of_the_bank() -> None:
    for problem in drills(1, 200, "word_from_bank"):
        [clue] = re.findall(r"^___ — (?:also: )?(.+)$", asked(problem), re.M)
        having = [name for name in bank(problem) if clue in WORDS[name]["clues"].values()]
        assert having == names(problem)


def test_nested_answers_take_stock_of_the_bank() -> None:
    found = [p for p in drills(30, 400, "json_output_format") if p.form == "json_nested"]
    assert found
    for problem in found:
        answer = json.loads(problem.expected)
        used = Counter(s for solution in answer["solutions"] for s in solution["syllables"])
        unused = set(bank(problem)) - set(used)
        assert answer["inventory_check"] == {
            "total_tiles": len(bank(problem)),
            "usage": dict(used),
            "used": len(used),
            "unused_tiles": [tile for tile in bank(problem) if tile in unused],
            "status": "leftover",
        }
        for number, solution in enumerate(answer["solutions"], 1):
            assert solution["ans_num"] == number
            assert "".join(solution["syllables"]).upper() == solution["answer"]


def test_all_formats_are_asked_and_chosen_ones_alone_if_so_configured() -> None:
    assert {p.form for p in drills(20, 400, "multi_word_assembly")} == set(get_args(FormatName))
    assert {p.form for p in drills(20, 100, "json_output_format")} == set(JSON_FORMATS)
    few = make(("lines", "csv")).drills(20, 100, weights={"multi_word_assembly": 1.0}, seed=0)
    assert {p.form for p in few} == {"lines", "csv"}


# --- grading ------------------------------------------------------------------------------


def in_every_format(problem: Problem) -> dict[str, str]:
    words = tuple(lexicon().by_name[name] for name in names(problem))
    tiles = tuple(dict.fromkeys(s for word in words for s in word.syllables))
    answer = Solved(NUMBERS[: len(words)], words, tiles)
    return {name: form.write(answer) for name, form in FORMATS.items()}


def test_words_count_in_any_format_and_order() -> None:
    for problem in drills(12, 60, "multi_word_assembly"):
        for name, answer in in_every_format(problem).items():
            right = 1.0 if name != "json_nested" else 0.9
            assert make().grade(problem, answer) == right or name == problem.form
            assert make().grade(problem, answer.lower()) == right or name in (problem.form, "json_nested")
        assert make().grade(problem, f"```json\n{json.dumps(solved(problem))}\n```") == 1.0
        labelled = [
            f"{label}) {word.lower()}" for label, word in zip("abcdefghij", solved(problem), strict=False)
        ]
        assert make().grade(problem, "\n".join(labelled)) == 1.0


def test_exact_json_is_exact() -> None:
    skill = make()
    for problem in drills(12, 150, "json_output_format"):
        for name, answer in in_every_format(problem).items():
            if name != problem.form:
                assert skill.grade(problem, answer) == 0.5
        value = json.loads(problem.expected)
        assert skill.grade(problem, json.dumps(value, indent=2)) == 1.0
        assert skill.grade(problem, f"```\n{problem.expected}\n```") == 1.0
        assert skill.grade(problem, f"Here you are: {problem.expected}") == 0.0
        for wrong in spoiled(value):
            assert skill.grade(problem, json.dumps(wrong)) < 1.0, wrong


def spoiled(value: Any) -> list[Any]:
    """Return JSON with the right words that is not what was asked for."""
    if isinstance(value, list):
        return [{"answers": value}, [[word] for word in value], [*value, value[0]], value[1:]]
    if "solutions" not in value:
        labels = list(value)
        turned = dict(zip(labels, reversed(value.values()), strict=True))
        return [turned, {f"{label}.": word for label, word in value.items()}, list(value.values())]
    stock, solutions = value["inventory_check"], value["solutions"]
    first = next(iter(stock["usage"]))
    stocks = [
        {**stock, "total_tiles": stock["total_tiles"] + 1},
        {**stock, "used": float(stock["used"])},
        {**stock, "used": True},
        {**stock, "usage": {**stock["usage"], first: 9}},
        {**stock, "unused_tiles": [*stock["unused_tiles"], "x"]},
        {**stock, "status": "complete" if stock["unused_tiles"] else "leftover"},
        {name: part for name, part in stock.items() if name != "status"},
    ]
    return [
        {"solutions": solutions},
        {**value, "note": ""},
        {**value, "solutions": [{**solutions[0], "syllables": ["x"]}, *solutions[1:]]},
        {**value, "solutions": [{**solutions[0], "ans_num": 2}, *solutions[1:]]},
        *({**value, "inventory_check": wrong} for wrong in stocks),
    ]


def test_part_of_the_words_is_part_of_the_score() -> None:
    skill = make()
    problem = drills(1, 1, "multi_word_assembly")[0]
    right = [name.upper() for name in names(problem)]
    assert skill.grade(problem, ", ".join(right[:3])) == pytest.approx(0.9 * 3 / 4)
    assert skill.grade(problem, ", ".join([*right, "ZEBRA"])) == pytest.approx(0.9 * 4 / 5)
    assert skill.grade(problem, ", ".join([*right, right[0]])) == pytest.approx(0.9 * 4 / 5)
    assert skill.grade(problem, ", ".join([*right[:3], "ZEBRA"])) == pytest.approx(0.9 * 3 / 4)
    strict = drills(1, 1, "json_output_format")[0]
    assert skill.grade(strict, names(strict)[0]) == pytest.approx(0.5 / 4)


@pytest.mark.parametrize("level", [1, 33])
@pytest.mark.parametrize("primitive", [*SINGLE, *SEVERAL])
def test_no_trick_is_wholly_right(level: int, primitive: str) -> None:
    skill = make()
    for problem in drills(level, 12, primitive):
        right = problem.expected
        tricks = [
            "",
            " \n",
            asked(problem),
            f"{asked(problem)}\n{right}",
            f"The answer is {right}",
            f"{right}.",
            f"{right} {right}",
            f"{right}\n{right}",
            f"{right}\n\nor {right}x",
            right[:-1],
            right[1:],
            right + right[-1],
            f"x{right}",
            "\n".join(in_every_format(problem).values()),
            "\n\n".join(in_every_format(problem).values()),
            ", ".join(WORDS),
            json.dumps([*WORDS])[:MAX_ANSWER],
            ", ".join(map(str, range(1, 10))),
            right * 100_000,
            right + " " * MAX_ANSWER + "x",
            "[" * MAX_ANSWER,
            '{"a":' * 3000,
            "1" * MAX_ANSWER,
            "[" + "9" * 8000 + "]",
            "|" * MAX_ANSWER,
            "- " * 8000,
            "```\n" * 4000,
            " ".join(word.upper() for word in names(problem)) + " ZEBRA",
            json.dumps(dict.fromkeys(names(problem), 1)),
            json.dumps([{"answer": name} for name in names(problem)] + [1]),
            "null",
            "[null]",
            '{"solutions": null}',
            '{"solutions": [1]}',
        ]
        if primitive not in ("syllable_count", "definition_to_word"):
            tricks += [", ".join(bank(problem)), json.dumps(bank(problem)), "\n".join(bank(problem))]
        for trick in tricks:
            assert 0.0 <= skill.grade(problem, trick) < 1.0, trick[:200]


@settings(deadline=None, max_examples=150)
@given(
    text=st.text(max_size=80) | st.text(alphabet='[]{}",:|-=;.)\n 1aBHARO', max_size=80),
    primitive=st.sampled_from([*SINGLE, *SEVERAL]),
)
def test_any_text_is_graded_and_almost_none_is_right(text: str, primitive: str) -> None:
    problem = drills(2, 1, primitive)[0]
    score = make().grade(problem, text)
    assert 0.0 <= score <= 1.0
    assert score < 1.0 or all(name in text.lower() for name in names(problem)) or problem.expected in text


def test_letters_of_other_alphabets_are_no_letters() -> None:
    problem = next(p for p in drills(20, 300, "word_from_bank") if "ss" in p.key)
    fullwidth = "".join(chr(ord(letter) + 0xFEE0) for letter in problem.expected)
    assert make().grade(problem, fullwidth) == 0.0
    assert make().grade(problem, problem.expected.replace("SS", "ß")) == 0.0


def test_labels_are_those_of_the_puzzle_each_once() -> None:
    problem = drills(1, 1, "multi_word_assembly")[0]
    words = [name.upper() for name in names(problem)]
    for labels, right in (
        ("1234", 1.0),
        ("4321", 1.0),
        ("ABCD", 1.0),
        ("1235", 0.0),
        ("1233", 0.0),
        ("12CD", 0.0),
        ("BCDE", 0.0),
    ):
        answer = "\n".join(f"{label}. {word}" for label, word in zip(labels, words, strict=True))
        assert make().grade(problem, answer) == right, labels


# --- split --------------------------------------------------------------------------------


def test_training_and_heldout_are_apart_by_key_word_and_question() -> None:
    skill = make()
    heldout = [p for level in range(1, 51, 7) for p in skill.heldout(level, 60, seed=level)]
    trained = [p for level in range(1, 51) for p in drills(level, 200, seed=level)]
    trained += [p for level in range(1, 51, 7) for p in skill.probe(level, 40, seed=2)]
    assert {p.key for p in heldout}.isdisjoint(p.key for p in trained)
    assert {asked(p) for p in heldout}.isdisjoint(asked(p) for p in trained)
    assert {skill.split_of(p.key) for p in heldout} == {"heldout"}
    assert {skill.split_of(p.key) for p in trained} == {"train"}
    for primitive in SINGLE:
        held = {names(p)[0] for p in heldout if p.primitive == primitive}
        assert held
        for problem in trained:
            if problem.primitive == primitive:
                assert held.isdisjoint(names(problem))
                assert primitive != "word_from_bank" or held.isdisjoint(bank(problem))


def test_putting_syllables_together_is_one_thing() -> None:
    skill = make()
    assert {skill.split_of(f"join {word}") for word in WORDS} == {"train", "heldout"}
    for word in WORDS:
        assert skill.split_of(f"join {word}") == skill.split_of(f"arrange {word}")
    for problem in drills(5, 50, "multi_word_assembly"):
        assert skill.split_of("format " + problem.key.partition(" ")[2]) == "train"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "join",
        "join xyzzy",
        "join handle teacher",
        "solve handle",
        "solve teacher handle",
        "solve handle handle",
        "make handle",
        "join handle ",
        "join HANDLE",
    ],
)
def test_a_key_that_is_no_problem_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        make().split_of(key)


def test_other_seeds_choose_other_heldout_problems() -> None:
    skill = make()
    one, two = ({p.key for p in skill.heldout(9, 20, seed=seed)} for seed in (0, 1))
    assert one != two
    assert skill.heldout(9, 20) == skill.heldout(9, 20, seed=0)


def test_a_heldout_problem_is_always_asked_in_the_same_words() -> None:
    questions: dict[str, str] = {}
    for seed in range(4):
        for problem in make().heldout(33, 60, seed=seed):
            assert questions.setdefault(problem.key, asked(problem)) == asked(problem)


def small(tmp_path: Path, count: int) -> Sy:
    """Return the skill with a lexicon of so many easy words."""
    easy = [row for row in WORDS.values() if row["rarity"] == 1 and len(row["syllables"]) == 2][:count]
    path = tmp_path / f"{count}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in easy), encoding="utf-8")
    return Sy(Sy.Config(lexicon=path))


def test_a_small_space_is_counted_and_gives_what_it_has(tmp_path: Path) -> None:
    skill = small(tmp_path, 9)
    several = skill.level(1).primitives[5]
    assert (several.problems, several.counted) == (126, True)
    probes = Counter(p.primitive for p in skill.probe(1, 500, seed=0))
    assert probes["multi_word_assembly"] == several.problems - several.heldout
    heldout = [p for p in skill.heldout(1, 500) if p.primitive == "multi_word_assembly"]
    assert len({p.key for p in heldout}) == len(heldout) == several.heldout
    trained = {p.key for p in skill.drills(1, 2000, weights={}, seed=0)}
    assert trained.isdisjoint(p.key for p in heldout)


def test_a_level_without_words_yields_nothing(tmp_path: Path) -> None:
    skill = small(tmp_path, 3)
    assert {p.primitive for p in skill.drills(1, 300, weights={}, seed=0)} <= set(SINGLE)
    assert list(skill.drills(50, 20, weights={}, seed=0)) == []
    assert skill.heldout(50, 20) == ()
    assert skill.probe(50, 20, seed=0) == ()
    assert not skill.level(50).testable


# --- reading back -------------------------------------------------------------------------


@pytest.mark.parametrize("level", range(1, 51, 3))
def test_a_question_reads_back_as_its_problem(level: int) -> None:
    skill = make()
    for problem in (*drills(level, 120), *skill.heldout(level, 8), *skill.probe(level, 8, seed=5)):
        found = skill.recall(asked(problem))
        assert found is not None, asked(problem)
        assert found.level <= level
        assert found.model_copy(update={"level": level}) == problem


def test_what_is_no_question_of_ours_is_not_recalled() -> None:
    skill = make()
    problem = drills(33, 1, "multi_word_assembly")[0]
    text = asked(problem)
    for other in (
        "",
        "Compute: add(①, ①)",
        text.replace("Find", "Found"),
        text.replace("Left over: ", "Left over: 1"),
        text.replace(" Left over: 4.", ""),
        asked(drills(33, 1, "syllable_count")[0]).replace("have?", "have? Left over: 0."),
        text[:-1],
        text.partition("\n")[2],
        text.replace(" — ", " - "),
        text.replace("Bank: ", "Bank: x | ").replace(names(problem)[0][:2], "zz"),
        problem.expected,
        text + "\n" * 9000 + "x",
        "Bank: " * 1000,
        "\n".join([text.splitlines()[0], "___ " * 2000, text.splitlines()[-1]]),
    ):
        assert skill.recall(other) is None, other[:300]


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=200))
def test_any_text_may_be_recalled(text: str) -> None:
    assert make().recall(text) is None


# --- configuration ------------------------------------------------------------------------


def test_options_are_checked() -> None:
    for wrong in ({"formats": []}, {"formats": ["xml"]}, {"heldout_fraction": 0.5}, {"system_prompt": ""}):
        with pytest.raises(ConfigError):
            SKILLS.build({"kind": "sy", **wrong})


def test_the_page_names_every_option_format_and_primitive() -> None:
    page = (Path(__file__).parents[2] / "docs" / "skill-sy.md").read_text(encoding="utf-8")
    known = {*Sy.Config.model_fields, *get_args(FormatName), *SINGLE, *SEVERAL} - {"kind"}
    assert {name for name in known if f"`{name}`" not in page} == set()


def test_the_page_shows_a_puzzle_and_the_dimensions_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "skill-sy.md").read_text(encoding="utf-8")
    [puzzle] = re.findall(r"```\n(Find the words.*?)\n```", page, re.S)
    recalled = make().recall(puzzle)
    assert recalled is not None
    assert f"is answered `{recalled.expected}`" in page
    shown = [table()[int(level) - 1] for level in re.findall(r"level (\d+) \|", page)]
    assert len(shown) == 6
    for name, values in {
        "words of a puzzle, or of a bank of words": [d.words for d in shown],
        "syllables of a word": ["{} to {}".format(*d.syllables) for d in shown],
        "rarity of a word": ["{} to {}".format(*d.rarity) for d in shown],
        "blanks whose tile serves another too": [f"{d.shared * 100:.0f} %" for d in shown],
        "red herrings: tiles too many": [d.herrings for d in shown],
        "row of the clues": [f"{d.hints:g}" for d in shown],
    }.items():
        assert f"| {name} | {' | '.join(map(str, values))} |" in page
