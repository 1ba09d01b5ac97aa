"""The shape of a rule: a pattern over bytes and a judge of what it matched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Match(Protocol):
    """What RE2 returns of one match."""

    def start(self, group: int = 0) -> int: ...
    def end(self, group: int = 0) -> int: ...
    def groups(self) -> tuple[bytes | None, ...]: ...
    def group(self, group: int = 0) -> bytes | None: ...


class Hit(NamedTuple):
    """A span of bytes that a judge takes for a secret or for personal data."""

    kind: str
    start: int
    end: int
    confidence: float
    personal: bool = False


@dataclass(frozen=True)
class Rule:
    """A pattern of RE2 (bytes, no lookarounds, never across a NUL) and who judges its matches."""

    name: str
    pattern: str
    judge: Callable[[bytes, Match], Iterator[Hit]]
    personal: bool = False
    sign: str = ""
    """A cheaper pattern that matches wherever `pattern` does; by default that is made of it."""
    literal: bool = False
    """Whether the sign begins with fixed characters: such signs are looked for together at little cost."""


def text_of(data: bytes, start: int, end: int) -> str:
    """Return some bytes as text; a half character at an edge is shown as a mark."""
    return data[start:end].decode("utf-8", "replace")


def line_around(data: bytes, start: int, end: int, reach: int) -> tuple[str, str]:
    """Return what stands on the same line before and behind a span, at most `reach` bytes each."""
    left = max(0, start - reach)
    begin = max(data.rfind(b"\n", left, start), data.rfind(b"\x00", left, start), left - 1) + 1
    stops = [
        at for at in (data.find(b"\n", end, end + reach), data.find(b"\x00", end, end + reach)) if at >= 0
    ]
    return text_of(data, begin, start), text_of(data, end, min([*stops, end + reach]))
