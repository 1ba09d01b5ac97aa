"""Pairs of sessions, lessons and duels, and documents that are rows as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.records import Example, Message
from realm.corpus import specs
from realm.corpus.document import Document, Origin
from realm.corpus.shaper import SHAPERS, Row
from realm.corpus.shaping.joined import joined
from realm.corpus.shaping.pairs import Pair, pair
from realm.corpus.shaping.spool import Spool
from realm.corpus.tally import Tally

PARTED = "the sessions part at a turn that is not the assistant's"
ROLES = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}


def _turns(*words: str) -> tuple[Message, ...]:
    """Return turns written as `u:hello`."""
    return tuple(
        Message.model_validate({"role": ROLES[word[0]], "content": word.partition(":")[2]}) for word in words
    )


def _session(id_: str, result: Any, *words: str, item: str | None = "gt-1", **more: Any) -> Document:
    fields = more.pop(
        "fields", {"outcome": {"result": result, "mode": more.pop("mode", None), "evidence": []}}
    )
    origin = {"source": "town", "kind": "claude_code", "work_item": item, "session": id_, **more}
    return Document(
        id=id_,
        form="chat",
        messages=_turns(*words),
        fields=fields,
        tags={"role": "polecat"},
        origin=Origin.model_validate(origin),
    )


def _record(fields: dict[str, Any], id_: str = "r#1") -> Document:
    return Document(id=id_, form="record", fields=fields, origin=Origin(source="inbox", kind="chat_jsonl"))


def _shape(
    documents: list[Document], kind: str = "preference", **settings: Any
) -> tuple[list[Row], dict[str, int]]:
    tally = Tally()
    rows = list(SHAPERS.build({"kind": kind, **settings}).shape(iter(documents), tally))
    return rows, {reason.reason: reason.count for reason in tally.reasons()}


def _words(messages: tuple[Message, ...]) -> list[str]:
    return [f"{message.role[0]}:{message.content}" for message in messages]


def test_a_failed_session_is_paired_with_a_successful_one_of_its_work_item() -> None:
    good = _session("good", "success", "u:do it", "a:look", "t:files", "a:fix", "t:ok", "a:done", "t:over")
    bad = _session("bad", "failure", "u:do it", "a:look", "t:files", "a:push to main", mode="wrong_branch")
    rows, counts = _shape([good, bad])
    assert counts == {}
    (row,) = rows
    assert _words(row.example.messages) == ["u:do it", "a:look", "t:files", "a:fix", "t:ok", "a:done"]
    assert _words(row.example.rejected) == ["u:do it", "a:look", "t:files", "a:push to main"]
    assert [m.weight for m in row.example.messages] == [1, 0, 1, 1, 1, 1]
    assert row.example.tags == {
        "role": "polecat",
        "task": "session_outcome",
        "failure_mode": "wrong_branch",
        "rejected_document": "bad",
    }
    assert (row.document, row.shaper, row.group) == ("good", "preference@1", "town/good")
    specs.verify("preference_v1", row.example)


def test_the_success_with_the_longest_common_beginning_is_taken() -> None:
    near = _session("near", "success", "u:x", "a:1", "u:y", "a:good")
    far = _session("zfar", "success", "u:x", "a:2", "u:y", "a:good")
    bad = _session("bad", "failure", "u:x", "a:1", "u:y", "a:bad")
    rows, _ = _shape([far, near, bad])
    assert [row.document for row in rows] == ["near"]


@pytest.mark.parametrize(
    ("mode", "label"),
    [
        ("timeout", "timeout"),
        ("Broke tests", "broke_tests"),
        ("ignored-conventions", "ignored_conventions"),
        ("out_of_memory", "out_of_memory"),
        ("skipped_hooks", "skipped_hooks"),
        ("wrong dependency direction", "wrong_dependency_direction"),
        ("the moon", "other"),
        (None, "unlabelled"),
        (7, "unlabelled"),
    ],
)
def test_failure_modes_are_labelled(mode: Any, label: str) -> None:
    documents = [
        _session("a", "success", "u:x", "a:good"),
        _session("b", "failure", "u:x", "a:bad", mode=mode),
    ]
    assert _shape(documents)[0][0].example.tags["failure_mode"] == label


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        (["u:x", "a:1"], ["u:x", "a:1", "u:late"], "same text"),
        (["u:x", "a:1"], ["u:y", "a:1"], "no common beginning"),
        (["s:x", "a:1"], ["s:x", "a:2"], "no common beginning"),
        (["u:x", "a:1"], ["u:x", "a:1", "u:y", "a:2"], "one session is the beginning of the other"),
        (["u:x", "a:1", "u:y", "a:2"], ["u:x", "a:1", "u:z", "a:2"], PARTED),
        (["u:x", "a:1"], ["u:x"], "no answer in the session"),
        (["u:x", "a:1"], ["u:x", "a: "], "the pair breaks the rules of preference_v1"),
    ],
)
def test_sessions_that_are_no_pair_are_counted(good: list[str], bad: list[str], reason: str) -> None:
    documents = [_session("a", "success", *good), _session("b", "failure", *bad)]
    assert _shape(documents) == ([], {reason: 1})


def test_sessions_without_a_counterpart_are_counted() -> None:
    documents = [
        _session("a", "success", "u:x", "a:1"),
        _session("b", "success", "u:x", "a:2"),
        _session("c", "failure", "u:x", "a:3", item="gt-2"),
        _session("d", "unknown", "u:x", "a:3"),
        _session("e", ["failure"], "u:x", "a:3"),
        _session("f", "failure", "u:x", "a:3", fields={"outcome": "failure"}),
        _session("g", "failure", "u:x", "a:3", fields={}),
        _session("h", "failure", "u:x", "a:3", item=None),
    ]
    assert _shape(documents) == (
        [],
        {
            "unknown outcome": 4,
            "no pair: every session of the work item ended alike": 3,
            "no pair: a chat without a work item": 1,
        },
    )


def test_items_of_one_name_in_two_sources_stay_apart() -> None:
    documents = [
        _session("a", "success", "u:x", "a:1"),
        _session("b", "failure", "u:x", "a:2", source="other_town"),
    ]
    assert _shape(documents)[0] == []


def test_only_so_many_sessions_of_an_item_are_compared() -> None:
    documents = [_session(f"b{n}", "failure", "u:x", f"a:{n}") for n in range(20)]
    rows, counts = _shape([*documents, _session("a", "success", "u:x", "a:good")])
    assert (len(rows), counts) == (16, {"more sessions of a work item than are compared": 4})


LESSON = {
    "original_prompt": "Why?",
    "suboptimal_response": "Dunno.",
    "gold_standard": "Because.",
    "utility_score": 0.7,
}


def test_lessons_are_taken_by_their_utility() -> None:
    rows, counts = _shape([_record(LESSON), _record({**LESSON, "utility_score": 0.2})], min_utility=0.5)
    assert counts == {"a lesson of too little utility": 1}
    assert _words(rows[0].example.messages) == ["u:Why?", "a:Because."]
    assert _words(rows[0].example.rejected) == ["u:Why?", "a:Dunno."]
    assert rows[0].example.tags["task"] == "correction"
    assert _shape([_record({**LESSON, "utility_score": float("nan")})])[0] == []
    assert _shape([_record({**LESSON, "utility_score": None})])[1] == {}
    assert _shape([_record({**LESSON, "gold_standard": "Dunno."})]) == ([], {"same text": 1})


def test_a_preference_document_is_a_row() -> None:
    document = Document(
        id="p#1",
        form="preference",
        messages=_turns("u:x", "a:good"),
        rejected=_turns("u:x", "a:bad"),
        fields={"utility_score": 0.9},
        tags={"task": "style"},
        origin=Origin(source="inbox", kind="chat_jsonl"),
    )
    assert _shape([document])[0][0].example.tags == {"task": "correction"}
    assert _shape([document], min_utility=1.0)[1] == {"a lesson of too little utility": 1}
    plain = document.model_copy(update={"fields": {}})
    assert _shape([plain])[0][0].example.tags == {"task": "style"}


@pytest.mark.parametrize("prompt", ["Why?", [{"role": "user", "content": "Why?"}]])
def test_duels_are_won_by_a_or_b(prompt: Any) -> None:
    duel = {"prompt": prompt, "a": "one", "b": "two"}
    rows, counts = _shape([_record({**duel, "winner": "a"}), _record({**duel, "winner": "b"})])
    assert counts == {}
    assert [_words(row.example.messages)[-1] for row in rows] == ["a:one", "a:two"]
    assert [_words(row.example.rejected) for row in rows] == [["u:Why?", "a:two"], ["u:Why?", "a:one"]]
    assert rows[0].example.tags["task"] == "duel"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"winner": "tie"}, "tie"),
        ({"winner": None}, "tie"),
        ({"winner": "c"}, "a duel without a known winner"),
        ({"winner": {}}, "a duel without a known winner"),
        ({"a": 5}, "a duel whose answers are not text"),
        ({"b": "one"}, "same text"),
        ({"prompt": 5}, "a prompt that is neither text nor a chat"),
        ({"prompt": []}, "a prompt that is neither text nor a chat"),
        ({"prompt": [{"role": "wizard", "content": "x"}]}, "a prompt that is neither text nor a chat"),
        ({"prompt": " "}, "the pair breaks the rules of preference_v1"),
    ],
)
def test_duels_that_say_nothing_are_counted(change: dict[str, Any], reason: str) -> None:
    duel = {"prompt": "Why?", "a": "one", "b": "two", "winner": "a"}
    assert _shape([_record({**duel, **change})]) == ([], {reason: 1})


def test_what_is_neither_is_counted() -> None:
    text = Document(id="t", form="text", text="x", origin=Origin(source="s", kind="documents"))
    assert _shape([text, _record({"a": 1})]) == ([], {"no pair: not a session, a lesson or a duel": 2})


MESSAGES = st.lists(
    st.builds(
        Message, role=st.sampled_from(list(ROLES.values())), content=st.sampled_from(["", " ", "x", "y"])
    ),
    max_size=6,
)


@given(MESSAGES, MESSAGES)
def test_a_pair_begins_alike_and_parts_at_an_answer(better: list[Message], worse: list[Message]) -> None:
    found = pair(better, worse)
    if isinstance(found, Pair):
        alike = next(n for n, (one, other) in enumerate(zip(*found, strict=False)) if one != other)
        assert {found.chosen[alike].role, found.rejected[alike].role} == {"assistant"}
        assert found.chosen[-1].role == found.rejected[-1].role == "assistant"
        assert not any(m.weight for m in found.chosen[:alike] if m.role == "assistant")
        assert [(m.role, m.content) for m in found.chosen] == [(m.role, m.content) for m in better][
            : len(found.chosen)
        ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*LESSON, "prompt", "a", "b", "winner", "outcome", "failure_mode"])


@given(st.lists(st.dictionaries(KEYS, VALUES, min_size=1), max_size=3))
def test_whatever_a_record_holds_is_shaped_or_counted(records: list[dict[str, Any]]) -> None:
    documents = [_record(fields, f"r{n}") for n, fields in enumerate(records)]
    rows, counts = _shape(documents)
    assert len(rows) + sum(counts.values()) == len(documents)
    for row in rows:
        specs.verify("preference_v1", row.example)


@given(VALUES)
def test_whatever_an_outcome_holds_is_unknown(outcome: Any) -> None:
    document = _session("a", "success", "u:x", "a:1", fields={"outcome": outcome, "failure_mode": outcome})
    assert _shape([document])[1] == {"unknown outcome": 1}


def test_the_spool_gives_back_what_it_took() -> None:
    documents = [_session("ä", "success", "u:\u2028", "a:1"), _record({"half": "\ud83d", "n": [1, None]})]
    with Spool() as spool:
        places = [spool.add(document) for document in documents]
        assert [spool.get(place) for place in places[::-1]] == documents[::-1]


def test_two_origins_bind_a_row_together() -> None:
    one = Origin(source="a", kind="repo", licence="MIT", made_by="human", rig="r", contributor="c")
    two = one.model_copy(update={"licence": "GPL-2.0-only OR MIT", "made_by": "model", "rig": "q"})
    both = joined(one, two)
    assert (both.licence, both.made_by, both.rig, both.contributor) == (
        "MIT AND (GPL-2.0-only OR MIT)",
        "mixed",
        None,
        "c",
    )
    assert joined(one, one) == one
    assert joined(one, one.model_copy(update={"licence": "unknown"})).licence == "unknown"


def test_rows_flow_through_as_they_are() -> None:
    origin = Origin(source="inbox", kind="chat_jsonl", path="a.jsonl", first_line=3)
    documents = [
        Document(
            id="1", form="chat", messages=_turns("u:x", "a:y"), tags={"task": "t"}, group="g", origin=origin
        ),
        Document(
            id="2",
            form="preference",
            messages=_turns("u:x", "a:y"),
            rejected=_turns("u:x", "a:z"),
            origin=origin,
        ),
        Document(id="3", form="text", text="prose", language="lua", origin=origin),
        _record({"a": 1}),
    ]
    rows, counts = _shape(documents, "as_is")
    assert [row.example for row in rows] == [
        Example(messages=_turns("u:x", "a:y"), tags={"task": "t"}),
        Example(messages=_turns("u:x", "a:y"), rejected=_turns("u:x", "a:z")),
        Example(text="prose", tags={"language": "lua"}),
    ]
    assert [(row.document, row.group, row.origin) for row in rows][:2] == [
        ("1", "inbox/g", origin),
        ("2", "inbox/2", origin),
    ]
    assert rows[0].shaper == "as_is@1"
    assert counts == {"a record is no row by itself": 1}
