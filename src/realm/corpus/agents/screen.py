"""Terminal output as the lines a person saw: escape sequences followed or left out, never kept.

Followed: carriage return, backspace, tab, moves within the line, up and down, erasing (lines and screen),
so that a progress bar leaves its last state. Left out: colours, titles (OSC), DCS, PM, APC and SOS strings,
character sets, other controls. A jump to a place on the screen begins a new line, because a log does not
say how large the screen was. Lines further back than `KEPT` cannot be written over any more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

KEPT = 200
_WIDEST = 4_000
_LONGEST_LINE = 100_000
_LONGEST_STRING = 1_000_000
_TAB = 8
_ESCAPE = re.compile(
    r"\x1b\[(?P<args>[0-?]{0,64})[ -/]{0,8}(?P<end>[@-~])|\x9b(?P<args8>[0-?]{0,64})[ -/]{0,8}(?P<end8>[@-~])"
    r"|(?P<string>\x1b[\]P^_X]|[\x90\x98\x9d-\x9f])"
    r"|\x1b[ -/]{1,8}[0-~]|\x1b(?P<single>[0-~])|[\x00-\x1f\x7f-\x9f]"
)
_STRING_END = re.compile(r"\x07|\x1b\\|\x9c|\x1b(?=[^\\])")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")


def clean(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a terminal's output, without ends and without blanks behind them.

    Pieces are lines with their ends, as a file gives them; memory holds `KEPT` lines.
    """
    screen = _Screen()
    for piece in pieces:
        screen.feed(piece)
        yield from screen.settled()
    yield from screen.rest()


def width(text: str) -> int:
    """Return how many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class _Screen:
    """The last lines, and where the cursor is. Positions count characters, not columns."""

    def __init__(self) -> None:
        self._lines: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self._in_string = 0

    def feed(self, piece: str) -> None:
        """Take some output."""
        body = piece.rstrip("\r\n")
        if self._at_end() and len(body) <= _LONGEST_LINE and body.isprintable():
            self._lines[-1] = list(body)
            self._column = len(body)
            piece = piece[len(body) :]
        at = 0
        while at < len(piece):
            if self._in_string:
                at = self._pass_string(piece, at)
                continue
            plain = _PLAIN.match(piece, at)
            if plain:
                self._write(plain[0])
                at = plain.end()
                continue
            escape = _ESCAPE.match(piece, at)
            if escape is None:
                at += 1
                continue
            at = escape.end()
            self._obey(escape)

    def _at_end(self) -> bool:
        """Tell whether the cursor is on an empty last line, where what is plain is simply added."""
        return (
            not (self._in_string or self._lines[-1])
            and self._row == len(self._lines) - 1
            and not self._column
        )

    def settled(self) -> Iterator[str]:
        """Yield the lines that cannot be written over any more."""
        while len(self._lines) > KEPT:
            yield _shown(self._lines.pop(0))
            self._row = max(self._row - 1, 0)

    def rest(self) -> Iterator[str]:
        """Yield what is left."""
        while len(self._lines) > 1 and not self._lines[-1]:
            self._lines.pop()
        if self._lines != [[]]:
            yield from map(_shown, self._lines)
        self._lines, self._row, self._column = [[]], 0, 0

    def _pass_string(self, piece: str, at: int) -> int:
        end = _STRING_END.search(piece, at)
        if end:
            self._in_string = 0
            return end.end() if end[0] != "\x1b" else end.start()
        self._in_string += len(piece) - at
        if self._in_string > _LONGEST_STRING:
            # A string that never ends would swallow the rest of the log.
            self._in_string = 0
        return len(piece)

    def _obey(self, escape: re.Match[str]) -> None:
        if escape["string"]:
            self._in_string = 1
            return
        end = escape["end"] or escape["end8"]
        if end:
            self._control(end, escape["args"] or escape["args8"] or "")
            return
        char = escape[0]
        if char == "\n":
            self._line_feed()
        elif char == "\r":
            self._column = 0
        elif char == "\b":
            self._column = max(self._column - 1, 0)
        elif char == "\t":
            self._write(" " * (_TAB - self._column % _TAB))
        elif escape["single"] in ("M",):
            self._row = max(self._row - 1, 0)
        elif escape["single"] in ("D", "E"):
            self._line_feed()

    def _line_feed(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._lines):
            self._lines.append([])

    def _write(self, text: str) -> None:
        line = self._lines[self._row]
        if len(line) == self._column:
            line.extend(text[: max(_LONGEST_LINE - len(line), 0)])
        else:
            end = self._column + len(text)
            if self._column > len(line):
                line.extend(" " * (self._column - len(line)))
            line[self._column : end] = text[: max(_LONGEST_LINE - self._column, 0)]
        self._column = min(self._column + len(text), _LONGEST_LINE)

    def _control(self, end: str, args: str) -> None:
        first = args.split(";")[0]
        count = int(first) if first.isdecimal() and len(first) < 6 else 0
        moves = max(count, 1)
        line = self._lines[self._row]
        if end in "AF":
            self._row = max(self._row - moves, 0)
        elif end in "BE":
            self._row = min(self._row + moves, len(self._lines) - 1)
        elif end == "C":
            self._column = min(self._column + moves, _WIDEST)
        elif end == "D":
            self._column = max(self._column - moves, 0)
        elif end in "G`":
            self._column = min(moves - 1, _WIDEST)
        elif end == "K" and count == 0:
            del line[self._column :]
        elif end == "K" and count in (1, 2):
            line[: self._column] = " " * min(self._column, len(line))
            if count == 2:
                line.clear()
        elif end == "P":
            del line[self._column : self._column + moves]
        elif end == "J" and count == 0:
            del line[self._column :]
            del self._lines[self._row + 1 :]
        elif end in "Hf" or (end == "J" and count in (2, 3)):
            self._new_page()
        if end in "EF":
            self._column = 0

    def _new_page(self) -> None:
        """Leave what is there and go on below it."""
        if self._lines[-1]:
            self._lines.append([])
        self._row, self._column = len(self._lines) - 1, 0


def _shown(line: list[str]) -> str:
    return "".join(line).rstrip()
