"""Find all secrets and personal data in some bytes."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from typing import Any

from realm.corpus.scrubbing import context, decoded, drawn, known, personal, situations
from realm.corpus.scrubbing.prefilter import Engine, Prefilter, build, compile_exact, exact, require
from realm.corpus.scrubbing.rules import Hit, Match, Rule

_DEPTH = 3
"""Readings of readings that are looked at; a longer chain of encodings is not followed."""
_ENCODED_CONFIDENCE = 0.9
_LEAST_REPEATED = 8
_FEW = 16
"""Values that are looked for one by one; more of them are looked for together, where words begin."""
_FOLLOWS, _FOLLOWING = 0xC0, 0x80
"""Mask and value of the second and later bytes of a character in UTF-8."""
_LEAST_DECODED = 0.5


def _nothing(_data: bytes, _match: Match) -> Iterator[Hit]:
    return iter(())


_BASE64, _JOINED, _UNQUOTED, _UNESCAPED = "base64", "joined", "unquoted", "unescaped"
_READINGS = (
    Rule(_BASE64, decoded.BASE64, _nothing),
    Rule(_JOINED, decoded.JOINT, _nothing),
    Rule(_UNQUOTED, decoded.ENCODED, _nothing),
    Rule(_UNESCAPED, decoded.ESCAPED, _nothing),
)
_REWRITES: dict[str, Callable[[bytes], decoded.Reading]] = {
    _JOINED: decoded.joined,
    _UNQUOTED: decoded.unquoted,
    _UNESCAPED: decoded.unescaped,
}


def all_rules(personal_kinds: Iterable[str]) -> list[Rule]:
    """Return every rule, of personal data only those of some kinds."""
    wanted = set(personal_kinds)
    own = [rule for rule in personal.rules() if rule.name.removesuffix("6") in wanted]
    return [*known.rules(), *context.rules(), *situations.rules(), *drawn.rules(), *own, *_READINGS]


class Finder:
    """The rules, compiled when they are first needed, which takes a second. Not to be shared by threads."""

    def __init__(self, personal_kinds: Iterable[str], engine: Engine = "auto") -> None:
        self.rules = all_rules(personal_kinds)
        require(engine)
        self._engine = engine
        self._patterns: dict[int, Any] = {}

    @cached_property
    def _may_match(self) -> Prefilter:
        signs = [exact(rule.sign or rule.pattern) for rule in self.rules]
        return build(signs, [rule.literal for rule in self.rules], self._engine)

    def _pattern(self, number: int) -> Any:
        """Return a rule's own pattern."""
        if number not in self._patterns:
            self._patterns[number] = compile_exact(exact(self.rules[number].pattern))
        return self._patterns[number]

    def prepare(self) -> None:
        """Compile all rules."""
        self._may_match(b"")
        for number in range(len(self.rules)):
            self._pattern(number)

    def may_find(self, data: bytes) -> bool:
        """Return whether any rule may match; where none does, `find` finds nothing."""
        return bool(self._may_match(data))

    def find(self, data: bytes) -> list[Hit]:
        """Return what was found in UTF-8 text, in order, without overlaps."""
        rules = self._may_match(data)
        if not rules:
            return []
        hits = list(self._hits(data, rules, 0))
        return merged(_outside_stand_ins(data, hits)) if hits else []

    def _hits(
        self, data: bytes, rules: Iterable[int], depth: int, seams: list[int] | None = None
    ) -> Iterator[Hit]:
        """Judge what some rules match; in a rewritten text only what was not in the text before."""
        readings = []
        for number in rules:
            rule = self.rules[number]
            if rule.judge is _nothing and seams is None:
                readings.append(rule.name)
                continue
            for match in self._pattern(number).finditer(data):
                if seams is not None and not _has_one(seams, match.start(), match.end()):
                    continue
                if rule.judge is _nothing:
                    readings.append(rule.name)
                    break
                yield from rule.judge(data, match)
        if depth < _DEPTH:
            for name in readings:
                if name == _BASE64:
                    yield from self._decoded(data, depth, seams)
                else:
                    yield from self._reread(data, name, depth)

    def _decoded(self, data: bytes, depth: int, seams: list[int] | None) -> Iterator[Hit]:
        for start, end, raw in decoded.base64_blobs(data):
            if seams is not None and not _has_one(seams, start, end):
                continue
            found = [
                hit
                for hit in self._hits(raw, self._may_match(raw), depth + 1)
                if hit.confidence >= _LEAST_DECODED and not hit.personal
            ]
            if found:
                best = max(found, key=lambda hit: hit.confidence)
                yield Hit(best.kind, start, end, min(best.confidence, _ENCODED_CONFIDENCE))

    def _reread(self, data: bytes, name: str, depth: int) -> Iterator[Hit]:
        reading = _REWRITES[name](data)
        if len(reading.starts) < 2:
            return
        rules = self._may_match(reading.data)
        for hit in self._hits(reading.data, rules, depth + 1, reading.starts):
            start, end = reading.span(hit.start, hit.end)
            yield hit._replace(start=start, end=end, confidence=min(hit.confidence, _ENCODED_CONFIDENCE))


def _has_one(ascending: list[int], start: int, end: int) -> bool:
    """Tell whether one of some positions lies in a span; the first is where the text begins."""
    at = bisect_left(ascending, start, 1)
    return at < len(ascending) and ascending[at] < end


def merged(hits: Iterable[Hit]) -> list[Hit]:
    """Return hits in order, those that overlap joined under the kind of the surest.

    A secret outweighs personal data, so that a password in an address is told as a password.
    """
    result: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if hit.end <= hit.start:
            continue
        if result and hit.start < result[-1].end:
            last = result[-1]
            best = max(
                last, hit, key=lambda one: (one.confidence - one.personal * (one.confidence < 1), -one.start)
            )
            result[-1] = best._replace(start=last.start, end=max(last.end, hit.end))
        else:
            result.append(hit)
    return result


def _outside_stand_ins(data: bytes, hits: Iterable[Hit]) -> Iterator[Hit]:
    """Leave out what an earlier scrubbing wrote, so that scrubbing again changes nothing."""
    spans = [match.span() for match in _STAND_IN.finditer(data) if match[1].decode() in _kinds()]
    ends = [end for _, end in spans]
    for hit in hits:
        at = bisect_right(ends, hit.start)
        if at == len(spans) or spans[at][0] >= hit.end:
            yield _of_whole_characters(data, hit)


def _of_whole_characters(data: bytes, hit: Hit) -> Hit:
    """Widen a hit that a count of bytes ended within a character."""
    start, end = hit.start, min(hit.end, len(data))
    while start > 0 and data[start] & _FOLLOWS == _FOLLOWING:
        start -= 1
    while end < len(data) and data[end] & _FOLLOWS == _FOLLOWING:
        end += 1
    return hit._replace(start=start, end=end)


@cache
def _kinds() -> frozenset[str]:
    return frozenset({form.kind for form in known.FORMATS} | {*personal.KINDS, *_OTHER_KINDS})


def repeated(data: bytes, hits: Iterable[Hit], least: float) -> list[Hit]:
    """Return further places of values that were found for sure, where they stand as whole words."""
    values: dict[bytes, Hit] = {}
    for hit in hits:
        value = data[hit.start : hit.end]
        if (
            hit.confidence >= least
            and _LEAST_REPEATED <= len(value) <= 4096
            and not hit.personal
            and _tells(value)
        ):
            values.setdefault(value, hit)
    further = []
    for start, end in _places(data, list(values)):
        if not data[start - 1 : start].isalnum() and not data[end : end + 1].isalnum():
            further.append(values[data[start:end]]._replace(start=start, end=end))
    return further


def _places(data: bytes, values: list[bytes]) -> Iterator[tuple[int, int]]:
    """Yield where some values stand; many of them are looked for at once."""
    if len(values) <= _FEW:
        for value in values:
            at = data.find(value)
            while at >= 0:
                yield at, at + len(value)
                at = data.find(value, at + len(value))
        return
    lengths: dict[bytes, set[int]] = {}
    for value in values:
        lengths.setdefault(value[:_LEAST_REPEATED], set()).add(len(value))
    known_values = frozenset(values)
    for match in _WORD_BEGIN.finditer(data):
        at = match.start()
        for length in lengths.get(match[1], ()):
            if data[at : at + length] in known_values:
                yield at, at + length


_WORD_BEGIN = re.compile(rb"(?<![A-Za-z0-9])(?=(.{%d}))" % _LEAST_REPEATED, re.DOTALL)
_STAND_IN = re.compile(rb"<(?:SECRET|PERSON):([a-z0-9_]{1,40}):[0-9]{1,9}>")
_OTHER_KINDS = (
    "password",
    "token",
    "url_credentials",
    "url_token",
    "authorization",
    "basic_credentials",
    "command_password",
    "kubernetes_secret",
    "drawn_token",
)
_DIGIT = re.compile(rb"[0-9]")


def _tells(value: bytes) -> bool:
    """Tell whether a value is no plain word, which may stand elsewhere for itself."""
    return _DIGIT.search(value) is not None or not value.isalnum()
