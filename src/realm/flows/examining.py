"""Hold a file's rows against the checks that a build would run, without taking it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from realm.core.records import Example, Record
from realm.corpus.check import Context, Depth
from realm.corpus.document import Origin
from realm.corpus.examining.examine import Examination, Examiner, checks_of
from realm.corpus.intake import FileReport, Progress, check
from realm.corpus.shaper import Row

_SOURCE = "file"


class FileExamination(Record):
    """What a look at every row of a file found."""

    file: FileReport
    depth: Depth
    examination: Examination


def examine_file(
    path: Path, depth: Depth, context: Context, configs: Iterable[Any], progress: Progress | None = None
) -> FileExamination:
    """Show every row of a file to the checks down to a depth; `configs` are settings of single ones.

    Raises DataError for a file that the inbox would refuse.
    """
    with TemporaryDirectory(prefix="realm-check-") as scratch:
        examiner = Examiner(checks_of(depth, configs), context.model_copy(update={"scratch": Path(scratch)}))
        count = 0

        def take(example: Example) -> None:
            nonlocal count
            count += 1
            examiner.see(_row(example, path.name, count))

        report = check(path, progress=progress, take=take)
        return FileExamination(file=report, depth=depth, examination=examiner.end())


def _row(example: Example, name: str, number: int) -> Row:
    return Row(
        example=example,
        origin=Origin(source=_SOURCE, kind=_SOURCE),
        document=f"row {number}",
        shaper="as_is@0",
        group=f"{name}/{number}",
    )
