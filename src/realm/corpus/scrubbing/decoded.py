"""Other readings of a text: decoded, unescaped, with split strings joined. Spans lead back to the text."""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

BASE64 = r"[0-9][A-Za-z0-9+]{12,}"
"""Text in Base64 has digits and next to no slash, which only `?` and DEL make."""
_PIECE = r"[A-Za-z0-9_+/=\-]{4}"
_PLUS = r"(?:\+|\.\.?|&)"
JOINT = (
    rf"{_PIECE}[\"'`][ \t]*{_PLUS}?[ \t]*\\?\r?\n[ \t]*{_PLUS}?[ \t]*[\"'`]{_PIECE}"
    rf"|{_PIECE}[\"'`][ \t]*{_PLUS}[ \t]*[\"'`]{_PIECE}|{_PIECE}\\\r?\n[ \t]*{_PIECE}"
)
ENCODED = r"[A-Za-z0-9_\-]%(?:2[BbFf5]|3[AaDdFf]|40|7[EeCc]|24|21|23|26|5[Ff]|2[Dd])[A-Za-z0-9%_\-]"
ESCAPED = r"(?:\\u00[2-7][0-9a-fA-F]|[A-Za-z0-9:]\\/|&(?:amp|quot|#x?[0-9a-f]{2,4});)"

_BASE64 = re.compile(BASE64.encode())
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{28,}={0,2}")
_BASE64_LINES = re.compile(
    rb"(?:[A-Za-z0-9+/]{60,80}(?:\r?\n|\\n|\\r\\n)[ \t]{0,16})+[A-Za-z0-9+/]{2,80}={0,2}"
)
_FILLER = re.compile(rb"\\r|\\n|\s")
_LONGEST = 1 << 20
_PRINTABLE_SHARE = 0.97
_TEXT = bytes([9, 10, 13, *range(32, 127)])
_TASTE = 64
"""Bytes in Base64 that are read first: most of what looks coded holds no text."""


class Reading(NamedTuple):
    """A text read another way, and where its parts stand in the original."""

    data: bytes
    starts: list[int]
    """Positions in `data` at which a part begins, ascending, the first 0."""
    origins: list[tuple[int, int]]
    """For each part its start in the original, and how many bytes stand for one, 0 where that varies."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span in the original of a span that is not empty."""
        first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, end - 1) - 1
        begin, step = self.origins[first]
        origin, wide = self.origins[last]
        stop = origin + (end - self.starts[last]) * wide if wide else self.origins[last + 1][0]
        return begin + (start - self.starts[first]) * step, stop


def base64_blobs(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield span and content of what decodes to plain text, alone or over lines."""
    seen_to = 0
    for found in _BASE64_RUN.finditer(data):
        run = found if found.start() >= seen_to else _BASE64_RUN.match(data, seen_to, found.end())
        if run is None or not _may_hold_text(run[0]):
            continue
        for match in (_BASE64_LINES.match(data, run.start()), run):
            raw = _decode(_FILLER.sub(b"", match[0])) if match else None
            if match and raw is not None:
                yield match.start(), match.end(), raw
            seen_to = max(seen_to, match.end() if match else 0)
            if raw is not None:
                break


def _may_hold_text(run: bytes) -> bool:
    """Tell whether a coded run has digits, small and capital letters, as all but the shortest texts give."""
    return _BASE64.search(run) is not None and not (run.islower() or run.isupper())


def _decode(value: bytes) -> bytes | None:
    if len(value) > _LONGEST:
        return None
    solid = value.rstrip(b"=")
    solid = solid[: len(solid) - (len(solid) % 4 == 1)]
    other = b"-_" if b"-" in solid or b"_" in solid else None
    taste = _plain(solid[:_TASTE], other)
    return _plain(solid, other) if taste is not None and len(solid) > _TASTE else taste


def _plain(solid: bytes, other: bytes | None) -> bytes | None:
    """Return what Base64 holds where that is text."""
    try:
        raw = base64.b64decode(solid + b"=" * (-len(solid) % 4), altchars=other)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw.translate(None, _TEXT)) <= (1 - _PRINTABLE_SHARE) * len(raw) else None


_SPLIT = re.compile(
    rb"[\"'`\\](?:(?<=[\"'`])[ \t]{0,40}(?:(?:\+|\.\.?|&)?[ \t]{0,40}\\?\r?\n[ \t]{0,80}(?:\+|\.\.?|&)?"
    rb"|(?:\+|\.\.?|&))[ \t]{0,40}[\"'`]|(?<=[A-Za-z0-9_-]\\)\r?\n[ \t]{0,80}(?=[A-Za-z0-9_-]))"
)
_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_ESCAPE = re.compile(
    rb"\\u00([0-7][0-9a-fA-F])|\\(/)|&(amp|quot|lt|gt);|&#(?:x([0-9a-fA-F]{2,4})|([0-9]{2,4}));"
)
_ENTITIES = {b"amp": b"&", b"quot": b'"', b"lt": b"<", b"gt": b">"}


def joined(data: bytes) -> Reading:
    """Read strings that were split over literals or lines as one."""
    return _rewritten(data, _SPLIT, lambda _match: b"", 0)


def unquoted(data: bytes) -> Reading:
    """Read `%40` as the character it stands for."""
    return _rewritten(data, _PERCENT, _unquoted, 3)


def _unquoted(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[0].replace(b"%", b"").decode()).replace(b"\x00", b" ")


def unescaped(data: bytes) -> Reading:
    """Read the escapes of JSON within JSON, and of HTML, as what they stand for."""
    return _rewritten(data, _ESCAPE, _unescaped, 0)


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes([int(match[1], 16)]).replace(b"\x00", b" ")
    if match[3]:
        return _ENTITIES[match[3]]
    number = int(match[4], 16) if match[4] else int(match[5] or 0)
    return b"/" if match[2] else bytes([number]) if 32 <= number < 127 else b" "


def _rewritten(
    data: bytes, pattern: re.Pattern[bytes], write: Callable[[re.Match[bytes]], bytes], step: int
) -> Reading:
    parts: list[bytes] = []
    starts, origins = [], []
    at = length = 0
    for match in pattern.finditer(data):
        for piece, origin, wide in ((data[at : match.start()], at, 1), (write(match), match.start(), step)):
            if piece:
                starts.append(length)
                origins.append((origin, wide))
                parts.append(piece)
                length += len(piece)
        at = match.end()
    starts.append(length)
    origins.append((at, 1))
    parts.append(data[at:])
    return Reading(b"".join(parts), starts, origins)
