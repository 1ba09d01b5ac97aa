"""Inputs made to make a parser slow: each is read in a time that its length allows.

They run in a process of their own under a limit of CPU time several times what they need, so that a step
whose cost grows with the square of its input ends the process, whatever else the machine does.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from realm.core.errors import DataError, NotFoundError
from realm.corpus.agents.panes import unwrapped
from realm.corpus.agents.prompts import exchanges
from realm.corpus.agents.screen import clean
from realm.corpus.agents.shell import commands
from realm.corpus.agents.townlog import read_daemon_line, read_town_line
from realm.corpus.code.comments import prose
from realm.corpus.code.markdown import blocks
from realm.corpus.repos.licences import declared, detect
from realm.corpus.rows.detection import describe
from realm.corpus.scrub import Scrubber
from realm.corpus.scrubbing import finder
from realm.corpus.source import SOURCES
from realm.corpus.tally import Tally
from realm.corpus.texts.encoding import damage
from realm.corpus.texts.formula import read_formula
from realm.corpus.texts.sections import sections

CPU_S = 40
RULE_BYTES = 20_000
TEXT_BYTES = 100_000
FILE_BYTES = 300_000

UNITS = (
    "password=", "password: '", "token = \"", "sk-sk-", "eyJ.", "a@", "a@b.", "1.1.", "1:1:", "+1 234 ",
    "4 4 4 ", "-----BEGIN PRIVATE" + " KEY-----\n", '\\"', "AAAA" * 8, "x=1a2b" * 9, "'+'", '"\n"', "%40",
    "\\u0041", "&amp;", "kind: secret\n", "kind: secret\n---\n", "machine a login ",
    "machine a\nlogin b\n", "://u:", "://", "?key=", "is is is ", "the password is ", "a:1:b:c:", "-u a:",
    "mysql ", "mysql -p", "curl -u ", "<password>", "<a ", "name: x\nvalue: ", "key='a' ", "ngrok ",
    "wandb ", "discord ", "okta ", "jenkins ", "sumo ", "aws_secret_", "Authorization: ", "Bearer ",
    "bundle_a", "identified by ", "create user ", "echo a", "/home/", "C:\\Users\\", "DE00 ", "a1b2c3d4",
    "1a.", "/a1b2c3/", "=" * 9, "{" * 9, "(" * 9, " " * 80, "\n" * 80, "\t", "`" * 9, "~" * 9, "# ", "- ",
    "* ", "> ", "| a |", "<!--", "```\n", "[a](", "![", "[[", "]]", "[a]\n", "a = [", "''' ", '""" ',
    "//", "/*", "/**\n", "--[[", "##\n", "\x1b[", "\x1b]", "\r", "\b", "$ ", "<<E\n", "\\\n", "(c) ",
    "Copyright ", "SPDX-License-Identifier: ", "MIT ", "é", "\u0301", "Convoy ", "[spawn] ",
    "<SECRET:password:1>", "aB3$xYz9Q ",
)  # fmt: skip
BEGINNINGS = {
    "a.jsonl": (
        "[",
        "{",
        '{"a":',
        '"',
        '{"messages":[',
        '{"text":"',
        "9",
        " ",
        "\\",
        '{"text":"x"}',
        "\n",
        "null,",
    ),
    "a.json": ("[", "{", '{"a":', "[[],", '[{"a":1},', '"', "1,", "[1", " ", '{"mapping":{'),
    "a.csv": ('"', '""', ",", "a,", "\n", '",', '"\n', "prompt,completion\n", "\r"),
    "a.parquet": ("PAR1", "\x00", "\x15\x04"),
}
"""Of files, repeated to their length."""


def near_misses(pattern: str) -> Iterator[str]:
    """Write texts that begin as a pattern wants and then break off, over and over."""
    plain = re.sub(r"\(\?[a-z]*:?|[()]|\\b|\^|\$", "", pattern.split("|")[0])
    drawn = "aB3dE5gH7jK9mN1pQ2sT4vW6yZ8"
    value = ""
    for one in re.finditer(
        r"\[(\^?)([^\]]+)\](?:\{(\d+)[^}]*\}|([*+?]))?|\\x..|\\(.)|([^\\\[\](){}|^$?*+.])", plain
    ):
        if one[2]:
            with suppress(re.error):
                letters = [c for c in drawn + " .~=+/-_%" if re.match(f"[{one[1]}{one[2]}]", c)]
                value += "".join((letters * 50)[: int(one[3] or 1)])
        else:
            value += {"s": " ", "n": "\n", "t": "\t"}.get(one[5] or "", one[5] or one[6] or "")
    for unit in (value, value[: len(value) * 3 // 4], value[: len(value) // 2]):
        if unit:
            yield unit


def of_rules() -> None:
    scrubber = Scrubber()
    for rule in finder.all_rules(("email", "ip", "phone", "card", "iban", "home")):
        for unit in near_misses(rule.pattern):
            scrubber.scrub_text(unit * (RULE_BYTES // len(unit)))


def of_engines() -> None:
    scrubbers = [Scrubber(Scrubber.Config(engine=engine)) for engine in ("hyperscan", "re2")]
    for unit in UNITS:
        text = unit * (TEXT_BYTES // len(unit.encode()))
        assert len({scrubber.scrub_text(text) for scrubber in scrubbers}) == 1
    many = "".join(f'password = "{number * 7919:x}aB3$x{number:x}"\n' for number in range(20_000))
    keys = {f"password aB3$x{number:x}q": {"db_password": f"zK9#{number:x}w"} for number in range(2_000)}
    scrubbers[0].scrub_text("kind: secret\n" * 8_000 + "data:\n" + " a: aGVsbG8gd29ybGQ=\n" * 4_000)
    scrubbers[0].scrub_text(many)
    scrubbers[0].scrub_text(scrubbers[0].scrub_text(many).text + many)
    scrubbers[0].scrub_value(keys)
    deep: object = "x"
    for _ in range(900):
        deep = {"a": [deep]}
    scrubbers[0].scrub_value(deep)


def of_texts() -> None:
    readers: tuple[Callable[[str], object], ...] = (
        sections,
        lambda text: list(blocks(text)),
        lambda text: prose(text, "python"),
        detect,
        declared,
        damage,
        read_town_line,
        read_daemon_line,
        lambda text: commands(text[:8_000]),
        lambda text: list(exchanges(unwrapped(list(clean(text.splitlines(keepends=True))), 80))),
        lambda text: read_formula(text[:50_000]),
    )
    for unit in UNITS:
        text = unit * (TEXT_BYTES // len(unit.encode()))
        for read in readers:
            with suppress(DataError):
                read(text)


def read_all(kind: str, folder: Path) -> None:
    made = SOURCES.build({"kind": kind, "name": "hostile", "path": str(folder)})
    tally = Tally()
    for item in list(made.items(tally)):
        with suppress(DataError):
            for _ in made.read(item, tally):
                pass


def of_files() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, beginnings in BEGINNINGS.items():
            for unit in beginnings:
                file = Path(folder) / name
                file.write_bytes((unit * (FILE_BYTES // len(unit))).encode("latin-1"))
                for kind in ("chat_jsonl", "conversations", "inbox", "claude_code", "beads", "events"):
                    with suppress(DataError, NotFoundError):
                        read_all(kind, Path(folder))
                with suppress(DataError):
                    describe(file)
                file.unlink()


PARTS = {"rules": of_rules, "engines": of_engines, "texts": of_texts, "files": of_files}


@pytest.mark.parametrize("part", PARTS)
def test_no_input_costs_more_than_its_length_allows(part: str) -> None:
    done = subprocess.run([sys.executable, __file__, part], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:] or f"ended by signal {-done.returncode}"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    PARTS[sys.argv[1]]()
