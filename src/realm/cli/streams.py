"""Standard output that cannot hold a character, has no room, or has nobody left who reads it."""

from __future__ import annotations

import codecs
import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT = "standard output"
_ESCAPE = "realm-escape"


class _Output(io.FileIO):
    """Standard output that names itself in its errors, and takes all in silence once it is lost."""

    _lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some bytes. Raises OSError, once."""
        if self._lost:
            # Python tries the rest of a buffer once more at its end.
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._lost = True
            raise OSError(error.errno, error.strerror, STANDARD_OUTPUT) from None


def prepare_output() -> None:
    """Replace standard output by one whose errors can be told from those of other files.

    Characters that its encoding does not have are written as `\\uXXXX`, which JSON reads back.
    """
    given = sys.stdout
    if not isinstance(given, io.TextIOWrapper):
        return
    codecs.register_error(_ESCAPE, _escaped)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(given.fileno(), "w", closefd=False)),
        encoding=given.encoding,
        errors=_ESCAPE if given.errors == "strict" else given.errors,
        line_buffering=given.line_buffering or given.write_through,
    )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end
