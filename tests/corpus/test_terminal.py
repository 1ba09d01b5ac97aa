from __future__ import annotations

from pathlib import Path

import pytest

from realm.corpus.agents.panes import Seam, pane_of, unwrapped
from realm.corpus.agents.prompts import command_in, exchanges
from realm.corpus.agents.screen import KEPT, clean, width
from realm.corpus.document import Document
from realm.corpus.source import SOURCES, Source
from realm.corpus.tally import Tally

ESC = "\x1b"


def shown(text: str) -> list[str]:
    return list(clean(text.splitlines(keepends=True)))


def source(path: Path, **more: object) -> Source:
    return SOURCES.build({"kind": "terminal", "name": "panes", "path": path, **more})


def read(path: Path, tally: Tally | None = None, **more: object) -> list[Document]:
    tally = tally or Tally()
    made = source(path, **more)
    return [document for item in list(made.items(tally)) for document in made.read(item, tally)]


def counts(tally: Tally) -> dict[str, int]:
    return {reason.reason: reason.count for reason in tally.reasons()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ESC}[1;31mred{ESC}[0m plain", ["red plain"]),
        (f"{ESC}]0;title\x07a{ESC}]8;;http://x{ESC}\\link{ESC}]8;;{ESC}\\", ["alink"]),
        (f"{ESC}P1$r0m{ESC}\\a{ESC}_apc{ESC}\\b{ESC}(Bc{ESC}=d", ["abcd"]),
        ("\x9b31mred\x9d0;t\x9cx", ["redx"]),
        ("10%\r50%\r100%\ndone", ["100%", "done"]),
        ("longer line\rshort", ["shortr line"]),
        (f"longer line\r{ESC}[Kshort", ["short"]),
        ("passwx\b \bord", ["password"]),
        ("a\tb", ["a       b"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        (f"a: 0\nb: 0\n{ESC}[2Aa: 1\n{ESC}[Kb: 1\n", ["a: 1", "b: 1"]),
        (f"old{ESC}[2J{ESC}[Hnew", ["old", "new"]),
        (f"abc{ESC}[2Dx{ESC}[3Gy", ["axy"]),
        (f"one\ntwo{ESC}[1A{ESC}[2Kx", ["   x", "two"]),
        ("bell\x07 null\x00", ["bell null"]),
        (f"open {ESC}]0;never closed\nnext", ["open"]),
        (f"cut {ESC}[", ["cut"]),
        ("", []),
        ("\n\nx", ["", "", "x"]),
    ],
)
def test_output_becomes_the_lines_a_person_saw(text: str, expected: list[str]) -> None:
    assert shown(text) == expected


def test_a_long_log_is_cleaned_with_few_lines_held() -> None:
    lines = shown("".join(f"line {number}\n" for number in range(5_000)))
    assert lines == [f"line {number}" for number in range(5_000)]
    far = shown("x\n" * (KEPT * 2) + f"{ESC}[9999Aup\n")
    assert far.count("up") == 1
    assert len(far) >= KEPT * 2
    assert far[:KEPT] == ["x"] * KEPT


def test_wrapped_lines_are_joined_by_the_width_of_the_pane() -> None:
    assert list(unwrapped(["12345", "67", "ab", "日本x", "y"], 5)) == ["1234567", "ab", "日本xy"]
    assert width("e\u0301日") == 3


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("user@host:~/code$ git status", "git status"),
        ("[user@host code]$ ls -l", "ls -l"),
        ("root@abc:/# apt list", "apt list"),
        ("(venv) user@host:~$ pytest", "pytest"),
        ("bash-5.2$ ls", "ls"),
        ("$ gt prime", "gt prime"),
        ("❯ make", "make"),
        ("➜  realm git:(main) ✗ git diff", "git diff"),
        ("~/code $ ls", "ls"),
        ("user@host:~$ ", ""),
        ("# Heading", ""),
        ("> quoted", ""),
        ("100% done", ""),
        ("costs $ 5", ""),
        ("mail me@example.com for more", ""),
        ("x" * 6000, ""),
    ],
)
def test_prompts_are_told_from_other_lines(line: str, command: str) -> None:
    assert command_in(line) == command


def test_commands_and_output_are_pairs() -> None:
    lines = ["welcome", "$ ls", "a", "b", "", "$ true", "$ echo \\", "> hi", "hi"]
    assert [(one.command, one.output, one.first_line, one.last_line) for one in exchanges(lines)] == [
        ("", "welcome", 1, 1),
        ("ls", "a\nb", 2, 5),
        ("true", "", 6, 6),
        ("echo \\\nhi", "hi", 7, 9),
    ]


def test_each_command_is_a_text_with_its_output(tmp_path: Path) -> None:
    (tmp_path / "work.log").write_text(f"{ESC}[32muser@host{ESC}[0m:~$ ls\r\na.py\r\nuser@host:~$ true\r\n")
    tally = Tally()
    [document] = read(tmp_path, tally)
    assert document.text == "$ ls\na.py"
    assert document.fields == {"command": "ls", "output": "a.py", "pane": "work"}
    assert (document.id, document.group) == ("work.log#1", "work")
    assert (document.origin.first_line, document.origin.last_line) == (1, 2)
    assert document.tags == {"task": "terminal"}
    assert counts(tally) == {"a command without output": 1}


def test_priming_texts_know_their_role(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("$ gt prime\n\n# Polecat Context\n\nYou work alone.\n$ ls\nx\n")
    (tmp_path / "b.txt").write_text("# Mayor Context\n\nYou file and sling.\n")
    first, other, second = read(tmp_path)
    assert (first.tags["task"], first.tags["role"]) == ("priming", "polecat")
    assert first.text == "# Polecat Context\n\nYou work alone."
    assert first.fields["subject"] == "priming/polecat"
    assert other.tags["task"] == "terminal"
    assert (second.tags["task"], second.tags["role"], second.language) == ("priming", "mayor", "markdown")


def test_what_captures_share_is_taken_once(tmp_path: Path) -> None:
    lines = [f"$ echo {number}\nout {number}\n" for number in range(20)]
    (tmp_path / "gt-mayor-20260101-1200.log").write_text("".join(lines[:10]))
    (tmp_path / "gt-mayor-20260101-1201.log").write_text("".join(lines[5:15]))
    (tmp_path / "gt-mayor-20260101-1202.log").write_text("".join(lines[7:12]))
    (tmp_path / "gt-mayor-20260101-1203.log").write_text("".join(lines[12:]))
    (tmp_path / "gt-witness-1.log").write_text("".join(lines[:3]))
    tally = Tally()
    documents = read(tmp_path, tally)
    mayor = [document for document in documents if document.group == "gt-mayor"]
    assert [document.fields["output"] for document in mayor] == [f"out {number}" for number in range(20)]
    assert len({document.id for document in documents}) == 23
    assert mayor[10].origin.path == "gt-mayor-20260101-1201.log"
    assert mayor[10].origin.first_line == 11
    assert counts(tally) == {"lines of an earlier capture": 10 + 10 + 6}


def test_chance_and_blank_lines_make_no_seam() -> None:
    seam = Seam()
    assert seam.fresh(["a", "b", "$", ""]) == ["a", "b", "$", ""]
    assert seam.fresh(["$", "", "c"]) == ["$", "", "c"]
    assert seam.fresh(["", "", "", ""]) == ["", "", "", ""]


def test_captures_of_a_pane_share_its_name() -> None:
    assert pane_of("a/gt-mayor-20260101T120000Z.log") == pane_of("a/gt-mayor.2.log") == "a/gt-mayor"
    assert pane_of("a/gt-mayor.log") == "a/gt-mayor"
    assert pane_of("b/gt-mayor.log") != pane_of("a/gt-mayor.log")
    assert pane_of("2026.log") == "2026.log"


def test_bytes_and_lengths_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"$ cat x\n\xff\xfe bytes\n" + b"y" * 3_000_000 + b"\n$ ls\nz\n")
    tally = Tally()
    first, second = read(tmp_path, tally, max_output_chars=1000)
    assert len(first.fields["output"]) == 1000
    assert second.fields["output"] == "z"
    assert counts(tally) == {"a line that is not UTF-8": 1, "an output was cut": 1}


def test_a_pane_changes_with_any_of_its_captures(tmp_path: Path) -> None:
    (tmp_path / "p-1.log").write_text("$ a\nb\n")
    made = source(tmp_path)
    [before] = made.items(Tally())
    (tmp_path / "p-2.log").write_text("$ c\nd\n")
    [after] = made.items(Tally())
    assert (before.key, before.fingerprint != after.fingerprint) == (after.key, True)
