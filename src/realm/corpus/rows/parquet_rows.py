"""Rows of a Parquet file, a batch at a time, as plain JSON values.

Nested lists, structs and maps become lists and objects. A null field is left out, because a struct
cannot say that it has none. Times become ISO 8601 text; columns of bytes (images, audio) and of other
types without a JSON form are left out and named.
Not covered: the C++ reader itself. A file made to break it ends the process that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from realm.core.errors import DataError, MissingExtraError
from realm.core.text import printable
from realm.corpus.files import lines

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 256
_GROUP_BYTES = 2_000_000_000
"""Largest row group, uncompressed."""
_THRIFT = 100_000_000
"""Bytes of one text and entries of one list in the file's description."""


class Table(NamedTuple):
    """An opened file."""

    left_out: tuple[str, ...]
    """Columns that have no JSON form."""
    rows: Iterator[dict[str, Any]]


def table(file: BinaryIO) -> Table:
    """Open a Parquet file. Raises DataError (without a file's name) for one that cannot be read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError(
            "reading Parquet needs pyarrow", hint="install the corpus extra: pip install 'realm-lab[corpus]'"
        ) from None
    try:
        opened = pq.ParquetFile(
            file, pre_buffer=False, thrift_string_size_limit=_THRIFT, thrift_container_size_limit=_THRIFT
        )
        _refuse_size(opened.metadata)
        schema = opened.schema_arrow
        kept = [field.name for field in schema if _has_json_form(field.type)]
        left_out = tuple(field.name for field in schema if field.name not in set(kept))
        if len(set(schema.names)) != len(schema.names):
            raise lines.refusal("a column occurs twice")
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _unreadable(error) from None
    return Table(left_out, _rows(opened, kept))


def _rows(opened: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    batches = opened.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
            rows = batch.to_pylist(maps_as_pydicts="strict") if batch is not None else None
        except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
            raise _unreadable(error) from None
        if rows is None:
            return
        for row in rows:
            yield _plain(row)


def _unreadable(error: Exception) -> DataError:
    return lines.refusal(f"not readable as Parquet: {printable(str(error))}")


def _refuse_size(metadata: Any) -> None:
    for index in range(metadata.num_row_groups):
        if metadata.row_group(index).total_byte_size > _GROUP_BYTES:
            raise lines.refusal(
                f"a row group of more than {_GROUP_BYTES:,} bytes", "write it with smaller row groups"
            )


def _has_json_form(kind: pa.DataType) -> bool:
    """Tell whether values of a type are, or become, JSON values."""
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return _has_json_form(kind.value_type)
    if t.is_map(kind):
        return t.is_string(kind.key_type) and _has_json_form(kind.item_type)
    if t.is_struct(kind):
        return all(_has_json_form(kind.field(index).type) for index in range(kind.num_fields))
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        return _has_json_form(kind.value_type)
    text = t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind)
    number = t.is_integer(kind) or t.is_floating(kind)
    moment = t.is_date(kind) or (t.is_timestamp(kind) and kind.unit != "ns")
    return bool(text or number or moment or t.is_boolean(kind) or t.is_null(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat()
