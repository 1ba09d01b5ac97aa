from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError
from realm.core.records import Message
from realm.corpus.document import Document, Origin
from realm.corpus.rows.chat_exports import conversation, moment
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally

FLAT = {
    "id": "c-1",
    "title": "Sums",
    "create_time": 1_700_000_000.5,
    "update_time": "2026-01-02T03:04:05Z",
    "messages": [
        {"id": "m0", "role": "system", "content": "", "timestamp": 1, "metadata": {}},
        {"id": "m1", "role": "user", "content": "2 + 2?", "timestamp": 2, "metadata": {}},
        {"id": "m2", "role": "assistant", "content": "4", "timestamp": 3, "metadata": {"model": "m-1"}},
        {"id": "m3", "role": "user", "content": "thanks", "timestamp": 4, "metadata": {}},
    ],
}


def _node(role: str, text: Any, parent: str | None, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text], **more.pop("content", {})}
    message = {"author": {"role": role}, "content": content, "recipient": "all", **more}
    return {"message": message, "parent": parent, "children": []}


TREE = {
    "conversation_id": "c-2",
    "title": "Branches",
    "create_time": 1_700_000_000,
    "current_node": "a2",
    "mapping": {
        "root": {"message": None, "parent": None, "children": ["sys"]},
        "sys": _node("system", "", "root"),
        "u1": _node("user", "draw a cat", "sys"),
        "a1": _node("assistant", "old answer", "u1", create_time=1_700_000_100),
        "think": _node("assistant", "hm", "u1", content={"content_type": "thoughts"}),
        "call": _node("assistant", "x = 1", "think", recipient="python",
                      content={"content_type": "code", "parts": None, "text": "x = 1"}),
        "out": _node("tool", "1", "call",
                     content={"content_type": "execution_output", "parts": None, "text": "1"}),
        "a2": _node("assistant", "Done.", "out", metadata={"model_slug": "m-2"}),
    },
}  # fmt: skip


def _read(path: Path) -> tuple[list[Document], dict[str, int]]:
    tally = Tally()
    source = SOURCES.build({"kind": "conversations", "name": "own", "path": str(path)})
    found = [document for item in source.items(tally) for document in source.read(item, tally)]
    return found, {reason.reason: reason.count for reason in tally.reasons()}


def _said(row: dict[str, Any]) -> tuple[list[tuple[str, str]], list[str]]:
    notes: list[str] = []
    return [(turn.role, turn.content) for turn in conversation(row, notes.append).messages], notes


def test_a_conversation_becomes_one_chat_that_ends_with_an_answer(tmp_path: Path) -> None:
    (tmp_path / "conversations.json").write_text(json.dumps([FLAT], indent=1))
    found, counted = _read(tmp_path)
    assert counted == {"an empty turn left out": 1, "turns behind the last answer left out": 1}
    assert found == [
        Document(
            id="c-1",
            form="chat",
            messages=(Message(role="user", content="2 + 2?"), Message(role="assistant", content="4")),
            fields={"title": "Sums", "updated": "2026-01-02T03:04:05+00:00", "models": ["m-1"]},
            group="c-1",
            origin=Origin(
                source="own",
                kind="conversations",
                path="conversations.json",
                first_line=2,
                last_line=found[0].origin.last_line,
                session="c-1",
                made_by="mixed",
                at=datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC),
            ),
        )
    ]


def test_a_tree_is_read_along_its_current_path() -> None:
    said, notes = _said(TREE)
    assert said == [
        ("user", "draw a cat"),
        ("assistant", '<tool_call>\n{"name": "python", "arguments": "x = 1"}\n</tool_call>'),
        ("tool", "1"),
        ("assistant", "Done."),
    ]
    assert sorted(notes) == ["an abandoned branch left out", "thoughts left out"]


def test_without_a_current_node_the_newest_leaf_ends_the_path() -> None:
    assert _said({**TREE, "current_node": None})[0] == [("user", "draw a cat"), ("assistant", "old answer")]
    assert _said({**TREE, "current_node": "gone"})[0][-1] == ("assistant", "old answer")


def test_cycles_and_missing_parents_end_a_path() -> None:
    loop = {"a": _node("user", "q", "b"), "b": _node("assistant", "r", "a")}
    assert _said({"mapping": loop, "current_node": "b"})[0] == [("user", "q"), ("assistant", "r")]
    cut = {"a": _node("user", "q", "gone"), "b": _node("assistant", "r", "a")}
    assert _said({"mapping": cut})[0] == [("user", "q"), ("assistant", "r")]
    with pytest.raises(DataError, match="without a question and an answer"):
        _said({"mapping": loop})


def test_pictures_and_profiles_are_left_out_of_a_turn() -> None:
    nodes = {
        "p": _node("user", "I am Ann", None, content={"content_type": "user_editable_context"}),
        "a": _node("user", {"content_type": "image_asset_pointer"}, "p"),
        "b": _node("user", "what is it?", "a"),
        "c": _node("assistant", "a cat", "b"),
    }
    said, notes = _said({"mapping": nodes})
    assert said == [("user", "what is it?"), ("assistant", "a cat")]
    assert sorted(notes) == ["a person's profile left out", "an image, audio or file left out of a turn"]


def test_a_longer_export_keeps_the_document_id(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        json.dumps(FLAT) + "\n" + json.dumps(TREE) + "\n" + json.dumps(FLAT) + "\n"
    )
    (tmp_path / "b.json").write_text(json.dumps({"conversations": [{**FLAT, "id": "\u202e"}]}))
    found, counted = _read(tmp_path)
    assert [document.id for document in found] == ["c-1", "c-2", "b.json#1"]
    assert counted["a conversation that the file holds twice"] == 1


def test_a_file_without_conversations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}]')
    with pytest.raises(DataError, match="no conversation in it"):
        _read(tmp_path)


def test_times_are_seconds_or_iso() -> None:
    assert moment(1_700_000_000) == moment("2023-11-14T22:13:20+00:00")
    assert moment("2023-11-14T22:13:20") == moment(1_700_000_000.0)
    for absurd in (None, True, -1, 10**20, float("inf"), "yesterday", "", [], 10**400):
        assert moment(absurd) is None


_KEYS = [
    "id",
    "title",
    "mapping",
    "messages",
    "current_node",
    "message",
    "parent",
    "author",
    "role",
    "content",
    "parts",
    "text",
    "content_type",
    "recipient",
    "metadata",
    "model_slug",
    "create_time",
    "a",
    "b",
    "timestamp",
]
_JSON = st.recursive(
    st.none()
    | st.integers(-5, 2_000_000_000)
    | st.sampled_from(["a", "b", "user", "assistant", "code", "all"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5)
        | st.builds(
            lambda i, p: {"message": {"author": {"role": "user"}, "content": i}, "parent": p}, inner, inner
        )
    ),
    max_leaves=20,
)


@example(row={"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"content_type": []}}}}})
@example(row={"mapping": {"a": {"message": {"author": {"role": {}}, "content": {}}}}})
@settings(max_examples=400, deadline=None)
@given(row=st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=8))
def test_any_row_gives_a_conversation_or_a_refusal(row: dict[str, Any]) -> None:
    with suppress(DataError):
        assert conversation(row, lambda note: None).messages[-1].role == "assistant"
