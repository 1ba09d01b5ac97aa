"""A repository gives its written files as documents, whatever else lies in it, and runs nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import ConfigError, DataError, NotFoundError
from realm.corpus.code.languages import LANGUAGES, by_shebang, fenced, language_of
from realm.corpus.document import Document
from realm.corpus.repos import filerules, folderfiles
from realm.corpus.repos.gitclone import protocol_of
from realm.corpus.repos.gitfiles import environment
from realm.corpus.source import Item
from realm.corpus.sources.repo import Repo
from realm.corpus.tally import Tally

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software
The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software."""
CODE = "int main(void) {\n    return 0;\n}\n"


def git(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    argv = ["git", *who, "-c", "init.defaultBranch=main", "-C", str(folder), *command]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment("file")).stdout


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def committed(root: Path, files: dict[str, str | bytes]) -> Path:
    write(root, files)
    git(root, "init", "-q")
    git(root, "add", "-A", "-f")
    git(root, "commit", "-q", "-m", "first")
    return root


def source(location: Path | str, **settings: object) -> Repo:
    return Repo(Repo.Config.model_validate({"name": "lab", "location": str(location), **settings}))


def collect(repo: Repo) -> tuple[dict[str, Document], dict[str, int]]:
    tally = Tally()
    found = {doc.id: doc for item in repo.items(tally) for doc in repo.read(item, tally)}
    return found, {reason.reason: reason.count for reason in tally.reasons()}


FILES: dict[str, str | bytes] = {
    "LICENSE": MIT,
    "src/a.c": CODE,
    "src/own.c": "// SPDX-License-Identifier: Zlib\n" + CODE,
    "README.md": "# Title\n\nWords.\n",
    "settings.toml": "[a]\nb = 1\n",
    "tool": "#!/usr/bin/env python3\nprint(1)\n",
    "notes": "no interpreter\n",
    "font/OFL.ttf": b"\0\1\2",
    "font/LICENSE": "SIL OPEN FONT LICENSE Version 1.1",
    "font/make.lua": "return 1\n",
    "vendor/x/b.c": CODE,
    "made.c": "/* This file was automatically generated. Do not edit. */\n" + CODE,
    "small.min.js": "a()\n",
    "package-lock.json": "{}",
    "wide.js": "var a=" + "1+" * 3000 + "1;\n",
    "nul.c": b"int a;\0",
    "latin.c": b"// caf\xe9\n",
    "blank.c": "\n \n",
    "big.c": CODE * 40_000,
}
REASONS = {
    "licence text": 2, "no known language": 2, "vendored": 1, "generated: it says so": 1,
    "minified": 2, "generated: lock file": 1, "binary or not UTF-8": 2, "empty": 1, "too large": 1,
}  # fmt: skip


@pytest.mark.parametrize("is_git", [True, False])
def test_written_files_are_taken_and_others_counted(tmp_path: Path, is_git: bool) -> None:
    root = committed(tmp_path, FILES) if is_git else write(tmp_path, FILES)
    found, reasons = collect(source(root, tags={"domain": "demo"}, rig="r", contributor="c"))
    licences = {name: doc.origin.licence for name, doc in found.items()}
    assert licences == {
        "README.md": "MIT",
        "font/make.lua": "OFL-1.1",
        "settings.toml": "MIT",
        "src/a.c": "MIT",
        "src/own.c": "Zlib",
        "tool": "MIT",
    }
    assert reasons == REASONS
    doc = found["src/a.c"]
    assert (doc.text, doc.language, doc.group, doc.tags) == (CODE, "c", "src/a.c", {"domain": "demo"})
    head = git(root, "rev-parse", "HEAD").strip() if is_git else None
    assert (doc.origin.commit, doc.origin.first_line, doc.origin.last_line) == (head, 1, 3)
    assert (doc.origin.rig, doc.origin.contributor, doc.origin.kind) == ("r", "c", "repo")
    assert found["tool"].language == "python"


def test_the_person_knows_the_licence_better(tmp_path: Path) -> None:
    found, _ = collect(source(write(tmp_path, FILES), licence="Unlicense"))
    assert {doc.origin.licence for doc in found.values()} == {"Unlicense"}


def test_without_a_licence_file_it_is_unknown(tmp_path: Path) -> None:
    found, _ = collect(source(write(tmp_path, {"a.c": CODE})))
    assert found["a.c"].origin.licence == "unknown"


def test_only_what_is_committed_is_read_at_the_ref(tmp_path: Path) -> None:
    root = committed(tmp_path, {"a.c": CODE, "b.c": CODE})
    git(root, "tag", "v1")
    write(root, {"a.c": CODE + "// more\n"})
    git(root, "commit", "-qam", "second")
    write(root, {"a.c": "int dirty;\n", "untracked.c": CODE})
    now, _ = collect(source(root))
    then, _ = collect(source(root / ".git", ref="v1"))
    assert now["a.c"].text == CODE + "// more\n"
    assert then["a.c"].text == CODE
    assert set(now) == set(then) == {"a.c", "b.c"}
    assert now["a.c"].origin.commit != then["a.c"].origin.commit


def test_fingerprints_change_only_with_content_or_licence(tmp_path: Path) -> None:
    root = committed(tmp_path, {"a.c": CODE, "b.c": CODE})
    repo = source(root)
    first = list(repo.items(Tally()))
    write(root, {"a.c": "int a;\n"})
    git(root, "commit", "-qam", "second")
    second = list(repo.items(Tally()))
    assert [item.key for item in first] == [item.key for item in second] == ["a.c", "b.c"]
    assert first[0].fingerprint != second[0].fingerprint
    assert first[1] == second[1]
    write(root, {"LICENSE": MIT})
    git(root, "add", "LICENSE")
    git(root, "commit", "-qm", "third")
    third = list(repo.items(Tally()))
    assert second[1].fingerprint != third[1].fingerprint
    with pytest.raises(DataError, match="changed since it was listed"):
        list(repo.read(first[0], Tally()))


def test_another_process_reads_an_item_without_listing(tmp_path: Path) -> None:
    root = committed(tmp_path, FILES)
    items = {item.key: item for item in source(root).items(Tally())}
    (doc,) = source(root).read(items["src/a.c"], Tally())
    assert (doc.text, doc.origin.licence) == (CODE, "MIT")


def test_a_missing_blob_is_one_missing_file(tmp_path: Path) -> None:
    root = committed(tmp_path, {"a.c": "int a;\n", "b.c": "int b;\n", "c.c": "int c;\n"})
    oid = git(root, "rev-parse", "HEAD:b.c").strip()
    repo = source(root)
    listed = {item.key: item for item in repo.items(Tally())}
    blob = root / ".git" / "objects" / oid[:2] / oid[2:]
    blob.chmod(0o600)
    blob.unlink()
    found, reasons = collect(source(root))
    assert (set(found), reasons) == ({"a.c", "c.c"}, {"blob missing": 1})
    # It may also go between listing and reading, and the reading goes on.
    fresh = source(root)
    fresh._files, fresh._entries = repo._files, repo._entries
    tally = Tally()
    assert list(fresh.read(listed["b.c"], tally)) == []
    assert tally.total() == 1
    assert len(list(fresh.read(listed["c.c"], tally))) == 1


def test_links_are_not_followed_and_submodules_not_entered(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.c": "int secret;\n"})
    root = write(tmp_path / "root", {"a.c": CODE})
    (root / "link.c").symlink_to(outside / "secret.c")
    (root / "folder").symlink_to(outside)
    found, reasons = collect(source(root))
    assert (set(found), reasons) == ({"a.c"}, {"symbolic link": 2})
    other = committed(tmp_path / "other", {"b.c": CODE})
    committed(root, {})
    head = git(other, "rev-parse", "HEAD").strip()
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{head},sub")
    git(root, "commit", "-qm", "sub")
    found, reasons = collect(source(root))
    assert (set(found), reasons) == ({"a.c"}, {"symbolic link": 2, "submodule": 1})


def test_a_file_swapped_for_a_link_after_listing_is_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.c": "int secret;\n"})
    root = write(tmp_path / "root", {"d/a.c": CODE})
    repo = source(root)
    (item,) = repo.items(Tally())
    (root / "d").rename(root / "gone")
    (root / "d").symlink_to(outside)
    (outside / "a.c").write_text(CODE)
    tally = Tally()
    assert list(repo.read(item, tally)) == []
    assert [reason.reason for reason in tally.reasons()] == ["not readable, or gone"]
    assert folderfiles.read(root, "gone/a.c", 1000) is not None
    (root / "gone" / "link.c").symlink_to(outside / "a.c")
    for path in (
        "d/a.c",
        "gone/link.c",
        "../outside/secret.c",
        "/etc/hostname",
        "gone/../gone/a.c",
        "",
        "gone//a.c",
        "gone/",
    ):
        assert folderfiles.read(root, path, 1000) is None


def test_gitignore_of_plain_folders(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        ".gitignore": "*.log.c\n/build/\nkeep/*\n!keep/this.c\n[z-a]\n\\\n" + "*a" * 40 + "\n",
        "a.c": CODE,
        "x.log.c": CODE,
        "build/b.c": CODE,
        "deep/build/b.c": CODE,
        "deep/.gitignore": "!x.log.c\n",
        "deep/x.log.c": CODE,
        "keep/this.c": CODE,
        "keep/that.c": CODE,
        "a" * 200 + ".c": CODE,
    }
    found, reasons = collect(source(write(tmp_path, files)))
    assert set(found) == {"a.c", "deep/build/b.c", "deep/x.log.c", "keep/this.c", "a" * 200 + ".c"}
    assert reasons["ignored by .gitignore"] == 3


def test_include_exclude_and_languages(tmp_path: Path) -> None:
    root = write(tmp_path, {"src/a.c": CODE, "src/b.lua": "return 1\n", "test/c.c": CODE, "d.c": CODE})
    assert set(collect(source(root, include=["/src/", "/test/"], exclude=["c.c"]))[0]) == {
        "src/a.c",
        "src/b.lua",
    }
    assert set(collect(source(root, languages=["lua"]))[0]) == {"src/b.lua"}
    with pytest.raises(ConfigError, match="no language is called klingon"):
        source(root, languages=["klingon"])


def test_files_that_name_a_vendor_are_left_out(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "a.lua": 'package.path = package.path .. ";data/scripts/lib/?.lua"\n',
            "b.lua": "-- (c) BoxelWare\nreturn 1\n",
            "c.lua": "-- property of ACME\nreturn 2\n",
            "d.lua": "return 3\n",
        },
    )
    assert set(collect(source(root))[0]) == {"a.lua", "b.lua", "c.lua", "d.lua"}
    found, reasons = collect(source(root, filters=["avorion"], leave_out=["Property of acme"]))
    assert set(found) == {"d.lua"}
    assert reasons == {"filtered: avorion": 2, "filtered: a phrase to leave out": 1}


def test_a_url_is_fetched_without_history_and_read_again_when_new(tmp_path: Path) -> None:
    root = committed(tmp_path / "origin", {"a.c": CODE, "LICENSE": MIT})
    write(root, {"a.c": CODE + CODE})
    git(root, "commit", "-qam", "second")
    repo = source(f"file://{root}", cache=tmp_path / "cache")
    found, _ = collect(repo)
    assert found["a.c"].text == CODE + CODE
    (clone,) = (tmp_path / "cache").iterdir()
    assert git(clone, "rev-list", "--count", "HEAD").strip() == "1"
    assert not (clone / "hooks").exists()
    write(root, {"b.c": CODE})
    git(root, "add", "b.c")
    git(root, "commit", "-qm", "third")
    # Reading alone fetches nothing.
    items = list(source(f"file://{root}", cache=tmp_path / "cache", ref="main").items(Tally()))
    assert [item.key for item in items] == ["a.c", "b.c"]
    again = source(f"file://{root}", cache=tmp_path / "cache")
    (doc,) = again.read(repo_item(repo, "a.c"), Tally())
    assert doc.origin.commit == found["a.c"].origin.commit
    assert set(collect(again)[0]) == {"a.c", "b.c"}


def repo_item(repo: Repo, key: str) -> Item:
    entry = repo._entries[key]
    return Item(key=key, fingerprint=entry.fingerprint, size_bytes=entry.size_bytes)


@pytest.mark.parametrize(
    "location",
    [
        "ext::sh -c touch% /tmp/x",
        "http://example.org/a.git",
        "git://example.org/a.git",
        "ftp://example.org/a.git",
        "https://someone:word@example.org/a.git",
        "https://someone@example.org/a.git",
        "ssh://-oProxyCommand=x/a",
        "https://exa mple.org/a",
        "https://[broken/a",
        "file://host/a",
        "https:///a",
        "fd::17",
    ],
)
def test_other_urls_are_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ConfigError) as refused:
        source(location, cache=tmp_path)
    assert "word" not in str(refused.value).partition("→")[0].replace("password", "")


def test_forms_of_urls() -> None:
    assert protocol_of("https://example.org/a.git") == "https"
    assert protocol_of("ssh://git@example.org/a.git") == "ssh"
    assert protocol_of("git@example.org:a/b.git") == "ssh"
    assert protocol_of("file:///srv/a.git") == "file"
    assert protocol_of("folder/of:mine") is None
    assert protocol_of("/srv/a") is None


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    root = committed(tmp_path / "root", {"a.c": CODE})
    with pytest.raises(NotFoundError, match="no such folder"):
        list(source(tmp_path / "none").items(Tally()))
    for ref in ("nope", "--help", "HEAD:a.c"):
        with pytest.raises(NotFoundError):
            list(source(root, ref=ref).items(Tally()))
    with pytest.raises(ConfigError, match="has no refs"):
        list(source(write(tmp_path / "plain", {"a.c": CODE}), ref="v1").items(Tally()))
    with pytest.raises(ConfigError, match="needs a cache"):
        source("https://example.org/a.git")
    with pytest.raises(DataError, match="git failed"):
        list(source(f"file://{tmp_path}/none", cache=tmp_path / "cache").items(Tally()))


def test_a_hostile_repository_runs_nothing(tmp_path: Path) -> None:
    root = committed(tmp_path / "root", {"a.c": CODE, ".gitattributes": "*.c filter=evil\n"})
    canary = tmp_path / "ran"
    script = root / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    script.chmod(0o755)
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {canary}\n")
    hook.chmod(0o755)
    for key in ("filter.evil.smudge", "filter.evil.clean", "core.fsmonitor", "core.sshCommand", "core.pager",
                "remote.origin.uploadpack", "credential.helper", "diff.external"):  # fmt: skip
        git(root, "config", key, str(script))
    git(root, "config", "extensions.partialClone", "origin")
    git(root, "config", "remote.origin.url", f"file://{root}")
    git(root, "config", "remote.origin.promisor", "true")
    oid = git(root, "rev-parse", "HEAD:a.c").strip()
    blob = root / ".git" / "objects" / oid[:2] / oid[2:]
    blob.chmod(0o600)
    blob.unlink()
    found, reasons = collect(source(root))
    assert found == {}
    assert reasons["blob missing"] == 1
    assert not canary.exists()


def test_odd_names_are_counted(tmp_path: Path) -> None:
    names = [b"bad\xff.c", b"new\nline.c", b"bidi\xe2\x80\xae.c", b"good \xc3\xa9.c"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(CODE)
    found, reasons = collect(source(tmp_path))
    assert (set(found), reasons) == ({"good é.c"}, {"odd file name": 3})
    committed(tmp_path, {})
    assert collect(source(tmp_path))[1] == {"odd file name": 3}


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.gd", "", "gdscript"),
        ("a.h", "int a;\n", "c"),
        ("a.h", "namespace a {\n}\n", "cpp"),
        ("dir.d/CMakeLists.txt", "", "cmake"),
        ("run", "#!/bin/bash -e\n", "bash"),
        ("run", "#! /usr/bin/env -S python3.11 -u\n", "python"),
        ("run", "#!/opt/own\n", None),
        (".hidden", "", None),
    ],
)
def test_the_language_of_a_file(path: str, text: str, language: str | None) -> None:
    assert language_of(path, text) == language


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80), st.binary(max_size=400))
def test_any_name_and_bytes_have_an_answer(path: str, content: bytes) -> None:
    text = filerules.decode(content)
    if text is not None:
        language = language_of(path, text)
        assert language is None or language in LANGUAGES
        filerules.text_refusal(text, language)
        by_shebang(text)
        fenced(text)
    filerules.path_refusal(path)
    with contextlib.suppress(ConfigError):
        protocol_of(path + "://" + path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=5), st.text(min_size=1, max_size=40))
def test_any_lines_are_patterns(lines: list[str], path: str) -> None:
    folderfiles.Patterns(lines).says(path)
