"""Find all secrets and personal data in some bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from realm.corpus.scrubbing import context, decoded, drawn, known, personal, situations
from realm.corpus.scrubbing.prefilter import Engine, build, compile_exact, exact
from realm.corpus.scrubbing.rules import Hit, Match, Rule

_DEPTH = 3
"""Readings of readings that are looked at; a longer chain of encodings is not followed."""
_ENCODED_CONFIDENCE = 0.9
_LEAST_REPEATED = 8
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
    """The rules, compiled. Not to be shared by threads."""

    def __init__(self, personal_kinds: Iterable[str], engine: Engine = "auto") -> None:
        self.rules = all_rules(personal_kinds)
        patterns = [exact(rule.pattern) for rule in self.rules]
        signs = [
            exact(rule.sign) if rule.sign else pattern
            for rule, pattern in zip(self.rules, patterns, strict=True)
        ]
        self._may_match = build(signs, [rule.literal for rule in self.rules], engine)
        self._base64 = compile_exact(decoded.BASE64)
        self._patterns = [compile_exact(pattern) for pattern in patterns]

    def find(self, data: bytes) -> list[Hit]:
        """Return what was found in UTF-8 text, in order, without overlaps."""
        rules = self._may_match(data)
        if not rules:
            return []
        return merged(_outside_stand_ins(data, self._hits(data, rules, 0)))

    def _hits(self, data: bytes, rules: Iterable[int], depth: int) -> Iterator[Hit]:
        readings = []
        for number in rules:
            rule = self.rules[number]
            if rule.judge is _nothing:
                readings.append(rule.name)
                continue
            for match in self._patterns[number].finditer(data):
                yield from rule.judge(data, match)
        if depth < _DEPTH:
            for name in readings:
                yield from self._decoded(data, depth) if name == _BASE64 else self._reread(data, name, depth)

    def _decoded(self, data: bytes, depth: int) -> Iterator[Hit]:
        places = (match.start() for match in self._base64.finditer(data))
        for start, end, raw in decoded.base64_blobs(data, places):
            found = [
                hit
                for hit in self._inner(raw, depth)
                if hit.confidence >= _LEAST_DECODED and not hit.personal
            ]
            if found:
                best = max(found, key=lambda hit: hit.confidence)
                yield Hit(best.kind, start, end, min(best.confidence, _ENCODED_CONFIDENCE))

    def _reread(self, data: bytes, name: str, depth: int) -> Iterator[Hit]:
        reading = _REWRITES[name](data)
        if len(reading.starts) < 2:
            return
        for hit in self._inner(reading.data, depth):
            start, end = reading.back(hit.start), reading.back(hit.end - 1) + 1
            if end - start != hit.end - hit.start and hit.end < len(reading.data):
                end = max(end, reading.back(hit.end))
            yield hit._replace(start=start, end=end, confidence=min(hit.confidence, _ENCODED_CONFIDENCE))

    def _inner(self, data: bytes, depth: int) -> Iterator[Hit]:
        return self._hits(data, self._may_match(data), depth + 1)


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
    for hit in hits:
        if not any(start < hit.end and hit.start < end for start, end in spans):
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
    for value, hit in values.items():
        at = data.find(value)
        while at >= 0:
            end = at + len(value)
            if not data[at - 1 : at].isalnum() and not data[end : end + 1].isalnum():
                further.append(hit._replace(start=at, end=end))
            at = data.find(value, end)
    return further


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
