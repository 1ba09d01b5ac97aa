"""From a file of chats to published datasets, through the lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import RefusedError, UsageError
from realm.core.records import ArtifactKind
from realm.corpus.check import Depth
from realm.corpus.dataset import read_examples, read_info
from realm.corpus.scrub import Scrubber
from realm.flows import collect as collecting
from realm.flows.build import BuildPlan
from realm.flows.lineage import lineage_of


def chats(path: Path, numbers: range, *, extra: str = "") -> Path:
    """Write one chat a number, each in words of its own."""
    rows = [
        [
            {
                "role": "user",
                "content": f"Question {n}: what is {n} times {n + 3}, and the rest of {n * 7}?",
            },
            {"role": "assistant", "content": f"It is {n * (n + 3)}; {n * 7 % 5} is left of {n * 7}.{extra}"},
        ]
        for n in numbers
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def lab(tmp_path: Path) -> Realm:
    return Realm.create(tmp_path / "lab", template="dio")


def plan(name: str = "mine", **settings: object) -> BuildPlan:
    return BuildPlan.model_validate({"name": name, "depth": Depth.STANDARD, **settings})


def test_a_file_becomes_two_disjoint_datasets_that_know_their_lines(lab: Realm, tmp_path: Path) -> None:
    [collected] = lab.collect(chats(tmp_path / "chats.jsonl", range(100)))
    assert (collected.documents, collected.new) == (100, 1)
    report = lab.build(plan())
    assert report.rows == 100
    rows = {}
    for dataset in report.datasets:
        folder = lab.lab.store.verified(ArtifactKind.DATASET, dataset.hash)
        rows[dataset.side] = {row.messages[0].content for row in read_examples(folder)}
        assert read_info(folder).scrub == {
            "clean": 100,
            "replaced": 0,
            "quarantined": 0,
            "versions": [Scrubber.version],
        }
    assert len(rows["train"]) + len(rows["eval"]) == 100
    assert not rows["train"] & rows["eval"]
    train = next(each for each in report.datasets if each.side == "train")
    found = lineage_of(lab.lab, f"{train.hash}#3")
    assert found.made_of is not None
    line = found.made_of.origin.first_line
    assert line is not None
    said = (tmp_path / "chats.jsonl").read_text(encoding="utf-8").splitlines()[line - 1]
    folder = lab.lab.store.verified(ArtifactKind.DATASET, train.hash)
    assert json.loads(said)["messages"][0]["content"] == list(read_examples(folder))[3].messages[0].content


def test_a_second_collection_takes_only_what_changed(lab: Realm, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for part in range(3):
        chats(folder / f"{part}.jsonl", range(part * 10, part * 10 + 10))
    [first] = lab.collect(folder, kind="chat_jsonl")
    assert (first.items, first.new, first.documents) == (3, 3, 30)
    [again] = lab.collect()
    assert (again.items, again.new, again.documents) == (3, 0, 0)
    chats(folder / "1.jsonl", range(40, 55))
    [changed] = lab.collect()
    assert (changed.new, changed.documents) == (1, 15)
    assert lab.build(plan()).rows == 35  # of the changed file only what it holds now


def test_the_same_collections_give_the_same_datasets(lab: Realm, tmp_path: Path) -> None:
    lab.collect(chats(tmp_path / "chats.jsonl", range(40)))
    assert lab.build(plan()).datasets == lab.build(plan()).datasets


def test_secrets_are_replaced_before_anything_is_stored(lab: Realm, tmp_path: Path) -> None:
    secret = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    mail = "jane.roe" + "@" + "mail.test-company.de"
    lab.collect(chats(tmp_path / "chats.jsonl", range(5), extra=f" Mine is {mail}, {secret}."))
    stored = [
        path for path in (tmp_path / "lab").rglob("*") if path.is_file() and "quarantine" not in path.parts
    ]
    assert stored
    for path in stored:
        assert secret.encode() not in path.read_bytes(), path
        assert mail.encode() not in path.read_bytes(), path


def test_a_shard_that_was_not_published_is_read_again(
    lab: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for part in range(4):
        chats(folder / f"{part}.jsonl", range(part * 10, part * 10 + 10))
    monkeypatch.setattr(collecting, "SHARD_ITEMS", 1)
    told = 0

    def interrupt(progress: collecting.CollectProgress) -> None:
        nonlocal told
        told += 1
        if progress.items == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.collect(folder, kind="chat_jsonl", progress=interrupt)
    [rest] = lab.collect()
    assert (rest.new, rest.documents) == (2, 20)
    assert lab.build(plan()).rows == 40


def test_duplicates_and_held_out_problems_are_counted(lab: Realm, tmp_path: Path) -> None:
    twice = chats(tmp_path / "chats.jsonl", range(20)).read_text(encoding="utf-8") * 2
    (tmp_path / "chats.jsonl").write_text(twice, encoding="utf-8")
    lab.collect(tmp_path / "chats.jsonl")
    report = lab.build(plan())
    assert report.rows == 20
    assert {reason.reason: reason.count for reason in report.left_out} == {"exact duplicate": 20}


def test_a_dry_run_publishes_nothing(lab: Realm, tmp_path: Path) -> None:
    lab.collect(chats(tmp_path / "chats.jsonl", range(20)))
    report = lab.build(plan(dry_run=True, sample=2))
    assert (report.rows, report.datasets, len(report.sample)) == (20, (), 2)
    assert lab.lab.ledger.datasets.list() == []


def test_without_rows_a_build_says_what_to_do(lab: Realm) -> None:
    with pytest.raises(RefusedError, match="no row is left"):
        lab.build(plan())


def test_a_folder_that_shows_no_kind_asks_for_one(lab: Realm, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not show"):
        lab.collect(tmp_path)
