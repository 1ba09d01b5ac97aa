"""Work items as rows: filing, breaking down, closing, and which items are good enough."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.records import Message
from realm.corpus import specs
from realm.corpus.document import Document, Origin
from realm.corpus.items.order import by_needs, root
from realm.corpus.shaper import SHAPERS, Row
from realm.corpus.tally import Tally

WHY = "The importer reads every file twice, which costs minutes on a large tree. Read each only once."

THINGS = {"1": "files", "2": "links", "3": "trees", "9": "roots", "x": "pages", "y": "words"}


def _item(id_: str, title: str = "", **fields: Any) -> dict[str, Any]:
    title = title or f"Mend the importer of {THINGS[id_[-1]]}"
    return {"id": id_, "title": title, "description": WHY, "issue_type": "task", "priority": 2, **fields}


def _needs(id_: str, *others: str, type_: str = "blocks") -> list[dict[str, str]]:
    return [{"issue_id": id_, "depends_on_id": other, "type": type_} for other in others]


def _document(fields: dict[str, Any], source: str = "beads") -> Document:
    id_ = str(fields.get("id"))
    return Document(
        id=id_,
        form="record",
        fields=fields,
        tags={"task": "work_item", "rig": "r"},
        group=id_,
        origin=Origin(source=source, kind="beads", path="issues.jsonl", work_item=id_, licence="ISC"),
    )


def _session(words: str, **origin: str) -> Document:
    turns = (Message(role="user", content="go"), Message(role="assistant", content=words))
    about = Origin.model_validate({"source": "town", "kind": "claude_code", "licence": "MIT", **origin})
    return Document(id=f"s/{words}", form="chat", messages=turns, origin=about)


def _shape(items: list[dict[str, Any] | Document], **settings: Any) -> tuple[list[Row], dict[str, int]]:
    tally = Tally()
    documents = [one if isinstance(one, Document) else _document(one) for one in items]
    rows = list(SHAPERS.build({"kind": "work_item", **settings}).shape(iter(documents), tally))
    for row in rows:
        specs.verify("chat_sft_v1", row.example)
    return rows, {reason.reason: reason.count for reason in tally.reasons()}


def _of(rows: list[Row], task: str) -> dict[str, tuple[str, Any]]:
    """Return request and answer by document."""
    found = [row for row in rows if row.example.tags["task"] == f"work_item_{task}"]
    return {
        row.document: (row.example.messages[-2].content, row.example.messages[-1].content) for row in found
    }


def test_an_item_is_filed_as_canonical_json() -> None:
    item = _item(
        "gt-1",
        "Read each file once",
        priority=0,
        labels=["speed", "import"],
        design="Hold an index.",
        acceptance_criteria="One read a file.",
        assignee="me",
        owner="someone",
        status="open",
    )
    rows, counts = _shape([item], system="You file work.")
    assert counts == {}
    (row,) = rows
    assert [message.role for message in row.example.messages] == ["system", "user", "assistant"]
    request, answer = _of(rows, "filing")["gt-1"]
    assert "Read each file once" in request
    assert WHY in request
    assert "Hold an index." not in request
    assert answer == json.dumps(json.loads(answer), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(answer) == {
        "title": "Read each file once",
        "description": WHY,
        "issue_type": "task",
        "priority": 0,
        "labels": ["import", "speed"],
        "design": "Hold an index.",
        "acceptance_criteria": "One read a file.",
        "dependencies": [],
    }
    assert row.example.tags == {"task": "work_item_filing", "rig": "r"}
    assert (row.document, row.shaper, row.group) == ("gt-1", "work_item@1", "beads/gt-1")


def test_the_direction_of_a_dependency_is_that_of_bd_dep_add() -> None:
    """`bd dep add X Y` means: X needs Y."""
    needing = _item("gt-x", "Serve the index over HTTP", dependencies=_needs("gt-x", "gt-y"))
    needed = _item("gt-y", "Build the index first")
    rows, _ = _shape([needing, needed])
    filed = _of(rows, "filing")
    request, answer = filed["gt-x"]
    assert json.loads(answer)["dependencies"] == [{"depends_on_id": "gt-y", "type": "blocks"}]
    said = request.rpartition("\n")[2]
    assert said in (
        'It needs gt-y "Build the index first".',
        'gt-y "Build the index first" has to be closed before it can begin.',
        'It waits until gt-y "Build the index first" is done.',
    )
    request, answer = filed["gt-y"]
    assert json.loads(answer)["dependencies"] == []
    assert request.rpartition("\n")[2] in (
        'gt-x "Serve the index over HTTP" needs it.',
        'gt-x "Serve the index over HTTP" waits until it is done.',
        'It has to be closed before gt-x "Serve the index over HTTP" can begin.',
    )


def test_every_dependency_that_is_answered_is_told_and_the_rest_is_counted() -> None:
    links = [
        *_needs("gt-1", "gt-2", type_="parent-child"),
        *_needs("gt-1", "gt-3", type_="discovered-from"),
        *_needs("gt-1", "gt-9"),
        *_needs("gt-1", "gt-1"),
        *_needs("gt-7", "gt-2"),
        *_needs("gt-1", "gt-3", type_="replies-to"),
    ]
    rows, counts = _shape(
        [
            _item("gt-1", dependencies=links),
            _item("gt-2", issue_type="epic"),
            _item("gt-3", "Find the cause of it"),
        ]
    )
    request, answer = _of(rows, "filing")["gt-1"]
    told = json.loads(answer)["dependencies"]
    assert told == [
        {"depends_on_id": "gt-2", "type": "parent-child"},
        {"depends_on_id": "gt-3", "type": "discovered-from"},
    ]
    assert all(link["depends_on_id"] in request for link in told)
    assert "gt-9" not in request
    assert {reason: count for reason, count in counts.items() if "dependency" in reason} == {
        "a dependency on an item that is not there (left out of its row)": 1,
        "a dependency of another item (left out of its row)": 2,
        "a dependency of another type (left out of its row)": 1,
    }


def test_items_that_need_each_other_are_not_filed() -> None:
    both = [
        _item("gt-1", dependencies=_needs("gt-1", "gt-2")),
        _item("gt-2", dependencies=_needs("gt-2", "gt-1")),
    ]
    assert _shape(both) == ([], {"no filing: two items that need each other": 2})


def _epic() -> list[dict[str, Any] | Document]:
    parent = {"type_": "parent-child"}
    return [
        _item(
            "gt-e",
            "Speed up the importer",
            issue_type="epic",
            status="closed",
            close_reason="All parts are merged and measured",
        ),
        _item(
            "gt-c",
            "Publish the numbers",
            created_at="2026-01-01T00:00:00Z",
            priority=3,
            dependencies=[*_needs("gt-c", "gt-e", **parent), *_needs("gt-c", "gt-a", "gt-b")],
        ),
        _item(
            "gt-b",
            "Measure the import again",
            created_at="2026-01-03T00:00:00Z",
            dependencies=[*_needs("gt-b", "gt-e", **parent), *_needs("gt-b", "gt-a")],
        ),
        _item(
            "gt-a",
            "Read each file once",
            created_at="2026-01-02T00:00:00Z",
            issue_type="bug",
            status="closed",
            close_reason="The index makes the second read needless",
            dependencies=_needs("gt-a", "gt-e", **parent),
        ),
    ]


def test_an_epic_is_broken_down_in_an_order_that_can_be_done() -> None:
    rows, _ = _shape(_epic())
    request, answer = _of(rows, "breakdown")["gt-e"]
    assert "Speed up the importer" in request
    assert "Read each file once" not in request
    assert json.loads(answer) == {
        "children": [
            {"key": 1, "title": "Read each file once", "issue_type": "bug", "priority": 2, "needs": []},
            {
                "key": 2,
                "title": "Measure the import again",
                "issue_type": "task",
                "priority": 2,
                "needs": [1],
            },
            {"key": 3, "title": "Publish the numbers", "issue_type": "task", "priority": 3, "needs": [1, 2]},
        ]
    }
    assert {row.group for row in rows} == {"beads/gt-e"}


def test_epics_that_are_no_plan_are_counted() -> None:
    def breakdown(change: dict[str, Any]) -> dict[str, int]:
        items = _epic()
        assert isinstance(items[3], dict)
        items[3] = {**items[3], **change}
        _, counts = _shape(items)
        return {reason: count for reason, count in counts.items() if reason.startswith("no breakdown")}

    cycle = [*_needs("gt-a", "gt-e", type_="parent-child"), *_needs("gt-a", "gt-c")]
    assert breakdown({}) == {}
    assert breakdown({"dependencies": cycle}) == {
        "no breakdown: children that need each other in a circle": 1
    }
    assert breakdown({"issue_type": "message"}) == {"no breakdown: a child that is not good enough": 1}
    assert breakdown({"title": "--help me"}) == {"no breakdown: a child that is not good enough": 1}
    assert breakdown({"title": "Publish the numbers"}) == {"no breakdown: children of the same title": 1}
    _, counts = _shape(_epic()[:2])
    assert counts["no breakdown: too few or too many children"] == 1


def test_a_close_reason_follows_from_what_was_done() -> None:
    closed = {"status": "closed", "closed_at": "2026-02-02T00:00:00Z"}
    late = {"author": "x", "text": "Much later remark", "created_at": "2027-01-01T00:00:00Z"}
    early = {"author": "x", "text": "Found it in the walker", "created_at": "2026-02-01T00:00:00Z"}
    rows, counts = _shape(
        [
            _item(
                "gt-1",
                **closed,
                close_reason="The index was built in one pass",
                notes="Added an index.",
                comments=[early, late],
            ),
            _item(
                "gt-2",
                **closed,
                close_reason="Walks are cached between both readers",
                closed_by_session="s-2",
            ),
            _session("I cached the walks.", session="s-2"),
            _item("gt-3", **closed, close_reason="Readers now share their handles"),
            _session("Handles are shared.", session="s-3", work_item="gt-3"),
            _session("Unrelated.", session="s-9"),
            *_epic(),
        ]
    )
    closings = _of(rows, "closing")
    assert {id_: answer for id_, (_, answer) in closings.items()} == {
        "gt-1": "The index was built in one pass",
        "gt-2": "Walks are cached between both readers",
        "gt-3": "Readers now share their handles",
        "gt-e": "All parts are merged and measured",
    }
    origins = {row.document: row.origin for row in rows if row.example.tags["task"] == "work_item_closing"}
    assert {id_: origin.licence for id_, origin in origins.items()} == {
        "gt-1": "ISC",
        "gt-2": "ISC AND MIT",
        "gt-3": "ISC AND MIT",
        "gt-e": "ISC",
    }
    assert closings["gt-1"][0].endswith("What was done:\nAdded an index.\n\nFound it in the walker")
    assert closings["gt-2"][0].endswith("What was done:\nI cached the walks.")
    assert closings["gt-3"][0].endswith("What was done:\nHandles are shared.")
    assert closings["gt-e"][0].endswith("Read each file once: The index makes the second read needless")
    assert counts == {"no closing: nobody says what was done": 1}


@pytest.mark.parametrize(
    ("reason", "counted"),
    [
        ("", "no close reason"),
        ("Closed", "a close reason too short or too long"),
        ("word " * 1000, "a close reason too short or too long"),
        ("Stale backlog, no longer relevant here", "a close reason that only tidies up"),
        ("Merged to main by the refinery", "a close reason that only reports a merge"),
        ("no-changes: it was done before", "a close reason that only reports a merge"),
        ("Fixed the reader in commit 0a1b2c3d4e", "a close reason that names what nobody said"),
        ("Fixed the reader with pull request #77", "a close reason that names what nobody said"),
        ("Its notes: Rewrote the reader.", None),
    ],
)
def test_close_reasons_have_to_say_what_was_done(reason: str, counted: str | None) -> None:
    item = _item("gt-1", status="closed", close_reason=reason, notes="Rewrote the reader.")
    rows, counts = _shape([item])
    assert counts == ({f"no closing: {counted}": 1} if counted else {})
    assert len(_of(rows, "closing")) == (counted is None)


def test_reasons_given_to_several_items_and_notes_that_are_the_reason_teach_nothing() -> None:
    reason = "Rewrote the reader and its tests"
    same = [
        _item(f"gt-{n}", f"Mend the {word} reader", status="closed", close_reason=reason, notes="Done so.")
        for n, word in enumerate(["first", "second"])
    ]
    assert _shape([*same])[1] == {"no closing: a close reason given to several items": 2}
    item = _item("gt-9", status="closed", close_reason=reason, notes=f"{reason}.")
    assert _shape([item])[1] == {"no closing: nobody says what was done": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "tombstone"}, "a tombstone"),
        ({"issue_type": "message"}, "not a type of work"),
        ({"issue_type": "agent"}, "not a type of work"),
        ({"ephemeral": True}, "short-lived or a template"),
        ({"is_template": 1}, "short-lived or a template"),
        ({"title": "Fix"}, "a title too short or too long"),
        ({"title": "Oneverylongword"}, "a title too short or too long"),
        ({"title": "x " * 300}, "a title too short or too long"),
        ({"title": "--help is broken"}, "a title that is no title"),
        ({"title": "Release {{version}} now"}, "a title that is no title"),
        ({"description": "Too short."}, "a description too short or too long"),
        ({"description": "x" * 9000}, "a description too short or too long"),
        ({"description": WHY + " {{name}}"}, "a description with open placeholders"),
        ({"design": "x" * 9000}, "a design too long"),
        ({"status": "closed", "close_reason": "Garbage from a test"}, "disowned when it was closed"),
    ],
)
def test_items_that_are_not_good_enough_are_counted(change: dict[str, Any], reason: str) -> None:
    assert _shape([{**_item("gt-1"), **change}]) == ([], {f"not good enough: {reason}": 1})


def test_titles_that_a_program_repeats_are_left_out() -> None:
    items: list[Any] = [_item(f"gt-{n}", f"Session ended: gt-abc{n} after {n} s") for n in range(3)]
    assert _shape(items) == ([], {"not good enough: a title that a program repeats": 3})
    assert len(_shape(items[:2])[0]) == 2


def test_the_later_version_of_an_item_is_taken() -> None:
    rows, counts = _shape([_item("gt-1", "Read each file once"), _item("gt-1", "Read every file once")])
    assert json.loads(_of(rows, "filing")["gt-1"][1])["title"] == "Read every file once"
    assert counts == {"a work item that comes twice (the later is taken)": 1}


def test_sources_do_not_mix() -> None:
    needing = _document(_item("gt-x", dependencies=_needs("gt-x", "gt-y")))
    rows, counts = _shape([needing, _document(_item("gt-y"), "other")])
    assert len(rows) == 2
    assert counts == {"a dependency on an item that is not there (left out of its row)": 1}


def test_what_is_no_item_is_counted() -> None:
    text = Document(id="t", form="text", text="x", origin=Origin(source="beads", kind="documents"))
    assert _shape([text, {"ts": "now", "type": "sling"}]) == ([], {"not a work item": 2})


IDS = st.sampled_from("abcdef")


@given(st.lists(IDS, unique=True), st.dictionaries(IDS, st.frozensets(IDS)))
def test_an_order_keeps_every_need_or_there_is_a_circle(
    ids: list[str], needs: dict[str, frozenset[str]]
) -> None:
    ordered = by_needs(ids, needs)
    if ordered is None:
        # Some ids need only each other: taking away whatever is free leaves them.
        left = set(ids)
        while free := {id_ for id_ in left if not needs.get(id_, frozenset()) & left}:
            left -= free
        assert left
    else:
        assert sorted(ordered) == sorted(ids)
        place = {id_: index for index, id_ in enumerate(ordered)}
        assert all(place[need] < place[id_] for id_ in ids for need in needs.get(id_, ()) if need in place)


@given(st.dictionaries(IDS, IDS))
def test_a_family_has_one_root_circles_included(parents: dict[str, str]) -> None:
    for child, parent in parents.items():
        assert root(child, parents) == root(parent, parents)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from([WHY, "gt-1", "closed"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
LINKS = st.lists(
    st.fixed_dictionaries(
        {
            "issue_id": st.sampled_from(["gt-1", "gt-2", 5]),
            "depends_on_id": st.sampled_from(["gt-1", "gt-2"]),
        },
        optional={"type": st.sampled_from(["blocks", "parent-child", "odd", 7])},
    )
    | VALUES,
    max_size=3,
)
FIELDS = st.fixed_dictionaries(
    {"id": st.sampled_from(["gt-1", "gt-2"]), "title": st.sampled_from(["Mend the importer", "x"]) | VALUES},
    optional={
        "description": st.just(WHY) | VALUES,
        "issue_type": st.sampled_from(["task", "epic"]) | VALUES,
        "dependencies": LINKS,
        "notes": VALUES,
        "comments": VALUES,
        "close_reason": VALUES,
        "status": VALUES,
        "priority": VALUES,
        "ephemeral": VALUES,
        "labels": VALUES,
    },
)


@given(st.lists(FIELDS, max_size=4))
def test_whatever_an_export_holds_is_shaped_or_counted(items: list[dict[str, Any]]) -> None:
    _shape([*items])
