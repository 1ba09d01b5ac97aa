"""Rows written as Parquet: typed columns, row groups of bounded size, never more than one in memory.

Tags become the struct `tags`, a field each, where a name is plain and its values are of one type. All other
tags of a row stand in `other_tags` as a JSON object. `tag_columns` looks through the rows for that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from realm.core.errors import MissingExtraError, StorageError
from realm.core.records import Example
from realm.corpus.rows.writing import OTHER_TAGS, ShapeName, Written, columns_of

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS = 10_000
GROUP_BYTES = 32 << 20
"""Of text; the rows of a group are held until it is written."""

_COLUMNS = 100
"""Most names of tags that become columns."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INT64 = 1 << 63


class TagColumns:
    """Learn from the rows which tags can be columns."""

    def __init__(self) -> None:
        self._types: dict[str, type[str] | type[int] | None] = {}

    def see(self, example: Example) -> None:
        """Look at the next row's tags."""
        for name, value in example.tags.items():
            found: type[str] | type[int] | None = str if isinstance(value, str) else int
            if isinstance(value, int) and not -_INT64 <= value < _INT64:
                found = None
            if name in self._types:
                self._types[name] = found if found is self._types[name] else None
            elif len(self._types) < _COLUMNS and _NAME.fullmatch(name):
                self._types[name] = found

    def columns(self) -> dict[str, type[str] | type[int]]:
        """Return names and types, by name."""
        return {name: kind for name, kind in sorted(self._types.items()) if kind is not None}


class ParquetWriter:
    """Write rows of one shape and form into one file; use as a context."""

    def __init__(
        self,
        path: Path,
        shape: ShapeName,
        spec: str,
        tags: Mapping[str, type[str] | type[int]],
    ) -> None:
        """`spec` is the dataset's. Raises MissingExtraError without pyarrow."""
        self._path = path
        self._tags = frozenset(tags)
        self._schema = _schema(shape, spec, tags)
        self._group: list[Written] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        try:
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        except OSError as error:
            raise self._failed(error) from error
        return self

    def write(self, row: Written, size_bytes: int) -> None:
        """Add a row of about so many bytes."""
        self._group.append(self._parted(row))
        self._bytes += size_bytes
        if len(self._group) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _parted(self, row: Written) -> Written:
        if "tags" not in row:
            return row
        columns = {name: value for name, value in row["tags"].items() if name in self._tags}
        others = {name: value for name, value in row["tags"].items() if name not in self._tags}
        row = {**row, "tags": columns or None}
        return {**row, OTHER_TAGS: json.dumps(others, ensure_ascii=False)} if others else row

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._group:
            return
        try:
            self._writer.write_table(pa.Table.from_pylist(self._group, schema=self._schema))
        except OSError as error:
            raise self._failed(error) from error
        self._group, self._bytes = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with suppress(OSError):  # a full disk refuses the end of the file once more
                self._writer.close()
            return
        try:
            self._flush()
            self._writer.close()
        except OSError as failed:
            raise self._failed(failed) from failed

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self._path}: not writable: {error.strerror or error}", hint="free some space and try again"
        )


def _schema(shape: ShapeName, spec: str, tags: Mapping[str, type[str] | type[int]]) -> pa.Schema:
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError(
            "writing Parquet needs pyarrow", hint="install the corpus extra: pip install 'realm-lab[corpus]'"
        ) from None
    text = pa.string()
    turns = pa.list_(pa.struct([("role", text), ("content", text), ("weight", pa.float64())]))
    speech = pa.struct([("from", text), ("value", text)])
    endings: Any = {"realm": turns, "sharegpt": speech}.get(shape, text)
    types: dict[str, pa.DataType] = {
        "messages": turns,
        "prompt": turns,
        "chosen": endings,
        "rejected": endings,
        "input": pa.struct([("messages", turns)]),
        "preferred_output": turns,
        "non_preferred_output": turns,
        "conversations": pa.list_(speech),
        "history": pa.list_(pa.list_(text)),
        "weight": pa.float64(),
        "tags": pa.struct([(name, text if kind is str else pa.int64()) for name, kind in tags.items()]),
    }
    wanted = [key for key in columns_of(shape, spec, "parquet") if key != "tags" or tags]
    return pa.schema([(key, types.get(key, text)) for key in wanted])
