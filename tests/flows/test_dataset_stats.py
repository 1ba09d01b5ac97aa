"""Statistics of datasets, yields of versions, contributions and the gate for models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realm import Realm
from realm.core.errors import NotFoundError
from realm.corpus.assembly.yields import yield_of
from realm.corpus.tally import Tally
from realm.flows.intake import register_file
from realm.flows.stats import RowsProgress
from tiny_datasets import SCRUB, born, chats, example, publish, rows, trained


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Realm]:
    with Realm.create(tmp_path / "lab", template="dio") as realm:
        yield realm


def made(identity: str, accepted: int, rejected: int) -> dict[str, Any]:
    tally = Tally()
    if rejected:
        tally.add("too long", "a.jsonl:1", rejected)
    return yield_of(identity, accepted, tally).model_dump(mode="json")


def test_a_dataset_is_counted_over_its_own_rows(lab: Realm) -> None:
    given = rows([example(f"q{n}", "a", role="mayor", task="t/u") for n in range(6)], contributor="ann")
    record = publish(lab.lab, [*given, *rows(chats(range(2)), licence="unknown", rig="north")])
    publish(lab.lab, rows(chats(range(9))), name="mine-eval", side="eval")
    told: list[RowsProgress] = []
    found = lab.dataset_stats("mine", told.append)
    assert (found.hash, found.side, found.statistics.rows, found.statistics.groups) == (
        record.hash, "train", 8, 6
    )  # fmt: skip
    assert found.partitions == {"mayor/t_u/none": 6, "none/none/none": 2}
    assert found.statistics.by["contributor"] == {"ann": 6}
    assert [(each.contributor, each.rows) for each in found.contributions] == [("ann", 6)]
    assert (found.scrub, found.runs, found.publishing.allowed) == (SCRUB, (), False)
    assert [each.rows for each in found.publishing.obstacles] == [2, 2]
    assert [(at.done, at.total) for at in told] == [(8, 8)]


def test_a_file_from_the_inbox_has_statistics_too(lab: Realm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "three"}\n')
    (tmp_path / "a.jsonl.meta.json").write_text(
        '{"generator_id": "gen", "generator_version": "2", "generated_at": "", "example_count": 2}'
    )
    register_file(lab.lab, tmp_path / "a.jsonl")
    found = lab.dataset_stats("a.jsonl")
    assert (found.side, found.build_rows, found.statistics.groups, found.statistics.chars.most) == (
        None, None, 0, 5
    )  # fmt: skip
    assert found.publishing.licences[0].licence == "unknown"
    assert [(each.name, each.version, each.accepted) for each in lab.lab_stats().programs] == [
        ("gen", "2", 2)
    ]


def test_both_sides_of_a_build_and_a_build_made_again_count_once(lab: Realm) -> None:
    yields = [made("code@1", 90, 10), made("sizes@1", 80, 10)]
    for side in ("train", "eval"):
        publish(lab.lab, rows(chats(range(3))), name=f"a-{side}", side=side, yields=yields)
    publish(lab.lab, rows(chats(range(3))), name="again", yields=yields)
    found = lab.lab_stats()
    assert (found.datasets, found.builds) == (3, 1)
    assert [(each.name, each.accepted, each.seen) for each in found.shapers + found.checks] == [
        ("code", 90, 100),
        ("sizes", 80, 90),
    ]


def test_a_build_of_more_of_the_same_collections_replaces_the_smaller_one(lab: Realm) -> None:
    publish(lab.lab, rows(chats(range(2))), collections=["a"], yields=[made("code@1", 90, 10)])
    publish(lab.lab, rows(chats(range(3))), collections=["a", "b"], yields=[made("code@1", 190, 10)])
    publish(lab.lab, rows(chats(range(4))), collections=["c"], yields=[made("code@1", 5, 0)])
    assert [(each.accepted, each.seen) for each in lab.lab_stats().shapers] == [(195, 205)]


def test_a_version_is_set_beside_the_one_used_before_it(lab: Realm) -> None:
    for number, version in enumerate(("9", "10")):
        yields = [made(f"code@{version}", 900 + 80 * number, 100 - 80 * number), made("same@1", 5, 0)]
        publish(lab.lab, rows(chats(range(number + 1))), yields=yields)
    [change] = lab.lab_stats().changes
    assert (change.before, change.after, round(change.difference, 3)) == ("9", "10", 0.08)
    assert change.certain
    assert (change.reasons[0].before_per_1000, change.reasons[0].after_per_1000) == (100, 20)


def test_rows_in_two_datasets_are_given_once(lab: Realm) -> None:
    given = [{"contributor": "ann", "rows": 4, "rigs": []}]
    publish(lab.lab, rows(chats(range(4)), contributor="ann"), contributions=given)
    publish(lab.lab, rows(chats(range(6)), contributor="ann"), name="more", contributions=given)
    assert [(each.contributor, each.rows) for each in lab.lab_stats().contributions] == [("ann", 6)]


def test_a_model_answers_for_every_run_behind_it(lab: Realm) -> None:
    ours, first = lab.lab, publish(lab.lab, rows(chats(range(4)), contributor="ann"), name="first")
    second = publish(ours, rows(chats(range(2, 6)), contributor="ann"), name="second")
    third = publish(ours, rows(chats(range(9, 12)), contributor="bob", licence="CC-BY-NC-4.0"), name="third")
    one = trained(ours, first, None, 1)
    two = trained(ours, second, one.hash, 2)
    three = trained(ours, third, two.hash, 3)
    found = lab.model_stats(two.hash)
    assert [each.name for each in found.datasets] == ["first", "second"]
    assert [(each.contributor, each.rows) for each in found.contributions] == [("ann", 6)]
    assert (found.publishing.allowed, found.whole) == (True, True)
    assert lab.publishable(two.hash).allowed
    later = lab.model_stats(three.hash)
    assert [each.name for each in later.datasets] == ["first", "second", "third"]
    assert later.publishing.obstacles[0].licences == {"CC-BY-NC-4.0": 3}
    assert not lab.publishable(three.hash).allowed
    assert lab.dataset_stats("second").runs == (two.run,)


def test_who_gave_enough_may_use_the_model(lab: Realm) -> None:
    data = publish(
        lab.lab, [*rows(chats(range(4)), contributor="ann"), *rows(chats(range(5, 7)), contributor="bob")]
    )
    model = trained(lab.lab, data, None, 1)
    with Realm(lab.home.root, overrides=["corpus.sharing.min_rows=3"]) as strict:
        access = {each.contributor: each.allowed for each in strict.model_stats(model.hash).access}
    assert access == {"ann": True, "bob": False}


def test_a_model_whose_beginning_is_gone_answers_for_all_earlier_runs(lab: Realm) -> None:
    ours = lab.lab
    first = trained(ours, publish(ours, rows(chats(range(4)), licence="unknown"), name="first"), None, 1)
    second = trained(ours, publish(ours, rows(chats(range(9))), name="second"), "sha256:" + "f" * 64, 2)
    found = lab.model_stats(second.hash)
    assert (found.whole, [each.name for each in found.datasets]) == (False, ["first", "second"])
    assert not found.publishing.allowed
    assert lab.model_stats(first.hash).whole


def test_a_model_from_elsewhere_or_of_nothing_is_not_published(lab: Realm, tmp_path: Path) -> None:
    base = born(lab.lab)
    assert lab.model_stats(base.hash).base == "blank"
    assert not lab.publishable(base.hash).allowed  # nothing was trained, so nothing was looked at
    text = lab.home.config.read_text()
    start = text.index("    blank:")
    end = text.index("\n    ", start + 5)
    lab.home.config.write_text(text[:start] + f"    base: {tmp_path}" + text[end:])
    with Realm(lab.home.root) as other:
        model = trained(other.lab, publish(other.lab, rows(chats(range(3)))), base.hash, 1)
        found = other.model_stats(model.hash)
        assert found.base == f"folder {tmp_path}"
        assert "began from another one" in found.publishing.obstacles[0].reason


def test_what_is_neither_dataset_nor_model_is_named(lab: Realm) -> None:
    with pytest.raises(NotFoundError, match="no model is called 'none-such'"):
        lab.publishable("none-such")
    with pytest.raises(NotFoundError, match="no dataset is called 'none-such'"):
        lab.dataset_stats("none-such")
