"""Tell fast which rules may match some bytes at all; most texts have none.

Two engines, one answer: hyperscan looks for all rules at once; without it RE2 looks for groups of them.
Both search for weakened patterns, which match wherever the rule itself would, and never decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from realm.core.errors import MissingExtraError

Engine = Literal["auto", "hyperscan", "re2"]
Prefilter = Callable[[bytes], list[int]]
"""Returns the positions of the rules that may match, in order."""

_COUNT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_MOST = 20
"""Repeats that are counted out; beyond that a state machine grows for little."""
_MOST_WIDE = 64
_LEADING = re.compile(r"^(\(\?[a-z]+\))?\(\[[^\]]*\]\*")
"""A leading part that may be empty finds nothing more."""
_OPEN_FROM = 100
_GROUPS = 12
_MEMORY_BYTES = 16 << 20
_LATIN = re.compile(r"((?:\\x[89a-f][0-9a-f])+)")


def require_re2() -> Any:
    """Return the module `re2`. Raises MissingExtraError without it."""
    try:
        import re2
    except ImportError:
        raise MissingExtraError(
            "looking for secrets needs google-re2",
            hint="install the corpus extra: pip install 'realm-lab[corpus]'",
        ) from None
    return re2


def exact(pattern: str) -> str:
    """Return a pattern as both engines read it alike.

    `\\s` means other characters in each, and RE2 folds the case of Latin-1 where hyperscan does not.
    """
    parts, inside, at = [], False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            piece = pattern[at : at + 2]
            blank = r"\t\n\f\r " if inside else r"[\t\n\f\r ]"
            parts.append(blank if piece == r"\s" else piece)
            at += 2
            continue
        if char == "[" and not inside:
            inside = True
        elif char == "]" and inside and pattern[at - 1] not in "[" and pattern[at - 2 : at] != "[^":
            inside = False
        parts.append(char)
        at += 1
    return _COUNT.sub(_opened, _LATIN.sub(r"(?-i:\1)", "".join(parts)))


def _opened(match: re.Match[str]) -> str:
    """A long count costs RE2 a state each; without an end it costs none."""
    return f"{{{match[1]},}}" if match[3] and int(match[3]) >= _OPEN_FROM else match[0]


def weakened(pattern: str) -> str:
    """Return a pattern that matches wherever `pattern` does, and counts less far."""

    def shorter(match: re.Match[str]) -> str:
        least = min(int(match[1]), _MOST)
        if match[2] is None:
            return match[0] if int(match[1]) <= _MOST else f"{{{least},}}"
        wide = not match[3] or int(match[3]) > _MOST_WIDE or int(match[1]) > _MOST
        return f"{{{least},}}" if wide else match[0]

    return _COUNT.sub(shorter, _LEADING.sub(r"\1(", pattern))


def compile_exact(pattern: str) -> Any:
    """Compile one pattern with RE2 over bytes."""
    re2 = require_re2()
    return re2.compile(pattern.encode("ascii"), _options(re2))


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return options


def require(engine: Engine) -> Any:
    """Return the module hyperscan, or None where RE2 does without.

    Raises MissingExtraError for an engine that is not there, and without RE2.
    """
    require_re2()
    if engine == "re2":
        return None
    try:
        import hyperscan
    except ImportError:
        if engine == "hyperscan":
            raise MissingExtraError(
                "hyperscan is not installed", hint="install the corpus extra: pip install 'realm-lab[corpus]'"
            ) from None
        return None
    return hyperscan


def build(patterns: Sequence[str], literals: Sequence[bool], engine: Engine) -> Prefilter:
    """Build the prefilter for some patterns, `literals` telling which begin with fixed characters.

    Raises MissingExtraError for an engine that is not there.
    """
    hyperscan = require(engine)
    return _by_re2(patterns, literals) if hyperscan is None else _by_hyperscan(hyperscan, patterns)


def _by_hyperscan(hyperscan: Any, patterns: Sequence[str]) -> Prefilter:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(
        expressions=[weakened(pattern).encode("ascii") for pattern in patterns],
        ids=list(range(len(patterns))),
        elements=len(patterns),
        flags=[hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY] * len(patterns),
    )
    found: list[int] = []
    scan, append = database.scan, found.append

    def seen(rule: int, _start: int, _end: int, _flags: int, _context: object) -> None:
        append(rule)

    def look(data: bytes) -> list[int]:
        scan(data, match_event_handler=seen)
        if not found:
            return []
        result = sorted(found)
        found.clear()
        return result

    return look


def _by_re2(patterns: Sequence[str], literals: Sequence[bool]) -> Prefilter:
    re2 = require_re2()

    def compiled(sources: Sequence[str]) -> Any:
        options = _options(re2)
        options.never_capture = True
        return re2.compile("|".join(f"(?:{weakened(source)})" for source in sources).encode("ascii"), options)

    loose = [rule for rule, literal in enumerate(literals) if not literal]
    groups = [[rule for rule, literal in enumerate(literals) if literal]]
    groups += [loose[first::_GROUPS] for first in range(_GROUPS)]
    groups = [group for group in groups if group]
    searches = [compiled([patterns[rule] for rule in group]).search for group in groups]
    singles = [compiled([pattern]).search for pattern in patterns]

    def look(data: bytes) -> list[int]:
        hit = [group for group, search in zip(groups, searches, strict=True) if search(data) is not None]
        return sorted(rule for group in hit for rule in group if singles[rule](data) is not None)

    return look
