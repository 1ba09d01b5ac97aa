from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from realm.core.errors import DataError
from realm.corpus.document import Document
from realm.corpus.source import SOURCES, Item
from realm.corpus.tally import Tally
from realm.corpus.texts.formula import read_formula
from realm.corpus.texts.sections import sections, subject

FORMULA = """\
formula = "ship"
version = 2
description = "Ship it"
[vars.target]
required = true
[[steps]]
id = "build"
title = "Build"
[[steps]]
id = "test"
title = "Test"
needs = ["build"]
"""


def read(path: Path, tally: Tally | None = None, **more: object) -> list[Document]:
    tally = tally or Tally()
    made = SOURCES.build({"kind": "documents", "name": "docs", "path": path, **more})
    return [document for item in list(made.items(tally)) for document in made.read(item, tally)]


def counts(tally: Tally) -> dict[str, int]:
    return {reason.reason: reason.count for reason in tally.reasons()}


def test_a_convention_is_cut_into_sections_with_subject_and_version(tmp_path: Path) -> None:
    path = tmp_path / "CLAUDE.md"
    path.write_text(
        "# My Project\n\nIntro.\n\n## Testing\n\n### Unit *tests*!\nRun `make test`.\n\n## Style\nShort.\n"
        "## Style\nAgain.\n"
    )
    os.utime(path, (1_700_000_000, 1_700_000_000))
    tally = Tally()
    documents = read(tmp_path, tally)
    assert [(document.id, document.fields["subject"]) for document in documents] == [
        ("CLAUDE.md#claude", "claude"),
        ("CLAUDE.md#testing/unit-tests", "testing/unit-tests"),
        ("CLAUDE.md#style", "style"),
        ("CLAUDE.md#style~2", "style"),
    ]
    unit = documents[1]
    assert unit.text == "### Unit *tests*!\nRun `make test`."
    assert unit.fields["headings"] == ["My Project", "Testing", "Unit *tests*!"]
    assert unit.fields["version"] == datetime.fromtimestamp(1_700_000_000, UTC).isoformat()
    assert (unit.origin.first_line, unit.origin.last_line) == (7, 8)
    assert unit.fields["convention"] == "instructions"
    assert unit.group == "CLAUDE.md"
    assert counts(tally) == {"a heading without a text of its own": 1}


def test_headings_are_told_from_what_only_looks_like_them() -> None:
    text = (
        "---\ntitle: x\n# no\n---\nbefore\n\n```sh\n# no\n```\n~~~\n# no\n```\n~~~\n<!--\n# no\n-->\n"
        "#no\n####### no\n    # no\n\n# yes #\na\n\nAlso yes\n===\nb\n\nparagraph\nof two\n---\n- item\n---\n"
        "\nLast\n---\nc\n"
    )
    assert [section.headings for section in sections(text)] == [
        (),
        ("yes",),
        ("Also yes",),
        ("Also yes", "Last"),
    ]
    assert sections("") == []
    assert sections("\n\n") == []
    assert subject(("**Bold** [link](http://x)", "⚡ Go!")) == "bold-link/go"


def _git(folder: Path, *arguments: str, when: str = "2026-01-05T00:00:00Z") -> None:
    environment = {**os.environ, "GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when}
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        env=environment,
    )


def test_the_version_is_the_commit_of_what_was_not_changed_since(tmp_path: Path) -> None:
    folder = tmp_path / "repo" / "sub"
    folder.mkdir(parents=True)
    _git(folder.parent, "init", "-q")
    (folder / "AGENTS.md").write_text("# A\nx\n")
    (folder / "ümlaut.md").write_text("# B\ny\n")
    _git(folder.parent, "add", ".")
    _git(folder.parent, "commit", "-q", "-m", "first", when="2026-01-05T00:00:00Z")
    (folder / "ümlaut.md").write_text("# B\nz\n")
    _git(folder.parent, "commit", "-q", "-am", "second", when="2026-02-05T00:00:00Z")
    (folder / "new.md").write_text("# C\nn\n")
    versions = {document.origin.path: document for document in read(folder)}
    assert versions["AGENTS.md"].fields["version"] == "2026-01-05T00:00:00+00:00"
    assert versions["ümlaut.md"].fields["version"] == "2026-02-05T00:00:00+00:00"
    assert len(versions["AGENTS.md"].origin.commit or "") == 40
    assert versions["new.md"].origin.commit is None
    (folder / "AGENTS.md").write_text("# A\nchanged\n")
    changed = {document.origin.path: document for document in read(folder)}["AGENTS.md"]
    assert changed.origin.commit is None
    assert changed.fields["version"] > "2026-02-05"
    assert read(folder / "ümlaut.md")[0].fields["version"] == "2026-02-05T00:00:00+00:00"


def _sign_last_commit(folder: Path) -> None:
    """Give the last commit a signature, so that showing it would run the program that checks it."""
    raw = subprocess.run(["git", "cat-file", "commit", "HEAD"], cwd=folder, check=True, capture_output=True)
    head, blank, message = raw.stdout.partition(b"\n\n")
    mark = b"-----%s PGP SIGNATURE-----"
    signature = b"\ngpgsig " + mark % b"BEGIN" + b"\n \n x\n " + mark % b"END"
    written = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=folder,
        check=True,
        capture_output=True,
        input=head + signature + blank + message,
    )
    _git(folder, "update-ref", "HEAD", written.stdout.decode().strip())


def test_a_hostile_repository_runs_nothing(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    (tmp_path / "a.md").write_text("# A\nx\n")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    _sign_last_commit(tmp_path)
    canary = tmp_path / "canary"
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    for key, value in {
        "log.showSignature": "true",
        "gpg.program": str(program),
        "core.fsmonitor": str(program),
        "core.pager": str(program),
        "pager.log": str(program),
        "diff.external": str(program),
        "filter.x.clean": str(program),
    }.items():
        _git(tmp_path, "config", key, value)
    (tmp_path / ".gitattributes").write_text("*.md filter=x\n")
    assert read(tmp_path)[0].origin.commit
    assert not canary.exists()


def test_formulas_are_whole_and_others_are_counted(tmp_path: Path) -> None:
    (tmp_path / "formulas").mkdir()
    (tmp_path / "formulas" / "ship.formula.toml").write_text(FORMULA)
    (tmp_path / "formulas" / "old.toml").write_text('[formula]\nname = "x"\n')
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert document.language == "toml"
    assert document.text == FORMULA
    assert document.fields["subject"] == "formula/ship"
    assert document.fields["formula"] == {
        "name": "ship",
        "type": "workflow",
        "version": 2,
        "variables": ["target"],
        "parts": {"build": [], "test": ["build"]},
    }
    assert counts(tally) == {"not a formula: a [formula] table where a name belongs": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("formula = ", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
        ("version = 1", "no `formula` name"),
        ('formula = "x"\ntype = "composition"', "a type other than"),
        ('formula = "x"', "a type other than"),
        ('formula = "x"\nversion = "1"', "a version"),
        ('formula = "x"\ntype = "convoy"\n[[steps]]\nid = "a"', "a convoy without its parts"),
        ('formula = "x"\n[variables]\na = 1', "[variables] table"),
        ('formula = "x"\n[steps.a]\ntitle = "t"', "[steps.NAME]"),
        ('formula = "x"\n[[steps]]\ntitle = "t"', "a part without an id"),
        ('formula = "x"\n[[steps]]\nid = "a"\n[[steps]]\nid = "a"', "an id given twice"),
        ('formula = "x"\n[[steps]]\nid = "a"\nneeds = ["b"]', "that is not there"),
        ('formula = "x"\n[[steps]]\nid = "a"\nneeds = "b"', "no list of ids"),
        ('formula = "x"\n[[steps]]\nid = "a"\nneeds = ["b"]\n[[steps]]\nid = "b"\nneeds = ["a"]', "circle"),
        ('formula = "x"\nvars = 1\n[[steps]]\nid = "a"', "vars"),
    ],
)
def test_what_is_wrong_with_a_formula_is_one_of_a_few_reasons(text: str, reason: str) -> None:
    with pytest.raises(DataError) as refused:
        read_formula(text)
    assert reason in refused.value.reason


def test_only_documents_of_a_sane_size_are_taken(tmp_path: Path) -> None:
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "README.md").write_text("# no\nx\n")
    (tmp_path / "big.md").write_text("# no\n" + "x" * 100)
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "role.md.tmpl").write_text("# Role\n{{ .Name }}\n")
    (tmp_path / "bad.md").write_bytes(b"# \xff\n")
    made = SOURCES.build({"kind": "documents", "name": "d", "path": tmp_path, "max_file_bytes": 50})
    tally = Tally()
    items = list(made.items(tally))
    assert [item.key for item in items] == ["bad.md", "role.md.tmpl"]
    assert counts(tally) == {"a document larger than the limit": 1}
    with pytest.raises(DataError, match=r"bad\.md: not UTF-8"):
        list(made.read(items[0], tally))
    [document] = made.read(items[1], tally)
    assert document.fields["convention"] == "template"
    (tmp_path / "role.md.tmpl").write_text("x" * 60)
    with pytest.raises(DataError, match="grew"):
        list(made.read(Item(key="role.md.tmpl", fingerprint=""), tally))
    assert read(tmp_path / "bad.md", instructions_only=True) == []


def test_instructions_only_leaves_specs_out(tmp_path: Path) -> None:
    (tmp_path / "CLAUDE.md").write_text("be short\n")
    (tmp_path / "spec.md").write_text("a spec\n")
    assert [document.origin.path for document in read(tmp_path, instructions_only=True)] == ["CLAUDE.md"]
    assert len(read(tmp_path)) == 2
