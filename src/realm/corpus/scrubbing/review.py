"""Rows and documents in doubt: held until a person decides; and a sample of passed ones for inspection.

The quarantine is the only place that keeps what was not scrubbed. It is a folder that only its owner
may read, with one file a row, named by keyed digests, so that no name gives a secret away.

A document belongs to one reading of its item, and is pending until that reading is published as a whole:
a collection that was interrupted goes on with it. Once the item has been read anew, what an earlier reading
held is void.
"""

from __future__ import annotations

import json
import os
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from realm.core.errors import CorruptError, NotFoundError
from realm.core.records import Name, Record
from realm.core.seeds import fraction
from realm.core.text import printable
from realm.corpus.scrubbing.decisions import Decision, Decisions, flush_private, write_private
from realm.corpus.scrubbing.finding import Finding
from realm.corpus.scrubbing.strings import places_of
from realm.storage.durable import fsync_dir

DECISIONS = "decisions.json"
_SUFFIX = ".row.json"
_PENDING = ".pending.json"
_ROW, _DOCUMENT, _READING, _SOURCE = 32, 16, 16, 8
"""Hex digits of names: of a row; and of a document's three parts, one behind the other."""
_AROUND = 60


class Reading(Record):
    """Where a document was read."""

    source: Name
    item: str
    document: str
    """Its id, as it came."""
    before: str | None
    """Fingerprint of the item's last published reading when this one held it; None where there was none."""


class Held(Record):
    """A row or document that waits, as it came."""

    where: str
    """File and line, or source and document. Shows nothing that was found."""
    value: Any
    """The JSON value that was scrubbed; unscrubbed."""
    findings: tuple[Finding, ...]
    reading: Reading | None = None
    """Of a document; None for a row of a file."""


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
    """What is in doubt and what was decided about it, in one folder."""

    def __init__(self, folder: Path, decisions: Path | None = None) -> None:
        """`decisions` names the file of decisions where it does not lie in the folder."""
        self.folder = folder
        self.decisions = Decisions(decisions or folder / DECISIONS)
        self._unflushed: list[Path] = []

    # --- in -------------------------------------------------------------------------------

    def hold(self, where: str, value: Any, findings: Iterable[Finding]) -> str | None:
        """Keep a row until it is decided; its id, or None where it was dropped once and for all.

        The same row is held once. Raises StorageError when it cannot be written.
        """
        if self._dropped(value):
            return None
        row = self.decisions.digest(_content(value))[:_ROW]
        path = self._path(row)
        if not path.exists():
            _write(path, Held(where=printable(where, 300), value=value, findings=tuple(findings)))
        return row

    def hold_document(
        self, reading: Reading, where: str, value: Any, findings: Iterable[Finding]
    ) -> str | None:
        """Keep a document of a reading that is not published yet; None where it was dropped for good.

        Returns its pending name; it waits from `settle` on. Durable from the next `flush` on, which comes
        before its reading is published. Raises StorageError when it cannot be written.
        """
        if self._dropped(value):
            return None
        name = self._tag(reading.document, digits=_DOCUMENT) + self._tag(reading.item, digits=_READING)
        name += self._of(reading.source)
        path = self.folder / (name + _PENDING)
        _write(path, Held(where=where, value=value, findings=tuple(findings), reading=reading), durable=False)
        self._unflushed.append(path)
        return name

    def flush(self) -> None:
        """Make durable what was held."""
        flush_private(self._unflushed)
        self._unflushed.clear()

    def hold_again(self, row: str, findings: Iterable[Finding]) -> None:
        """Give a held row the findings that are left of it."""
        _write(self._path(row), self.held(row).model_copy(update={"findings": tuple(findings)}))

    def pending(self, source: str) -> dict[str, Reading]:
        """Return what belongs to readings that were not published when it was held, by pending name."""
        if not self.folder.is_dir():
            return {}
        found: dict[str, Reading] = {}
        for path in self._files(f"*{self._of(source)}{_PENDING}"):
            try:
                reading = _read(path).reading
            except CorruptError:  # a power cut before `flush`: its reading was not published
                path.unlink(missing_ok=True)
                continue
            if reading is not None:
                found[path.name.removesuffix(_PENDING)] = reading
        return found

    def forget(self, pending: str) -> None:
        """Remove what belongs to a reading that never will be published."""
        (self.folder / (pending + _PENDING)).unlink(missing_ok=True)

    def settle(self, source: str, readings: Mapping[str, str]) -> None:
        """Let the documents of published readings wait, and remove those whose reading is void.

        `readings` has the fingerprint of each item's published reading. Nobody else may collect from
        the source meanwhile.
        """
        if not self.folder.is_dir():
            return
        for name, reading in self.pending(source).items():
            now = readings.get(reading.item)
            if now is not None and now != reading.before:
                row = self._tag(reading.document, digits=_DOCUMENT) + self._read_at(reading.item, now)
                (self.folder / (name + _PENDING)).rename(self._path(row + self._of(source)))
        valid = {self._read_at(item, fingerprint) for item, fingerprint in readings.items()}
        for row in self.waiting(source):
            if row[_DOCUMENT : _DOCUMENT + _READING] not in valid:
                self.remove(row)
        for path in self._files(".*.part"):
            if not _lives(path):
                path.unlink(missing_ok=True)
        fsync_dir(self.folder)

    # --- questions and answers ------------------------------------------------------------

    def waiting(self, source: str | None = None) -> list[str]:
        """Return the ids of what waits, of one source or all."""
        if not self.folder.is_dir():
            return []
        end = _SUFFIX if source is None else self._of(source) + _SUFFIX
        rows = (path.name.removesuffix(_SUFFIX) for path in self._files(f"*{end}"))
        return sorted(row for row in rows if source is None or len(row) != _ROW)

    def held(self, row: str) -> Held:
        """Return what waits under an id. Raises NotFoundError and CorruptError."""
        return _read(self._path(row))

    def questions(self, row: str, high: float) -> list[Question]:
        """Return what is undecided in a row, each value once."""
        held = self.held(row)
        asked: dict[str, Question] = {}
        for finding in held.findings:
            if finding.confidence >= high:
                continue
            text = string_at(held.value, finding.where)
            value = text[finding.start : finding.end]
            if value in asked or self.decisions.of(value.encode("utf-8", "surrogatepass")):
                continue
            asked[value] = Question(
                row=row,
                where=f"{held.where} {finding.where}".strip(),
                kind=finding.kind,
                confidence=finding.confidence,
                before=text[max(0, finding.start - _AROUND) : finding.start],
                value=value,
                after=text[finding.end : finding.end + _AROUND],
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
        self.decisions.remember({_content(self.held(row).value): Decision.DROP_ROW})
        self.remove(row)

    def remove(self, row: str) -> None:
        """Forget a row that was decided and taken on, or dropped."""
        self._path(row).unlink(missing_ok=True)

    # --- names ----------------------------------------------------------------------------

    def _files(self, pattern: str) -> list[Path]:
        return list(self.folder.glob(pattern))

    def _dropped(self, value: Any) -> bool:
        return self.decisions.of(_content(value)) is Decision.DROP_ROW

    def _path(self, row: str) -> Path:
        if not (row.isascii() and row.isalnum()):
            raise NotFoundError(f"{printable(row, 40)}: no id of a row", hint="realm data review --list")
        return self.folder / f"{row}{_SUFFIX}"

    def _of(self, source: str) -> str:
        return self._tag("source", source, digits=_SOURCE)

    def _read_at(self, item: str, fingerprint: str) -> str:
        return self._tag(item, fingerprint, digits=_READING)

    def _tag(self, *parts: str, digits: int) -> str:
        return self.decisions.digest(_content(parts))[:digits]


def string_at(value: Any, pointer: str) -> str:
    """Return the string of a value that a finding names. Raises NotFoundError where there is none."""
    found = next(places_of(value, pointer), None)
    if found is not None:
        return found
    raise NotFoundError(f"{printable(pointer, 80)}: no such string in the row")


def _content(value: Any) -> bytes:
    """Write a value in one form, also where it holds what no JSON does: NaN, halves of characters."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _write(path: Path, held: Held, *, durable: bool = True) -> None:
    # As it came: pydantic would turn NaN into null, and a dropped row would not be known again.
    content = held.model_dump(mode="json", exclude={"value"}) | {"value": held.value}
    write_private(path, json.dumps(content).encode(), durable=durable)


def _read(path: Path) -> Held:
    row = path.name.removesuffix(_SUFFIX)
    try:
        return Held.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise NotFoundError(
            f"{printable(row, 40)}: no such row waits", hint="realm data review --list"
        ) from None
    except (ValueError, ValidationError):
        raise CorruptError(f"{printable(row, 40)}: not a held row", hint="remove the file") from None


def _lives(part: Path) -> bool:
    """Tell whether the process that writes a file is still there; its number stands in the name."""
    number = part.name.removesuffix(".part").rpartition(".")[2]
    try:
        os.kill(int(number), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


class Sample:
    """A share of the passed rows, kept to look for what was missed."""

    def __init__(self, file: Path, share: float, seed: int, most: int) -> None:
        """Keep `share` (0 to 1) of the rows, at most `most`; which ones depends on the seed and ids alone."""
        self._file, self._share, self._seed, self._most = file, share, seed, most
        self._rows: list[tuple[float, str, str]] = []

    def takes(self, row: str) -> bool:
        """Tell whether a row would be kept, as far as is known by now."""
        return self._place(row) < self._limit()

    def offer(self, row: str, value: Any) -> None:
        """Maybe keep a scrubbed row, known by its id, in place of one that is farther from the seed."""
        place = self._place(row)
        if place >= self._limit():
            return
        text = json.dumps({"row": row, "value": value}, ensure_ascii=False)
        insort(self._rows, (place, row, text))
        del self._rows[self._most :]

    def write(self) -> None:
        """Write what was kept, readable by its owner only. Raises StorageError."""
        lines = "".join(f"{text}\n" for _, _, text in self._rows)
        write_private(self._file, lines.encode("utf-8", "surrogatepass"))

    @property
    def rows(self) -> int:
        """How many are kept."""
        return len(self._rows)

    def _place(self, row: str) -> float:
        return fraction("scrub/sample", self._seed, row)

    def _limit(self) -> float:
        return self._rows[-1][0] if self._rows and len(self._rows) >= self._most else self._share


def sampled(file: Path) -> Iterator[Any]:
    """Yield the rows of a sample."""
    with file.open(encoding="utf-8", errors="surrogatepass") as lines:
        yield from (json.loads(line) for line in lines)
