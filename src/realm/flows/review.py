"""What the scrubber is not sure of: held while collecting, decided by a person, released into its source.

What is released goes into a collection of its own that the documents' items point at besides those they have,
with one ledger write; only then is it taken out of the quarantine. Interrupted in between, the next review
finds it in its collection and takes it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from realm.core.errors import HeldError, StorageError, UsageError
from realm.core.hashing import hash_bytes
from realm.core.records import ArtifactKind, Record
from realm.corpus.collection import read_documents
from realm.corpus.document import Document
from realm.corpus.scrub import ScrubbedDocument, Scrubber, Verdict
from realm.corpus.scrubbing.decisions import Decision
from realm.corpus.scrubbing.finding import Finding
from realm.corpus.scrubbing.review import Quarantine, Question
from realm.flows.context import Lab
from realm.flows.holding import looked_at, quarantine_of, settle
from realm.flows.shards import Shard
from realm.flows.sources import held, scrubber_of
from realm.ledger.records import CollectedRecord, CollectionRecord, SourceRecord

WAIT_S = 2.0
"""How long a review waits for a collection of the source that it would release into."""


class Waiting(Record):
    """Something that waits for a person; shows nothing that was found."""

    row: str
    """Its id, for questions and answers."""
    where: str
    source: str | None
    """None for a row of a file."""
    findings: tuple[Finding, ...]


class Released(Record):
    """Documents of one source that are in doubt no more."""

    source: str
    collection: str
    documents: int


class Reviewed(Record):
    """What a review came to."""

    dropped: int
    released: tuple[Released, ...]
    held_up: tuple[str, ...]
    """Sources that could not be written now, and why; the next review goes on with them."""
    waiting: int


# --- questions and answers -------------------------------------------------------------------


def waiting(quarantine: Quarantine) -> Iterator[Waiting]:
    """Yield what waits in a quarantine."""
    for row in quarantine.waiting():
        held = quarantine.held(row)
        source = held.reading.source if held.reading else None
        yield Waiting(row=row, where=held.where, source=source, findings=held.findings)


class Review:
    """The realm's quarantine, or one folder of held rows, put before a person or a program."""

    def __init__(self, lab: Lab | None, folder: Path | None = None) -> None:
        """Take the quarantine of a lab, or a folder: rows in it are only decided, nothing is collected.

        Raises UsageError where neither is given.
        """
        self._lab = lab if folder is None else None
        self._dropped = 0
        self._high = Scrubber.Config().high
        if folder is not None:
            self.quarantine = Quarantine(folder)
        elif lab is not None:
            self.quarantine, self._high = quarantine_of(lab), lab.config.corpus.scrub.high
        else:
            raise UsageError("no quarantine to review", hint="name its folder, or open a realm")

    def waiting(self) -> list[Waiting]:
        """Return what waits, in a stable order."""
        return list(waiting(self.quarantine))

    def rows(self) -> list[str]:
        """Return the ids of what waits."""
        return self.quarantine.waiting()

    def questions(self, row: str) -> list[Question]:
        """Return what is undecided in a row: the values themselves. Raises NotFoundError."""
        return self.quarantine.questions(row, self._high)

    def answer(self, row: str, decision: Decision) -> None:
        """Decide about every undecided value of a row, or drop the row."""
        if decision is Decision.DROP_ROW:
            self.drop(row)
        else:
            self.decide({question.value: decision for question in self.questions(row)})

    def decide(self, values: Mapping[str, Decision]) -> None:
        """Remember what was said of values: of these everywhere, from now on."""
        self.quarantine.decide(values)

    def drop(self, row: str) -> None:
        """Leave a row out for good."""
        self.quarantine.drop(row)
        self._dropped += 1

    def end(self) -> Reviewed:
        """Release what is in doubt no more, whoever decided it, and say what still waits."""
        released: tuple[Released, ...] = ()
        held_up: tuple[str, ...] = ()
        if self._lab is not None:
            released, held_up = _release(self._lab, self.quarantine, self._is_decided)
        for row in self.rows():  # of files: they are scrubbed anew, and follow the decisions then
            if self.quarantine.held(row).reading is None and self._is_decided(row):
                self.quarantine.remove(row)
        return Reviewed(dropped=self._dropped, released=released, held_up=held_up, waiting=len(self.rows()))

    def _is_decided(self, row: str) -> bool:
        return not self.questions(row)


def answer(review: Review, answers: Mapping[str, Decision]) -> Reviewed:
    """Decide about rows by their ids. Raises NotFoundError, before anything is decided, for one unknown."""
    for row in answers:
        review.quarantine.held(row)
    for row, decision in answers.items():
        review.answer(row, decision)
    return review.end()


# --- back into the collection ------------------------------------------------------------------


def _release(
    lab: Lab, quarantine: Quarantine, is_decided: Callable[[str], bool]
) -> tuple[tuple[Released, ...], tuple[str, ...]]:
    released, held_up = [], []
    scrubber: Scrubber | None = None
    for source in lab.ledger.sources.list():
        if not quarantine.waiting(source.name) and not quarantine.pending(source.name):
            continue
        try:
            with held(lab, source.name, WAIT_S):
                items = lab.ledger.sources.items(source.name)
                settle(quarantine, source.name, items)
                rows = [row for row in quarantine.waiting(source.name) if is_decided(row)]
                if not rows:
                    continue
                scrubber = scrubber or scrubber_of(lab)
                found = _Releasing(lab, source, quarantine, scrubber, items).run(rows)
                released += [found] if found else []
        except (HeldError, StorageError) as error:
            held_up.append(f"{source.name}: {error.what}")
    return tuple(released), tuple(held_up)


class _Place(NamedTuple):
    """Where a released document is found again: ids that scrubbing changed may have become one."""

    item: str
    name: str
    """Its id, as stored."""
    content: str | None
    """Hash of it, as stored, where scrubbing changed its id."""


def _content(document: Document) -> str:
    return hash_bytes(document.model_dump_json().encode())


class _Releasing:
    """Documents of one source on their way out of the quarantine."""

    def __init__(
        self,
        lab: Lab,
        source: SourceRecord,
        quarantine: Quarantine,
        scrubber: Scrubber,
        items: Mapping[str, CollectedRecord],
    ) -> None:
        self._lab, self._source = lab, source
        self._quarantine, self._scrubber, self._items = quarantine, scrubber, items

    def run(self, rows: list[str]) -> Released | None:
        """Publish those of some decided documents that are in doubt no more; None where there are none."""
        ready = self._ready(rows)
        present = self._present(set(ready.values()))
        for row in [row for row, place in ready.items() if place in present]:
            self._quarantine.remove(row)
        new = [row for row, place in ready.items() if place not in present]
        return self._publish(new) if new else None

    def _ready(self, rows: list[str]) -> dict[str, _Place]:
        """Return the rows that are sure now, with their places; the others wait with what is left."""
        found: list[tuple[str, int, str, str, _Place]] = []
        for row in rows:
            item, document, scrubbed = self._scrubbed(row)
            if scrubbed.verdict is Verdict.QUARANTINED:
                self._quarantine.hold_again(row, looked_at(self._scrubber, document)[1])
                continue
            name = scrubbed.document.id
            place = _Place(item, name, None if name == document.id else _content(scrubbed.document))
            found.append((item, document.origin.first_line or 0, document.id, row, place))
        return {row: place for *_, row, place in sorted(found)}

    def _scrubbed(self, row: str) -> tuple[str, Document, ScrubbedDocument]:
        held = self._quarantine.held(row)
        assert held.reading is not None
        document = Document.model_validate(held.value)
        return held.reading.item, document, self._scrubber.scrub_document(document)

    def _present(self, ready: AbstractSet[_Place]) -> set[_Place]:
        """Return those that the collections of their items hold already."""
        wanted: dict[str, set[str]] = {}
        for place in ready:
            for collection in self._items[place.item].collections:
                wanted.setdefault(collection, set()).add(place.item)
        renamed = {place.name for place in ready if place.content}
        present: set[_Place] = set()
        for collection, items in wanted.items():
            folder = self._lab.store.verified(ArtifactKind.COLLECTION, collection)
            for stored in read_documents(folder):
                if stored.item in items:
                    name = stored.document.id
                    content = _content(stored.document) if name in renamed else None
                    present |= {_Place(stored.item, name, None), _Place(stored.item, name, content)} & ready
        return present

    def _publish(self, rows: list[str]) -> Released | None:
        items: dict[str, None] = {}
        done = []
        with Shard(self._lab, self._source, self._version(rows), self._scrubber) as shard:
            for row in rows:
                item, _, scrubbed = self._scrubbed(row)
                if scrubbed.verdict is not Verdict.QUARANTINED:  # else somebody took a decision back
                    shard.add(item, scrubbed)
                    items[item] = None
                    done.append(row)
            if not done:
                return None

            def note(record: CollectionRecord) -> CollectionRecord:
                return self._lab.ledger.sources.extend(record, items)

            record = shard.publish(len(items), 0, (), note)
        for row in done:
            self._quarantine.remove(row)
        return Released(source=self._source.name, collection=record.hash, documents=record.documents)

    def _version(self, rows: list[str]) -> str:
        """Return the newest version of the code that read some documents."""
        wanted: set[str] = set()
        for row in rows:
            reading = self._quarantine.held(row).reading
            wanted.update(self._items[reading.item].collections if reading else ())
        records = self._lab.ledger.sources.collections(self._source.name)
        return [record.version for record in records if record.hash in wanted][-1]
