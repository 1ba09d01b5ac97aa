"""The right answers of the passive suites, worked out another way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from realm.skills.passive.words import ALIKE, NOUNS, NOUNS_ES, NOUNS_IES, OPPOSITES
from realm.skills.skill import SKILLS, Problem


def question(problem: Problem) -> str:
    return problem.messages[-1].content


def problems(name: str, primitive: str, per_level: int = 60) -> list[Problem]:
    """Return problems of one primitive at all levels, drilled and held out."""
    skill = SKILLS.build(name)
    found = []
    for info in skill.levels():
        found += list(skill.drills(info.level, per_level, weights={primitive: 1.0}, seed=11))
        found += [p for p in skill.heldout(info.level, 10) if p.primitive == primitive]
    return found


def numbers(text: str) -> list[int]:
    return [
        int(word) for word in text.replace(",", " ").replace("?", " ").replace(".", " ").split() if _is(word)
    ]


def _is(word: str) -> bool:
    return word.lstrip("-").isdigit()


def _arithmetic(problem: Problem) -> str:
    text = question(problem)
    given = numbers(text)
    match problem.primitive:
        case "digit_sum":
            return str(sum(int(digit) for digit in text if digit.isdigit()))
        case "parity":
            return "even" if str(given[0])[-1] in "02468" else "odd"
        case "compare_integers":
            return str(sorted(given)["larger" in text])
        case "modulo":
            return str(given[0] - given[1] * math.floor(given[0] / given[1]))
    sign = {"plus": 1, "minus": -1}
    word = problem.key.split(" ")[1].split("|")[0]
    left, right = given
    return str(left * right if word == "times" else left + sign[word] * right)


def _sequence(problem: Problem) -> str:
    terms = numbers(question(problem))
    if problem.primitive == "fibonacci":
        return str(terms[3] + terms[4])
    if problem.primitive == "geometric":
        return str(terms[4] * terms[4] // terms[3])
    if problem.primitive == "alternating":
        return str(terms[4] + terms[1] - terms[0])
    return str(3 * terms[4] - 3 * terms[3] + terms[2])


def _counting(problem: Problem) -> str:
    first, *rest = problem.key.split(" ", 1)[1].split("|")
    match problem.primitive:
        case "string_length":
            return str(sum(1 for _ in first))
        case "count_char":
            return str(len(rest[0].split(first)) - 1)
        case "count_objects":
            return str(sum(thing == first for thing in rest[0].split(", ")))
        case "count_vowels":
            return str(sum(first.count(vowel) for vowel in "aeiou"))
    return str(len(range(int(first), int(rest[0]) + 1)))


def _string_craft(problem: Problem) -> str:
    first, *rest = problem.key.split(" ", 1)[1].split("|")
    match problem.primitive:
        case "reverse_string":
            return "".join(reversed(first))
        case "palindrome_check":
            return "yes" if list(first) == list(reversed(first)) else "no"
        case "substring_check":
            return "yes" if rest[0].replace(first, "") != rest[0] else "no"
    return "".join(letter * first.count(letter) for letter in sorted(set(first)))


def _run(code: str) -> dict[str, Any]:
    printed: list[Any] = []
    names: dict[str, Any] = {"print": printed.append}
    exec(code, names)
    return {**names, "printed": printed}


def _code_trace(problem: Problem) -> str:
    code = "\n\n".join(part for part in question(problem).split("\n\n") if "What" not in part)
    after = _run(code)
    return str(after["printed"][0] if after["printed"] else after["x"])


def _combinatorics(problem: Problem) -> str:
    name, text = problem.key.split(" ", 1)
    given = [int(part) for part in text.split("|")] if "|" in text or text.isdigit() else []
    if problem.primitive == "factorial":
        first, second = math.prod(range(1, given[0] + 1)), math.prod(range(1, given[-1] + 1))
        results = {"factorial": first, "factorial_ratio": first / second, "factorial_sum": first + second}
        return str(int(results.get(name, first - second)))
    if problem.primitive == "arrangement_word":
        return str(len(set(itertools.permutations(text))))
    if problem.primitive == "multiplication_principle":
        return str(math.prod(int(part) for part in text.split(", ")))
    size, things = given
    rows = math.prod(range(things - size + 1, things + 1))
    teams = rows // math.factorial(size)
    shares = {
        "permutation_row": rows,
        "permutation_first": rows // things,
        "permutation_ring": rows // size,
        "combination": teams,
        "combination_with": teams * size // things,
        "combination_without": teams - teams * size // things,
    }
    return str(shares[name])


WORKED_OUT: dict[str, Callable[[Problem], str]] = {
    "arithmetic": _arithmetic,
    "sequence": _sequence,
    "counting": _counting,
    "string_craft": _string_craft,
    "code_trace": _code_trace,
    "combinatorics": _combinatorics,
}


@pytest.mark.parametrize("name", WORKED_OUT)
def test_the_right_answer_is_right(name: str) -> None:
    for info in SKILLS.build(name).primitives():
        found = problems(name, info.name, 25)
        assert found
        for problem in found[:60] if info.name == "arrangement_word" else found:
            assert WORKED_OUT[name](problem) == problem.expected, problem


def test_syllogisms_follow_a_chain() -> None:
    for problem in problems("logic", "syllogism"):
        text = question(problem)
        above = dict(part.split(" ")[1::2] for part in text.replace("Suppose this. ", "").split(". ")[:-1])
        low, high = problem.key.split("|")[1:]
        seen = low
        while seen in above and seen != high:
            seen = above[seen]
        assert problem.expected == ("yes" if seen == high else "no"), text


def test_a_contrapositive_of_a_contrapositive_is_the_sentence() -> None:
    def denied(clause: str) -> str:
        return clause.replace(" is not ", " is ") if " not " in clause else clause.replace(" is ", " is not ")

    for problem in problems("logic", "contraposition"):
        before, after = problem.key.split(" ", 1)[1].split("|")
        one, other = problem.expected.removeprefix("if ").split(", then ")
        assert " and ".join(map(denied, other.split(" or "))) == before
        assert " and ".join(map(denied, one.split(" or "))) == after


def test_memory_finds_what_was_told() -> None:
    for problem in problems("memory", "simple_fact"):
        told, who, thing = problem.key.split(" ", 1)[1].split("|")
        assert f"{who}'s {thing} is {problem.expected}." in told
    for problem in problems("memory", "association_fact"):
        told, asked = problem.key.split(" ", 1)[1].split("|")
        assert f"{asked} with {problem.expected}" in told.split(", ")
    for problem in problems("memory", "order_recall"):
        name, rest = problem.key.split(" ", 1)
        told, *asked = rest.split("|")
        listed = told.split(", ")
        if name == "order_before":
            assert problem.expected == next(thing for thing in listed if thing in asked)
        else:
            pair = (asked[0], problem.expected) if name == "order_after" else (problem.expected, asked[0])
            assert pair in itertools.pairwise(listed)
    for problem in problems("memory", "list_recall"):
        listed = problem.key.split(" ", 1)[1].split(", ")
        assert problem.expected.split(", ") in (listed, listed[::-1])


def test_one_option_alone_fits_a_choice_of_words() -> None:
    sides = [side for entry in OPPOSITES for side in entry]
    place = {word: n for n, side in enumerate(sides) for word in side}
    assert len(place) == 8 * len(OPPOSITES)
    for name, flip in (("synonym_easy", 0), ("antonym_easy", 1)):
        for problem in problems("language_basics", name):
            text = question(problem).rstrip("?.")
            options = text.rpartition(": ")[2].split(", ")
            asked = next(word for word in problem.key.split(" ")[1].split("|") if word not in options)
            assert [o for o in options if place[o] == place[asked] ^ flip] == [problem.expected]
            assert 3 <= len(options) <= 5


def test_a_wrong_choice_is_wrong_in_every_sense_of_the_word() -> None:
    """No choice comes from a line that a reader may take for the right one, or for the opposite's."""
    line = {word: n for n, side in enumerate(s for entry in OPPOSITES for s in entry) for word in side}
    assert {word for group in ALIKE for word in group} <= set(line)
    taken = {(line[a], line[b]) for group in ALIKE for a in group for b in group}
    assert not any((n, n ^ 1) in taken for n in line.values())
    seen = 0
    for name in ("synonym_easy", "antonym_easy"):
        for problem in problems("language_basics", name):
            options = question(problem).rstrip("?.").rpartition(": ")[2].split(", ")
            right = line[problem.expected]
            for wrong in {line[option] for option in options} - {right}:
                assert not {(right, wrong), (right ^ 1, wrong ^ 1)} & taken, question(problem)
                seen += 1
    assert seen > 100
    skill = SKILLS.build("language_basics")
    assert skill.recall("Which word means nearly the same as tough: hard, rude, clean?") is not None
    assert skill.recall("Which word means nearly the same as tough: hard, rude, mighty?") is None


def test_plurals_follow_the_three_rules() -> None:
    assert not set(NOUNS) & set(NOUNS_ES) | set(NOUNS) & set(NOUNS_IES) | set(NOUNS_ES) & set(NOUNS_IES)
    assert all(noun.endswith(("s", "x", "z", "ch", "sh")) for noun in NOUNS_ES)
    assert all(noun.endswith("y") and noun[-2] not in "aeiou" for noun in NOUNS_IES)
    for problem in problems("language_basics", "pluralize_regular"):
        name, rest = problem.key.split(" ", 1)
        if name == "pluralize":
            ends = {rest + "s": NOUNS, rest + "es": NOUNS_ES, rest[:-1] + "ies": NOUNS_IES}
            assert rest in ends[problem.expected]


def test_sentences_are_of_the_kind_that_their_form_says() -> None:
    for problem in problems("language_basics", "sentence_type"):
        sentence = question(problem).partition("? ")[2] or question(problem).partition(": ")[2]
        first = sentence.split(" ")[0]
        kinds = {
            "The": "statement",
            "Does": "question",
            "Why": "question",
            "What": "exclamation",
            "How": "exclamation",
        }
        assert problem.expected == kinds.get(first, "command"), sentence


def test_every_subject_does_what_its_sentence_says() -> None:
    for problem in problems("language_basics", "identify_subject"):
        sentence = question(problem).partition("? ")[2] or question(problem).partition(": ")[2]
        words = sentence.replace(".", "").replace(",", "").split(" ")
        turned = problem.key.startswith("subject_turned")
        verb = next(n for n, word in enumerate(words) if n > 1 and word.endswith("s") and word != "The")
        expected = words[verb + 2] if turned else words[verb - 1]
        if problem.key.startswith("subject_near"):
            expected = words[1]
        assert problem.expected == expected, sentence


def test_sequences_of_one_kind_are_not_of_another() -> None:
    """No row of five numbers is asked as two kinds, so each has one answer."""
    seen: dict[str, str] = {}
    for name in ("arithmetic", "geometric", "fibonacci", "alternating", "square"):
        for problem in problems("sequence", name, 200):
            assert seen.setdefault(problem.key.split(" ")[1], name) == name


def test_truths_are_what_the_values_make_them() -> None:
    words = {" xor ": "!=", " iff ": "==", " implies ": "<="}
    for one in ("truth_table_basic", "xor_vs_or", "implication", "biconditional"):
        for problem in problems("logic", one, 30):
            values, formula = problem.key.removeprefix("truth ").split("|")
            names = {part[0]: part.endswith("true") for part in values.split(", ")}
            for letter in names:
                formula = formula.replace(f"not {letter}", f"({letter} == False)")
            for word, sign in words.items():
                formula = formula.replace(word, sign)
            asked_false = " false, yes or no" in question(problem) or "formula is false:" in question(problem)
            assert problem.expected == ("yes" if eval(formula, {}, names) != asked_false else "no")
