from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from realm.core.errors import ConfigError, DataError, NotFoundError
from realm.core.records import Message
from realm.corpus.document import Document, Origin
from realm.corpus.source import SOURCES, Item, Source
from realm.corpus.tally import Tally

CHAT = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}


def _write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _source(path: Path, **more: Any) -> Source:
    return SOURCES.build({"kind": "chat_jsonl", "name": "chats", "path": str(path), **more})


def _items(source: Source) -> tuple[list[Item], dict[str, int]]:
    tally = Tally()
    return list(source.items(tally)), {reason.reason: reason.count for reason in tally.reasons()}


def _documents(source: Source) -> tuple[list[Document], dict[str, int]]:
    tally = Tally()
    found = [document for item in source.items(tally) for document in source.read(item, tally)]
    return found, {reason.reason: reason.count for reason in tally.reasons()}


def test_a_row_becomes_one_document_with_its_origin(tmp_path: Path) -> None:
    row = {**CHAT, "id": "r1", "tags": {"task": "sums"}, "metadata": {"level": 3}, "weight": 2, "score": 0.5}
    _write(tmp_path / "in" / "a.jsonl", row)
    source = _source(
        tmp_path, licence="MIT", contributor="ann", rig="north", tags={"role": "crew"}, made_by="mixed"
    )
    found, counted = _documents(source)
    assert counted == {}
    assert found == [
        Document(
            id="in/a.jsonl#1",
            form="chat",
            messages=(Message(role="user", content="2 + 2?"), Message(role="assistant", content="4")),
            fields={"weight": 2.0, "score": 0.5},
            tags={"role": "crew", "task": "sums", "level": 3, "id": "r1"},
            group=found[0].group,
            origin=Origin(
                source="chats",
                kind="chat_jsonl",
                path="in/a.jsonl",
                first_line=1,
                last_line=1,
                licence="MIT",
                contributor="ann",
                rig="north",
                made_by="mixed",
            ),
        )
    ]


def test_answers_to_one_question_stay_in_one_group(tmp_path: Path) -> None:
    def asked(question: str, answer: str, **more: Any) -> dict[str, Any]:
        return {"prompt": question, "completion": answer, **more}

    _write(
        tmp_path / "a.jsonl",
        asked("What is it?", "a"),
        asked("what  is\nIT?", "b"),
        asked("Which?", "c"),
        asked("Who?", "d", session_id="s1"),
        asked("Where?", "e", session_id="s1"),
        {"text": "loose"},
    )
    groups = [document.group for document in _documents(_source(tmp_path))[0]]
    assert groups[0] == groups[1] != groups[2]
    assert groups[3] == groups[4] == "s1"
    _write(tmp_path / "a.jsonl", {"text": "loose"})
    [text] = _documents(_source(tmp_path))[0]
    assert (text.group, text.split_group) == ("", "chats/a.jsonl#1")


def test_rows_of_another_shape_are_counted(tmp_path: Path) -> None:
    _write(
        tmp_path / "a.jsonl",
        CHAT,
        CHAT,
        {"text": "x"},
        {"foo": 1},
        {"messages": []},
        {"messages": [{"role": "user", "content": " "}]},
        {**CHAT, "weight": -1},
        {**CHAT, "extra": {"deep": 1}, "long": "x" * 3000},
    )
    found, counted = _documents(_source(tmp_path))
    assert [document.id for document in found] == ["a.jsonl#1", "a.jsonl#2", "a.jsonl#8"]
    assert found[-1].fields == {}
    assert counted == {
        "a chat without words": 2,
        "a column that the shape does not have left out": 2,
        "a row of no known shape in a file of shape messages": 1,
        "a row of shape text in a file of shape messages": 1,
        "the row's weight is no number from 0 to 1000": 1,
    }


def test_an_answer_without_content_or_calls_is_told_with_its_line(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "Weather?"}
    call = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    _write(
        tmp_path / "a.jsonl",
        CHAT,
        {"messages": [asked, {"role": "assistant"}]},
        {"messages": [asked, {"role": "assistant", "content": None}]},
        {"messages": [asked, {"role": "assistant", "tool_calls": [call]}]},
    )
    source, tally = _source(tmp_path), Tally()
    found = [document for item in source.items(tally) for document in source.read(item, tally)]
    assert [document.id for document in found] == ["a.jsonl#1", "a.jsonl#4"]
    assert found[1].messages[1].content == '<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call>'
    [left] = tally.reasons()
    assert left.reason == "an assistant's turn without content or calls"
    assert (left.count, left.examples) == (2, ("a.jsonl:2", "a.jsonl:3"))


def test_a_told_shape_is_not_detected(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", {"text": "x", "prompt": "q"}, {"prompt": "q"})
    found, counted = _documents(_source(tmp_path, shape="text"))
    assert [document.text for document in found] == ["x"]
    assert counted == {"a row of shape prompt in a file of shape text": 1}
    with pytest.raises((ConfigError, ValidationError), match="no such shape"):
        _source(tmp_path, shape="txt")


def test_a_file_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", {"foo": 1})
    with pytest.raises(DataError, match=r"a\.jsonl: no known shape has these keys: 'foo'"):
        _documents(_source(tmp_path))


def test_items_are_listed_in_order_and_others_counted(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", "sub/c.csv", "d.txt", ".hidden.jsonl", ".git/x.jsonl", "e.jsonl.gz"):
        _write(tmp_path / name, CHAT)
    _write(tmp_path / "bad\u202e.jsonl", CHAT)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "b.jsonl")
    items, counted = _items(_source(tmp_path))
    assert [item.key for item in items] == ["a.json", "b.jsonl", "sub/c.csv"]
    assert counted == {
        "a name that cannot be shown, or too long": 1,
        "a symlink or special file": 1,
        "not a file of rows": 2,
    }
    assert items == _items(_source(tmp_path))[0]
    assert [item.key for item in _items(_source(tmp_path / "b.jsonl"))[0]] == ["b.jsonl"]
    with pytest.raises(NotFoundError):
        _items(_source(tmp_path / "nowhere"))


def test_no_key_leads_out_of_the_folder(tmp_path: Path) -> None:
    _write(tmp_path / "secret.jsonl", CHAT)
    _write(tmp_path / "in" / "a.jsonl", CHAT)
    for key in ("../secret.jsonl", str(tmp_path / "secret.jsonl"), "./a.jsonl"):
        with pytest.raises(NotFoundError):
            list(_source(tmp_path / "in").read(Item(key=key, fingerprint="x"), Tally()))


def test_a_fingerprint_changes_with_the_file_its_sidecar_and_the_told_shape(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", CHAT)

    def fingerprint(**more: Any) -> str:
        return _items(_source(tmp_path, **more))[0][0].fingerprint

    seen = [fingerprint(), fingerprint(shape="messages")]
    sidecar = {"generator_id": "bin", "generator_version": "2", "generated_at": "now", "example_count": 2}
    (tmp_path / "a.jsonl.meta.json").write_text(json.dumps(sidecar))
    seen.append(fingerprint())
    os.utime(path, (1, 1))
    seen.append(fingerprint())
    assert len(set(seen)) == 4
    found, counted = _documents(_source(tmp_path))
    assert (found[0].origin.made_by, found[0].origin.generator) == ("program", "bin@2")
    assert counted == {"a sidecar that counts other rows than the file has": 1}


def test_every_format_gives_the_same_documents(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"instruction": "q", "output": f"a{i}", "system": "s"} for i in range(3)]
    _write(tmp_path / "a.jsonl", *rows)
    (tmp_path / "b.json").write_text(json.dumps({"rows": rows}, indent=2))
    (tmp_path / "c.csv").write_text("instruction;output;system\n" + "".join(f"q;a{i};s\n" for i in range(3)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    found = _documents(_source(tmp_path))[0]
    ids = [document.id for document in found]
    assert ids == [f"{n}#{i}" for n, first in (("a.jsonl", 1), ("b.json", 1), ("c.csv", 2), ("d.parquet", 1))
                   for i in range(first, first + 3)]  # fmt: skip
    assert len({document.messages for document in found}) == 3
    assert {document.group for document in found} == {found[0].group}
    assert found[-1].origin.first_line is None
