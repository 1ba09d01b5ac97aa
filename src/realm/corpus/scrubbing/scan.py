"""Scrub a whole file: what was found in which row, and the rows that may go on."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from realm.core.errors import StorageError
from realm.core.records import Record
from realm.core.text import printable
from realm.corpus.scrub import Scrubber
from realm.corpus.scrubbing.finding import Finding, Verdict
from realm.corpus.scrubbing.review import Quarantine
from realm.corpus.scrubbing.rowfile import blocks, holds_rows, rows


class RowFinding(Record):
    """A finding and its row. Holds no content."""

    row: int
    """From 0: of JSON lines those that are not blank, of other files the line."""
    kind: str
    start: int
    """In characters of the string looked at: the string at `field`, or the line."""
    end: int
    confidence: float
    field: str = ""
    """JSON pointer of the string, empty where the row is a string itself."""


class Totals(Record):
    """How many rows a file had, and what became of them."""

    rows: int
    replaced: int
    quarantined: int
    clean: int


Told = Callable[[RowFinding], None]


def scan(
    file: Path,
    scrubber: Scrubber,
    told: Told,
    *,
    out: Path | None = None,
    quarantine: Quarantine | None = None,
) -> Totals:
    """Scrub every row of a file; tell each finding as it comes.

    `out` gets the clean and the replaced rows, written whole or not at all; rows in doubt go to the
    quarantine, or are left out. Raises DataError, NotFoundError and StorageError.
    """
    verdicts: Counter[Verdict] = Counter()
    reader = _Reader(file, scrubber, told, quarantine)
    with _written(out) as write:
        for verdict, line in reader.of_rows() if holds_rows(file) else reader.of_text():
            verdicts[verdict] += 1
            if line is not None:
                write(line + "\n")
    return Totals(
        rows=verdicts.total(),
        replaced=verdicts[Verdict.REPLACED],
        quarantined=verdicts[Verdict.QUARANTINED],
        clean=verdicts[Verdict.CLEAN],
    )


Outcome = tuple[Verdict, str | None]
"""What became of a row, and what is written for it; None where nothing is."""


class _Reader:
    def __init__(self, file: Path, scrubber: Scrubber, told: Told, quarantine: Quarantine | None) -> None:
        self._file, self._scrubber, self._told, self._quarantine = file, scrubber, told, quarantine

    def of_rows(self) -> Iterator[Outcome]:
        for row in rows(self._file):
            result = self._scrubber.scrub_value(row.value)
            self._tell(row.number, row.line, row.value, result.findings, result.verdict)
            held = result.verdict is Verdict.QUARANTINED
            yield result.verdict, None if held else json.dumps(result.value, ensure_ascii=False)

    def of_text(self) -> Iterator[Outcome]:
        for block in blocks(self._file):
            findings = self._scrubber.scrub_text(block.text).findings
            lines = block.text.removesuffix("\n").split("\n")
            yield from self._of_lines(lines, block.first_line, findings)

    def _of_lines(self, lines: list[str], first: int, findings: tuple[Finding, ...]) -> Iterator[Outcome]:
        """Lines that one finding spans share one verdict, told with their first."""
        number = begin = taken = 0
        while number < len(lines):
            last, end, own = number, begin + len(lines[number]) + 1, list[Finding]()
            while taken < len(findings) and findings[taken].start < end:
                own.append(findings[taken])
                taken += 1
                while end < own[-1].end and last + 1 < len(lines):
                    last += 1
                    end += len(lines[last]) + 1
            yield from self._of_group(lines[number : last + 1], first + number, _moved(own, begin))
            number, begin = last + 1, end

    def _of_group(self, lines: list[str], row: int, own: tuple[Finding, ...]) -> Iterator[Outcome]:
        if not own:
            yield Verdict.CLEAN, lines[0]
            return
        text = "\n".join(lines)
        result = self._scrubber.replaced(text, own)
        self._tell(row, row + 1, text, own, result.verdict)
        yield result.verdict, None if result.verdict is Verdict.QUARANTINED else result.text
        yield from ((result.verdict, None) for _ in lines[1:])

    def _tell(self, row: int, line: int, value: Any, findings: tuple[Finding, ...], verdict: Verdict) -> None:
        for one in findings:
            self._told(
                RowFinding(
                    row=row,
                    kind=one.kind,
                    start=one.start,
                    end=one.end,
                    confidence=one.confidence,
                    field=one.where,
                )
            )
        if verdict is Verdict.QUARANTINED and self._quarantine is not None:
            self._quarantine.hold(f"{self._file.name}:{line}", value, findings)


def _moved(findings: list[Finding], by: int) -> tuple[Finding, ...]:
    return tuple(one.model_copy(update={"start": one.start - by, "end": one.end - by}) for one in findings)


@contextmanager
def _written(out: Path | None) -> Iterator[Callable[[str], object]]:
    """Give a place to write to; the file appears under its name when all is written."""
    if out is None:
        yield lambda _line: None
        return
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        part.rename(out)
    except OSError as error:
        raise StorageError(f"{printable(out.name)}: not written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
