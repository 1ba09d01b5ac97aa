"""Print one thing two ways: a JSON document, or text for a person."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from realm.core.errors import RealmError
from realm.core.text import printable


def plain(value: Any) -> Any:
    """Turn records, times and tuples into JSON values."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def print_json(value: Any) -> None:
    """Write exactly one JSON document to standard output."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, indent=2) + "\n")


@contextmanager
def json_array() -> Iterator[Callable[[Any], None]]:
    """Write one JSON array to standard output, item by item as they come; closed also by Ctrl-C."""
    written = 0

    def item(value: Any) -> None:
        nonlocal written
        sys.stdout.write((",\n" if written else "\n") + json.dumps(plain(value), ensure_ascii=False))
        sys.stdout.flush()
        written += 1

    sys.stdout.write("[")
    try:
        yield item
    finally:
        sys.stdout.write("\n]\n")


def print_line(text: str) -> None:
    """Write one line of text for a person."""
    sys.stdout.write(text + "\n")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Write a table, or what to do when there is nothing to show."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    body = [[escape(printable(str(cell), limit=80)) for cell in row] for row in rows]
    if not body:
        print_line(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in body:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)


def print_error(error: RealmError, *, as_json: bool) -> None:
    """Write one block to standard error: what happened and what to do next."""
    if as_json:
        document = {"error": type(error).__name__, "what": error.what, "hint": error.hint}
        sys.stderr.write(json.dumps(document, ensure_ascii=False) + "\n")
    else:
        lines = f"realm: {error}".split("\n")
        sys.stderr.write("".join(printable(line, limit=len(line)) + "\n" for line in lines))


def ago(moment: datetime | None, now: datetime) -> str:
    """Write how long ago something was, such as `3 min`."""
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
