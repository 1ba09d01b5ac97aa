"""Publish what a build left: a dataset for each spec and each side of the split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from realm.core.records import Record, Sha256
from realm.corpus.assembly.split import Side, SplitConfig, side
from realm.corpus.dataset import DatasetInfo, RowWriter, program_version
from realm.corpus.lineage import LineageWriter
from realm.corpus.shaper import Row
from realm.flows.context import Lab
from realm.flows.datasets import publish_dataset

_SIDES: tuple[Side, ...] = ("train", "eval")
_SPECS = {"chat_sft_v1": "", "preference_v1": "-preference", "completion_v1": "-text"}
"""Specs of built rows, and what a dataset of them adds to its name."""

Rows = Callable[[], Iterator[Row]]


class BuiltDataset(Record):
    """A dataset that a build published."""

    hash: Sha256
    name: str
    spec: str
    side: Side
    rows: int


def publish_built(
    lab: Lab, name: str, rows: Rows, scrub: dict[str, Any], build: dict[str, Any], split: SplitConfig
) -> tuple[BuiltDataset, ...]:
    """Publish every dataset that has rows. `scrub` and `build` go into each one's description."""
    present = {(spec_of(row), side(row.group, split)) for row in rows()}
    built = []
    for spec, added in _SPECS.items():
        for where in _SIDES:
            if (spec, where) not in present:
                continue
            shown = name + added + ("-eval" if where == "eval" else "")
            chosen = _Chosen(rows, shown, spec, where, split, scrub, {**build, "side": where})
            record = publish_dataset(lab, chosen.write, source=f"build:{name}")
            built.append(BuiltDataset(hash=record.hash, name=shown, spec=spec, side=where, rows=record.rows))
    return tuple(built)


def spec_of(row: Row) -> str:
    """Return the spec that a row fits."""
    if row.example.text is not None:
        return "completion_v1"
    return "preference_v1" if row.example.rejected else "chat_sft_v1"


class _Chosen:
    """The rows of one dataset."""

    def __init__(
        self,
        rows: Rows,
        name: str,
        spec: str,
        where: Side,
        split: SplitConfig,
        scrub: dict[str, Any],
        build: dict[str, Any],
    ) -> None:
        self._rows, self._name, self._spec, self._side, self._split = rows, name, spec, where, split
        self._scrub, self._build = scrub, build

    def write(self, stage: Path) -> DatasetInfo:
        """Write rows, their lineage, and the description last."""
        count = 0
        with ExitStack() as stack:
            writer = stack.enter_context(RowWriter(stage))
            lineage = stack.enter_context(LineageWriter(stage))
            for row in self._rows():
                if spec_of(row) == self._spec and side(row.group, self._split) == self._side:
                    writer.write(row.example)
                    lineage.add(row)
                    count += 1
            return writer.finish(
                DatasetInfo(
                    name=self._name,
                    spec=self._spec,
                    rows=count,
                    source=None,
                    generator=None,
                    scrub=self._scrub,
                    build=self._build,
                    created_by=program_version(),
                )
            )
