"""JSON Lines of other tools, read for what is good in them: a bad line is counted, the rest is taken.

`lines` refuses a file for one bad line, because its author can mend it. A live session or an old export
cannot be mended: its last line may be half written, one line may hold half a character.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from realm.core.errors import DataError
from realm.corpus.files import lines
from realm.corpus.tally import Tally

LINE_BYTES = 16_000_000
JSON_DEPTH = 64
_FIRST_YEAR, _LAST_YEAR = 1971, 9998


def read_objects(path: Path, tally: Tally, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers (from 1) and objects; count every line that is left out.

    Raises DataError and NotFoundError as `lines.open_regular` does. Never holds more than one line of
    16 MB; the rest of a longer one is passed over.
    """
    with lines.open_regular(path) as file:
        number = 0
        while raw := file.readline(LINE_BYTES + 1):
            number += 1
            place = f"{where}:{number}"
            whole = raw.endswith(b"\n")
            if len(raw) > LINE_BYTES:
                while not whole and (rest := file.readline(1 << 20)):
                    whole = rest.endswith(b"\n")
                tally.add("a line of more than 16 MB", place)
                continue
            text = lines.strip(raw, number)
            if not text:
                continue
            try:
                value = lines.parse(text, JSON_DEPTH)
            except DataError:
                tally.add("a line that is not strict JSON" if whole else "a half-written last line", place)
                continue
            yield number, value


def text_of(row: dict[str, Any], key: str) -> str:
    """Return a row's string, empty where there is none."""
    value = row.get(key)
    return value if isinstance(value, str) else ""


def utc(value: object) -> datetime | None:
    """Return an ISO 8601 time as UTC (without a zone: taken as UTC), None where it is none or absurd."""
    if not isinstance(value, str) or not 10 <= len(value) <= 40:
        return None
    try:
        time = datetime.fromisoformat(value)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return time if _FIRST_YEAR <= time.year <= _LAST_YEAR else None
