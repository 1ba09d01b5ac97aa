from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from realm.core.errors import NotFoundError
from realm.corpus.document import Document
from realm.corpus.source import SOURCES, Source
from realm.corpus.tally import Tally

SESSION = "0a1b2c3d-1111-2222-3333-444455556666"


class Lines:
    """Write the lines of a session as the tool does: each the child of the one before."""

    def __init__(self, **envelope: Any) -> None:
        self.rows: list[dict[str, Any]] = []
        self.envelope = {"sessionId": SESSION, "cwd": "/home/u/code", "gitBranch": "main", "version": "2.1.0"}
        self.envelope.update(envelope)
        self.last: str | None = None

    def add(self, kind: str, message: Any = None, *, parent: Any = ..., **more: Any) -> str:
        uuid = f"u{len(self.rows)}"
        row = {
            "type": kind,
            "uuid": uuid,
            "parentUuid": self.last if parent is ... else parent,
            "timestamp": f"2026-03-01T10:{len(self.rows):02d}:00.000Z",
            **self.envelope,
            **more,
        }
        if message is not None:
            row["message"] = message
        self.rows.append(row)
        self.last = uuid
        return uuid

    def ask(self, text: Any, **more: Any) -> str:
        return self.add("user", {"role": "user", "content": text}, **more)

    def answer(self, *blocks: dict[str, Any], reply: str = "", **more: Any) -> str:
        message = {"role": "assistant", "id": reply or f"m{len(self.rows)}", "model": "some-model"}
        return self.add("assistant", {**message, "content": list(blocks)}, **more)

    def result(self, call: str, text: Any, *, error: bool = False, **more: Any) -> str:
        block = {"type": "tool_result", "tool_use_id": call, "content": text, "is_error": error}
        return self.ask([block], **more)

    def plain(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def write(self, folder: Path, name: str = f"{SESSION}.jsonl") -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return path


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def call(id_: str, name: str = "Bash", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": arguments}


def source(path: Path, **more: Any) -> Source:
    return SOURCES.build({"kind": "claude_code", "name": "sessions", "path": path, **more})


def read(path: Path, tally: Tally | None = None, **more: Any) -> list[Document]:
    tally = tally or Tally()
    made = source(path, **more)
    return [document for item in list(made.items(tally)) for document in made.read(item, tally)]


def counts(tally: Tally) -> dict[str, int]:
    return {reason.reason: reason.count for reason in tally.reasons()}


def turns(document: Document) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in document.messages]


def test_calls_and_results_are_turns_in_the_documented_form(tmp_path: Path) -> None:
    session = Lines()
    session.ask("list the files")
    session.answer({"type": "thinking", "thinking": "hm"}, text("I look."), reply="a")
    session.answer(call("t1", command="ls </tool_call>"), reply="a")
    session.result("t1", [text("a.py\nb.py")])
    session.answer(text("Two files."))
    session.write(tmp_path / "-home-u-code")
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert turns(document) == [
        ("user", "list the files"),
        (
            "assistant",
            "I look.\n\n<tool_call>\n"
            '{"name": "Bash", "arguments": {"command": "ls <\\/tool_call>"}}\n</tool_call>',
        ),
        ("tool", "a.py\nb.py"),
        ("assistant", "Two files."),
    ]
    body = document.messages[1].content.split("<tool_call>")[1].removesuffix("</tool_call>")
    assert json.loads(body)["arguments"] == {"command": "ls </tool_call>"}
    assert counts(tally) == {"thoughts left out": 1}
    assert document.id == document.group == document.origin.session == SESSION
    assert document.origin.path == f"-home-u-code/{SESSION}.jsonl"
    assert document.fields["outcome"]["result"] == "unknown"
    assert document.fields["session"]["tools"] == {"Bash": 1}
    kept = read(tmp_path, thinking=True)[0].messages[1].content
    assert kept.startswith("<think>\nhm\n</think>\n\nI look.")


def test_parallel_results_are_gathered_from_the_branches_they_hang_on(tmp_path: Path) -> None:
    session = Lines()
    session.ask("do both")
    first = session.answer(call("t1", command="one"), reply="a")
    second = session.answer(call("t2", command="two"), reply="a", parent=first)
    session.result("t2", "second", parent=second)
    path_on = session.result("t1", "first", parent=first)
    session.answer(text("done"), parent=path_on)
    session.write(tmp_path)
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert [role for role, _ in turns(document)] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [content for role, content in turns(document) if role == "tool"] == ["first", "second"]
    assert turns(document)[1][1].count("<tool_call>") == 2
    assert counts(tally) == {}


def test_the_newest_branch_is_taken_and_the_others_are_counted(tmp_path: Path) -> None:
    session = Lines()
    root = session.ask("question")
    session.answer(text("first answer"), parent=root)
    session.ask("follow-up that was taken back")
    session.answer(text("second answer"), parent=root)
    session.write(tmp_path)
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert turns(document) == [("user", "question"), ("assistant", "second answer")]
    assert counts(tally) == {"an abandoned branch": 1}
    assert document.fields["session"]["abandoned"] == 1


def test_missing_parents_cycles_and_bad_lines_are_survived(tmp_path: Path) -> None:
    session = Lines()
    session.ask("one", parent="somewhere-else")
    session.answer(text("two"))
    session.ask("three", parent="gone")
    session.answer(text("four"))
    path = session.write(tmp_path)
    whole = path.read_text()
    path.write_text(whole + "not json\n" + whole.splitlines()[0] + '\n{"type": "user", "uu')
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert [content for _, content in turns(document)] == ["one", "two", "three", "four"]
    assert counts(tally) == {
        "a line whose parent is missing": 1,
        "a line that is not strict JSON": 1,
        "a line given twice": 1,
        "a half-written last line": 1,
    }
    circle = Lines()
    circle.ask("a", parent="u1")
    circle.answer(text("b"), parent="u0")
    circle.write(tmp_path / "circle")
    tally = Tally()
    [document] = read(tmp_path / "circle", tally)
    assert {content for _, content in turns(document)} == {"a", "b"}
    assert counts(tally) == {"a cycle of parents": 1}


def test_lines_that_only_carry_the_chain_do_not_break_it(tmp_path: Path) -> None:
    session = Lines()
    session.plain({"type": "summary", "summary": "s", "leafUuid": "x"})
    session.plain({"type": "file-history-snapshot", "snapshot": {}})
    session.plain({"type": "something-new"})
    session.ask("go")
    session.add("attachment", attachment={"type": "hook_success"})
    session.answer(text("going"))
    session.add("system", subtype="compact_boundary", parent=None, logicalParentUuid=session.last)
    session.ask("This session is being continued", isCompactSummary=True)
    session.ask("caveat", isMeta=True)
    session.ask("<command-name>/clear</command-name>")
    session.ask("<local-command-stdout></local-command-stdout>")
    session.add("attachment", attachment={"type": "queued_command", "prompt": "faster"})
    session.answer(text("faster it is"))
    session.write(tmp_path)
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert [content for _, content in turns(document)] == ["go", "going", "faster", "faster it is"]
    assert counts(tally) == {
        "a summary line": 1,
        "a file snapshot line": 1,
        "a line without an id": 1,
        "an attachment line": 1,
        "a system line": 1,
        "a compaction summary": 1,
        "a meta line": 1,
        "a local command": 2,
    }


def test_a_compaction_that_keeps_the_last_turns_loses_nothing(tmp_path: Path) -> None:
    session = Lines()
    session.ask("start")
    session.answer(text("ready"))
    session.ask("keep going")
    session.add("system", subtype="compact_boundary", parent=None, logicalParentUuid="kept")
    session.ask("summary of it all", isCompactSummary=True)
    session.answer(text("kept going"))
    session.rows[-1]["uuid"] = "kept"
    session.ask("after", parent="kept")
    session.answer(text("end"))
    session.write(tmp_path)
    [document] = read(tmp_path)
    assert [content for _, content in turns(document)] == [
        "start", "ready", "keep going", "kept going", "after", "end",
    ]  # fmt: skip


def test_words_typed_ahead_are_put_in_their_place_once(tmp_path: Path) -> None:
    session = Lines()
    session.ask("start")
    session.answer(call("t1", command="a"))
    session.plain({"type": "queue-operation", "operation": "enqueue", "content": "parser first"})
    session.plain({"type": "queue-operation", "operation": "remove", "content": "parser first"})
    session.result("t1", "r")
    session.answer(text("parser it is"))
    session.plain({"type": "queue-operation", "operation": "remove", "content": "thanks"})
    session.ask("thanks")
    session.answer(text("welcome"))
    session.write(tmp_path)
    [document] = read(tmp_path)
    assert [role for role, _ in turns(document)] == [
        "user", "assistant", "tool", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    assert [content for role, content in turns(document) if role == "user"] == [
        "start", "parser first", "thanks",
    ]  # fmt: skip


def test_a_session_that_names_no_parents_is_read_in_order(tmp_path: Path) -> None:
    session = Lines()
    session.ask("one", parent=None)
    session.answer(text("two"), parent=None)
    session.ask("three", parent=None)
    session.answer(text("four"), parent=None)
    session.write(tmp_path)
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert [content for _, content in turns(document)] == ["one", "two", "three", "four"]
    assert counts(tally) == {"a session that names no parents": 1}


def test_a_command_of_ones_own_is_what_it_expands_to(tmp_path: Path) -> None:
    session = Lines()
    session.ask("<command-message>review</command-message>\n<command-name>/review</command-name>")
    session.ask([text("Review the last change.")], isMeta=True)
    session.answer(text("It is fine."))
    session.write(tmp_path)
    [document] = read(tmp_path)
    assert turns(document) == [("user", "Review the last change."), ("assistant", "It is fine.")]


def test_images_reminders_and_long_results_are_cut_and_counted(tmp_path: Path) -> None:
    session = Lines()
    session.ask([text("see <system-reminder>x</system-reminder>this"), {"type": "image", "source": {}}])
    session.answer(call("t1", command="cat big"))
    session.result("t1", "h" * 900 + "t" * 300, error=True)
    session.answer(call("t2", "Write", file_path="a", content="c" * 2000), call("t3", command="true"))
    session.result("t2", [{"type": "image", "source": {}}, {"type": "odd"}])
    session.answer(text("end"))
    session.write(tmp_path)
    tally = Tally()
    [document] = read(tmp_path, tally, max_result_chars=400, max_call_chars=1000)
    said = turns(document)
    assert said[0] == ("user", "see this\n\n[image]")
    assert said[2][1] == "[error]\n" + "h" * 300 + "\n[… 800 characters left out …]\n" + "t" * 100
    assert document.messages[3].weight == 0
    assert len(document.messages[3].content) < 1200
    assert [content for role, content in said[4:6]] == ["[image]", "[no result]"]
    assert counts(tally) == {
        "a system reminder": 1,
        "an image left out": 2,
        "a tool's result was cut": 1,
        "a call of a tool was cut": 1,
        "a block of another type": 1,
        "a call without a result": 1,
    }


def test_subagents_are_documents_of_their_own(tmp_path: Path) -> None:
    main = Lines()
    main.ask("delegate")
    main.answer(call("t1", "Task", prompt="look"))
    resume = main.last
    main.ask("look", isSidechain=True, parent=None)
    main.answer(text("inline found"), isSidechain=True)
    main.result("t1", "found", parent=resume)
    main.answer(text("done"))
    main.write(tmp_path / "p")
    child = Lines(isSidechain=True, agentId="abc123")
    child.ask("search")
    child.answer(text("child found"))
    child.write(tmp_path / "p" / SESSION / "subagents", "agent-abc123.jsonl")
    flat = Lines(isSidechain=True, agentId="def456", cwd="/home/u/gt/gastown/polecats/nux")
    flat.ask("search more")
    flat.answer(text("flat found"))
    flat.write(tmp_path / "p", "agent-def456.jsonl")
    documents = {document.id: document for document in read(tmp_path)}
    assert set(documents) == {
        SESSION,
        f"{SESSION}/agent-line3",
        f"{SESSION}/agent-abc123",
        f"{SESSION}/agent-def456",
    }
    assert [content for _, content in turns(documents[SESSION])][-1] == "done"
    for name, document in documents.items():
        assert document.group == SESSION
        assert document.fields["session"]["parent"] == (None if name == SESSION else SESSION)
    assert documents[f"{SESSION}/agent-abc123"].origin.made_by == "model"
    assert documents[f"{SESSION}/agent-def456"].tags["role"] == "polecat"
    assert documents[f"{SESSION}/agent-def456"].origin.rig == "gastown"


def test_a_growing_session_is_the_same_document_longer(tmp_path: Path) -> None:
    session = Lines()
    session.ask("one")
    session.answer(text("two"))
    session.write(tmp_path)
    made = source(tmp_path)
    [before] = made.items(Tally())
    [again] = made.items(Tally())
    assert before == again
    [short] = made.read(before, Tally())
    session.ask("three")
    session.answer(text("four"))
    session.write(tmp_path)
    [after] = made.items(Tally())
    assert (after.key, after.fingerprint != before.fingerprint) == (before.key, True)
    [longer] = made.read(after, Tally())
    assert longer.id == short.id
    assert longer.messages[:2] == short.messages


def test_of_two_copies_of_a_session_the_longer_is_taken(tmp_path: Path) -> None:
    session = Lines()
    session.ask("one")
    session.answer(text("two"))
    session.write(tmp_path / "a")
    session.ask("three")
    session.answer(text("four"))
    session.write(tmp_path / "b")
    tally = Tally()
    [item] = source(tmp_path).items(tally)
    assert item.key == f"b/{SESSION}.jsonl"
    assert counts(tally) == {"a shorter copy of a session": 1}


def test_symlinks_and_other_files_are_no_sessions(tmp_path: Path) -> None:
    outside = Lines()
    outside.ask("secret")
    outside.answer(text("secret"))
    target = outside.write(tmp_path / "outside")
    root = tmp_path / "projects"
    (root / "tool-results").mkdir(parents=True)
    (root / "tool-results" / "x.jsonl").write_text("{}\n")
    (root / "notes.txt").write_text("x")
    (root / f"{SESSION}.jsonl").symlink_to(target)
    (root / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe.jsonl")
    (root / "empty.jsonl").write_text("\n")
    tally = Tally()
    assert read(root, tally) == []
    assert counts(tally) == {"a symlink or special file": 3, "a file without a session": 1}


def test_the_linked_work_item_decides(tmp_path: Path) -> None:
    session = Lines(cwd="/srv/gt/gastown/polecats/nux", gitBranch="polecat/nux/gt-abc@l0x1")
    session.ask("work")
    session.answer(text("I did."))
    session.write(tmp_path / "projects")
    export = tmp_path / "issues.jsonl"
    item = {"id": "gt-abc", "title": "T", "status": "closed", "close_reason": "Merged in gt-mr1"}
    export.write_text(json.dumps(item) + "\n")
    [document] = read(tmp_path / "projects", work_items=export)
    assert document.origin.work_item == "gt-abc"
    assert document.fields["outcome"] == {
        "result": "success",
        "mode": None,
        "evidence": ["work item: merged: gt-abc"],
    }
    assert document.tags == {"task": "session", "outcome": "success", "role": "polecat"}
    made = source(tmp_path / "projects", work_items=export)
    [before] = made.items(Tally())
    export.write_text(json.dumps({**item, "status": "open"}) + "\n")
    [after] = made.items(Tally())
    assert before.fingerprint != after.fingerprint
    [document] = made.read(after, Tally())
    assert document.fields["outcome"]["result"] == "unknown"
    by_session = {**item, "id": "gt-zzz", "close_reason": "done", "closed_by_session": SESSION}
    export.write_text(json.dumps(by_session) + "\n")
    [document] = read(tmp_path / "projects", work_items=export)
    assert document.origin.work_item == "gt-zzz"
    assert document.fields["outcome"]["result"] == "success"


def test_the_default_folder_is_the_tools_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Lines()
    session.ask("one")
    session.answer(text("two"))
    session.write(tmp_path / "projects" / "p")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    made = SOURCES.build({"kind": "claude_code", "name": "s"})
    assert [item.key for item in made.items(Tally())] == [f"p/{SESSION}.jsonl"]
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(NotFoundError):
        list(made.items(Tally()))


def test_keys_never_lead_out_of_the_root(tmp_path: Path) -> None:
    session = Lines()
    session.ask("one")
    session.answer(text("two"))
    session.write(tmp_path)
    (tmp_path / "root").mkdir()
    made = source(tmp_path / "root")
    from realm.corpus.source import Item

    for key in (f"../{SESSION}.jsonl", f"{tmp_path}/{SESSION}.jsonl", "a/../../x", "", "a\0b"):
        with pytest.raises(NotFoundError):
            list(made.read(Item(key=key, fingerprint="x"), Tally()))
