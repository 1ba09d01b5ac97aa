"""Rows of a JSON file that is one list, or one object holding a list, read piece by piece.

Never more than one row is held, however long the list. A piece is handed to `lines.parse`, so that a
row of a JSON file is read exactly as strictly as a row of a JSON Lines file.

Which list of an object holds the rows: the only one whose first element is an object and no turn of a
chat (a turn has `role` or `from`). An object without such a list is itself the one row. A file whose
first object is followed by another is JSON Lines under another name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from realm.core.errors import DataError
from realm.corpus.files import lines
from realm.corpus.intake import Limits

_CHUNK_BYTES = 1 << 18
_KEYS = 1000
"""Most keys of an object that holds rows."""
_KEY_BYTES = 1000
_SCALAR_BYTES = 500
_BOM = b"\xef\xbb\xbf"
_TURN_KEYS = frozenset({"role", "from"})

# Both end where the text at hand does, so that a string cut there is tried again with more of it.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+([\[\]{}]?)', re.DOTALL)
_SCALAR = re.compile(rb'[^ \t\r\n,\[\]{}":]{1,500}')
_BLANK = re.compile(rb"[ \t\r\n]*+")


class Piece(NamedTuple):
    """One value of the file, as it stands there."""

    text: bytes
    first_line: int
    last_line: int


class _Place(NamedTuple):
    """Where a list begins, just behind its bracket."""

    offset: int
    line: int


_START = _Place(0, 1)


class _Layout(NamedTuple):
    """What a file's outermost value turned out to be."""

    rows: _Place | None
    """The list that holds the rows; None where the object is the row."""
    several: bool
    """More objects follow the first."""


def pieces(file: BinaryIO, limits: Limits) -> Iterator[Piece] | None:
    """Return the rows of a JSON file as text, or None where it is JSON Lines under another name.

    `file` must be seekable and at its start. Raises DataError with a line (and without a file's name)
    for a file that is neither a list nor an object, while reading for one that is cut or too large.
    """
    window = _Window(file, limits.line_bytes)
    if window.peek() == b"[":
        window.take()
        return _elements(window, to_end=True)
    if window.peek() != b"{":
        raise lines.refusal("neither a JSON list nor a JSON object", "one list of rows, or JSON Lines", 1)
    layout = _layout(window, limits.json_depth)
    if layout.several:
        file.seek(0)
        return None
    if layout.rows is None:
        file.seek(0)
        return iter([_Window(file, limits.line_bytes).value()])
    file.seek(layout.rows.offset)
    return _elements(_Window(file, limits.line_bytes, layout.rows), to_end=False)


class _Window:
    """A moving view of a file; what lies before `pos` is forgotten."""

    def __init__(self, file: BinaryIO, value_bytes: int, start: _Place = _START) -> None:
        self._file = file
        self._value_bytes = value_bytes
        self._buffer = b""
        self._pos = 0
        self._base = start.offset
        self._ended = False
        self.line = start.line
        if not start.offset:
            self._more()
            self._pos = len(_BOM) if self._buffer.startswith(_BOM) else 0

    def place(self) -> _Place:
        """Return where the view begins."""
        return _Place(self._base + self._pos, self.line)

    def peek(self) -> bytes:
        """Return the next byte that is not blank; empty at the end of the file."""
        while True:
            end = self._match_blank()
            self._advance(end)
            if end < len(self._buffer):
                return self._buffer[end : end + 1]
            if not self._more():
                return b""

    def take(self) -> bytes:
        """Return the next byte that is not blank, and pass it."""
        byte = self.peek()
        self._advance(self._pos + len(byte))
        return byte

    def value(self) -> Piece:
        """Return the next value and pass it. Raises DataError where it is cut or too large."""
        byte, first = self.peek(), self.line
        if byte == b'"':
            end = self._end_of_string()
        elif byte in (b"{", b"["):
            end = self._end_of_container(0, hold=True)
        else:
            end = self._end_of_scalar()
        piece = self._buffer[self._pos : end]
        self._advance(end)
        return Piece(piece, first, self.line)

    def skip(self, depth: int) -> None:
        """Pass the rest of a list or object of which `depth` brackets are open, holding none of it."""
        self._advance(self._end_of_container(depth, hold=False))

    def _match_blank(self) -> int:
        found = _BLANK.match(self._buffer, self._pos)
        return found.end() if found else self._pos

    def _end_of_scalar(self) -> int:
        while len(self._buffer) - self._pos <= _SCALAR_BYTES and self._more():
            pass
        found = _SCALAR.match(self._buffer, self._pos)
        if found is None:
            raise lines.refusal("not JSON: a value was expected", "", self.line)
        return found.end()

    def _end_of_string(self) -> int:
        while True:
            found = _STRING.match(self._buffer, self._pos)
            if found is not None and found[1]:
                return found.end()
            self._need_more()

    def _end_of_container(self, depth: int, *, hold: bool) -> int:
        """Return the position behind the last bracket; `hold` keeps the text in the buffer."""
        at = self._pos
        while True:
            found = _TO_BRACKET.match(self._buffer, at)
            at = found.end() if found else at
            if found and found[1]:
                depth += 1 if found[1] in b"[{" else -1
                if depth <= 0:
                    return at
                continue
            if not hold:
                self._advance(at)
            at -= self._pos
            self._need_more()

    def _need_more(self) -> None:
        if len(self._buffer) - self._pos > self._value_bytes:
            raise lines.refusal(f"a value of more than {self._value_bytes:,} bytes", "", self.line)
        if not self._more():
            raise lines.refusal("not JSON: the file ends inside a value", "the copy may be cut", self.line)

    def _advance(self, to: int) -> None:
        self.line += self._buffer.count(b"\n", self._pos, to)
        self._pos = to

    def _more(self) -> bool:
        """Forget what is passed and read on, as much again as is held; tell whether there was any."""
        if self._ended:
            return False
        kept = self._buffer[self._pos :]
        added = self._file.read(max(_CHUNK_BYTES, len(kept)))
        self._base += self._pos
        self._buffer, self._pos = kept + added, 0
        self._ended = not added
        return bool(added)


def _elements(window: _Window, *, to_end: bool) -> Iterator[Piece]:
    """Yield the elements of the list that `window` is in; `to_end`: nothing may follow it."""
    separator = b"," if window.peek() != b"]" else window.take()
    while separator == b",":
        yield window.value()
        separator = window.take()
        if separator not in (b",", b"]"):
            raise lines.refusal("not JSON: a list is cut or lacks a comma", "", window.line)
    if to_end and window.peek():
        raise lines.refusal("not JSON: something follows the list", "one list a file", window.line)


def _layout(window: _Window, json_depth: int) -> _Layout:
    """Look through an object for the list that holds the rows."""
    window.take()
    found: list[_Place] = []
    separator = b"," if window.peek() != b"}" else window.take()
    for _ in range(_KEYS):
        if separator != b",":
            break
        key = window.value()
        if not key.text.startswith(b'"') or len(key.text) > _KEY_BYTES or window.take() != b":":
            raise lines.refusal("not JSON: a key and a colon were expected", "", window.line)
        place = _pass_value(window, json_depth)
        if place is not None:
            found.append(place)
        separator = window.take()
    if separator != b"}":
        raise lines.refusal("not JSON: an object is cut, lacks a comma or has too many keys", "", window.line)
    after = window.peek()
    if after and after != b"{":
        raise lines.refusal("not JSON: something follows the object", "", window.line)
    return _Layout(found[0] if len(found) == 1 else None, several=bool(after))


def _pass_value(window: _Window, json_depth: int) -> _Place | None:
    """Pass a value; return its inside where it is a list of rows."""
    opening = window.peek()
    if opening != b"[":
        if opening == b"{":
            window.skip(0)
        else:
            window.value()
        return None
    window.take()
    inside = window.place()
    is_rows = window.peek() == b"{" and _is_row(window.value().text, json_depth)
    window.skip(1)
    return inside if is_rows else None


def _is_row(text: bytes, json_depth: int) -> bool:
    try:
        return not _TURN_KEYS & lines.parse(text, json_depth).keys()
    except DataError:
        # What is wrong with it is told when the rows are read.
        return not _TURN_KEYS & _first_keys(text)


def _first_keys(text: bytes) -> set[str]:
    """Return the first key of an object that is otherwise not readable."""
    found = re.match(rb'\{\s*+("[^"\\]{1,40}+")\s*+:', text)
    return {json.loads(found[1])} if found else set()
