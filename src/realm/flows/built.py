"""Write and publish what a build left: a dataset for each spec and each side of the split."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

from realm.core.records import ArtifactKind, Record, Sha256
from realm.corpus.assembly.split import Side
from realm.corpus.dataset import DatasetInfo, RowWriter, program_version
from realm.corpus.lineage import LineageWriter
from realm.corpus.shaper import Row
from realm.corpus.specs import spec_of
from realm.flows.context import Lab
from realm.flows.datasets import publish_stage

_SIDES: tuple[Side, ...] = ("train", "eval")
_SPECS = {"chat_sft_v1": "", "preference_v1": "-preference", "completion_v1": "-text"}
"""Specs of built rows, and what a dataset of them adds to its name."""


class BuiltDataset(Record):
    """A dataset that a build published."""

    hash: Sha256
    name: str
    spec: str
    side: Side
    rows: int


class _Open(NamedTuple):
    """The files of one dataset being written."""

    rows: RowWriter
    lineage: LineageWriter


class BuiltDatasets:
    """The datasets of one build, each begun with its first row; use as a context.

    What is not published when the context ends is removed.
    """

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab, self._name = lab, name
        self._open: dict[tuple[str, Side], _Open] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, row: Row, side: Side) -> None:
        """Write a row and its lineage."""
        key = (spec_of(row.example), side)
        files = self._open.get(key) or self._begin(key)
        files.rows.write(row.example)
        files.lineage.add(row)

    def publish(self, scrub: dict[str, Any], build: dict[str, Any]) -> tuple[BuiltDataset, ...]:
        """Publish every dataset; `scrub` and `build` go into each one's description."""
        return tuple(
            self._publish(spec, side, scrub, build)
            for spec in _SPECS
            for side in _SIDES
            if (spec, side) in self._open
        )

    def _begin(self, key: tuple[str, Side]) -> _Open:
        stage = self._lab.store.stage(ArtifactKind.DATASET)
        self._stack.callback(self._lab.store.discard, stage)
        files = _Open(
            rows=self._stack.enter_context(RowWriter(stage)),
            lineage=self._stack.enter_context(LineageWriter(stage)),
        )
        self._open[key] = files
        return files

    def _publish(self, spec: str, side: Side, scrub: dict[str, Any], build: dict[str, Any]) -> BuiltDataset:
        files = self._open[spec, side]
        files.lineage.close()
        info = files.rows.finish(
            DatasetInfo(
                name=self._name + _SPECS[spec] + ("-eval" if side == "eval" else ""),
                spec=spec,
                rows=files.rows.count,
                source=None,
                generator=None,
                scrub=scrub,
                build={**build, "side": side},
                created_by=program_version(),
            )
        )
        record = publish_stage(self._lab, files.rows.folder, info, source=f"build:{self._name}")
        return BuiltDataset(hash=record.hash, name=info.name, spec=spec, side=side, rows=info.rows)
