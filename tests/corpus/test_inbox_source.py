from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realm.core.errors import DataError, NotFoundError
from realm.core.records import Message
from realm.corpus.document import Document, Origin
from realm.corpus.source import SOURCES, Source
from realm.corpus.tally import Tally

CHAT = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}
PAIR = {"prompt": "q", "chosen": "a", "rejected": "b"}


def _write(path: Path, *rows: Any) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _source(path: Path) -> Source:
    return SOURCES.build({"kind": "inbox", "name": "inbox", "path": str(path)})


def _read(path: Path) -> list[Document]:
    source, tally = _source(path), Tally()
    return [document for item in source.items(tally) for document in source.read(item, tally)]


def test_the_rows_of_a_good_file_become_documents(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", {**CHAT, "id": 7, "tags": {"task": "sums"}, "weight": 2})
    [found] = _read(tmp_path)
    assert found == Document(
        id="a.jsonl#1",
        form="chat",
        messages=(Message(role="user", content="2 + 2?"), Message(role="assistant", content="4")),
        fields={"weight": 2.0},
        tags={"id": 7, "task": "sums"},
        group=found.group,
        origin=Origin(source="inbox", kind="inbox", path="a.jsonl", first_line=1, last_line=1),
    )
    assert found.group.startswith("opening ")


def test_every_spec_is_read(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", {"text": "x"})
    _write(tmp_path / "b.jsonl", PAIR, {**PAIR, "rejected": "c"})
    _write(tmp_path / "c.jsonl", {"prompt": "q", "completion": "a"})
    found = _read(tmp_path)
    assert [(document.id, document.form) for document in found] == [
        ("a.jsonl#1", "text"),
        ("b.jsonl#1", "preference"),
        ("b.jsonl#2", "preference"),
        ("c.jsonl#1", "chat"),
    ]
    assert found[1].group == found[2].group == found[3].group
    assert [turn.content for turn in found[2].rejected] == ["q", "c"]


def test_nothing_of_a_file_with_one_bad_row_is_used(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", CHAT, {"foo": 1})
    source = _source(tmp_path)
    [item] = source.items(Tally())
    documents = source.read(item, Tally())
    with pytest.raises(
        DataError, match=r"a\.jsonl:2: a chat_sft_v1 row|a\.jsonl:2: no known spec"
    ) as refused:
        next(documents)
    assert refused.value.line == 2


def test_what_the_inbox_leaves_alone_is_no_item(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl.part", ".c.jsonl", "d.jsonl~", "e.txt", "a.jsonl.meta.json"):
        _write(tmp_path / name, CHAT)
    (tmp_path / "sub").mkdir()
    _write(tmp_path / "sub" / "f.jsonl", CHAT)
    items = list(_source(tmp_path).items(Tally()))
    assert [item.key for item in items] == ["a.jsonl", "e.txt"]
    with pytest.raises(DataError, match=r"not a \.jsonl file"):
        list(_source(tmp_path).read(items[1], Tally()))
    with pytest.raises(NotFoundError, match="no such folder"):
        list(_source(tmp_path / "nowhere").items(Tally()))


def test_a_sidecar_names_the_generator(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", CHAT)
    sidecar = {"generator_id": "bin", "generator_version": "2", "generated_at": "now", "example_count": 1}
    (tmp_path / "a.jsonl.meta.json").write_text(json.dumps(sidecar))
    [found] = _read(tmp_path)
    assert (found.origin.made_by, found.origin.generator) == ("program", "bin@2")
    (tmp_path / "a.jsonl.meta.json").write_text(json.dumps({**sidecar, "example_count": 2}))
    with pytest.raises(DataError, match="its sidecar counts 2"):
        _read(tmp_path)
