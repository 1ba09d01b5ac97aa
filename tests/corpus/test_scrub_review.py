from __future__ import annotations

import gzip
import json
import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import CorruptError, DataError, NotFoundError, RefusedError
from realm.corpus.scrub import Scrubber, Verdict
from realm.corpus.scrubbing.decisions import KEY_SUFFIX, Decision, Decisions
from realm.corpus.scrubbing.review import Quarantine, Reading, Sample, sampled
from realm.corpus.scrubbing.scan import RowFinding, Totals, scan
from realm.corpus.scrubbing.score import score

GITHUB = "ghp" + "_" + "vT3kQz8WmN1xLr5YbC7dHs2JfG9aPe4KuXo6"
DOUBT = "blueberry" + "mountain"
KEY = (
    "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy0AH\n" * 6
    + "-----END RSA PRIVATE" + " KEY-----"
)  # fmt: skip
SCRUBBER = Scrubber()


def held(folder: Path) -> tuple[Quarantine, str, object]:
    value = {"text": f'password = "{DOUBT}"'}
    quarantine = Quarantine(folder / "quarantine")
    result = SCRUBBER.scrub_value(value)
    assert result.verdict is Verdict.QUARANTINED
    row = quarantine.hold("chat.jsonl:3", value, result.findings)
    assert row is not None
    return quarantine, row, value


def scrubber_of(quarantine: Quarantine) -> Scrubber:
    return Scrubber(Scrubber.Config(decisions=quarantine.decisions.path))


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_a_row_in_doubt_waits_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    quarantine, row, value = held(tmp_path)
    assert quarantine.hold("chat.jsonl:3", value, ()) == row
    assert quarantine.waiting() == [row]
    (question,) = quarantine.questions(row, SCRUBBER.config.high)
    assert (question.value, question.kind) == (DOUBT, "password")
    assert question.where == "chat.jsonl:3 /text"
    assert modes(quarantine.folder) == {0o600}
    assert stat.S_IMODE(quarantine.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [(Decision.SECRET, Verdict.REPLACED), (Decision.NOT_SECRET, Verdict.CLEAN)],
)
def test_a_decision_becomes_a_rule(tmp_path: Path, decision: Decision, verdict: Verdict) -> None:
    quarantine, row, value = held(tmp_path)
    quarantine.decide({DOUBT: decision})
    assert quarantine.questions(row, SCRUBBER.config.high) == []
    assert scrubber_of(quarantine).scrub_value(value).verdict is verdict
    assert scrubber_of(quarantine).scrub_text(f'db_password: "{DOUBT}"').verdict is verdict
    quarantine.remove(row)
    assert quarantine.waiting() == []


def test_a_dropped_row_never_comes_back(tmp_path: Path) -> None:
    quarantine, row, value = held(tmp_path)
    quarantine.drop(row)
    assert quarantine.waiting() == []
    assert Quarantine(quarantine.folder).hold("again:1", value, ()) is None


def test_decisions_hold_no_value_and_no_digest_that_can_be_guessed(tmp_path: Path) -> None:
    import hashlib

    quarantine, _, _ = held(tmp_path)
    quarantine.decide({DOUBT: Decision.SECRET})
    content = quarantine.decisions.path.read_text()
    assert DOUBT not in content
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        assert hashlib.new(name, DOUBT.encode()).hexdigest() not in content
    other = Decisions(tmp_path / "other" / "decisions.json")
    other.remember({DOUBT.encode(): Decision.SECRET})
    assert not set(json.loads(content)["decisions"]) & set(json.loads(other.path.read_text())["decisions"])
    assert modes(tmp_path / "other") == {0o600}


def test_decisions_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_text("[1]")
    with pytest.raises(CorruptError, match=r"decisions\.json"):
        Decisions(path)
    path.unlink()
    decisions = Decisions(path)
    decisions.remember({b"a": Decision.SECRET})
    path.with_name(path.name + KEY_SUFFIX).unlink()
    with pytest.raises(CorruptError, match="key"):
        Decisions(path).of(b"a")


def test_what_another_process_decides_is_followed(tmp_path: Path) -> None:
    here, there = Decisions(tmp_path / "d" / "decisions.json"), Decisions(tmp_path / "d" / "decisions.json")
    assert here.digest(b"x") == there.digest(b"x")
    assert here.of(b"a") is None
    there.remember({b"a": Decision.SECRET})
    assert here.of(b"a") is Decision.SECRET
    here.remember({b"b": Decision.NOT_SECRET})
    assert (there.of(b"a"), there.of(b"b")) == (Decision.SECRET, Decision.NOT_SECRET)


def read_at(item: str, before: str | None) -> Reading:
    return Reading(source="mine", item=item, document=f"{item}#1", before=before)


def test_a_document_waits_once_its_reading_is_published(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q")
    quarantine.settle("mine", {})
    assert not quarantine.folder.exists()
    for item in ("a", "b"):
        assert quarantine.hold_document(read_at(item, None), f"mine/{item}", {"text": item}, ())
    quarantine.settle("mine", {"a": "first"})
    [row] = quarantine.waiting("mine")
    assert quarantine.held(row).where == "mine/a"
    assert [reading.item for reading in quarantine.pending("mine").values()] == ["b"]
    quarantine.settle("other", {})
    assert quarantine.waiting() == [row]
    quarantine.hold_document(read_at("a", "first"), "mine/a", {"text": "new"}, ())
    quarantine.settle("mine", {"a": "first"})
    assert quarantine.held(row).value == {"text": "a"}  # until what replaces it is published
    quarantine.settle("mine", {"a": "second", "b": "first"})
    assert {quarantine.held(one).where: quarantine.held(one).value for one in quarantine.waiting()} == {
        "mine/a": {"text": "new"},
        "mine/b": {"text": "b"},
    }
    assert quarantine.pending("mine") == {}
    assert modes(quarantine.folder) == {0o600}


def test_a_dropped_document_is_not_held_again(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q")
    quarantine.hold_document(read_at("a", None), "mine/a", {"text": "x", "n": float("nan")}, ())
    quarantine.settle("mine", {"a": "first"})
    quarantine.drop(quarantine.waiting()[0])
    value = {"n": float("nan"), "text": "x"}
    assert quarantine.hold_document(read_at("a", "first"), "mine/a", value, ()) is None


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    quarantine, _, _ = held(tmp_path)
    gone, own = (quarantine.folder / f".x.row.json.{pid}.part" for pid in (2**22 + 1, os.getpid()))
    gone.write_bytes(b"half")
    own.write_bytes(b"half")
    quarantine.settle("mine", {})
    assert (gone.exists(), own.exists()) == (False, True)


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_file_is_a_held_row_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    quarantine = Quarantine(tmp_path_factory.mktemp("any"))
    (quarantine.folder / "ab.row.json").write_bytes(data)
    with pytest.raises(CorruptError):
        quarantine.held("ab")


def test_looking_makes_no_file(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "none" / "decisions.json")
    assert decisions.of(b"x") is None
    assert Quarantine(tmp_path / "none").waiting() == []
    assert list(tmp_path.iterdir()) == []


def test_no_row_outside_the_folder_is_reached(tmp_path: Path) -> None:
    (tmp_path / "x.row.json").write_text("{}")
    quarantine, _, _ = held(tmp_path)
    for row in ("../x", "/etc/passwd", "", "a.b", "ü"):
        with pytest.raises(NotFoundError):
            quarantine.held(row)


def test_a_sample_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def taken(seed: int, name: str) -> list[object]:
        sample = Sample(tmp_path / name, 0.3, seed, most=40)
        for number in range(100):
            sample.offer(f"r{number}", {"n": number})
        sample.write()
        return list(sampled(tmp_path / name))

    assert taken(1, "a") == taken(1, "b") != taken(2, "c")
    assert 10 < len(taken(1, "a")) <= 40
    assert modes(tmp_path) == {0o600}


def test_a_sample_is_drawn_from_all_rows(tmp_path: Path) -> None:
    sample = Sample(tmp_path / "s", 1.0, 1, most=50)
    taken = [number for number in range(1000) if sample.takes(f"r{number}")]
    for number in range(1000):
        sample.offer(f"r{number}", number)
    sample.write()
    kept = [row["value"] for row in sampled(tmp_path / "s")]
    assert len(kept) == sample.rows == 50
    assert sum(number >= 500 for number in kept) > 10
    assert len(taken) == 1000


def run(file: Path, **more: object) -> tuple[list[RowFinding], Totals]:
    found: list[RowFinding] = []
    return found, scan(file, SCRUBBER, found.append, **more)  # type: ignore[arg-type]


def test_a_file_of_rows(tmp_path: Path) -> None:
    file, out = tmp_path / "chat.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"text": "hello"},
        {"m": [{"content": f"key {GITHUB}"}]},
        {"text": f'password = "{DOUBT}"'},
        "no json {",
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows[:3]) + "\n" + f"broken {GITHUB}\n")
    quarantine = Quarantine(tmp_path / "q")
    found, totals = run(file, out=out, quarantine=quarantine)
    assert totals == Totals(rows=4, replaced=2, quarantined=1, clean=1)
    assert [(one.row, one.kind, one.field) for one in found] == [
        (1, "github_token", "/m/0/content"),
        (2, "password", "/text"),
        (3, "github_token", ""),
    ]
    assert rows[1]["m"][0]["content"][found[0].start : found[0].end] == GITHUB  # type: ignore[index]
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written[0] == {"text": "hello"}
    assert written[1] == {"m": [{"content": "key <SECRET:github_token:1>"}]}
    assert len(written) == 3
    assert GITHUB not in out.read_text()
    assert [quarantine.held(row).where for row in quarantine.waiting()] == ["chat.jsonl:3"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_file_keeps_its_lines_and_a_key_is_one_finding(tmp_path: Path, packed: bool) -> None:
    text = f"one\n{KEY}\nTOKEN={GITHUB}\r\nlast ü"
    file, out = tmp_path / ("notes.txt.gz" if packed else "notes.txt"), tmp_path / "out.txt"
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    found, totals = run(file, out=out)
    assert [(one.row, one.kind) for one in found] == [(1, "private_key"), (9, "github_token")]
    assert totals == Totals(rows=11, replaced=9, quarantined=0, clean=2)
    assert (
        out.read_bytes().decode() == "one\n<SECRET:private_key:1>\nTOKEN=<SECRET:github_token:1>\r\nlast ü\n"
    )


def test_a_key_over_the_end_of_a_block_is_found(tmp_path: Path) -> None:
    file, out = tmp_path / "big.txt", tmp_path / "out.txt"
    filler = "plain words and nothing more\n"
    file.write_text(filler * (262_144 // len(filler)) + KEY + "\n" + filler)
    found, _ = run(file, out=out)
    assert [one.kind for one in found] == ["private_key"]
    assert "ygWyF8PbnGy0AH" not in out.read_text()


def test_the_output_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"a": "b"}\n' + b"x" * (17 << 20))
    with pytest.raises(DataError, match=r"x\.jsonl:2"):
        run(file, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


def test_special_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to("/etc/hosts")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("link.jsonl", "pipe.jsonl", ".", "absent.jsonl"):
        with pytest.raises((RefusedError, NotFoundError)):
            run(tmp_path / name)
    (tmp_path / "bad.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 999)[:-20])
    with pytest.raises(DataError, match="gzip"):
        run(tmp_path / "bad.jsonl.gz")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["f.jsonl", "f.txt", "f.jsonl.gz"]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    file = tmp_path_factory.mktemp("bytes") / name
    file.write_bytes(data)
    try:
        _, totals = run(file)
    except DataError:
        return
    assert totals.rows == totals.clean + totals.replaced + totals.quarantined


def test_the_score_is_that_of_its_definition(tmp_path: Path) -> None:
    file = tmp_path / "labelled.jsonl"
    rows = [
        {"text": f"key {GITHUB}", "label": "secret", "secret": GITHUB, "kind": "x"},
        {"text": f'password = "{DOUBT}"', "label": "secret", "secret": None},
        {"text": f"{GITHUB} but not hidden", "label": "secret", "secret": "hidden"},
        {"text": "nothing to see", "label": "secret"},
        {"text": "ann@somewhere.org", "label": "clean"},
        {"text": f"look: {GITHUB}", "label": "clean"},
        {"text": f'passwd = "{DOUBT}"', "label": "clean"},
        {"text": "words", "label": "clean"},
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    result = score(file, SCRUBBER)
    assert (result.recall, result.precision) == (0.5, 0.666667)
    assert (result.quarantine_rate, result.false_positive_rate, result.rows) == (0.25, 0.25, 8)
    assert result.mb_per_s > 0
    file.write_text('{"text": "x", "label": "odd"}\n')
    with pytest.raises(DataError, match=r"labelled\.jsonl:1"):
        score(file, SCRUBBER)


def test_no_secret_reaches_a_log_an_error_or_another_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Canaries in values, keys, broken rows and file contents; looked for everywhere but the quarantine."""
    canaries = [GITHUB, DOUBT, "Zq8#" + "wLm3vTx"]
    file, out = tmp_path / "in" / "c.jsonl", tmp_path / "out.jsonl"
    file.parent.mkdir()
    rows = [
        {GITHUB: "a", "k": {GITHUB: f"password is {canaries[2]}"}},
        {"password": canaries[2]},
        {"password": DOUBT},
    ]
    broken = [f'{{"token": "{GITHUB}"', f'{{"{GITHUB}": 1, "{GITHUB}": 2}}', f"[NaN, 'password={canaries[2]}"]
    file.write_text("\n".join([*map(json.dumps, rows), *broken]))
    caplog.set_level(logging.DEBUG)
    quarantine = Quarantine(tmp_path / "held")
    found, _ = run(file, out=out, quarantine=quarantine)
    told = [one.model_dump_json() for one in found]
    with pytest.raises(DataError) as refused:
        score(file, SCRUBBER)
    captured = capfd.readouterr()
    elsewhere = [*told, str(refused.value), repr(refused.value), caplog.text, captured.out, captured.err]
    for path in tmp_path.rglob("*"):
        if path.is_file() and path != file and not path.name.endswith(".row.json"):
            elsewhere += [str(path), path.read_bytes().decode("utf-8", "replace")]
    for canary in canaries:
        assert not [text for text in elsewhere if canary in text]
