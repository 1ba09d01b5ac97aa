"""How far the conventions have moved since the corpus that a hero was trained on was built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from realm.core.errors import NotFoundError
from realm.core.events import DriftMeasured
from realm.core.hashing import canonical_json
from realm.core.records import ArtifactKind, Record
from realm.corpus.collection import read_documents, read_info
from realm.corpus.document import Document
from realm.evaluation.drift import DriftReport, drift
from realm.flows.context import Lab
from realm.flows.documents import CONVENTIONS, CollectedDocuments
from realm.flows.gone import Doubt
from realm.ledger.records import DatasetRecord

_KINDS = dict.fromkeys(CONVENTIONS, "conventions") | {"formula": "formulas"}
"""Which weight a document's kind falls under."""


class Staleness(Record):
    """A dataset's conventions against those collected since."""

    dataset: str
    """Name of the built dataset that is compared."""
    hash: str
    report: DriftReport
    doubts: tuple[Doubt, ...] = ()
    """Sources of which only files of the build are compared: what came or went cannot be told now."""


def staleness(lab: Lab, dataset: str | None = None) -> Staleness:
    """Compare the conventions of a build with those that hold now, and keep the figures.

    The dataset is one by name, the newest of it, or by hash. Without one the newest build is taken that the
    hero was trained on, else the newest at all. What holds now is what was collected last, less what the
    sources, listed anew, hold no longer: `realm up` and `realm data add` collect. Raises NotFoundError where
    no dataset, or none of this name, was built from sources.
    """
    found = _built(lab, dataset)
    build = found.build or {}
    before = list(_documents(lab, build))
    then = {**_texts(before), "config": {"feeds": canonical_json(build["feeds"])}}
    feeds = [feed.model_dump(mode="json") for feed in lab.config.corpus.feeds]
    collected = CollectedDocuments(lab, lab.ledger.sources.list())
    now = {**_texts(_comparable(collected, before)), "config": {"feeds": canonical_json(feeds)}}
    report = drift(then, now, lab.config.drift)
    lab.emit(DriftMeasured(dataset=found.hash, score=report.score, retrain=report.retrain))
    return Staleness(dataset=found.name, hash=found.hash, report=report, doubts=collected.doubts)


def _comparable(collected: CollectedDocuments, before: list[Document]) -> Iterator[Document]:
    """Yield the conventions that hold now; of a source in doubt those of files that the build knew."""
    doubtful = {doubt.source for doubt in collected.doubts}
    files = {(document.origin.source, document.origin.path) for document in before}
    for document in collected.conventions():
        origin = document.origin
        if origin.source not in doubtful or (origin.source, origin.path) in files:
            yield document


def _built(lab: Lab, name: str | None) -> DatasetRecord:
    """Return the dataset of a name or hash, else the one that the hero knows; always a built one."""
    known = lab.ledger.datasets.list()
    built = [record for record in known if record.build]
    if name is None and built:
        trained = {run.dataset for run in lab.ledger.runs.list() if run.hero == lab.hero_name}
        return next((record for record in built if record.hash in trained), built[0])
    named = [record for record in built if record.name == name]
    if named:
        return named[0]
    names = ", ".join(dict.fromkeys(record.name for record in built))
    hint = f"built from sources: {names}" if names else "`realm data build` makes one"
    if name is None:
        raise NotFoundError("no dataset has been built from sources", hint=hint)
    if name.startswith("sha256:"):
        found = lab.ledger.datasets.get(name)
        if found.build:
            return found
    elif all(record.name != name for record in known):
        raise NotFoundError(f"no dataset is called {name!r}", hint=hint)
    raise NotFoundError(f"dataset {name} was not built from sources", hint=hint)


def _documents(lab: Lab, build: dict[str, Any]) -> Iterator[Document]:
    """Yield what each item held when a build read its collections, oldest first, less what was gone."""
    held: dict[tuple[str, str], tuple[str, list[Document]]] = {}
    gone = set(build.get("gone", ()))
    for content in build["collections"]:
        folder = lab.store.verified(ArtifactKind.COLLECTION, content)
        if not read_info(folder).conventions:
            continue
        for stored in read_documents(folder):
            item = (stored.document.origin.source, stored.item)
            if held.get(item, ("", []))[0] != content:
                held[item] = (content, [])
            held[item][1].append(stored.document)
    for _, documents in held.values():
        yield from (document for document in documents if _place(document) not in gone)


def _texts(documents: Iterable[Document]) -> dict[str, dict[str, str]]:
    """Return texts by id within each kind; a later document of an id replaces an earlier one."""
    found: dict[str, dict[str, str]] = {"conventions": {}, "formulas": {}}
    for document in documents:
        kind = _KINDS.get(str(document.fields.get("convention", "")))
        if kind:
            found[kind][_place(document)] = document.text or ""
    return found


def _place(document: Document) -> str:
    return f"{document.origin.source}/{document.id}"
