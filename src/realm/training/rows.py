"""Rows of a run: read, encoded for its method, and what was left out, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from realm.core.errors import ConfigError, DataError, MaskingError
from realm.core.records import Example
from realm.models.chat import Encoded, encode_many, prompt_ids
from realm.training.batching import Unit, rows_of_step
from realm.training.job import RowsFile, TrainJob
from realm.training.masking import Sequences
from realm.training.method import Method
from realm.training.trainee import Trainee
from realm.training.validation import HELD_OUT, is_held_out


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that are trained on, and what was left out."""

    examples: list[Example]
    """As they lie in the file."""
    parts: list[tuple[Example, ...]]
    """What of each row its method has encoded."""
    sequences: list[tuple[Encoded, ...]]
    """Those parts as tokens."""
    numbers: list[int]
    """Each row's line in its file, from 1."""
    dropped: dict[str, int]
    """Rows left out or cut, by reason."""
    sources: dict[str, int]
    """Rows by the dataset they come from."""

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(len(sequence.ids) for row in self.sequences for sequence in row)

    @property
    def trained_tokens(self) -> int:
        """Tokens that are predicted and trained."""
        return sum(sequence.trained_tokens for row in self.sequences for sequence in row)

    def flat(self) -> Sequences:
        """Return all sequences, one behind the other, with the lines of their rows."""
        return Sequences(
            examples=[part for parts in self.parts for part in parts],
            encoded=[sequence for row in self.sequences for sequence in row],
            numbers=[n for n, row in zip(self.numbers, self.sequences, strict=True) for _ in row],
        )

    def of_batch(
        self, batch: int, batch_rows: int, *, order: Literal["shuffled", "given"], seed: int
    ) -> list[int]:
        """Return the indices of the rows that a batch (from 0) is made of."""
        return rows_of_step(batch, len(self), batch_rows, order=order, seed=seed)


def read(job: TrainJob, method: Method, trainee: Trainee) -> tuple[Rows, dict[str, list[Unit]]]:
    """Read what a run trains on, and the sets that it is validated on.

    Raises DataError naming the file and the line of the first bad row.
    """
    share = job.recipe.where.validation.share
    if method.generates and (share or job.validation):
        raise ConfigError(
            "where.validation measures the loss of given answers, which this method has none of",
            hint="name suites to judge its checkpoints instead",
        )
    read_files = [(source, read_rows(Path(source.path))) for source in job.rows]
    trained = [
        [(number, example) for number, example in enumerate(found, start=1) if not is_held_out(example, share)]
        for _, found in read_files
    ]
    rows = _encoded([(s.name, s.path, found) for (s, _), found in zip(read_files, trained, strict=True)], method, trainee)
    sets: dict[str, list[Unit]] = {}
    held = [example for _, found in read_files for example in found if is_held_out(example, share)]
    if held:
        sets[HELD_OUT] = _units(held, job.rows[0], method, trainee)
    for source in job.validation:
        sets[source.name] = _units(read_rows(Path(source.path)), source, method, trainee)
    limit = job.recipe.where.validation.max_rows
    return rows, {name: units[:limit] for name, units in sets.items() if units}


def read_rows(path: Path) -> list[Example]:
    """Read a dataset's rows. Raises DataError naming the first bad line."""
    examples = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                examples.append(Example.model_validate_json(line))
            except ValidationError as error:
                raise DataError(str(error.errors()[0]["msg"]), file=str(path), line=number) from None
    if not examples:
        raise DataError("there are no rows", file=str(path))
    return examples


def _units(examples: Sequence[Example], source: RowsFile, method: Method, trainee: Trainee) -> list[Unit]:
    numbered = list(enumerate(examples, start=1))
    rows = _encoded([(source.name, source.path, numbered)], method, trainee)
    return [Unit(sequences, i) for i, sequences in enumerate(rows.sequences)]


def _encoded(
    sources: Sequence[tuple[str, str, Sequence[tuple[int, Example]]]], method: Method, trainee: Trainee
) -> Rows:
    """Encode rows for a method, leaving out those that cannot be trained on."""
    limit = trainee.max_tokens
    rows = Rows([], [], [], [], {}, {})
    for name, path, numbered in sources:
        for number, example in numbered:
            try:
                parts = method.sequences(example)
            except DataError as error:
                raise DataError(error.reason, file=path, line=number, hint=error.hint) from None
            rows.examples.append(example)
            rows.parts.append(parts)
            rows.numbers.append(number)
        rows.sources[name] = rows.sources.get(name, 0) + len(numbered)
    flat = [part for parts in rows.parts for part in parts]
    if method.generates:
        ids = prompt_ids(trainee.tokenizer, [part.messages for part in flat])
        encoded = [prompt_only(found, limit) for found in ids]
    else:
        encoded = encode_many(trainee.tokenizer, flat, limit)
    found = iter(encoded)
    rows.sequences.extend(tuple(next(found) for _ in parts) for parts in rows.parts)
    return _select(rows, limit, generates=method.generates)


def _select(rows: Rows, limit: int, *, generates: bool) -> Rows:
    """Leave out rows that cannot be trained on. Raises MaskingError when none is left."""
    kept: list[int] = []
    dropped: dict[str, int] = {}
    for index, sequences in enumerate(rows.sequences):
        if any(sequence.full_tokens > limit for sequence in sequences):
            reason = f"longer than {limit} tokens"
        elif not generates and not all(sequence.trained_tokens for sequence in sequences):
            reason = "no trained token"
        else:
            kept.append(index)
            continue
        dropped[reason] = dropped.get(reason, 0) + 1
    if not kept:
        counted = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "there are none"
        raise MaskingError(f"no row is left to train on: {counted}", hint="raise max_tokens or fix the rows")
    return Rows(
        [rows.examples[i] for i in kept],
        [rows.parts[i] for i in kept],
        [rows.sequences[i] for i in kept],
        [rows.numbers[i] for i in kept],
        dropped,
        rows.sources,
    )


def prompt_only(ids: Sequence[int], limit: int) -> Encoded:
    """Return a prompt as a sequence of which nothing is trained."""
    kept = np.asarray(ids[:limit], np.int32)
    return Encoded(kept, np.zeros(len(kept), np.float32), 0, len(ids))
