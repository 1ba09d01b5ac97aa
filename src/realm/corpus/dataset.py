"""Datasets as they lie in a folder: `rows.jsonl` and `dataset.json`.

A dataset holds no time of its own, so the same rows under the same name give the same bytes and with
them the same content name. `dataset.json` is written last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from realm.core.config import first_problem
from realm.core.errors import CorruptError, DataError, NotFoundError, StorageError
from realm.core.records import Example, Record, Sha256
from realm.corpus import specs

ROWS = "rows.jsonl"
INFO = "dataset.json"


class SourceFile(Record):
    """The file a dataset was made from."""

    origin: str
    """How it came in, such as `inbox:<name>`."""
    file: str
    sha256: Sha256
    bytes: int


class DatasetInfo(Record):
    """The content of `dataset.json`."""

    format: Literal[1] = 1
    name: str
    spec: str
    rows: int
    source: SourceFile | None
    """None where the rows were generated here."""
    generator: dict[str, Any] | None
    """Who generated the rows, with version and parameters, as far as it is known."""
    scrub: dict[str, Any] | None = None
    """What the scrubber did; None where no search for secrets has run: export and publication refuse that."""
    build: dict[str, Any] | None = None
    """What it was built of and how; None where it was not built from collections."""
    created_by: str


def write_examples(
    examples: Iterable[Example],
    out: Path,
    *,
    name: str,
    spec: str,
    generator: dict[str, Any],
    scrub: dict[str, Any] | None = None,
    build: dict[str, Any] | None = None,
) -> DatasetInfo:
    """Write generated examples as a dataset in the folder `out`.

    `scrub` and `build` tell of the dataset that they were chosen from, where there is one. Raises DataError,
    naming the row, for one that the spec forbids and where there are none.
    """
    if spec not in specs.SPECS:
        raise NotFoundError(f"no spec is called {spec!r}", hint=f"there are: {', '.join(specs.SPECS)}")
    count = 0
    with RowWriter(out) as rows:
        for count, example in enumerate(examples, 1):
            try:
                specs.verify(spec, example)
            except DataError as error:
                raise DataError(error.reason, file=name, line=count, hint=error.hint) from None
            rows.write(example)
        if not count:
            raise DataError("no rows were generated", file=name)
        return rows.finish(
            DatasetInfo(
                name=name,
                spec=spec,
                rows=count,
                source=None,
                generator=generator,
                scrub=scrub,
                build=build,
                created_by=program_version(),
            )
        )


def read_examples(path: Path) -> Iterator[Example]:
    """Yield the rows of a dataset's folder, or of its `rows.jsonl`, one at a time.

    Raises NotFoundError where there is none and CorruptError for a line that no dataset holds.
    """
    rows = path / ROWS if path.is_dir() else path
    if not rows.is_file():
        raise NotFoundError(f"{rows}: no such dataset")
    with rows.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield Example.model_validate_json(line)
            except ValidationError as error:
                reason = first_problem(error)
                raise CorruptError(f"{rows}:{number}: not a row of a dataset: {reason}") from None


def read_info(folder: Path) -> DatasetInfo:
    """Read a dataset's `dataset.json`."""
    try:
        return DatasetInfo.model_validate_json((folder / INFO).read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"{folder}: no dataset (no {INFO})") from None
    except ValidationError as error:
        reason = first_problem(error)
        raise CorruptError(f"{folder / INFO}: not the description of a dataset: {reason}") from None


class RowWriter:
    """Write rows, then the description; take the rows away again when something fails."""

    def __init__(self, out: Path) -> None:
        self.folder = out
        self.count = 0
        """Rows written."""

    def __enter__(self) -> RowWriter:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / ROWS).open("wb", buffering=1 << 20)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def write(self, example: Example) -> None:
        """Add one row."""
        row = example.model_dump_json(exclude_defaults=True).encode() + b"\n"
        try:
            self._file.write(row)
        except OSError as error:
            raise self._failed(error) from error
        self.count += 1

    def finish(self, info: DatasetInfo) -> DatasetInfo:
        """Close the rows and write the description behind them."""
        try:
            self._file.close()
            (self.folder / INFO).write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise self._failed(error) from error
        return info

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._discard()

    def _discard(self) -> None:
        with suppress(OSError):  # a full disk refuses the rest of the buffer once more
            self._file.close()
        (self.folder / INFO).unlink(missing_ok=True)
        (self.folder / ROWS).unlink(missing_ok=True)

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.folder}: not writable: {error.strerror}", hint="free some space and try again"
        )


def program_version() -> str:
    """Return what a dataset says it was made by."""
    return f"realm-lab {version('realm-lab')}"
