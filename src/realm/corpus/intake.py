"""Check a file of rows, and write datasets: `rows.jsonl` and `dataset.json` in one folder.

A dataset holds no time of its own, so the same file under the same name gives the same bytes and
with them the same content name. `dataset.json` is written last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from realm.core.config import Config
from realm.core.errors import DataError, StorageError
from realm.core.hashing import PREFIX
from realm.core.records import Example, Record, Sha256
from realm.core.text import printable
from realm.corpus import specs
from realm.corpus.dataset import DatasetInfo, RowWriter, SourceFile, program_version
from realm.corpus.files import lines
from realm.corpus.files.sidecar import Sidecar, read_sidecar

_PROBLEMS = 20
_PROGRESS_BYTES = 4 << 20

Progress = Callable[[int, int], None]
"""Takes the bytes read and the bytes in all, every 4 MiB and at the end."""
Take = Callable[[Example], None]


class Limits(Config):
    """Bounds on a file from outside."""

    file_bytes: int = 2_000_000_000
    """Largest file, bytes."""
    line_bytes: int = 16_000_000
    """Longest line without its end, bytes; never more than this is held."""
    json_depth: int = 64
    """Deepest nesting of objects and lists in a row."""
    max_rows: int = 2_000_000
    """Most rows; finding duplicates holds about 100 bytes a row in memory."""


DEFAULT_LIMITS = Limits()


class Problem(Record):
    """One reason why a file is refused."""

    line: int | None
    """From 1; None where the file as a whole is meant."""
    reason: str
    hint: str = ""


class FileReport(Record):
    """What a look through a whole file found."""

    file: str
    spec: str
    """Empty where no row fitted any spec."""
    rows: int
    bytes: int
    sha256: Sha256
    messages: int
    """Turns of all chats."""
    duplicates: int
    """Rows whose line occurred before, byte for byte. They are counted and kept."""
    generator: dict[str, Any] | None = None
    """From the sidecar, without its time."""
    problems: tuple[Problem, ...] = ()
    """The first 20; empty when the file may be taken."""

    def refuse(self) -> None:
        """Raise DataError with the first problem and the count, where there is one."""
        if not self.problems:
            return
        first, others = self.problems[0], self.problems[1:]
        least = "at least " if len(self.problems) >= _PROBLEMS else ""
        more = f" ({least}{len(others)} more bad lines: {_listed(others)})" if others else ""
        raise DataError(first.reason + more, file=self.file, line=first.line, hint=first.hint)


def check(
    path: Path,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
    take: Take | None = None,
) -> FileReport:
    """Read a whole file and raise DataError, with file, line and reason, unless all of it is good.

    `take` is given every row until the first problem.
    """
    report = _scan(path, limits, progress, take or _drop)
    report.refuse()
    return report


def survey(path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress | None = None) -> FileReport:
    """Read a file and report up to 20 problems of its rows instead of raising the first.

    Raises DataError where the file as a whole cannot be taken: not a regular file, an archive.
    """
    return _scan(path, limits, progress, _drop)


def normalise(
    path: Path, out: Path, *, name: str, source: str, limits: Limits = DEFAULT_LIMITS
) -> DatasetInfo:
    """Turn a file into a dataset in the folder `out`, in one pass. Raises DataError as `check` does.

    Where it raises, it leaves no rows behind.
    """
    with RowWriter(out) as rows:
        report = _scan(path, limits, None, rows.write)
        report.refuse()
        origin = SourceFile(
            origin=printable(source, 300), file=report.file, sha256=report.sha256, bytes=report.bytes
        )
        return rows.finish(
            DatasetInfo(
                name=printable(name, 255),
                spec=report.spec,
                rows=report.rows,
                source=origin,
                generator=report.generator,
                created_by=program_version(),
            )
        )


class _Scan:
    """State of one pass over a file."""

    def __init__(self, limits: Limits, take: Take) -> None:
        self._limits = limits
        self._take = take
        self._digest = hashlib.sha256()
        self._seen: set[bytes] = set()
        self.bytes = 0
        self.rows = 0
        self.messages = 0
        self.spec = ""
        self.problems: list[Problem] = []

    def feed(self, number: int, raw: bytes) -> None:
        """Take one line; keep its problem, if it has one."""
        self.bytes += len(raw)
        self._digest.update(raw)
        line = lines.strip(raw, number)
        if not line:
            return
        self.rows += 1
        try:
            example = self._read(line)
        except DataError as error:
            self.problems.append(Problem(line=number, reason=error.reason, hint=error.hint))
            return
        self.messages += len(example.messages)
        self._seen.add(hashlib.blake2b(line, digest_size=16).digest())
        if not self.problems:
            self._take(example)

    def _read(self, line: bytes) -> Example:
        row = lines.parse(line, self._limits.json_depth)
        spec = self.spec or specs.detect(row)
        example = specs.read_row(spec, row)
        self.spec = spec
        return example

    def report(self, file: str, generator: Sidecar | None) -> FileReport:
        """Sum up."""
        return FileReport(
            file=file,
            spec=self.spec,
            rows=self.rows,
            bytes=self.bytes,
            sha256=PREFIX + self._digest.hexdigest(),
            messages=self.messages,
            duplicates=0 if self.problems else self.rows - len(self._seen),
            generator=generator.provenance() if generator else None,
            problems=tuple(self.problems),
        )


def _scan(path: Path, limits: Limits, progress: Progress | None, take: Take) -> FileReport:
    """Pass over a file once, handing every row to `take` until the first problem."""
    shown = printable(path.name)
    with lines.open_rows(path) as file:
        before = os.fstat(file.fileno())
        if before.st_size > limits.file_bytes:
            raise DataError(
                f"{before.st_size:,} bytes are more than the limit of {limits.file_bytes:,}",
                file=shown,
                hint="split the file",
            )
        generator = read_sidecar(path)
        scan = _Scan(limits, take)
        try:
            _feed(scan, file, limits, before.st_size, progress)
        except DataError as error:
            scan.problems.append(Problem(line=error.line, reason=error.reason, hint=error.hint))
        except OSError as error:
            raise StorageError(f"{shown}: reading failed: {error.strerror}") from error
        after = os.fstat(file.fileno())
    _refuse_whole(scan, generator, changed=_signature(before) != _signature(after))
    return scan.report(shown, generator)


def _feed(scan: _Scan, file: BinaryIO, limits: Limits, total: int, progress: Progress | None) -> None:
    told = 0
    for number, raw in lines.read_lines(file, limits.line_bytes):
        scan.feed(number, raw)
        if scan.rows > limits.max_rows:
            raise lines.refusal(f"more than {limits.max_rows:,} rows", "split the file", number)
        if scan.bytes > limits.file_bytes:
            raise lines.refusal(f"more than {limits.file_bytes:,} bytes", "split the file", number)
        if len(scan.problems) >= _PROBLEMS:
            return
        if progress and scan.bytes - told >= _PROGRESS_BYTES:
            told = scan.bytes
            progress(told, total)
    if progress:
        progress(scan.bytes, total)


def _refuse_whole(scan: _Scan, generator: Sidecar | None, *, changed: bool) -> None:
    """Add the problems that only show at the end of a file."""
    if changed:
        hint = "wait until the copy has ended; best copy to a name with .part at its end, then rename"
        scan.problems.insert(0, Problem(line=None, reason="the file changed while it was read", hint=hint))
    if scan.problems:
        return
    if not scan.rows:
        reason = "only blank lines" if scan.bytes else "the file is empty"
        scan.problems.append(Problem(line=1, reason=reason))
    elif generator and generator.example_count != scan.rows:
        reason = f"{scan.rows:,} rows, but its sidecar counts {generator.example_count:,}"
        scan.problems.append(Problem(line=None, reason=reason, hint="the copy may be incomplete"))


def _signature(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


def _listed(problems: tuple[Problem, ...]) -> str:
    shown = [str(problem.line) for problem in problems[:5]]
    return ", ".join(shown) + (", …" if len(problems) > 5 else "")


def _drop(example: Example) -> None:
    """Take a row of a file that is only looked at."""
