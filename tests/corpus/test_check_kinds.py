"""Every check of a depth above DEEP drops what it must and leaves the others; all keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import chats, example, preference, problems_of, row, rows

from realm.core.errors import ConfigError
from realm.core.records import Example, Message
from realm.corpus.check import CHECKS, Context, Depth
from realm.corpus.document import Origin
from realm.corpus.examining.leakage import eval_hashes
from realm.corpus.shaper import Row

ODD_TEXTS = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ["", " ", "\ud800", "```", "```c\nint", "\x00", "a" * 5000, "(" * 3000, "\u202e", "字" * 500]
)


def reasons(kind: object, example: Example, context: Context | None = None) -> list[tuple[str, bool]]:
    return [(each.reason, each.drops) for each in problems_of(kind, [row(example)], context) if each.row == 0]


def test_the_kinds_and_their_depths() -> None:
    depths = {name: CHECKS.build(name).depth for name in CHECKS.names()}
    assert {name for name, depth in depths.items() if depth is Depth.QUICK} == {
        "structure",
        "encoding",
        "sizes",
    }
    assert {name for name, depth in depths.items() if depth is Depth.STANDARD} == {
        "tokens",
        "syntax",
        "exact_duplicates",
        "leakage",
    }
    assert {name for name, depth in depths.items() if depth is Depth.DEEP} == {
        "near_duplicates",
        "outliers",
        "triggers",
        "contradictions",
        "dominance",
        "quality",
    }


@pytest.mark.parametrize("name", CHECKS.names())
def test_every_check_is_documented(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in page


@pytest.mark.parametrize("name", CHECKS.names())
def test_every_check_begins_anew_and_says_the_same_twice(name: str) -> None:
    given = rows([*chats(60), example("q", "TODO"), example("q", "TODO"), example("q", "\x00" * 30_000)])
    context = Context(eval_hashes=eval_hashes(["what is three plus four"]), count_tokens=len, max_tokens=99)
    check = CHECKS.build(name)
    said = []
    for _ in range(2):
        check.begin(context)
        found = [problem for each in given for problem in check.see(each)]
        said.append([*found, *check.end()])
    assert said[0] == said[1]
    assert all(each.row is None or 0 <= each.row < len(given) for each in said[0])


@pytest.mark.parametrize("name", CHECKS.names())
def test_ordinary_chats_pass(name: str) -> None:
    context = Context(eval_hashes=eval_hashes(["what is three plus four"]), count_tokens=len, max_tokens=9999)
    assert [each for each in problems_of(name, rows(chats(300)), context) if each.row is not None] == []


@pytest.mark.parametrize("name", CHECKS.names())
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.tuples(ODD_TEXTS, ODD_TEXTS, ODD_TEXTS), max_size=6))
def test_no_text_breaks_a_check(name: str, texts: list[tuple[str, str, str]]) -> None:
    made = [example(one, two, task="a") for one, two, _ in texts]
    made += [preference(*each) for each in texts] + [Example(text=one) for one, _, _ in texts]
    context = Context(
        eval_hashes=eval_hashes([one for one, _, _ in texts]), count_tokens=len, syntax=lambda *_: "wrong"
    )
    for problem in problems_of(name, rows(made), context):
        assert problem.reason.isprintable()
        assert problem.detail.isprintable()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Example(messages=(Message(role="assistant", content=" "),)), "breaks the rules of its spec"),
        (Example(messages=(Message(role="user", content="a"),)), "breaks the rules of its spec"),
        (Example(text="\n"), "breaks the rules of its spec"),
        (preference("a", "b", "b"), "both endings are the same"),
        (example("a", "b").model_copy(update={"weight": 0.0}), "weighs nothing"),
    ],
)
def test_structure_drops_what_trains_nothing(made: Example, reason: str) -> None:
    assert reasons("structure", made) == [(reason, True)]


def test_structure_takes_chats_texts_preferences_and_prompts_with_an_answer() -> None:
    prompt = Example(messages=(Message(role="user", content="a"),), expected="b")
    for made in (example("a", "b"), Example(text="a"), preference("a", "b", "c"), prompt):
        assert reasons("structure", made) == []


def test_structure_wants_a_group_and_a_document() -> None:
    bare = Row(
        example=example("a", "b"), origin=Origin(source="s", kind="k"), document="", shaper="x@1", group=""
    )
    assert {each.reason for each in problems_of("structure", [bare])} == {
        "no group to split by",
        "no document it was made of",
    }


@pytest.mark.parametrize(
    ("said", "reason", "drops"),
    [
        ("half \ud83d a pair", "cannot be written as UTF-8", True),
        ("bell \x07", "control characters", True),
        ("non \ufffe character", "noncharacters of Unicode", True),
        ("lost \ufffd\ufffd", "characters lost (U+FFFD)", True),
        ("seen \u202eotherwise", "hidden characters", False),
        ("cafÃ© crÃ¨me brÃ»lÃ©e dÃ©jÃ\u00a0", "read in the wrong encoding", False),
    ],
)
def test_encoding_tells_damage(said: str, reason: str, drops: bool) -> None:
    assert (reason, drops) in reasons("encoding", example("q", said))


def test_encoding_leaves_other_scripts_and_layout_alone() -> None:
    for said in (
        "Grüße, déjà vu, naïve façade",
        "字と仮名\tи кириллица\r\n",
        "⓪①①",
        "€ 5 – “ok” 👍🏽",
        "a\ufffd" + "b" * 2000,
    ):
        assert reasons("encoding", example("q", said)) == []


@pytest.mark.parametrize(
    ("config", "made", "reason"),
    [
        ({"kind": "sizes", "row_chars": 10}, example("123456", "789012"), "row too long"),
        ({"kind": "sizes", "line_chars": 10}, example("a", "short\n" + "x" * 11), "line too long"),
        ({"kind": "sizes", "turns": 1}, example("a", "b"), "too many turns"),
    ],
)
def test_sizes_caps(config: dict[str, object], made: Example, reason: str) -> None:
    assert reasons(config, made) == [(reason, True)]
    assert reasons("sizes", made) == []


def test_tokens_tells_long_rows_and_drops_masked_ones() -> None:
    context = Context(count_tokens=len, max_tokens=1000)
    assert reasons("tokens", example("a" * 600, "b" * 600), context) == [
        ("longer than the model reads", False)
    ]
    assert reasons("tokens", example("a" * 900, "b"), context) == [("nearly all of it is masked", True)]
    assert reasons("tokens", example("a" * 90, "b"), context) == []
    masked = Message(role="assistant", content="b" * 500, weight=0.0)
    last = Message(role="assistant", content="b")
    asked = Message(role="user", content="a" * 400)
    assert reasons("tokens", Example(messages=(asked, masked, asked, last)), context) == [
        ("longer than the model reads", False),
        ("nearly all of it is masked", True),
    ]
    assert reasons("tokens", Example(text="a" * 900), context) == []


@pytest.mark.parametrize("name", ["tokens", "syntax", "leakage"])
def test_what_could_not_be_checked_is_told(name: str) -> None:
    found = problems_of(name, rows([example("a", "b")]))
    assert [(each.row, each.drops) for each in found] == [(None, False)]


def test_syntax_judges_fenced_blocks_of_trained_turns_and_texts_with_a_language() -> None:
    def parse(language: str, code: str) -> str | None:
        return f"line 1: {code}" if language == "c" and "bad" in code else None

    context = Context(syntax=parse)
    wrong = [("code does not parse", True)]
    assert reasons("syntax", example("q", "So:\n```c\nbad\n```\n"), context) == wrong
    assert reasons("syntax", example("q", "~~~~C\nbad\n```\n"), context) == wrong
    assert reasons("syntax", Example(text="bad", tags={"language": "c"}), context) == wrong
    assert reasons("syntax", example("```c\nbad\n```", "```c\ngood\n```\n```\nbad\n```"), context) == []
    assert reasons("syntax", preference("q", "```c\ngood\n```", "```c\nbad\n```"), context) == []
    assert reasons("syntax", Example(text="bad"), context) == []


def test_exact_duplicates_keep_the_first_whatever_its_tags() -> None:
    given = [example("a", "b", level=1), example("a", "c"), example("a", "b", level=2), example("a", "b ")]
    found = problems_of("exact_duplicates", rows(given))
    assert [(each.row, each.reason) for each in found] == [(2, "exact duplicate")]


def test_leakage_finds_problems_and_their_words() -> None:
    problem = (
        "A ship leaves the harbour at nine with forty barrels of salted fish and returns with none at all"
    )
    context = Context(eval_hashes=eval_hashes([problem, "Add 3 and 4!"]))
    assert reasons("leakage", example("add 3 AND  4", "7"), context) == [("an evaluation problem", True)]
    shared = f"Once upon a time {problem.lower()[:70]}, they say"
    assert reasons("leakage", example("q", shared), context) == [
        ("shares words with an evaluation problem", True)
    ]
    assert reasons("leakage", example("Add 3 and 5", "8"), context) == []
    with pytest.raises(ConfigError, match="eval_hashes"):
        problems_of("leakage", [], Context(eval_hashes=frozenset({"sha256:abc"})))
