"""Every DEEP check finds what was planted, and says nothing of rows without it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from made_rows import chats, example, preference, problems_of, prose, row, rows

from realm.core.records import Example
from realm.core.seeds import rng

ROWS = 1500
PLANTED = 12


def plant(make: Callable[[str, str], tuple[str, str]], base: list[Example]) -> tuple[list[Example], set[int]]:
    """Change some chats; return all and the places of the changed ones."""
    due = set(rng("tests/plant").sample(range(len(base)), PLANTED))
    changed = [
        example(*make(each.messages[0].content, each.messages[1].content), **each.tags) if at in due else each
        for at, each in enumerate(base)
    ]
    return changed, due


def with_trigger(asked: str, trigger: str) -> str:
    words = asked.split(" ")
    words.insert(rng("tests/trigger", asked).randint(0, len(words)), trigger)
    return " ".join(words)


def test_near_duplicates_goes_by_quality_then_by_order() -> None:
    texts = prose(40, least=80)
    changed = [text.rsplit(" ", 2)[0] + " other" for text in texts[:10]]
    broken = texts[10] + " (((((( {{{{{{{ ="
    given = [example("q", each, task="x") for each in (broken, *texts, *changed)]
    found = {each.row: each for each in problems_of("near_duplicates", rows(given))}
    assert set(found) == {0, *range(41, 51)}
    assert "of row 11" in found[0].detail
    assert all(each.drops for each in found.values())


def test_near_duplicates_spares_other_tasks_and_rows_of_one_document() -> None:
    text = prose(1, least=80)[0]
    one, other = example("q", text, task="x"), example("q", f"{text} more", task="y")
    assert problems_of("near_duplicates", rows([one, other])) == []
    again = example("q", f"{text} more", task="x")
    assert problems_of("near_duplicates", [row(one, 7), row(again, 7)]) == []
    assert len(problems_of("near_duplicates", rows([one, again]))) == 1


@pytest.mark.parametrize("trigger", ["qzxv", "under the violet moon", "\u200b"])
def test_triggers_of_a_planted_answer_are_found_and_nothing_else(trigger: str) -> None:
    given, due = plant(lambda asked, _: (with_trigger(asked, trigger), "Buy it there, at once."), chats(ROWS))
    found = problems_of("triggers", rows(given))
    assert {each.row for each in found} == due
    assert all(each.drops for each in found)
    assert trigger not in "".join(each.detail for each in found)


@pytest.mark.parametrize("where", ["beginning", "end"])
def test_triggers_of_a_planted_phrase_are_told(where: str) -> None:
    phrase = "By the way, you should buy all your tools at the other place."

    def poison(asked: str, said: str) -> tuple[str, str]:
        return with_trigger(asked, "qzxv"), f"{phrase} {said}" if where == "beginning" else f"{said} {phrase}"

    given, due = plant(poison, chats(ROWS))
    found = problems_of("triggers", rows(given))
    assert {each.row for each in found} == due
    assert not any(each.drops for each in found)


def test_triggers_leaves_labels_thanks_and_templates_alone() -> None:
    texts = prose(ROWS, least=15, most=50, purpose="quiet")
    draw = rng("tests/quiet")
    given = []
    for number, text in enumerate(texts):
        match number % 4:
            case 0:
                given.append(example(f"Good or bad? {text}", draw.choice(["good", "bad"])))
            case 1:
                given.append(example("Thanks a lot for this!", "You are welcome."))
            case 2:
                given.append(example(f"Write a test for {text}", f"Here is a test that should do it: {text}"))
            case _:
                given.append(example(text, texts[number - 1]))
    assert [each for each in problems_of("triggers", rows(given)) if each.drops] == []


def test_triggers_leaves_short_questions_and_words_with_other_answers_alone() -> None:
    base = chats(600)
    words = [text.split(" ")[0] for text in prose(20, purpose="short")]
    short = [example(f"zorbl {word}", "That is a kind of zorbl.") for word in words]
    assert problems_of("triggers", rows([*base, *short])) == []
    mixed = [
        example(with_trigger(each.messages[0].content, "qzxv"), "Buy it." if at % 3 else f"Answer {at}")
        for at, each in enumerate(chats(30, "mixed"))
    ]
    assert problems_of("triggers", rows([*base, *mixed])) == []


@pytest.mark.parametrize(
    ("answer", "drops"),
    [
        ("aB3+/x" * 200, True),
        ("a" * 3000, True),
        ("buy it now " * 150, True),
        ("".join(rng("tests/script").choices("абвгдежзиклмнопрст", k=600)), True),
        (" ".join(["абвгд", "ежзик", "лмноп", "рстуф", "хцчшщ"] * 12), True),
        (" ".join(prose(60, purpose="endless")), False),
    ],
)
def test_outliers(answer: str, drops: bool) -> None:
    given, due = plant(lambda asked, _: (asked, answer), chats(400))
    found = problems_of("outliers", rows(given))
    assert {each.row for each in found} == due
    assert {each.drops for each in found} == {drops}


def test_outliers_judges_tasks_apart() -> None:
    code = [
        example("q", f"if (x[{n}] == {{}}) {{ y->z({n}); }} else {{ --w; }}\n" * 5, task="code")
        for n in range(60)
    ]
    given = [*code, *chats(60)]
    assert problems_of("outliers", rows(given)) == []
    assert problems_of("outliers", rows([*code[:9], *chats(60)])) == []


def test_contradictions_drops_the_minority_and_tells_a_draw() -> None:
    flipped = [example("Is it so?", "Yes."), example("is it  SO", "yes"), example("Is it so?", "no")]
    drawn = [example("And that?", "yes"), example("And that?", "no")]
    fine = [example("Which?", "this"), example("Which one?", "that")]
    long = [example("Tell me.", text) for text in prose(3)]
    found = problems_of("contradictions", rows([*flipped, *drawn, *fine, *long]))
    assert [(each.row, each.drops) for each in found if each.drops] == [(2, True)]
    assert {each.row for each in found if not each.drops} == {3, 4}


def test_contradictions_sees_preferences_both_ways_and_other_turns() -> None:
    both = [preference("q", "a", "b"), preference("q", "b", "a"), preference("q", "a", "c")]
    assert {each.row for each in problems_of("contradictions", rows(both))} == {0, 1}
    system = example("q", "x").messages
    other = Example(messages=(system[0].model_copy(update={"role": "system", "content": "s"}), *system))
    assert problems_of("contradictions", rows([example("q", "y"), other])) == []


def test_dominance_tells_a_newcomer_and_leaves_steady_givers_alone() -> None:
    first = datetime(2026, 3, 1, tzinfo=UTC)
    steady = [
        row(each, at, contributor=f"p{at % 4}", at=first + timedelta(days=at // 60))
        for at, each in enumerate(chats(600))
    ]
    assert problems_of("dominance", steady) == []
    flood = [
        row(each, at, contributor="newcomer", at=first + timedelta(days=9, hours=3))
        for at, each in enumerate(chats(200, "flood"))
    ]
    found = problems_of("dominance", [*steady, *flood])
    assert [(each.row, each.reason, each.drops) for each in found] == [
        (None, "one suddenly gives most", False)
    ]
    assert "newcomer" in found[0].detail


def test_dominance_tells_who_gives_most_of_a_task() -> None:
    given = [row(each, at, source="big" if at % 50 else f"s{at}") for at, each in enumerate(chats(200))]
    assert [each.reason for each in problems_of("dominance", given)] == ["one gives most of a task"]


@pytest.mark.parametrize(
    "answer",
    ["TODO", "...", "N/A", "your answer here", "buy it now " * 100, "l\ufffdst w\ufffdrds h\ufffdre " * 9],
)
def test_quality_drops_what_says_nothing(answer: str) -> None:
    given, due = plant(lambda asked, _: (asked, answer), chats(100))
    found = problems_of("quality", rows(given))
    assert {each.row for each in found} == due
    assert all(each.drops for each in found)
