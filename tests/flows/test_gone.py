"""What is deleted, moved or out of reach after it was collected, to drift and to the next build."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import NotFoundError
from realm.corpus.check import Depth
from realm.corpus.source import Item
from realm.evaluation.drift import KindDrift
from realm.flows.build import BuildPlan, BuildReport
from realm.flows.collect import stored_name
from realm.flows.documents import CollectedDocuments
from realm.flows.drift import Staleness
from realm.flows.gone import gone_from
from realm.flows.intake import register_file
from tiny_lab import chat_rows, realm

TESTS = "# Tests\n\nRun the tests before every commit, and never push to main.\n"
NAMES = "# Names\n\nA module is named by what it holds. Say it in one word where one is enough.\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A realm that was built from a folder of conventions beside it."""
    place = tmp_path_factory.mktemp("built")
    fill(place / "town")
    with Realm.create(place / "home", template="dio") as realm:
        collect(realm, place / "town")
        build(realm)
        assert realm.drift().report.score == 0.0
    return place


@pytest.fixture
def town(built: Path) -> Path:
    """The folder as it was when the dataset was built."""
    for name in ("town", "elsewhere"):
        shutil.rmtree(built / name, ignore_errors=True)
    return fill(built / "town")


@pytest.fixture
def lab(built: Path, tmp_path: Path) -> Iterator[Realm]:
    """The realm as it was then, a copy for each test."""
    shutil.copytree(built / "home", tmp_path / "home", symlinks=True)
    with Realm(tmp_path / "home") as realm:
        yield realm


def fill(folder: Path) -> Path:
    (folder / "docs").mkdir(parents=True)
    (folder / "CLAUDE.md").write_text(TESTS)
    (folder / "docs" / "AGENTS.md").write_text(NAMES)
    return folder


def collect(lab: Realm, folder: Path) -> None:
    lab.collect(folder, kind="documents")


def build(lab: Realm) -> BuildReport:
    return lab.build(BuildPlan(name="corpus", depth=Depth.QUICK))


def conventions(found: Staleness) -> KindDrift:
    return next(kind for kind in found.report.kinds if kind.kind == "conventions")


def test_a_file_that_only_moved_did_not_drift(lab: Realm, town: Path) -> None:
    (town / "CLAUDE.md").rename(town / "docs" / "CLAUDE.md")
    collect(lab, town)
    found = lab.drift()
    assert (found.report.score, found.report.retrain, found.doubts) == (0.0, False, ())


def test_a_move_that_was_not_collected_is_no_deletion(lab: Realm, town: Path) -> None:
    (town / "CLAUDE.md").rename(town / "docs" / "CLAUDE.md")
    found = lab.drift()
    assert found.report.score == 0.0
    [doubt] = found.doubts
    assert doubt.source == "town"
    assert "moved" in doubt.reason


def test_a_deleted_file_counts_until_the_corpus_is_built_again(lab: Realm, town: Path) -> None:
    (town / "CLAUDE.md").unlink()
    found = lab.drift()
    assert conventions(found).removed == ("town/CLAUDE.md#tests",)
    assert found.report.score == 0.25
    assert found.report.retrain
    report = build(lab)
    assert [reason.examples for reason in report.left_out] == [("town/CLAUDE.md#tests",)]
    assert report.rows == 1
    assert lab.drift().report.score == 0.0
    (town / "CLAUDE.md").write_text(TESTS)
    collect(lab, town)
    assert conventions(lab.drift()).added == ("town/CLAUDE.md#tests",)


def test_the_last_file_of_a_folder_can_be_deleted(lab: Realm, town: Path) -> None:
    (town / "CLAUDE.md").unlink()
    (town / "docs" / "AGENTS.md").unlink()
    assert len(conventions(lab.drift()).removed) == 2


def test_a_file_that_no_collection_can_read_hides_no_deletion(lab: Realm, town: Path) -> None:
    (town / "GEMINI.md").write_bytes(b"\xff\xfe\x00 no text")
    (town / "CLAUDE.md").unlink()
    found = lab.drift()
    assert found.doubts == ()
    assert len(conventions(found).removed) == 1


def test_a_source_out_of_reach_has_lost_nothing_but_shows_what_changed(lab: Realm, town: Path) -> None:
    (town / "CLAUDE.md").rename(town / "docs" / "CLAUDE.md")
    (town / "docs" / "AGENTS.md").write_text("# Names\n\nThrow whatever the caller might like to read.\n")
    collect(lab, town)
    town.rename(town.parent / "elsewhere")
    found = lab.drift()
    seen = conventions(found)
    assert (seen.removed, seen.added, seen.changed) == ((), (), ("town/docs/AGENTS.md#names",))
    [doubt] = found.doubts
    assert "no such file or folder" in doubt.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_has_lost_nothing(lab: Realm, town: Path) -> None:
    (town / "docs").chmod(0)
    try:
        found = lab.drift()
    finally:
        (town / "docs").chmod(0o700)
    assert found.report.score == 0.0
    assert "docs" in found.doubts[0].reason


def test_the_command_says_what_it_cannot_tell(lab: Realm, town: Path) -> None:
    town.rename(town.parent / "elsewhere")
    done = realm(lab.home.root, "drift")
    assert done.returncode == 0, done.stderr
    assert "town: what came or went cannot be told" in done.stdout


def test_other_documents_stay_when_their_file_is_gone(lab: Realm, town: Path, tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text(chat_rows(3))
    lab.collect(chats)
    chats.unlink()
    documents = CollectedDocuments(lab.lab, lab.lab.ledger.sources.list())
    assert len(list(documents.of({"chats"}))) == 3
    assert documents.gone == frozenset()
    assert documents.doubts == ()


@pytest.mark.parametrize(
    ("kind", "suffix", "text"),
    [
        ("documents", ".md", TESTS),
        ("chat_jsonl", ".jsonl", chat_rows(2)),
        ("repo", ".py", "WIDTH = 110\n"),
    ],
    ids=["documents", "chat_jsonl", "repo"],
)
def test_what_is_gone_is_told_of_every_kind(
    lab: Realm, tmp_path: Path, kind: str, suffix: str, text: str
) -> None:
    folder = tmp_path / "things"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}{suffix}").write_text(text)
    lab.collect(folder, kind=kind)
    record = lab.lab.ledger.sources.get("things")
    assert gone_from(lab.lab, record).items == frozenset()
    (folder / f"two{suffix}").unlink()
    found = gone_from(lab.lab, record)
    assert found.items == {stored_name(Item(key=f"two{suffix}", fingerprint=""))}
    assert found.doubt is None
    folder.rename(tmp_path / "elsewhere")
    found = gone_from(lab.lab, record)
    assert found.items == frozenset()
    assert found.doubt is not None


def test_only_a_dataset_built_from_sources_can_drift(lab: Realm, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(chat_rows(3))
    record = register_file(lab.lab, rows)
    for name in (record.name, record.hash):
        with pytest.raises(NotFoundError, match="not built from sources") as refused:
            lab.drift(name)
        assert "corpus" in refused.value.hint
        assert record.name not in refused.value.hint
    with pytest.raises(NotFoundError, match="no dataset is called 'nothing'") as unknown:
        lab.drift("nothing")
    assert record.name not in unknown.value.hint
    built = lab.drift()
    assert lab.drift(built.dataset).hash == lab.drift(built.hash).hash == built.hash
    assert realm(lab.home.root, "drift", record.name).returncode == 3
