"""Partitions of a dataset by role, task and domain, each with a weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.core.records import Record
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import tag

REST = "rest"
NONE = "none"
"""Stands for a tag that a row does not have."""

TAG = "partition"

Weight = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class PartitionConfig(Config):
    """How rows are parted and how much the parts count."""

    by: tuple[str, ...] = ("role", "task", "domain")
    """Tags whose values name a partition, joined by `/`."""
    weights: dict[str, Weight] = Field(default_factory=dict)
    """How often rows are drawn, by partition or by any of its values: `code`, `mayor/chat/none`.

    A partition's own weight wins; otherwise those of its values multiply; 1 where nothing is said.
    """
    min_rows: Annotated[int, Field(ge=1)] = 1
    """Partitions of fewer rows join `rest`."""
    min_to_train: Annotated[int, Field(ge=1)] = 1
    """Rows that every partition must have before the dataset may be trained on."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if not self.by or len(set(self.by)) != len(self.by):
            raise ValueError("by must name different tags, at least one")
        return self


class Partition(Record):
    """One part of a dataset."""

    name: str
    rows: int
    weight: float
    share: float
    """Of what is drawn in training: rows · weight, over that of all partitions."""


class Partitions(Record):
    """All parts, most rows first, and which became part of `rest`."""

    parts: tuple[Partition, ...]
    joined: dict[str, int]
    """Rows of each partition that was too small."""
    unused_weights: tuple[str, ...]
    """Weights that match no partition, most likely misspelt."""
    too_small: tuple[str, ...] = ()
    """Partitions that stand against training on the dataset."""
    drawn: dict[str, float] = Field(default_factory=dict)
    """Weights of the partitions as the rows name them, where any is not 1."""

    def name_of(self, name: str) -> str:
        """Return the part that a row of this name belongs to."""
        return REST if name in self.joined else name


def partition_name(row: Row, by: tuple[str, ...]) -> str:
    """Return the values of the tags, joined by `/`; a slash within a value becomes `_`."""
    return "/".join(tag(row, each).replace("/", "_") or NONE for each in by)


def named(row: Row, by: tuple[str, ...]) -> Row:
    """Return a row that bears its partition as the tag `partition`, by which training can weigh it."""
    tags = {**row.example.tags, TAG: partition_name(row, by)}
    return row.model_copy(update={"example": row.example.model_copy(update={"tags": tags})})


def partition(counts: Mapping[str, int], config: PartitionConfig) -> Partitions:
    """Settle the partitions of a dataset with these counts."""
    joined = {name: count for name, count in sorted(counts.items()) if count < config.min_rows}
    kept = {name: count for name, count in counts.items() if name not in joined and count}
    if joined:
        kept[REST] = kept.get(REST, 0) + sum(joined.values())
    weights = {name: _weight(name, config.weights) for name in kept}
    drawn = sum(count * weights[name] for name, count in kept.items())
    parts = tuple(
        Partition(
            name=name,
            rows=count,
            weight=weights[name],
            share=count * weights[name] / drawn if drawn else 0.0,
        )
        for name, count in sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    )
    known = {value for name in (*counts, REST) for value in (name, *name.split("/"))}
    return Partitions(
        parts=parts,
        joined=joined,
        unused_weights=tuple(sorted(set(config.weights) - known)),
        too_small=tuple(part.name for part in parts if part.rows < config.min_to_train),
        drawn=_drawn({name: weights[REST if name in joined else name] for name in counts if counts[name]}),
    )


def _drawn(weights: dict[str, float]) -> dict[str, float]:
    return weights if any(weight != 1 for weight in weights.values()) else {}


def _weight(name: str, weights: Mapping[str, float]) -> float:
    if name in weights:
        return weights[name]
    weight = 1.0
    for value in name.split("/"):
        weight *= weights.get(value, 1.0)
    return weight
