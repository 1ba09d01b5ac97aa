"""Rows in doubt: held until a person decides; and a sample of passed rows for inspection.

The quarantine is the only place that keeps what was not scrubbed. It is a folder that only its owner
may read, with one file a row, named by a keyed digest, so that no name gives a secret away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from realm.core.errors import CorruptError, NotFoundError
from realm.core.hashing import canonical_json
from realm.core.records import Record
from realm.core.seeds import fraction
from realm.core.text import printable
from realm.corpus.scrubbing.decisions import Decision, Decisions, write_private
from realm.corpus.scrubbing.finding import Finding
from realm.corpus.scrubbing.strings import places_of

DECISIONS = "decisions.json"
_SUFFIX = ".row.json"
_AROUND = 60


class Held(Record):
    """A row that waits, as it came."""

    where: str
    """File and line, or source and document."""
    value: Any
    """The JSON value that was scrubbed; unscrubbed."""
    findings: tuple[Finding, ...]


class Question(Record):
    """One finding as it is put to a person. Shows the value: for their eyes alone."""

    row: str
    """Id of the held row."""
    where: str
    kind: str
    confidence: float
    before: str
    value: str
    after: str


class Quarantine:
    """Rows in doubt and what was decided about them, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.decisions = Decisions(folder / DECISIONS)

    def hold(self, where: str, value: Any, findings: Iterable[Finding]) -> str | None:
        """Keep a row until it is decided; its id, or None where it was dropped once and for all.

        The same row is held once. Raises StorageError when it cannot be written.
        """
        content = canonical_json(value).encode("utf-8", "surrogatepass")
        if self.decisions.of(content) is Decision.DROP_ROW:
            return None
        row = self.decisions.digest(content)[:32]
        path = self._path(row)
        if not path.exists():
            held = Held(where=printable(where, 300), value=value, findings=tuple(findings))
            write_private(path, json.dumps(held.model_dump(mode="json")).encode())
        return row

    def waiting(self) -> list[str]:
        """Return the ids of the rows that wait."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name.removesuffix(_SUFFIX) for path in self.folder.glob(f"*{_SUFFIX}"))

    def held(self, row: str) -> Held:
        """Return a row that waits. Raises NotFoundError and CorruptError."""
        try:
            return Held.model_validate(json.loads(self._path(row).read_bytes()))
        except FileNotFoundError:
            raise NotFoundError(
                f"{printable(row, 40)}: no such row waits", hint="realm data review"
            ) from None
        except (ValueError, ValidationError):
            raise CorruptError(f"{printable(row, 40)}: not a held row", hint="remove the file") from None

    def questions(self, row: str, high: float) -> list[Question]:
        """Return what is undecided in a row, each value once."""
        held = self.held(row)
        asked: dict[str, Question] = {}
        for finding in held.findings:
            text = string_at(held.value, finding.where)
            value = text[finding.start : finding.end]
            if finding.confidence >= high or self.decisions.of(value.encode("utf-8", "surrogatepass")):
                continue
            asked.setdefault(
                value,
                Question(
                    row=row,
                    where=f"{held.where} {finding.where}".strip(),
                    kind=finding.kind,
                    confidence=finding.confidence,
                    before=text[max(0, finding.start - _AROUND) : finding.start],
                    value=value,
                    after=text[finding.end : finding.end + _AROUND],
                ),
            )
        return list(asked.values())

    def decide(self, decisions: Mapping[str, Decision]) -> None:
        """Remember what was said of values; every later scrubbing follows it.

        Rows stay until they are released or dropped. Raises StorageError.
        """
        self.decisions.remember(
            {value.encode("utf-8", "surrogatepass"): decision for value, decision in decisions.items()}
        )

    def drop(self, row: str) -> None:
        """Leave a row out for good: it is removed, and not held again."""
        content = canonical_json(self.held(row).value).encode("utf-8", "surrogatepass")
        self.decisions.remember({content: Decision.DROP_ROW})
        self.remove(row)

    def remove(self, row: str) -> None:
        """Forget a row that was decided and taken on, or dropped."""
        self._path(row).unlink(missing_ok=True)

    def _path(self, row: str) -> Path:
        if not (row.isascii() and row.isalnum()):
            raise NotFoundError(f"{printable(row, 40)}: no id of a row", hint="realm data review")
        return self.folder / f"{row}{_SUFFIX}"


def string_at(value: Any, pointer: str) -> str:
    """Return the string of a value that a finding names. Raises NotFoundError where there is none."""
    found = next(places_of(value, pointer), None)
    if found is not None:
        return found
    raise NotFoundError(f"{printable(pointer, 80)}: no such string in the row")


class Sample:
    """A share of the passed rows, kept to look for what was missed."""

    def __init__(self, file: Path, share: float, seed: int, most: int) -> None:
        """Keep `share` (0 to 1) of the rows, at most `most`; which ones depends on the seed and ids alone."""
        self._file, self._share, self._seed, self._most = file, share, seed, most
        self._rows: list[str] = []

    def offer(self, row: str, value: Any) -> None:
        """Maybe keep a scrubbed row, known by its id."""
        if len(self._rows) < self._most and fraction("scrub/sample", self._seed, row) < self._share:
            self._rows.append(json.dumps({"row": row, "value": value}, ensure_ascii=False))

    def write(self) -> None:
        """Write what was kept, readable by its owner only. Raises StorageError."""
        write_private(self._file, "".join(f"{row}\n" for row in self._rows).encode("utf-8", "surrogatepass"))


def sampled(file: Path) -> Iterator[Any]:
    """Yield the rows of a sample."""
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)
