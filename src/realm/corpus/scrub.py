"""Scrubbing: secrets and personal data found in texts and documents, and replaced by typed stand-ins.

Covered: known token formats, values by their context, encoded and split values, values drawn by chance,
e-mail and IP addresses, phone numbers, cards, IBANs and home folders. Not covered: secrets that are
ordinary words in free prose, pictures, encrypted or compressed content, names of people.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record
from realm.corpus.document import Document
from realm.corpus.scrubbing import context, finder, words
from realm.corpus.scrubbing.decisions import Decision, Decisions
from realm.corpus.scrubbing.finding import Finding, Scrubbed, Share, Verdict
from realm.corpus.scrubbing.prefilter import Engine
from realm.corpus.scrubbing.replacing import Numbers, rewrite
from realm.corpus.scrubbing.rules import Hit
from realm.corpus.scrubbing.strings import Place, put, walk

__all__ = ["Finding", "Scrubbed", "ScrubbedDocument", "ScrubbedValue", "Scrubber", "Verdict"]

PersonalKind = Literal["email", "ip", "phone", "card", "iban", "home"]
_BETWEEN = b"\n\x00\n"
"""Between the strings of one unit; no rule looks across it."""


class ScrubbedValue(Record):
    """A JSON value after scrubbing."""

    value: Any
    findings: tuple[Finding, ...]
    verdict: Verdict


class ScrubbedDocument(Record):
    """A document after scrubbing."""

    document: Document
    findings: tuple[Finding, ...]
    verdict: Verdict


class Scrubber:
    """Find and replace. One per process and thread: building compiles every rule (about a second of CPU)."""

    class Config(Config):
        """What is looked for, and how sure a finding must be."""

        high: Share = 0.8
        """Findings at least this sure are replaced."""
        middle: Share = 0.4
        """Findings at least this sure send their row to quarantine; weaker ones are not told."""
        personal: tuple[PersonalKind, ...] = ("email", "ip", "phone", "card", "iban", "home")
        """Kinds of personal data that are looked for."""
        allowed: tuple[str, ...] = ()
        """Values that are never taken for a secret, exactly as they stand in texts."""
        decisions: Path | None = None
        """File of decisions from review; see `realm.corpus.scrubbing.decisions`."""
        audit: Share = Field(default=0.001, exclude=True)
        """Share of the documents that pass which a collection keeps for inspection, at most 200. It changes
        no finding, so it is no part of the config's hash."""
        engine: Engine = Field(default="auto", exclude=True)
        """What looks for candidates. It changes the speed alone, so it is no part of the config's hash."""

    version = "2"
    """Raised when the same text would give other findings."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._finder = finder.Finder(self.config.personal, self.config.engine)
        self._allowed = frozenset(value.encode() for value in self.config.allowed)
        self._decisions = Decisions(self.config.decisions) if self.config.decisions else None

    def prepare(self) -> None:
        """Compile the rules now, not with the first text."""
        self._finder.prepare()

    def scrub_text(self, text: str) -> Scrubbed:
        """Scrub one string; positions of findings are characters of `text`."""
        data = text.encode("utf-8", "surrogatepass")
        hits = self._hits(data, self._finder.find(data))
        if not hits:
            return Scrubbed(text, (), Verdict.CLEAN)
        findings = tuple(_findings(data, hits, ""))
        scrubbed = rewrite(data, self._certain(hits), Numbers())
        return Scrubbed(
            text=scrubbed.decode("utf-8", "surrogatepass"), findings=findings, verdict=self._verdict(hits)
        )

    def scrub_value(self, value: Any) -> ScrubbedValue:
        """Scrub every string of a JSON value, keys included, as one unit."""
        places = walk(value)
        changed, findings, verdict = self._scrub_places(places)
        return ScrubbedValue(
            value=put(value, changed) if changed else value, findings=findings, verdict=verdict
        )

    def scrub_document(self, document: Document) -> ScrubbedDocument:
        """Scrub every string of a document as one unit: the same value gets the same number throughout.

        Words, fields, tags, id, group, path, session, work item, contributor and rig are looked at.
        """
        if not document.fields and not document.tags and not self._finder.may_find(_words(document)):
            return ScrubbedDocument(document=document, findings=(), verdict=Verdict.CLEAN)
        value = document.model_dump(include=_LOOKED_AT, exclude_defaults=True)
        result = self.scrub_value(value)
        if result.verdict is Verdict.CLEAN or result.value == value:
            return ScrubbedDocument(document=document, findings=result.findings, verdict=result.verdict)
        data = document.model_dump()
        for name in value:
            data[name] = {**data[name], **result.value[name]} if name == "origin" else result.value[name]
        return ScrubbedDocument(
            document=Document.model_validate(data), findings=result.findings, verdict=result.verdict
        )

    def replaced(self, text: str, findings: tuple[Finding, ...]) -> Scrubbed:
        """Replace what was found in a text before, for instance in a part of a longer one."""
        data = text.encode("utf-8", "surrogatepass")
        hits = [
            Hit(
                one.kind,
                len(text[: one.start].encode("utf-8", "surrogatepass")),
                len(text[: one.end].encode("utf-8", "surrogatepass")),
                one.confidence,
                one.personal,
            )
            for one in findings
        ]
        scrubbed = rewrite(data, self._certain(hits), Numbers()).decode("utf-8", "surrogatepass")
        return Scrubbed(scrubbed, findings, self._verdict(hits))

    def _scrub_places(self, places: list[Place]) -> tuple[dict[int, str], tuple[Finding, ...], Verdict]:
        pieces = [place.text.encode("utf-8", "surrogatepass").replace(b"\x00", b" ") for place in places]
        data = _BETWEEN.join(pieces)
        starts, at = [], 0
        for piece in pieces:
            starts.append(at)
            at += len(piece) + len(_BETWEEN)
        named = [
            hit
            for place, piece, start in zip(places, pieces, starts, strict=True)
            if place.name
            for hit in _named(place, piece, start)
        ]
        found = self._finder.find(data)
        hits = self._hits(data, finder.merged([*found, *named]) if named else found)
        if not hits:
            return {}, (), Verdict.CLEAN
        return self._distributed(places, pieces, starts, hits)

    def _distributed(
        self, places: list[Place], pieces: list[bytes], starts: list[int], hits: list[Hit]
    ) -> tuple[dict[int, str], tuple[Finding, ...], Verdict]:
        """Give each string its own hits; one that reaches over the end of its string is cut there."""
        numbers, changed, findings = Numbers(), dict[int, str](), list[Finding]()
        of_place: dict[int, list[Hit]] = {}
        for hit in hits:
            at = bisect_right(starts, hit.start) - 1
            start, end = hit.start - starts[at], min(hit.end - starts[at], len(pieces[at]))
            if start < end:
                of_place.setdefault(at, []).append(hit._replace(start=start, end=end))
        telling = frozenset(places[at].pointer[:-1] for at in of_place if places[at].pointer.endswith("#"))
        for at, own in of_place.items():
            findings += _findings(pieces[at], own, _where(places[at], telling))
            certain = self._certain(own)
            if certain:
                changed[places[at].number] = rewrite(pieces[at], certain, numbers).decode(
                    "utf-8", "surrogatepass"
                )
        return changed, tuple(findings), self._verdict([hit for own in of_place.values() for hit in own])

    def _hits(self, data: bytes, found: list[Hit]) -> list[Hit]:
        """Apply what people said: allowed values, decisions, thresholds; add the repetitions."""
        if not found:
            return []
        judged = [one for hit in found if (one := self._judged(data, hit)) is not None]
        further = finder.repeated(data, judged, self.config.high)
        kept = [one for hit in further if (one := self._judged(data, hit)) is not None]
        return [hit for hit in finder.merged([*judged, *kept]) if hit.confidence >= self.config.middle]

    def _judged(self, data: bytes, hit: Hit) -> Hit | None:
        value = data[hit.start : hit.end]
        if value in self._allowed:
            return None
        decision = self._decisions.of(value) if self._decisions is not None else None
        if decision is Decision.NOT_SECRET:
            return None
        return hit._replace(confidence=1.0) if decision is Decision.SECRET else hit

    def _certain(self, hits: Iterable[Hit]) -> list[Hit]:
        return [hit for hit in hits if hit.confidence >= self.config.high]

    def _verdict(self, hits: list[Hit]) -> Verdict:
        if any(hit.confidence < self.config.high for hit in hits):
            return Verdict.QUARANTINED
        return Verdict.REPLACED if hits else Verdict.CLEAN


_LOOKED_AT: Any = {
    **dict.fromkeys(("id", "messages", "rejected", "text", "fields", "tags", "group"), True),
    "origin": {"path", "session", "work_item", "contributor", "rig"},
}


def _words(document: Document) -> bytes:
    """Return all that `_LOOKED_AT` names of a document without fields and tags, joined as its places are."""
    origin = document.origin
    whole = (document.id, document.group, document.text, origin.path, origin.session, origin.work_item)
    texts = [text for text in (*whole, origin.contributor, origin.rig) if text]
    texts += (turn.content for turn in (*document.messages, *document.rejected))
    return _BETWEEN.join(text.encode("utf-8", "surrogatepass").replace(b"\x00", b" ") for text in texts)


def _findings(data: bytes, hits: Iterable[Hit], where: str) -> Iterator[Finding]:
    """Count characters from one hit to the next, so that many hits in a long text stay cheap."""
    at = characters = 0
    for hit in hits:
        characters += len(data[at : hit.start].decode("utf-8", "surrogatepass"))
        start, at = characters, hit.end
        characters += len(data[hit.start : hit.end].decode("utf-8", "surrogatepass"))
        yield Finding(
            kind=hit.kind,
            start=start,
            end=characters,
            confidence=hit.confidence,
            personal=hit.personal,
            where=where,
        )


def _where(place: Place, telling: frozenset[str]) -> str:
    """Name a string without the keys in which something was found."""
    below = place.pointer.removesuffix("#")
    while below and telling:
        if below in telling:
            return f"#{place.number}"
        below = below.rpartition("/")[0]
    return place.pointer


def _named(place: Place, piece: bytes, start: int) -> Iterator[Hit]:
    """Judge a whole string by the key that it stands under."""
    if len(piece) > _LONGEST_NAMED or words.weigh(place.name) == words.NONE:
        return
    confidence = context.assess(place.name, place.text, quoted=True)
    if confidence:
        yield Hit(context.kind_of(place.name), start, start + len(piece), confidence)


_LONGEST_NAMED = 512
