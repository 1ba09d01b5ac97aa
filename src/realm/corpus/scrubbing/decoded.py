"""Other readings of a text: decoded, unescaped, with split strings joined. Spans lead back to the text."""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
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

_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{28,}={0,2}")
_BASE64_LINES = re.compile(
    rb"(?:[A-Za-z0-9+/]{60,80}(?:\r?\n|\\n|\\r\\n)[ \t]{0,16})+[A-Za-z0-9+/]{2,80}={0,2}"
)
_CODED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-")
_FILLER = re.compile(rb"\\r|\\n|\s")
_LONGEST = 1 << 20
_PRINTABLE_SHARE = 0.97
_TEXT = frozenset(range(32, 127)) | {9, 10, 13}


class Reading(NamedTuple):
    """A text read another way, and where its parts stand in the original."""

    data: bytes
    starts: list[int]
    """Positions in `data` at which a part begins, ascending, the first 0."""
    origins: list[tuple[int, int]]
    """For each part its start in the original, and 1 where characters stand one for one, else 0."""

    def back(self, position: int) -> int:
        """Return the position in the original."""
        part = bisect_right(self.starts, position) - 1
        origin, step = self.origins[part]
        return origin + (position - self.starts[part]) * step


def base64_blobs(data: bytes, places: Iterable[int]) -> Iterator[tuple[int, int, bytes]]:
    """Yield span and content of what decodes to plain text around some places, which ascend."""
    seen_to = 0
    for place in places:
        if place < seen_to:
            continue
        start = place
        while start > seen_to and data[start - 1] in _CODED:
            start -= 1
        for pattern in (_BASE64_LINES, _BASE64_RUN):
            match = pattern.match(data, start)
            raw = _decode(_FILLER.sub(b"", match[0])) if match else None
            if match and raw is not None:
                yield match.start(), match.end(), raw
            seen_to = max(seen_to, match.end() if match else 0)
            if raw is not None:
                break


def _decode(value: bytes) -> bytes | None:
    if len(value) > _LONGEST:
        return None
    solid = value.rstrip(b"=")
    solid = solid[: len(solid) - (len(solid) % 4 == 1)]
    try:
        raw = base64.b64decode(
            solid + b"=" * (-len(solid) % 4), altchars=b"-_" if set(solid) & set(b"-_") else None
        )
    except (binascii.Error, ValueError):
        return None
    plain = sum(byte in _TEXT for byte in raw[:64])
    if plain < _PRINTABLE_SHARE * len(raw[:64]):
        return None
    return raw if sum(byte in _TEXT for byte in raw) >= _PRINTABLE_SHARE * len(raw) else None


_SPLIT = re.compile(
    rb"[\"'`][ \t]{0,40}(?:\+|\.\.?|&)?[ \t]{0,40}\\?\r?\n[ \t]{0,80}(?:\+|\.\.?|&)?[ \t]{0,40}[\"'`]"
    rb"|[\"'`][ \t]{0,40}(?:\+|\.\.?|&)[ \t]{0,40}[\"'`]|(?<=[A-Za-z0-9_-])\\\r?\n[ \t]{0,80}(?=[A-Za-z"
    rb"0-9_-])"
)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"\\u00([0-7][0-9a-fA-F])|\\(/)|&(amp|quot|lt|gt);|&#x?([0-9a-f]{2,4});")
_ENTITIES = {b"amp": b"&", b"quot": b'"', b"lt": b"<", b"gt": b">"}


def joined(data: bytes) -> Reading:
    """Read strings that were split over literals or lines as one."""
    return _rewritten(data, _SPLIT, lambda _match: b"")


def unquoted(data: bytes) -> Reading:
    """Read `%40` as the character it stands for."""
    return _rewritten(data, _PERCENT, lambda match: bytes([int(match[1], 16)]).replace(b"\x00", b" "))


def unescaped(data: bytes) -> Reading:
    """Read the escapes of JSON within JSON, and of HTML, as what they stand for."""

    def plain(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes([int(match[1], 16)]).replace(b"\x00", b" ")
        if match[3]:
            return _ENTITIES[match[3]]
        return b"/" if match[2] else b" "

    return _rewritten(data, _ESCAPE, plain)


def _rewritten(data: bytes, pattern: re.Pattern[bytes], write: Callable[[re.Match[bytes]], bytes]) -> Reading:
    parts: list[bytes] = []
    starts, origins = [], []
    at = length = 0
    for match in pattern.finditer(data):
        for piece, origin, step in ((data[at : match.start()], at, 1), (write(match), match.start(), 0)):
            if piece:
                starts.append(length)
                origins.append((origin, step))
                parts.append(piece)
                length += len(piece)
        at = match.end()
    starts.append(length)
    origins.append((at, 1))
    parts.append(data[at:])
    return Reading(b"".join(parts), starts, origins)
