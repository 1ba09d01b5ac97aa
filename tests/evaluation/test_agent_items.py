"""The store of work items, and the `bd` and `gt` commands over it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError, RefusedError
from realm.corpus.agents.workitem import WorkItem
from realm.evaluation.agents.bd import Bd
from realm.evaluation.agents.beads import GATING, Store
from realm.evaluation.agents.checks.items import parallelism
from realm.evaluation.agents.gt import Gt, Letter

EDGES = st.tuples(st.integers(1, 8), st.integers(1, 8), st.sampled_from(sorted(GATING)))


def store_of(count: int) -> Store:
    store = Store("rl")
    for number in range(1, count + 1):
        store.create(f"Item number {number}")
    return store


def ready(store: Store) -> list[str]:
    return [item.id for item in store.ready()]


def test_dep_add_means_that_the_first_needs_the_second() -> None:
    bd = Bd(store_of(2), "mayor")
    assert (
        bd.run(["dep", "add", "rl-2", "rl-1"]).output == "Added dependency: rl-2 depends on rl-1 (blocks)\n"
    )
    assert ready(bd.store) == ["rl-1"]
    assert "rl-2" in bd.run(["blocked"]).output
    bd.run(["close", "rl-1", "--reason", "done"])
    assert ready(bd.store) == ["rl-2"]


@pytest.mark.parametrize("kind", sorted(GATING))
def test_a_circle_of_gating_needs_is_refused(kind: str) -> None:
    store = store_of(3)
    store.add_need("rl-2", "rl-1", kind)
    store.add_need("rl-3", "rl-2")
    with pytest.raises(RefusedError, match="cycle"):
        store.add_need("rl-1", "rl-3", kind)
    store.add_need("rl-1", "rl-3", "related")
    assert store.cycles() == ()


def test_each_type_gates_in_its_own_way() -> None:
    store = store_of(4)
    store.add_need("rl-2", "rl-1", "related")
    assert "rl-2" in ready(store)
    store.add_need("rl-2", "rl-1", "conditional-blocks")
    store.close("rl-1", "Completed")
    assert "rl-2" not in ready(store), "what it waits for did not fail"
    store.update("rl-1", close_reason="failed: no disk")
    assert "rl-2" in ready(store)
    store.add_need("rl-4", "rl-3", "parent-child")
    assert "rl-4" in ready(store), "an open parent blocks nobody"
    store.add_need("rl-3", "rl-2")
    assert "rl-4" not in ready(store), "but what blocks the parent blocks the child"


def test_waiting_for_what_is_under_an_epic() -> None:
    store = store_of(3)
    store.add_need("rl-2", "rl-1", "parent-child")
    store.add_need("rl-3", "rl-1", "waits-for")
    assert "rl-3" not in ready(store)
    store.close("rl-2", "done")
    assert "rl-3" in ready(store)


def test_closed_at_is_there_exactly_when_closed() -> None:
    store = store_of(1)
    store.update("rl-1", status="closed")
    assert store.get("rl-1").closed_at is not None
    store.update("rl-1", status="open")
    assert store.get("rl-1").closed_at is None


def test_an_export_is_read_again_as_it_was() -> None:
    bd = Bd(store_of(2), "mayor")
    bd.run(["create", "Third thing", "-t", "bug", "-p", "P0", "-l", "a,b", "--deps", "related:rl-1,rl-2"])
    bd.run(["close", "rl-1", "-r", "done"])
    again = Store.read("rl", bd.run(["export"]).output)
    assert list(again) == list(bd.store)
    assert all(json.loads(line)["_type"] == "issue" for line in again.export().splitlines())


def test_a_faulty_line_is_named() -> None:
    with pytest.raises(DataError, match="issues:3"):
        Store.read("rl", '{"id":"a-1","title":"x"}\n{"_type":"memory","key":"k"}\n{"id":"a-2"}\n')


def test_an_imported_circle_is_found() -> None:
    rows = [
        {"id": f"a-{i}", "title": "x", "dependencies": [{"depends_on_id": f"a-{(i + 1) % 3}"}]}
        for i in range(3)
    ]
    store = Store.read("a", "\n".join(map(json.dumps, rows)))
    assert store.cycles() == (("a-0", "a-1", "a-2"),)
    assert Bd(store, "me").run(["dep", "tree", "a-0"]).exit == 0
    assert ready(store) == []


@pytest.mark.parametrize(
    "line",
    [
        ["edit", "rl-1"],
        ["update", "rl-1", "--status", "done"],
        ["update", "rl-1", "--status", "failed"],
        ["update", "rl-9", "--priority", "1"],
        ["update", "rl-1", "--priority", "7"],
        ["update", "rl-1", "--title", "x" * 501],
        ["create", "  "],
        ["create", "a", "b"],
        ["create", "a", "-t", "wish"],
        ["create", "a", "--deps", "rl-9"],
        ["create", "a", "--id", "../../x"],
        ["dep", "add", "rl-1", "rl-1"],
        ["dep", "add", "rl-1", "rl-2", "--type", "friend"],
        ["close", "rl-3"],
        ["close"],
        ["list", "--sql", "x"],
        ["update", "rl-1", "--status"],
        [],
        ["sql"],
    ],
)
def test_mistakes_are_answered_and_change_nothing(line: list[str]) -> None:
    bd = Bd(store_of(3), "mayor")
    bd.run(["close", "rl-3"])
    before = list(bd.store)
    reply = bd.run(line)
    assert reply.exit in (1, 2)
    assert reply.output
    assert list(bd.store) == before


@pytest.mark.parametrize(
    "deps", ["frob:rl-1", "blocks:rl-1,frob:rl-2", "rl-1,rl-1", "rl-9", "parent-child:rl-1,rl-3"]
)
def test_an_item_whose_needs_are_refused_is_not_filed(deps: str) -> None:
    store = store_of(2)
    store.create("Points at what is not there yet", id_="rl-3", needs=[("rl-1", "related")])
    loose = store.get("rl-3").dependencies[0].model_copy(update={"depends_on_id": "rl-4", "type": "blocks"})
    store = Store("rl", [*list(store)[:2], store.get("rl-3").model_copy(update={"dependencies": (loose,)})])
    bd = Bd(store, "shop/crew/mia")
    before = store.export()
    assert bd.run(["create", "New", "--deps", deps]).exit != 0
    assert store.export() == before
    assert bd.run(["create", "New", "--deps", "discovered-from:rl-1", "--parent", "rl-2"]).exit == 0
    assert store.needs("rl-4") == ("rl-2",)


def test_listing_filters_and_json() -> None:
    bd = Bd(store_of(3), "mayor")
    bd.run(["update", "rl-2", "--claim", "--add-label", "x", "-p", "0"])
    (shown,) = json.loads(bd.run(["list", "--assignee", "mayor", "--label", "x", "--json"]).output)
    assert (shown["id"], shown["status"], shown["priority"]) == ("rl-2", "in_progress", 0)
    assert bd.run(["show", "rl-2"]).output.startswith("rl-2 [P0] [task] in_progress @mayor")
    assert Bd(bd.store, "other").run(["update", "rl-2", "--claim"]).exit == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(EDGES, max_size=30))
def test_whatever_is_added_there_is_no_circle(edges: list[tuple[int, int, str]]) -> None:
    bd = Bd(store_of(8), "mayor")
    for needing, needed, kind in edges:
        bd.run(["dep", "add", f"rl-{needing}", f"rl-{needed}", "--type", kind])
    assert bd.store.cycles() == ()
    assert bd.store.ready(), "something can always begin"


def test_a_dense_store_is_walked_once() -> None:
    """A walk that follows every way through it would not end."""
    store = store_of(200)
    for i in range(2, 201):
        for j in range(max(1, i - 12), i):
            store.add_need(f"rl-{i}", f"rl-{j}", "parent-child" if j % 2 else "blocks")
    assert len(store.ready()) >= 1
    assert Bd(store, "me").run(["dep", "tree", "rl-200"]).output.count("\n") <= 201
    assert store.cycles() == ()
    with pytest.raises(RefusedError):
        store.create("One too many")


def test_parallelism_of_a_chain_a_fan_and_a_diamond() -> None:
    def plan(*needs: tuple[int, ...]) -> tuple[WorkItem, ...]:
        store = store_of(len(needs))
        for number, wanted in enumerate(needs, 1):
            for need in wanted:
                store.add_need(f"rl-{number}", f"rl-{need}")
        return tuple(store)

    assert parallelism(plan((), (1,), (2,), (3,))) == 0.0
    assert parallelism(plan((), (), (), ())) == 1.0
    assert parallelism(plan((), (), (), (1, 2, 3))) == pytest.approx(2 / 3)
    assert parallelism(plan((), (1,), (1,), (2, 3))) == pytest.approx(1 / 3)


def town() -> Gt:
    inbox = [Letter(sender="a", subject="HELP: me", body="now")]
    return Gt(store_of(2), "mayor", agents=["shop", "shop/polecats/nux"], hook="rl-1", inbox=inbox)


def test_deeds_are_noted_in_order() -> None:
    gt = town()
    for line in (
        ["sling", "rl-1", "rl-2", "shop"],
        ["convoy", "create", "both", "rl-1", "rl-2"],
        ["nudge", "shop/polecats/nux", "go", "on"],
        ["mail", "send", "shop", "-s", "MERGED nux", "-m", "well"],
        ["escalate", "disk", "-s", "HIGH"],
        ["handoff", "-s", "HANDOFF"],
        ["done"],
    ):
        assert gt.run(line).exit == 0
    assert [deed.verb for deed in gt.deeds] == [
        "sling",
        "convoy",
        "nudge",
        "mail",
        "escalate",
        "handoff",
        "done",
    ]
    assert gt.deeds[0].items == ("rl-1", "rl-2")
    assert gt.deeds[-1].items == ("rl-1",)
    assert gt.run(["mail", "read", "1"]).output.endswith("now\n")
    assert "rl-1" in gt.run(["prime"]).output


@pytest.mark.parametrize(
    "line",
    [
        ["sling", "rl-1"],
        ["sling", "rl-1", "nowhere"],
        ["sling", "rl-9", "shop"],
        ["done", "now"],
        ["done", "--status", "MAYBE"],
        ["nudge", "nobody", "x"],
        ["mail", "send", "shop"],
        ["mail", "read", "7"],
        ["mail"],
        ["convoy", "create", "x"],
        ["escalate"],
        ["hook", "rl-9"],
        ["hook", "rl-1", "rl-2"],
        ["steal"],
        [],
    ],
)
def test_wrong_deeds_are_answered_and_not_noted(line: list[str]) -> None:
    gt = town()
    reply = gt.run(line)
    assert reply.exit in (1, 2)
    assert gt.deeds == []
