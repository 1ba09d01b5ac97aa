"""Documents in doubt: held, decided, released into their source, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from realm import Realm
from realm.cli.main import run
from realm.core.errors import NotFoundError
from realm.core.records import ArtifactKind
from realm.corpus.check import Depth
from realm.corpus.collection import read_documents
from realm.corpus.dataset import read_examples
from realm.corpus.scrub import Scrubber
from realm.corpus.scrubbing import finder
from realm.corpus.scrubbing.decisions import Decision
from realm.corpus.scrubbing.review import Quarantine
from realm.corpus.source import SOURCES
from realm.flows import collect as collecting
from realm.flows import review as reviewing
from realm.flows.build import BuildPlan
from realm.flows.collect import Collected, add_source
from realm.flows.holding import DROPPED, samples
from realm.flows.sources import collect_source, held, scrubber_of

DOUBT = "blueberry" + "mountain"
OTHER = "raspberry" + "valley"
TOKEN = "ghp" + "_" + "vT3kQz8WmN1xLr5YbC7dHs2JfG9aPe4KuXo6"


def asked(word: str) -> str:
    return f'it says password = "{word}"'


def write(path: Path, *said: str) -> Path:
    """Write one chat for each thing said, in words of its own."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What of entry {n}, and why is it {n * 7}?"},
                {"role": "assistant", "content": f"Of entry {n}: {what}."},
            ]
        }
        for n, what in enumerate(said)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def take(lab: Realm, path: Path, scrubber: Scrubber | None = None) -> Collected:
    config = SOURCES.config({"kind": "chat_jsonl", "name": path.stem, "path": str(path)})
    add_source(lab.lab, config)  # type: ignore[arg-type]
    return collect_source(lab.lab, path.stem, scrubber or scrubber_of(lab.lab), lambda _: None)


def stored(lab: Realm, source: str) -> list[str]:
    """Return what was answered in the documents that a source holds now."""
    ledger = lab.lab.ledger.sources
    items = ledger.items(source)
    found = []
    for record in ledger.collections(source):
        folder = lab.lab.store.verified(ArtifactKind.COLLECTION, record.hash)
        found += [
            each.document.messages[-1].content
            for each in read_documents(folder)
            if each.item in items and record.hash in items[each.item].collections
        ]
    return found


def trained(lab: Realm) -> set[str]:
    report = lab.build(BuildPlan(name="mine", depth=Depth.QUICK))
    folders = [lab.lab.store.verified(ArtifactKind.DATASET, each.hash) for each in report.datasets]
    return {row.messages[-1].content for folder in folders for row in read_examples(folder)}


@pytest.fixture
def lab(tmp_path: Path) -> Realm:
    return Realm.create(tmp_path / "lab", template="dio")


@pytest.fixture(scope="module", autouse=True)
def _rules_compiled_once() -> Iterator[None]:
    """Compiling every rule takes a second, and a scrubber is built for each realm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finder, "Finder", cache(finder.Finder))
        yield


@pytest.mark.parametrize(
    ("decision", "becomes"),
    [(Decision.NOT_SECRET, asked(DOUBT)), (Decision.SECRET, asked("<SECRET:password:1>"))],
)
def test_a_decided_document_joins_its_source(
    lab: Realm, tmp_path: Path, decision: Decision, becomes: str
) -> None:
    path = write(tmp_path / "chats.jsonl", "all is well", asked(DOUBT), "nothing to see")
    collected = take(lab, path)
    assert (collected.documents, collected.quarantined) == (2, 1)
    before = lab.lab.ledger.sources.items("chats")
    [row] = lab.review().rows()
    [question] = lab.review().questions(row)
    assert (question.value, question.kind) == (DOUBT, "password")

    reviewed = lab.decide({row: decision})

    assert [(each.source, each.documents) for each in reviewed.released] == [("chats", 1)]
    assert reviewed.waiting == 0
    assert sorted(stored(lab, "chats")) == sorted(
        [f"Of entry {n}: {what}." for n, what in enumerate(["all is well", becomes, "nothing to see"])]
    )
    assert len(trained(lab)) == 3
    after = lab.lab.ledger.sources.items("chats")
    assert {key: item.fingerprint for key, item in after.items()} == {
        key: item.fingerprint for key, item in before.items()
    }
    assert take(lab, path).new == 0


def test_one_answer_serves_every_document_that_holds_the_value(lab: Realm, tmp_path: Path) -> None:
    take(lab, write(tmp_path / "one.jsonl", asked(DOUBT), asked(DOUBT) + " again", asked(OTHER)))
    take(lab, write(tmp_path / "two.jsonl", "well", "well then: " + asked(DOUBT)))
    review = lab.review()
    rows = {review.questions(row)[0].value: row for row in review.rows()}
    reviewed = lab.decide({rows[DOUBT]: Decision.NOT_SECRET})
    assert {(each.source, each.documents) for each in reviewed.released} == {("one", 2), ("two", 1)}
    assert reviewed.waiting == 1
    assert lab.review().rows() == [rows[OTHER]]
    assert lab.decide({rows[OTHER]: Decision.SECRET}).released[0].documents == 1
    assert len(stored(lab, "one")) == 3


def test_a_document_with_a_value_left_goes_on_waiting(lab: Realm, tmp_path: Path) -> None:
    take(lab, write(tmp_path / "chats.jsonl", f"{asked(DOUBT)} and {asked(OTHER)}"))
    review = lab.review()
    [row] = review.rows()
    assert [question.value for question in review.questions(row)] == [DOUBT, OTHER]
    review.decide({DOUBT: Decision.SECRET})
    assert review.end().released == ()
    [question] = review.questions(row)
    assert question.value == OTHER
    review.decide({OTHER: Decision.NOT_SECRET})
    assert review.end().waiting == 0
    assert stored(lab, "chats") == [f"Of entry 0: {asked('<SECRET:password:1>')} and {asked(OTHER)}."]


def test_a_decision_is_a_rule_for_what_is_collected_later(lab: Realm, tmp_path: Path) -> None:
    scrubber = scrubber_of(lab.lab)
    take(lab, write(tmp_path / "chats.jsonl", asked(DOUBT)), scrubber)
    lab.decide({lab.review().rows()[0]: Decision.SECRET})
    collected = take(lab, write(tmp_path / "more.jsonl", "it was " + asked(DOUBT)), scrubber)
    assert (collected.replaced, collected.quarantined) == (1, 0)


def test_what_is_dropped_is_left_out_and_not_held_again(lab: Realm, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    take(lab, write(path, "well", asked(DOUBT)))
    assert lab.decide({lab.review().rows()[0]: Decision.DROP_ROW}).dropped == 1
    collected = take(lab, write(path, "well", asked(DOUBT), "one more"))
    assert collected.quarantined == 0
    assert {reason.reason: reason.count for reason in collected.left_out} == {DROPPED: 1}
    assert lab.review().rows() == []
    assert len(stored(lab, "chats")) == 2


def test_reading_again_replaces_what_is_held(lab: Realm, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    take(lab, write(path, "well", asked(DOUBT), asked(OTHER)))
    take(lab, write(path, "well", asked(DOUBT), "mended", "more"))
    review = lab.review()
    [row] = review.rows()
    assert [question.value for question in review.questions(row)] == [DOUBT]
    lab.decide({row: Decision.NOT_SECRET})
    assert len(stored(lab, "chats")) == 4
    take(lab, write(path, "well", "mended too", "mended", "more"))
    assert len(stored(lab, "chats")) == 4
    assert not [text for text in stored(lab, "chats") if DOUBT in text]


def test_a_large_item_is_released_too(lab: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "SHARD_BYTES", 600)
    said = [asked(DOUBT) if n % 4 == 1 else f"entry {n} is well and needs some words" for n in range(12)]
    take(lab, write(tmp_path / "chats.jsonl", *said))
    [item] = lab.lab.ledger.sources.items("chats").values()
    assert len(item.collections) > 1
    review = lab.review()
    assert len(review.rows()) == 3
    assert lab.decide({review.rows()[0]: Decision.NOT_SECRET}).waiting == 0
    assert len(stored(lab, "chats")) == 12
    assert len(set(stored(lab, "chats"))) == 12


def test_documents_whose_ids_become_one_are_both_released(lab: Realm, tmp_path: Path) -> None:
    rows = [
        {"id": f"{name}@larkspur-works.de", "messages": json.loads(line)["messages"]}
        for name, line in zip(
            ("ann", "bob", "eve"),
            write(tmp_path / "x", asked(DOUBT), asked(OTHER), "well").read_text().splitlines(),
            strict=True,
        )
    ]
    path = tmp_path / "talks.json"
    path.write_text(json.dumps(rows))
    config = SOURCES.config({"kind": "conversations", "name": "talks", "path": str(path)})
    add_source(lab.lab, config)  # type: ignore[arg-type]
    collect_source(lab.lab, "talks", scrubber_of(lab.lab), lambda _: None)
    review = lab.review()
    assert len(review.rows()) == 2
    assert "larkspur" not in "".join(each.where for each in review.waiting())
    for row in review.rows():
        lab.decide({row: Decision.NOT_SECRET})
    assert len(stored(lab, "talks")) == 3


def test_an_unknown_row_is_refused_before_anything_is_decided(lab: Realm, tmp_path: Path) -> None:
    take(lab, write(tmp_path / "chats.jsonl", asked(DOUBT)))
    [row] = lab.review().rows()
    for unknown in ("0" * 40, "../x", ""):
        with pytest.raises(NotFoundError):
            lab.decide({row: Decision.SECRET, unknown: Decision.SECRET})
    assert lab.review().questions(row)


def test_while_a_source_is_collected_its_documents_stay(
    lab: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(lab, write(tmp_path / "chats.jsonl", asked(DOUBT)))
    [row] = lab.review().rows()
    monkeypatch.setattr(reviewing, "WAIT_S", 0.0)
    with held(lab.lab, "chats"):
        reviewed = lab.decide({row: Decision.SECRET})
        assert (reviewed.released, reviewed.waiting) == ((), 1)
        assert "chats" in reviewed.held_up[0]
    assert lab.review().end().waiting == 0
    assert len(stored(lab, "chats")) == 1


# --- kill -9 ------------------------------------------------------------------------------------


_WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def killed_at(moment: int, home: Path, work: Callable[[], None]) -> bool:
    """Do some work in a child that kills itself at its n-th change of a file; True where it was killed."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    left = moment

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event in _WRITES or (event == "open" and bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR)))
        if writes and str(args[0]).startswith(str(home)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.chaos
def test_a_review_killed_anywhere_loses_and_doubles_nothing(tmp_path: Path) -> None:
    home = tmp_path / "lab"
    said = ["well", asked(DOUBT), "see " + asked(DOUBT), "so " + asked(OTHER)]
    with Realm.create(home, template="dio") as lab:
        take(lab, write(tmp_path / "chats.jsonl", *said))
        review = lab.review()
        rows = {review.questions(row)[0].value: row for row in review.rows()}
    shutil.copytree(home, tmp_path / "kept")

    def work() -> None:
        with Realm(home) as lab:
            lab.decide({rows[DOUBT]: Decision.NOT_SECRET, rows[OTHER]: Decision.DROP_ROW})

    moment, was_killed = 0, True
    while was_killed:
        moment += 1
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "kept", home)
        was_killed = killed_at(moment, home, work)
        with Realm(home) as lab:
            waiting = lab.review().rows()
            open_ = {value: row for value, row in rows.items() if row in waiting}
            answers = {DOUBT: Decision.NOT_SECRET, OTHER: Decision.DROP_ROW}
            reviewed = lab.decide({row: answers[value] for value, row in open_.items()})
            assert reviewed.waiting == 0, moment
            assert sorted(stored(lab, "chats")) == [f"Of entry {n}: {said[n]}." for n in range(3)], moment
    assert moment > 8


@pytest.mark.chaos
def test_a_collection_killed_anywhere_holds_everything_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "lab"
    with Realm.create(home, template="dio") as lab:
        lab.lab.ledger.sources.list()
    monkeypatch.setattr(collecting, "SHARD_BYTES", 400)
    shutil.copytree(home, tmp_path / "kept")
    said = [asked(DOUBT) if n % 3 == 1 else f"entry {n} is well and needs some words" for n in range(7)]
    path = write(tmp_path / "chats.jsonl", *said)

    def work() -> None:
        with Realm(home) as lab:
            take(lab, path)

    moment, was_killed = 0, True
    while was_killed:
        moment += 3
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "kept", home)
        was_killed = killed_at(moment, home, work)
        with Realm(home) as lab:
            take(lab, path)
            rows = lab.review().rows()
            assert len(rows) == 2, moment
            assert lab.decide({rows[0]: Decision.NOT_SECRET}).waiting == 0
            assert sorted(stored(lab, "chats")) == [f"Of entry {n}: {said[n]}." for n in range(7)], moment
    assert moment > 12


def test_what_an_interrupted_reading_held_is_void_once_the_item_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, path = tmp_path / "lab", write(tmp_path / "chats.jsonl", "well", asked(DOUBT), asked(OTHER))
    Realm.create(home, template="dio").close()

    def work() -> None:
        monkeypatch.setattr(collecting.Shard, "publish", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with Realm(home) as lab:
            take(lab, path)

    assert killed_at(10**9, home, work)
    with Realm(home) as lab:
        assert lab.review().rows() == []
        assert len(lab.review().quarantine.pending("chats")) == 2
        take(lab, write(path, "well", "mended", asked(OTHER)))
        review = lab.review()
        assert [review.questions(row)[0].value for row in review.rows()] == [OTHER]
        assert review.quarantine.pending("chats") == {}


# --- the sample -------------------------------------------------------------------------------------


def test_a_share_of_what_passed_is_kept_and_only_as_scrubbed(tmp_path: Path) -> None:
    Realm.create(tmp_path / "lab", template="dio").close()
    with Realm(tmp_path / "lab", overrides=["corpus.scrub.audit=0.2"]) as lab:
        take(lab, write(tmp_path / "chats.jsonl", *(f"{n}: {TOKEN}" for n in range(100))))
        kept = list(samples(lab.lab))
        assert 5 < len(kept) < 50
        assert all("<SECRET:github_token:1>" in json.dumps(each.value) for each in kept)
        folder = lab.home.vault / "quarantine" / "audit"
        [file] = folder.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert TOKEN not in file.read_text()
        file.unlink()
        assert list(samples(lab.lab)) == kept  # drawn again after a crash
    with Realm(tmp_path / "lab", overrides=["corpus.scrub.audit=0.9"]) as lab:
        assert take(lab, tmp_path / "chats.jsonl").new == 0  # the share is no reason to read again


# --- the command -------------------------------------------------------------------------------------


def command(lab: Realm, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run(["--home", str(lab.home.root), "data", "review", *words]) == 0
    return capsys.readouterr().out


def test_a_program_lists_and_decides(lab: Realm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take(lab, write(tmp_path / "chats.jsonl", asked(DOUBT), asked(OTHER), "well"))
    rows = json.loads(command(lab, capsys, "--json"))
    assert [row["source"] for row in rows] == ["chats", "chats"]
    listed = command(lab, capsys, "--list")
    assert rows[0]["row"] in listed
    assert DOUBT not in listed + json.dumps(rows)
    decided = command(
        lab, capsys, "--decide", f"{rows[0]['row']}=secret", "--decide", f"{rows[1]['row']}=drop", "--json"
    )
    reviewed = json.loads(decided)
    assert (reviewed["dropped"], reviewed["waiting"], reviewed["released"][0]["documents"]) == (1, 0, 1)
    assert json.loads(command(lab, capsys, "--json")) == []
    assert run(["--home", str(lab.home.root), "data", "review", "--decide", "x=maybe"]) == 2
    assert run(["--home", str(lab.home.root), "data", "review", "--decide", f"{'0' * 40}=secret"]) == 3


def test_keys_decide_and_the_count_is_shown(
    lab: Realm, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take(lab, write(tmp_path / "chats.jsonl", asked(DOUBT), "see " + asked(DOUBT)))
    keys = iter("kq")
    monkeypatch.setattr(typer, "getchar", lambda: next(keys))
    shown = command(lab, capsys)
    assert "2 wait, 0 done" in shown
    assert "1 wait, 1 done" in shown
    assert shown.splitlines()[-1] == "2 wait"
    keys = iter("?n")
    shown = command(lab, capsys)
    assert "2 documents released" in shown
    assert shown.splitlines()[-1] == "nothing waits"
    assert len(stored(lab, "chats")) == 2


def test_the_sample_is_shown(
    tmp_path: Path, lab: Realm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no document was drawn" in command(lab, capsys, "--sample")
    take(lab, write(tmp_path / "chats.jsonl", *(f"{n}: {TOKEN}" for n in range(20))))
    assert json.loads(command(lab, capsys, "--sample", "--json", "--set", "corpus.scrub.audit=1"))
    assert "<SECRET:github_token:1>" in command(lab, capsys, "--sample")


def test_rows_of_a_folder_leave_it_once_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "rows.jsonl", tmp_path / "held"
    file.write_text(json.dumps({"text": asked(DOUBT)}) + "\n")
    assert run(["data", "scrub", str(file), "--quarantine", str(folder)]) == 0
    [row] = Quarantine(folder).waiting()
    assert run(["data", "review", str(folder), "--decide", f"{row}=secret"]) == 0
    assert Quarantine(folder).waiting() == []
    out = tmp_path / "out.jsonl"
    assert run(["data", "scrub", str(file), "--quarantine", str(folder), "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == {"text": asked("<SECRET:password:1>")}
