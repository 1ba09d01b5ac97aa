"""Lists of cases from YAML, JSON and JSON Lines, with the line that each begins on. Input is hostile.

A file is at most 8 MB with at most 20,000 cases; YAML has no aliases, so that a small file stays small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from realm.core.errors import DataError
from realm.core.text import printable
from realm.core.yamltext import MAX_DEPTH, BoundedLoader
from realm.corpus.files import lines

_BYTES, _ROWS = 8 << 20, 20_000
_BLANK = " \t\r\n"
_KEYS = ("cases", "scenarios", "tests")
"""Names under which a mapping may hold its list."""


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each case with the line it begins on (1-based).

    A file is a list, or a mapping with a list under `cases`, `scenarios` or `tests`. Raises DataError, and
    NotFoundError where there is none.
    """
    with lines.open_regular(path) as file:
        data = file.read(_BYTES + 1)
    shown = printable(path.name)
    if len(data) > _BYTES:
        raise DataError(f"more than {_BYTES >> 20} MB", file=shown)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", file=shown, line=data.count(b"\n", 0, error.start) + 1) from None
    read = {".json": _json_rows, ".jsonl": _line_rows}.get(path.suffix.lower(), _yaml_rows)
    count = 0
    for line, row in read(text, shown):
        count += 1
        if count > _ROWS:
            raise DataError(f"more than {_ROWS:,} cases", file=shown, line=line)
        if not isinstance(row, dict):
            raise DataError(f"a mapping was expected, found {type(row).__name__}", file=shown, line=line)
        unnamed = [key for key in row if not isinstance(key, str)]
        if unnamed:
            what = f"{printable(str(unnamed[0]), 40)} names no field; YAML wants on, off, yes, no in quotes"
            raise DataError(what, file=shown, line=line)
        yield line, row
    if not count:
        raise DataError("no cases", file=shown)


def _yaml_rows(text: str, shown: str) -> Iterator[tuple[int, Any]]:
    try:
        loader = BoundedLoader(text)
        try:
            yield from _nodes(loader, loader.get_single_node(), shown)
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or type(error).__name__
        line = mark.line + 1 if mark is not None else None
        raise DataError(f"not readable as YAML: {printable(str(what), 200)}", file=shown, line=line) from None


def _nodes(loader: BoundedLoader, node: yaml.Node | None, shown: str) -> Iterator[tuple[int, Any]]:
    if isinstance(node, yaml.MappingNode):
        named = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        node = next((named[key] for key in _KEYS if key in named), None)
    if not isinstance(node, yaml.SequenceNode):
        raise DataError("a list of cases was expected", file=shown, line=1)
    for item in node.value:
        row: Any = loader.construct_object(item, deep=True)
        yield item.start_mark.line + 1, row


def _json_rows(text: str, shown: str) -> Iterator[tuple[int, Any]]:
    """Read the list item by item, since the parser does not tell lines."""
    place = _skip(text, 0)
    if text.startswith("{", place):
        value = _value(text.encode(), shown, 1)
        found = next((value[key] for key in _KEYS if isinstance(value.get(key), list)), None)
        if found is None:
            raise DataError("a list of cases was expected", file=shown, line=1)
        yield from ((1, row) for row in found)
        return
    if not text.startswith("[", place):
        raise DataError("a list of cases was expected", file=shown, line=1)
    decoder = json.JSONDecoder()
    place, line, last = _skip(text, place + 1), 1, 0
    while not text.startswith("]", place):
        line, last = line + text.count("\n", last, place), place
        try:
            _, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            raise DataError("not valid JSON", file=shown, line=line) from None
        yield line, _value(text[place:end].encode(), shown, line)
        place = _skip(text, end)
        if text.startswith(",", place):
            place = _skip(text, place + 1)
        elif not text.startswith("]", place):
            raise DataError("a comma or the list's end was expected", file=shown, line=line)
    rest = _skip(text, place + 1)
    if rest < len(text):
        line = text.count("\n", 0, rest) + 1
        raise DataError("something follows the end of the list", file=shown, line=line)


def _line_rows(text: str, shown: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _value(line.encode(), shown, number)


def _value(data: bytes, shown: str, line: int) -> Any:
    try:
        return lines.parse(data, MAX_DEPTH)
    except DataError as error:
        raise DataError(error.reason, file=shown, line=line) from None


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _BLANK:
        place += 1
    return place
