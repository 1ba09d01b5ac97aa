"""How far the conventions have moved since the corpus that a hero was trained on was built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from realm.core.errors import NotFoundError
from realm.core.events import DriftMeasured
from realm.core.hashing import canonical_json
from realm.core.records import ArtifactKind, Record
from realm.corpus.collection import read_documents, read_info
from realm.corpus.document import Document
from realm.evaluation.drift import DriftReport, drift
from realm.flows.context import Lab
from realm.flows.documents import CollectedDocuments
from realm.ledger.records import DatasetRecord

_KINDS = dict.fromkeys(("instructions", "template", "spec"), "conventions") | {"formula": "formulas"}
"""Which weight a document's kind falls under."""


class Staleness(Record):
    """A dataset's conventions against those collected since."""

    dataset: str
    """Name of the built dataset that is compared."""
    hash: str
    report: DriftReport


def staleness(lab: Lab, dataset: DatasetRecord | None = None) -> Staleness:
    """Compare the conventions of a build with those that are collected now, and keep the figures.

    Without a dataset the newest build is taken that the hero was trained on, else the newest at all. What the
    sources hold now is what was collected last: `realm up` and `realm data add` collect. Raises NotFoundError
    where nothing was built.
    """
    found = dataset or _newest(lab)
    build = found.build or {}
    then = {
        **_texts(_documents(lab, build["collections"])),
        "config": {"feeds": canonical_json(build["feeds"])},
    }
    feeds = [feed.model_dump(mode="json") for feed in lab.config.corpus.feeds]
    collected = CollectedDocuments(lab, lab.ledger.sources.list()).conventions()
    now = {**_texts(collected), "config": {"feeds": canonical_json(feeds)}}
    report = drift(then, now, lab.config.drift)
    lab.emit(DriftMeasured(dataset=found.hash, score=report.score, retrain=report.retrain))
    return Staleness(dataset=found.name, hash=found.hash, report=report)


def _newest(lab: Lab) -> DatasetRecord:
    built = [record for record in lab.ledger.datasets.list() if record.build]
    if not built:
        raise NotFoundError("no dataset has been built from sources", hint="`realm data build` makes one")
    trained = {run.dataset for run in lab.ledger.runs.list() if run.hero == lab.hero_name}
    return next((record for record in built if record.hash in trained), built[0])


def _documents(lab: Lab, collections: Iterable[str]) -> Iterator[Document]:
    """Yield what each item held when a build read these collections, the oldest first."""
    held: dict[tuple[str, str], tuple[str, list[Document]]] = {}
    for content in collections:
        folder = lab.store.verified(ArtifactKind.COLLECTION, content)
        if not read_info(folder).conventions:
            continue
        for stored in read_documents(folder):
            item = (stored.document.origin.source, stored.item)
            if held.get(item, ("", []))[0] != content:
                held[item] = (content, [])
            held[item][1].append(stored.document)
    for _, documents in held.values():
        yield from documents


def _texts(documents: Iterable[Document]) -> dict[str, dict[str, str]]:
    """Return texts by id within each kind; a later document of an id replaces an earlier one."""
    found: dict[str, dict[str, str]] = {"conventions": {}, "formulas": {}}
    for document in documents:
        kind = _KINDS.get(str(document.fields.get("convention", "")))
        if kind:
            place = f"{document.origin.source}/{document.id}"
            found[kind][place] = document.text or ""
    return found
