"""Terminal logs and captured output: what was done where no session file was kept.

An item is one pane: all captures whose names differ only in the time or number at their end, in the order
of their names. What a capture repeats of the ones before it is taken once. Each command with its output is
a text `$ command` and the output below it, with `fields` {command, output, pane}; the output of `gt prime`
and `bd prime` is a text of its own (task `priming`, the role it primes). What stands before the first
prompt is a text without a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from realm.core.errors import NotFoundError
from realm.core.hashing import hash_json, short
from realm.core.paths import expanded
from realm.core.text import printable
from realm.corpus.agents.panes import Seam, pane_of, unwrapped
from realm.corpus.agents.prompts import Exchange, exchanges
from realm.corpus.agents.screen import clean
from realm.corpus.agents.shell import commands
from realm.corpus.document import Document, Origin
from realm.corpus.files import lines
from realm.corpus.files.folders import Found, walk
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally

_SUFFIXES = (".log", ".txt", ".out", ".ansi", ".typescript", ".capture")
_PIECE_BYTES = 1_000_000
_PRIMERS = frozenset({("gt", "prime"), ("bd", "prime")})
_PRIMED = re.compile(
    r"^# (?P<role>Mayor|Deacon|Boot|Dog|Witness|Refinery|Polecat|Crew)(?: Worker)? Context\b", re.M
)
_CAPTURE_BYTES = 64_000_000
"""Larger captures are read as they are; smaller ones are held to be compared."""


class Terminal:
    """Read terminal logs and captures."""

    version = "1"

    class Config(SourceConfig):
        """Where the logs lie and how wide the panes were."""

        kind: Literal["terminal"] = "terminal"
        path: Path
        """A folder of `.log`, `.txt`, `.out`, `.ansi`, `.typescript`, `.capture` files, or one file."""
        columns: Annotated[int, Field(ge=20)] | None = None
        """Width of the panes: lines that wide go on in the next. None: lines are as they were captured."""
        max_output_chars: Annotated[int, Field(ge=100)] = 50_000
        """Longest output of a command; more is cut at its end."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._path = expanded(config.path)

    def items(self, tally: Tally) -> Iterator[Item]:
        """List panes. Raises NotFoundError where there is no such folder."""
        for pane, captures in self._panes(tally).items():
            yield Item(
                key=pane,
                fingerprint=short(hash_json([[found.key, found.fingerprint] for found in captures])),
                size_bytes=sum(found.size_bytes for found in captures),
            )

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield one document a command, in order."""
        captures = self._panes(Tally()).get(item.key)
        if captures is None:
            raise NotFoundError(f"{printable(item.key)}: no pane of this source")
        seam = Seam() if len(captures) > 1 else None
        for found in captures:
            fresh, offset = self._fresh(found, seam, tally)
            for exchange in exchanges(fresh):
                document = self._document(exchange, offset, found, item.key, tally)
                if document:
                    yield document

    def folders(self) -> tuple[Path, ...]:
        """Return where to listen for new lines."""
        return (self._path.parent if self._path.is_file() else self._path,)

    def _panes(self, tally: Tally) -> dict[str, list[Found]]:
        panes: dict[str, list[Found]] = {}
        for found in walk(self._path, tally):
            if found.path == self._path or found.key.lower().endswith(_SUFFIXES):
                panes.setdefault(pane_of(found.key), []).append(found)
        return panes

    def _fresh(self, found: Found, seam: Seam | None, tally: Tally) -> tuple[Iterable[str], int]:
        """Return the lines that no earlier capture had, and how many lines stood before them."""
        if seam is None:
            return self._lines(found, tally), 0
        if found.size_bytes > _CAPTURE_BYTES:
            tally.add("a capture too large to compare with others", found.key)
            return self._lines(found, tally), 0
        seen = list(self._lines(found, tally))
        fresh = seam.fresh(seen)
        if len(fresh) < len(seen):
            tally.add("lines of an earlier capture", found.key, len(seen) - len(fresh))
        return fresh, len(seen) - len(fresh)

    def _lines(self, found: Found, tally: Tally) -> Iterator[str]:
        cleaned = clean(_pieces(found, tally))
        return unwrapped(cleaned, self.config.columns) if self.config.columns else cleaned

    def _document(
        self, exchange: Exchange, offset: int, found: Found, pane: str, tally: Tally
    ) -> Document | None:
        first, last = exchange.first_line + offset, exchange.last_line + offset
        place = f"{found.key}:{first}"
        if not exchange.output:
            tally.add("a command without output", place)
            return None
        output = exchange.output[: self.config.max_output_chars]
        if exchange.cut or len(output) < len(exchange.output):
            tally.add("an output was cut", place)
        fields, tags = self._kind(exchange.command, output)
        shown = (
            f"$ {exchange.command}\n{output}" if exchange.command and tags["task"] != "priming" else output
        )
        return Document(
            id=f"{found.key[-400:]}#{first}",
            form="text",
            text=shown,
            language="markdown" if tags["task"] == "priming" else None,
            fields={**fields, "output": output, "pane": pane},
            tags={**tags, **self.config.tags},
            group=pane,
            origin=Origin(
                source=self.config.name,
                kind=self.config.kind,
                path=found.key,
                first_line=first,
                last_line=last,
                rig=self.config.rig,
                contributor=self.config.contributor,
                licence=self.config.licence or "unknown",
                made_by="mixed",
            ),
        )

    def _kind(self, command: str, output: str) -> tuple[dict[str, Any], dict[str, str | int]]:
        """Return fields and tags: a priming text says which role it primes."""
        primed = _PRIMED.search(output[:5_000])
        asked = any(one.words[:2] in _PRIMERS for one in commands(command))
        if asked or (primed and not command):
            role = primed["role"].lower() if primed else None
            subject = f"priming/{role or 'unknown'}"
            tags: dict[str, str | int] = {"task": "priming", **({"role": role} if role else {})}
            return {"command": command, "subject": subject, "convention": "priming"}, tags
        return {"command": command}, {"task": "terminal"}


def _pieces(found: Found, tally: Tally) -> Iterator[str]:
    """Yield a file's lines as text; bytes that are no UTF-8 are replaced and counted."""
    with lines.open_regular(found.path) as file:
        number = 0
        while raw := file.readline(_PIECE_BYTES):
            number += 1
            text = raw.decode("utf-8", "replace")
            if "\ufffd" in text and b"\xef\xbf\xbd" not in raw:
                tally.add("a line that is not UTF-8", f"{found.key}:{number}")
            yield text
