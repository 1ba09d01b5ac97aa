"""JSON Lines from an untrusted file, read strictly and within bounds.

Covered: special files and symlinks (never waited on), archives under any name, lines and
structures too large or too deep to hold, and JSON that readers disagree about: duplicate keys,
NaN and Infinity, numbers that overflow, lone surrogates, invalid UTF-8.
Not covered: what the rows mean; see `specs`.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from realm.core.errors import DataError, NotFoundError
from realm.core.text import printable

SUFFIX = ".jsonl"
DOCS = "docs/data.md"
_BUFFER_BYTES = 1 << 20
_HEAD_BYTES = 512
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_VALUES = 200_000
"""Most values in one line: a line of 16 MB could hold five million empty lists (some 450 MB)."""

_SPECIAL = (
    (stat.S_ISLNK, "a symlink", "drop the file itself"),
    (stat.S_ISDIR, "a folder", "drop the files in it one by one"),
    (stat.S_ISFIFO, "a named pipe", ""),
    (stat.S_ISSOCK, "a socket", ""),
    (stat.S_ISCHR, "a device", ""),
    (stat.S_ISBLK, "a device", ""),
)
_ARCHIVES = (
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"PK\x05\x06", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"\x04\x22\x4d\x18", "an lz4 archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a rar archive"),
    (257, b"ustar", "a tar archive"),
)
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# The closing quote is optional, so that an open string ends the search instead of restarting it.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def open_rows(path: Path) -> BinaryIO:
    """Open a `.jsonl` file for reading, after a look at its kind, its head and its name.

    Raises DataError as `open_regular` does, and for an archive, UTF-16, a name that cannot be
    shown and any other suffix.
    """
    shown = printable(path.name)
    file = open_regular(path)
    try:
        refuse_head(shown, os.pread(file.fileno(), _HEAD_BYTES, 0))
        _refuse_name(shown, path.name)
    except BaseException:
        file.close()
        raise
    return file


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without ever waiting on it.

    Raises DataError for a symlink, a folder, a pipe, a socket and a device, NotFoundError where
    there is nothing.
    """
    shown = printable(path.name)
    try:
        _refuse_special(shown, os.lstat(path).st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFoundError(f"{printable(str(path), 300)}: no such file") from None
    except OSError as error:
        raise DataError(f"not readable: {error.strerror}", file=shown) from None
    try:
        # Between the two looks the name may have been given to something else.
        _refuse_special(shown, os.fstat(descriptor).st_mode)
    except DataError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb", _BUFFER_BYTES)


def _refuse_special(shown: str, mode: int) -> None:
    for test, what, hint in _SPECIAL:
        if test(mode):
            raise DataError(f"{what}, not a regular file", file=shown, hint=hint)


def refuse_head(shown: str, head: bytes) -> None:
    """Raise DataError for a file whose first bytes are those of an archive or of wide characters."""
    for offset, magic, what in _ARCHIVES:
        if head.startswith(magic, offset):
            raise DataError(what, file=shown, hint=f"unpack it and drop the {SUFFIX} files")
    if head.startswith(_WIDE_BOMS):
        raise DataError("UTF-16 or UTF-32 text", file=shown, line=1, hint="save it as UTF-8")


def _refuse_name(shown: str, name: str) -> None:
    if printable(name, len(name)) != name:
        raise DataError(
            "the file's name holds characters that cannot be shown",
            file=shown,
            hint="rename it, then drop it again",
        )
    if not name.lower().endswith(SUFFIX):
        raise DataError(f"not a {SUFFIX} file", file=shown, hint=f"only {SUFFIX} files are taken; see {DOCS}")


def read_lines(file: BinaryIO, line_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield line numbers (from 1) and raw lines, ends included; never holds more than one line.

    A line of more than `line_bytes` (its end not counted) raises DataError.
    """
    number = 0
    while line := file.readline(line_bytes + 3):
        number += 1
        if len(line) > line_bytes and len(line.rstrip(b"\r\n")) > line_bytes:
            raise refusal(f"the line is longer than {line_bytes:,} bytes", "one row a line", number)
        yield number, line


def strip(line: bytes, number: int) -> bytes:
    """Return a line without blanks around it, and the first one without its byte order mark."""
    return (line.removeprefix(_BOM) if number == 1 else line).strip(_BLANK)


_NAME = re.compile(r"(?=.{1,40}\Z)[^\W_]{0,16}(?:[\s_.:/@$-]+[^\W_]{1,16})*[\s_.:/@$-]*")
"""Short words with signs between them; tokens and keys are longer than words, or full of digits."""
_NAME_DIGITS = 3


def parse(line: bytes, json_depth: int) -> dict[str, Any]:
    """Read one JSON object strictly. Raises DataError without file and line."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise refusal(
            f"not UTF-8: byte {error.start + 1} of the line is 0x{line[error.start]:02x}", "save it as UTF-8"
        ) from None
    if text.count(",") > _VALUES and _STRING.sub(b"", line).count(b",") > _VALUES:
        raise refusal(f"the row has more than {_VALUES:,} values")
    value = _decode(text, json_depth)
    if not isinstance(value, dict):
        raise refusal(
            f"the row is {kind_of(value)}, not an object", _WHOLE if isinstance(value, list) else ""
        )
    if text.count("{") + text.count("[") > json_depth and _deeper(value, json_depth):
        raise _too_deep(json_depth)
    if _ESCAPED_SURROGATE.search(line):
        _refuse_surrogates(value)
    return value


_WHOLE = "one object a line; a file that is one JSON array, or one object over many lines, is not JSON Lines"


def _decode(text: str, json_depth: int) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text) - 1 and text[:1] in ("[", "{")
        raise refusal(
            f"not JSON: {printable(error.msg)} (column {error.colno})", _WHOLE if cut else ""
        ) from None
    except RecursionError:
        raise _too_deep(json_depth) from None
    except ValueError:
        raise refusal("a whole number has more digits than can be read") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise refusal(f"the key {quoted(twice)} occurs twice in one object")
    return result


def _no_constant(text: str) -> Any:
    raise refusal(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise refusal(f"the number {printable(text, 40)} is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _deeper(value: Any, limit: int) -> bool:
    """Tell whether containers nest deeper than `limit`, without recursion."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep(json_depth: int) -> DataError:
    return refusal(f"objects and lists nest deeper than {json_depth}")


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise refusal(
            "half a character: a \\ud800–\\udfff escape without its partner",
            "some text was cut in the middle of an emoji; write the whole pair, or leave it out",
        ) from None


def refusal(reason: str, hint: str = "", line: int | None = None) -> DataError:
    """Build a DataError for a row; whoever knows the file adds it."""
    return DataError(reason, file="row", line=line, hint=hint)


def quoted(name: str) -> str:
    """Return a foreign name (a key, a role) in quotes; what may be no name but a secret is only described."""
    if _NAME.fullmatch(name) and sum(map(str.isdigit, name)) <= _NAME_DIGITS:
        return f"'{printable(name, 60)}'"
    return f"a name of {len(name):,} characters"


def kind_of(value: Any) -> str:
    """Name the JSON type of a value, with its article."""
    names: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return names.get(type(value), "a value")
