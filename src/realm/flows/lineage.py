"""Walk back from a row: dataset → document → source, with every version that had a hand in it."""

from __future__ import annotations

from itertools import islice
from typing import Any

from realm.core.errors import NotFoundError, UsageError
from realm.core.records import ArtifactKind, Record
from realm.corpus.dataset import read_info
from realm.corpus.lineage import RowLineage, read_lineage
from realm.flows.context import Lab
from realm.flows.publishing import dataset_of


class Lineage(Record):
    """What a dataset, or one row of it, came from."""

    dataset: str
    name: str
    rows: int
    side: str | None
    row: int | None = None
    made_of: RowLineage | None = None
    """Of the row that was asked for."""
    collections: tuple[str, ...]
    scrub: dict[str, Any] | None
    checks: tuple[str, ...]
    """`kind@version` of all that looked at the rows."""
    shapers: tuple[str, ...]
    runs: tuple[str, ...]
    """Trained on it."""


def lineage_of(lab: Lab, reference: str) -> Lineage:
    """Return the lineage of a dataset (name, hash or prefix), or with `#N` of its row N.

    Raises NotFoundError, and UsageError for another form.
    """
    name, sign, number = reference.partition("#")
    if sign and not number.isdecimal():
        raise UsageError(f"{reference!r}: no row is named like this", hint="write NAME#N, N from 0")
    record = dataset_of(lab, name)
    folder = lab.store.verified(ArtifactKind.DATASET, record.hash)
    row = int(number) if sign else None
    if row is not None and row >= record.rows:
        raise NotFoundError(f"{record.name}: no row {row}", hint=f"it has rows 0 to {record.rows - 1}")
    build = read_info(folder).build or {}
    return Lineage(
        dataset=record.hash,
        name=record.name,
        rows=record.rows,
        side=build.get("side"),
        row=row,
        made_of=next(islice(read_lineage(folder), row, None)) if row is not None else None,
        collections=tuple(build.get("collections", ())),
        scrub=record.scrub,
        checks=tuple(f"{c['name']}@{c['version']}" for c in build.get("statistics", {}).get("checks", ())),
        shapers=tuple(build.get("statistics", {}).get("by", {}).get("shaper", {})),
        runs=tuple(run.id for run in lab.ledger.runs.list() if run.dataset == record.hash),
    )
