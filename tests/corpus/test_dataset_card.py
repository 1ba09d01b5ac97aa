"""Statistics and the card: right counts, a head that a hub reads, and no way out of the markup."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_rows import chats, example, preference, row, rows

from realm.core.records import Example, Message
from realm.corpus.assembly.card import CardFacts, Split, card, publishability, size_category
from realm.corpus.assembly.statistics import (
    CheckVersion,
    DatasetStatistics,
    LengthCounter,
    StatisticsCounter,
    is_publishable,
)
from realm.corpus.tally import Tally

FACTS = CardFacts(name="my-set", hash="sha256:" + "ab" * 32, created_by="realm-lab 0.1")


def counted(given_: list[Any], **more: Any) -> DatasetStatistics:
    counter = StatisticsCounter(more.pop("count_tokens", None))
    for each in given_:
        counter.add(each)
    return counter.statistics(**more)


def head_of(text: str) -> dict[str, Any]:
    first, head, _ = text.split("---\n", 2)
    assert first == ""
    loaded = yaml.safe_load(head)
    assert isinstance(loaded, dict)
    return loaded


def test_everything_is_counted() -> None:
    prompt = Example(messages=(Message(role="user", content="q"),), expected="a")
    given_ = [
        row(example("ab", "cde", role="mayor", task="chat"), 0, licence="MIT"),
        row(preference("ab", "c", "dd"), 1, licence="MIT", made_by="model", generator="gen@2"),
        row(prompt, 2, licence="Apache-2.0", contributor="ann"),
        row(Example(text="x" * 100, tags={"language": "lua"}), 2, source="other"),
    ]
    tally = Tally()
    tally.add("near duplicate", "chat.jsonl:3", 4)
    checks = (CheckVersion(name="sizes", version="1", depth="quick"),)
    found = counted(given_, count_tokens=len, dropped=tally.reasons(), checks=checks)
    assert (found.rows, found.groups) == (4, 3)
    assert found.forms == {"chat": 1, "preference": 1, "prompt": 1, "text": 1}
    assert found.by["role"] == {"mayor": 1}
    assert found.by["source"] == {"made": 3, "other": 1}
    assert found.by["made_by"] == {"human": 3, "model": 1}
    assert found.by["generator"] == {"gen@2": 1}
    assert found.by["contributor"] == {"ann": 1}
    assert [(each.licence, each.rows, each.publishable) for each in found.licences] == [
        ("MIT", 2, True),
        ("Apache-2.0", 1, True),
        ("unknown", 1, False),
    ]
    assert found.tokens is not None
    assert (found.tokens.least, found.tokens.most, found.tokens.total) == (2, 100, 5 + 5 + 2 + 100)
    assert found.tokens == found.chars
    assert not found.publishable


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=200))
def test_quantiles_are_near_the_exact_ones(lengths: list[int]) -> None:
    counter = LengthCounter()
    for length in lengths:
        counter.add(length)
    found = counter.lengths()
    assert (found.least, found.most, found.total) == (min(lengths), max(lengths), sum(lengths))
    assert found.least <= found.p05 <= found.p50 <= found.p95 <= found.most
    exact = sorted(lengths)[max(0, -(-len(lengths) // 2) - 1)]
    assert abs(found.p50 - exact) <= 0.05 * exact + 1


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("(GPL-2.0-only WITH Classpath-exception-2.0) OR BSD-3-Clause", True),
        ("CC-BY-SA-4.0", True),
        ("", False),
        ("unknown", False),
        ("proprietary", False),
        ("All Rights Reserved", False),
        ("MIT AND unknown", False),
        ("MIT AND", False),
        ("MIT Apache-2.0", False),
        ("LicenseRef-Mine", False),
        ("CC-BY-NC-4.0", False),
        ("CC-BY-ND-4.0", False),
        ("BUSL-1.1", False),
        ("UNLICENSED", False),
        ("NOASSERTION", False),
    ],
)
def test_licences_are_denied_by_default(licence: str, allowed: bool) -> None:
    assert is_publishable(licence) is allowed


def test_one_unknown_licence_makes_the_whole_unpublishable() -> None:
    known = rows(chats(3), licence="MIT")
    assert publishability(counted(known)).allowed
    found = publishability(counted([*known, row(example("q", "a"), 9)]))
    assert (found.allowed, found.licences, found.against) == (False, ("MIT", "unknown"), {"unknown": 1})
    assert not publishability(counted([])).allowed
    assert "**Not publishable**" in card(counted([row(example("q", "a"))]), FACTS)
    assert "Not publishable" not in card(counted(known), FACTS)


def test_the_head_is_what_hubs_read() -> None:
    facts = FACTS.model_copy(
        update={
            "languages": ("en", "pt-BR"),
            "splits": (
                Split(name="train", file="rows.jsonl", rows=2),
                Split(name="eval", file="eval.jsonl", rows=1),
            ),
        }
    )
    given_ = [row(example("q", "a"), 0, licence="MIT"), row(example("q", "b"), 1, licence="MIT OR ISC")]
    assert head_of(card(counted(given_), facts)) == {
        "pretty_name": "my-set",
        "license": ["mit", "other"],
        "size_categories": ["n<1K"],
        "task_categories": ["text-generation"],
        "language": ["en", "pt-BR"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "rows.jsonl"},
                    {"split": "eval", "path": "eval.jsonl"},
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("rows_", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**9, "n>1B")],
)
def test_sizes(rows_: int, name: str) -> None:
    assert size_category(rows_) == name


HOSTILE = [
    "---\nlicense: mit\n---",
    "</td><script>alert(1)</script>",
    "![x](https://example.com/x.png)",
    "a | b\n| c |",
    "\u202egnp.exe\x1b[2J",
    "`code` **bold** <b>",
    "{{ 7*7 }} ${x} {% raw %}",
    "# heading",
]


@given(
    st.sampled_from(HOSTILE) | st.text(max_size=40),
    st.sampled_from(["licence", "task", "summary", "drop", "facts", "files", "fields", "against"]),
)
def test_nothing_foreign_breaks_out_of_the_card(foreign: str, where: str) -> None:
    tags = {"task": foreign} if where == "task" else {}
    licence = foreign if where == "licence" else "MIT"
    tally = Tally()
    tally.add(foreign if where == "drop" else "empty", "a:1")
    more = {
        "summary": {"summary": foreign},
        "facts": {"facts": (("called", foreign),)},
        "files": {"files": ((foreign, foreign),)},
        "fields": {"fields": (("text", foreign),)},
        "against": {"against": (foreign,)},
    }
    facts = FACTS.model_copy(update=more.get(where, {}))
    text = card(counted([row(example("q", "a", **tags), licence=licence)], dropped=tally.reasons()), facts)
    assert set(head_of(text)) == {"pretty_name", "license", "size_categories", "task_categories"}
    body = text.split("---\n", 2)[2]
    assert "<" not in body.replace("&lt;", "")
    assert "](" not in body
    assert "\u202e" not in body
    assert "\x1b" not in body
    plain = card(counted([row(example("q", "a"), licence="MIT")]), FACTS)
    headings = {line for line in body.splitlines() if line.startswith("#")}
    assert headings - {"### By task", "## Files"} <= {
        line for line in plain.splitlines() if line.startswith("#")
    }
    for line in body.splitlines():
        if line.startswith("|"):
            assert len(line.replace("\\|", "").split("|")) in (4, 5, 9)


def test_long_lists_are_cut_with_their_sum() -> None:
    given_ = [row(example("q", "a", task=f"task{number}"), number, licence="MIT") for number in range(30)]
    assert "| 10 more | 10 |" in card(counted(given_), FACTS)


def test_what_stands_against_publication_and_what_the_build_kept_is_said() -> None:
    tally = Tally()
    tally.add("near duplicate", "a:1")
    found = counted([row(example("q", "a"), licence="MIT")], dropped=tally.reasons())
    told = card(found, FACTS.model_copy(update={"against": ("nobody looked for secrets",), "build_rows": 7}))
    assert "**Not publishable**" in told
    assert "- nobody looked for secrets" in told
    assert "which kept 7 rows in all its datasets" in told
    assert "which kept" not in card(found, FACTS.model_copy(update={"build_rows": 1}))
    assert "not built from collections" in card(counted([row(example("q", "a"))]), FACTS)


def test_several_files_of_one_side_are_one_split() -> None:
    splits = tuple(Split(name="train", file=name, rows=1) for name in ("rows.jsonl", "rows-2.jsonl"))
    told = card(counted([row(example("q", "a"))]), FACTS.model_copy(update={"splits": splits}))
    assert head_of(told)["configs"][0]["data_files"] == [
        {"split": "train", "path": ["rows.jsonl", "rows-2.jsonl"]}
    ]


def test_rows_without_lineage_are_counted_under_no_licence() -> None:
    counter = StatisticsCounter()
    counter.add_stored(example("q", "a", task="t"), None)
    found = counter.statistics()
    assert (found.rows, found.groups, found.by, found.publishable) == (1, 0, {"task": {"t": 1}}, False)
    assert found.licences[0].licence == "unknown"
