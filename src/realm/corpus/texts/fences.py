"""Code blocks between fences, as CommonMark has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]{0,40})")
_MAX_BLOCKS = 10_000


class Block(NamedTuple):
    """One fenced block."""

    language: str
    """First word behind the fence, in lower case; empty where there is none."""
    code: str
    closed: bool


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a text, at most 10,000; an open one at the end counts."""
    if "```" not in text and "~~~" not in text:
        return
    fence, language, held, count = "", "", list[str](), 0
    for line in text.splitlines():
        found = _FENCE.match(line)
        if not fence:
            if found:
                fence, language, held = found[1], found[2].lower(), []
        elif found and found[1].startswith(fence) and not line[found.end(1) :].strip():
            yield Block(language, "\n".join(held), closed=True)
            fence, count = "", count + 1
            if count >= _MAX_BLOCKS:
                return
        else:
            held.append(line)
    if fence:
        yield Block(language, "\n".join(held), closed=False)
