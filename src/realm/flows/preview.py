"""Look at a source before it is added: what it was taken for, and its first documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from realm.core.records import Record
from realm.corpus.document import Document
from realm.corpus.rows.detection import Detected, describe
from realm.corpus.scrub import Scrubber, Verdict
from realm.corpus.source import SOURCES, Item, Source, SourceConfig, kind_name
from realm.corpus.tally import Reason, Tally
from realm.flows.context import Lab
from realm.flows.sources import explained, scrubber_of


class Shown(Record):
    """A document as it would be collected."""

    item: str
    verdict: Verdict
    findings: dict[str, int]
    """What the scrubber found, by kind."""
    document: Document | None
    """None where a person would have to decide first."""


class Preview(Record):
    """What adding a source would bring."""

    name: str
    kind: str
    config: dict[str, Any]
    items: int
    bytes: int
    left_out: tuple[Reason, ...]
    """Files that would not be read, by reason."""
    detected: Detected | None
    """The shape of a file's rows, where it is a file of rows."""
    documents: tuple[Shown, ...]


def preview(lab: Lab, config: SourceConfig, limit: int) -> Preview:
    """Show what a source would bring, with at most `limit` documents; nothing is written.

    Raises what collecting from it would raise.
    """
    source, tally = SOURCES.build(config), Tally()
    with explained(config.name):
        items = list(source.items(tally))
    path = getattr(config, "path", None)
    of_rows = isinstance(path, Path) and path.is_file() and "shape" in type(config).model_fields
    return Preview(
        name=config.name,
        kind=kind_name(config),
        config=config.model_dump(mode="json", exclude_defaults=True),
        items=len(items),
        bytes=sum(item.size_bytes for item in items),
        left_out=tally.reasons(),
        detected=describe(path) if of_rows and isinstance(path, Path) else None,
        documents=tuple(_first(source, items, scrubber_of(lab), limit)) if limit else (),
    )


def _first(source: Source, items: list[Item], scrubber: Scrubber, limit: int) -> Iterator[Shown]:
    """Yield the first documents as they would be collected."""
    tally = Tally()
    found = ((item, document) for item in items for document in source.read(item, tally))
    for item, document in islice(found, limit):
        scrubbed = scrubber.scrub_document(document)
        yield Shown(
            item=item.key,
            verdict=scrubbed.verdict,
            findings=dict(sorted(Counter(finding.kind for finding in scrubbed.findings).items())),
            document=None if scrubbed.verdict is Verdict.QUARANTINED else scrubbed.document,
        )
