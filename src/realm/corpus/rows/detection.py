"""Which shape the rows of a file have, found by looking at its beginning, and said with the reason.

The file is of the shape that most of its first rows fit, the earlier one in `SHAPES` on a tie. Rows of
another shape further on are counted, never bent into the file's shape.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from realm.core.errors import DataError
from realm.core.records import Record
from realm.core.text import printable
from realm.corpus.files.lines import quoted
from realm.corpus.rows.shapes import SHAPES
from realm.corpus.rows.tables import Numbered, read_rows, suffix_of
from realm.corpus.tally import Tally

SAMPLE_ROWS = 100
_SAMPLE_CHARS = 16_000_000
_KEYS_SHOWN = 8

_ELSEWHERE: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"mapping"}), "conversations"),
    (frozenset({"create_time", "update_time", "messages"}), "conversations"),
    (frozenset({"parentUuid", "sessionId"}), "claude_code"),
    (frozenset({"issue_type", "status"}), "beads"),
    (frozenset({"issue_id", "event_type"}), "beads"),
    (frozenset({"issue_id", "depends_on_id"}), "beads"),
    (frozenset({"ts", "actor", "type"}), "events"),
)
"""Rows that another kind of source reads, by the keys that show it."""


class Detected(Record):
    """What a file was taken for, and why."""

    file: str
    format: str
    """The suffix that it was read by."""
    shape: str
    """A name in `SHAPES`."""
    rows_sampled: int
    others: tuple[tuple[str, int], ...]
    """Sampled rows of other shapes, most frequent first; `` where they fit none."""
    why: str
    keys: tuple[str, ...]
    """Of the first row of that shape, safe to show."""


class Sorter:
    """Tell the shape of rows, remembering what the same keys meant before."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], tuple[str, ...]] = {}

    def shape_of(self, row: Mapping[str, Any]) -> str:
        """Return the first shape that a row without nulls fits, empty where none does."""
        keys = tuple(row)
        names = self._seen.get(keys)
        if names is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            names = tuple(name for name, shape in SHAPES.items() if shape.keys <= row.keys())
            self._seen[keys] = names
        return next((name for name in names if SHAPES[name].fits(row)), "")


_REMEMBERED = 1000


def describe(path: Path) -> Detected:
    """Say what a file's rows are. Raises DataError, with what was seen, where they are nothing known."""
    name = printable(path.name)
    return detect(sample(read_rows(path, name, Tally())), name)


def sample(rows: Iterator[Numbered]) -> list[Numbered]:
    """Take the first rows, at most 100 and not much more than 16 MB of them."""
    taken: list[Numbered] = []
    size = 0
    for row in islice(rows, SAMPLE_ROWS):
        taken.append(row)
        size += len(json.dumps(row.row))
        if size > _SAMPLE_CHARS:
            break
    return taken


def detect(rows: Iterable[Numbered], shown: str) -> Detected:
    """Return the shape of sampled rows. Raises DataError where none fits a known one."""
    sorter = Sorter()
    found: Counter[str] = Counter()
    first: dict[str, tuple[str, ...]] = {}
    for numbered in rows:
        row = without_nulls(numbered.row)
        shape = sorter.shape_of(row)
        found[shape] += 1
        first.setdefault(shape, tuple(row))
    known = [name for name in SHAPES if found[name]]
    if not known:
        raise _unknown(shown, first.get(""))
    best = max(known, key=lambda name: found[name])
    others = sorted(
        ((name, count) for name, count in found.items() if name != best), key=lambda o: (-o[1], o)
    )
    return Detected(
        file=shown,
        format=suffix_of(shown),
        shape=best,
        rows_sampled=found.total(),
        others=tuple(others),
        why=f"{found[best]} of {found.total()} rows have {', '.join(sorted(SHAPES[best].keys))}",
        keys=tuple(printable(key, 60) for key in first[best][:_KEYS_SHOWN]),
    )


def without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the keys whose value is null."""
    return {key: value for key, value in row.items() if value is not None} if None in row.values() else row


def _unknown(shown: str, keys: tuple[str, ...] | None) -> DataError:
    if keys is None:
        return DataError("no rows in it", file=shown, hint="nothing can be told about an empty file")
    seen = ", ".join(quoted(key) for key in keys[:_KEYS_SHOWN]) or "no keys"
    for marks, kind in _ELSEWHERE:
        if marks <= set(keys):
            return DataError(
                f"no shape of rows has these keys: {seen}",
                file=shown,
                hint=f"they look like what a source of kind {kind} reads",
            )
    name, missing = nearest(keys)
    if not name:
        hint = f"none is near; known are {', '.join(SHAPES)}"
    else:
        needed = ", ".join(sorted(SHAPES[name].keys))
        hint = f"the nearest is {name}, which needs {needed} (missing: {', '.join(missing)})"
    return DataError(f"no known shape has these keys: {seen}", file=shown, hint=hint)


def nearest(keys: Iterable[str]) -> tuple[str, list[str]]:
    """Return the shape that lacks least among some keys, and what it lacks; near names count half.

    The name is empty where every shape lacks all it needs.
    """
    given = [key[:60] for key in islice(keys, 50)]

    def distance(name: str) -> tuple[float, int]:
        missing = SHAPES[name].keys.difference(given)
        near = sum(0.5 for key in missing if difflib.get_close_matches(key, given, n=1))
        return ((len(missing) - near) / len(SHAPES[name].keys), -len(SHAPES[name].keys))

    best = min(SHAPES, key=distance)
    if distance(best)[0] >= 1:
        return "", []
    return best, sorted(SHAPES[best].keys.difference(given))
