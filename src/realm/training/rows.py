"""The rows that a run trains on, from one file or several, and the sets that it is validated on.

Shapes: S sequences, R rows that are trained on (a piece is a row of its own).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from realm.core.errors import ConfigError, MaskingError
from realm.core.records import Example
from realm.models.encodings import Encoded, joined
from realm.training.dropping import NO_ROW_LEFT, Account, Cause, none_left
from realm.training.encoding import PartsOf, encode_table, load_table, manner_of
from realm.training.job import RowsFile, TrainJob
from realm.training.jsonl import Lines
from realm.training.masking import Sequences
from realm.training.method import Method, Row
from realm.training.rules import Encoding, Mixture
from realm.training.sampling import Order, Sampler, mixed, refuse_unmet
from realm.training.settings import Settings
from realm.training.table import Table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.training.batching import Unit
    from realm.training.trainee import Trainee

T = TypeVar("T")


class Rows:
    """The rows that are trained on, of one file or several; each is made when it is asked for."""

    def __init__(
        self,
        tables: Sequence[Table],
        files: Sequence[RowsFile],
        raw_of: Callable[[int, int, int], Example],
        manner: Callable[[Example, int], Example],
        mixture: Mixture | None = None,
    ) -> None:
        """`raw_of` takes a file's index, a line and where it begins; `manner` changes a row of that line."""
        self.tables = tuple(tables)
        self._files = tuple(files)
        self._raw_of = raw_of
        self._manner = manner
        self._mixture = mixture
        counts = [len(table.lines_R) for table in tables]
        self._file_R: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
        self._place_R: NDArray[np.int64] = np.concatenate([np.arange(count) for count in counts])
        self.account = tables[0].account
        for table in tables[1:]:
            self.account += table.account
        self.sequences: Sequence[tuple[Encoded, ...]] = _Each(len(self), self._sequences)
        """Each row's, as views."""
        self.examples: Sequence[Example] = _Each(len(self), self._example)
        """The row that each row or piece comes from, as the profile made it."""
        self.numbers: Sequence[str] = _Each(len(self), self._number)
        """Each row's line in its file, from 1, with the file's name where there are several."""

    def __len__(self) -> int:
        return len(self._file_R)

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return self.account.tokens

    @property
    def trained_tokens(self) -> int:
        """Tokens that are predicted and trained."""
        return self.account.trained_tokens

    @property
    def dropped(self) -> dict[str, int]:
        """Rows left out or cut, and trained tokens lost, by reason."""
        return self.account.lines()

    @property
    def sources(self) -> dict[str, int]:
        """Rows of the first epoch by their dataset, and by the mixture's tag where there is one."""
        return self.sampler("given", 0).quotas(0)

    @property
    def sizes(self) -> list[int]:
        """Tokens of each row's longest sequence."""
        return [max((len(sequence.ids) for sequence in row), default=0) for row in self.sequences]

    def row(self, index: int) -> Row:
        """Return a row as methods see it."""
        return Row(index, self.examples[index], self.sequences[index], self.numbers[index])

    def raw(self, index: int) -> Example:
        """Return the row a row or piece comes from, as it lies in the file."""
        table, place = self.tables[self._file_R[index]], self._place_R[index]
        return self._raw_of(int(self._file_R[index]), int(table.lines_R[place]), int(table.offsets_R[place]))

    def flat(self) -> Sequences:
        """Return all sequences, one behind the other, with the lines of their rows."""
        rows_S = [
            np.repeat(np.arange(len(table.lines_R)), np.diff(table.firsts_R)) + before
            for table, before in zip(self.tables, self._before(), strict=True)
        ]
        return Sequences(
            joined([table.sequences for table in self.tables]),
            np.concatenate([table.expected_S for table in self.tables]),
            np.concatenate(rows_S),
            self.numbers,
        )

    def of_batch(self, batch: int, batch_rows: int, *, order: Order, seed: int) -> list[int]:
        """Return the indices of the rows that a batch (from 0) is made of."""
        return self.sampler(order, seed).rows_of_step(batch, batch_rows)

    @lru_cache(maxsize=2)  # noqa: B019 - rows live as long as their run
    def sampler(self, order: Order, seed: int) -> Sampler:
        """Return what decides which rows an epoch draws."""
        names = [file.name or Path(file.path).stem for file in self._files]
        unique = [
            name if names.count(name) == 1 else f"{name}#{place + 1}" for place, name in enumerate(names)
        ]
        weights = [file.weight for file in self._files]
        if self._mixture is None:
            sources = [unique[file] for file in self._file_R]
            return Sampler(sources, [weights[file] for file in self._file_R], order=order, seed=seed)
        tagged = mixed(unique, weights, self._file_R, self._tags(self._mixture.by), self._mixture)
        return Sampler(*tagged, order=order, seed=seed)

    def chosen(self, indices: Sequence[int]) -> Rows:
        """Return some of the rows, such as those that are held out; in the order of the files."""
        wanted_R = np.zeros(len(self), np.bool_)
        wanted_R[np.asarray(indices, np.int64)] = True
        parts = [table.chosen(wanted_R[self._file_R == file]) for file, table in enumerate(self.tables)]
        return Rows(parts, self._files, self._raw_of, self._manner, self._mixture)

    def refuse_unmet(self) -> None:
        """Raise ConfigError where the mixture weighs by what no row has, so that it would weigh nothing."""
        if self._mixture is not None:
            names = (name for index in range(len(self)) for name in self.raw(index).tags)
            refuse_unmet(self._mixture, self._tags(self._mixture.by), names)

    @lru_cache(maxsize=1)  # noqa: B019 - rows live as long as their run
    def _tags(self, name: str) -> tuple[str, ...]:
        """Return each row's value of a tag; empty where it has none."""
        return tuple(str(self.raw(index).tags.get(name, "")) for index in range(len(self)))

    def _before(self) -> list[int]:
        counts = [len(table.lines_R) for table in self.tables]
        return [sum(counts[:place]) for place in range(len(counts))]

    def _sequences(self, index: int) -> tuple[Encoded, ...]:
        table, place = self.tables[self._file_R[index]], int(self._place_R[index])
        first, end = int(table.firsts_R[place]), int(table.firsts_R[place + 1])
        return tuple([table.sequences[i] for i in range(first, end)])

    def _example(self, index: int) -> Example:
        line = int(self.tables[self._file_R[index]].lines_R[self._place_R[index]])
        return self._manner(self.raw(index), line)

    def _number(self, index: int) -> str:
        file = int(self._file_R[index])
        line = int(self.tables[file].lines_R[self._place_R[index]])
        if len(self.tables) == 1:
            return str(line)
        return f"{self._files[file].name or Path(self._files[file].path).name}:{line}"


class _Each(Sequence[T]):
    """Values that are made when they are asked for."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._make(index % self._count)


def read(
    job: TrainJob,
    method: Method,
    trainee: Trainee,
    *,
    encoding: Encoding | None = None,
    mixture: Mixture | None = None,
) -> tuple[Rows, dict[str, list[Unit]]]:
    """Read what a run trains on, and the sets that it is validated on.

    Raises DataError naming the file and the line of the first bad row, MaskingError where no row is left,
    ConfigError for a mixture by what no row has, and what `load_rows` raises.
    """
    from realm.models.adapters import text_config
    from realm.training.batching import Unit
    from realm.training.validation import HELD_OUT

    share, limit = job.recipe.where.validation.share, job.recipe.where.validation.max_rows
    if method.generates and (share or job.validation):
        raise ConfigError(
            "where.validation measures the loss of given answers, which this method has none of",
            hint="name suites to judge its checkpoints instead",
        )
    settings = Settings.of(
        encoding or Encoding(),
        max_tokens=trainee.max_tokens,
        method=method.config.model_dump(mode="json"),
        generates=method.generates,
        seed=job.seed,
    )
    cache = Path(job.cache) if job.cache else None
    context = text_config(trainee.model).max_position_embeddings
    given = load_rows(job.rows, trainee.tokenizer, settings, method.sequences, cache=cache, mixture=mixture)
    rows, held = set_apart(given, share)
    refuse_empty(rows.account, settings, context)
    given.refuse_unmet()
    sets: dict[str, list[Unit]] = {}

    def units(found: Rows) -> list[Unit]:
        return [Unit(row, i) for i, row in enumerate(found.sequences[:limit])]

    if len(held):
        sets[HELD_OUT] = units(held)
    for file in job.validation:
        found = load_rows([file], trainee.tokenizer, settings, method.sequences, cache=cache)
        left = f"validation set {file.name}: no row is left to measure"
        refuse_empty(found.account, settings, context, left)
        sets[file.name] = units(found)
    return rows, sets


def set_apart(rows: Rows, share: float) -> tuple[Rows, Rows]:
    """Return the rows that are trained on, whose account counts the others, and those held out of them.

    Held-out rows beyond `max_rows` are not given back: the same row is on the same side in every run, and
    twice in a file it is on one side.
    """
    from realm.training.validation import is_held_out

    held = [index for index in range(len(rows)) if is_held_out(rows.raw(index), share)] if share else []
    if not held:
        return rows, rows.chosen([])
    kept = rows.chosen(sorted(set(range(len(rows))) - set(held)))
    dropped = rows.account.without(len(held), Cause.HELD_OUT).dropped
    kept.account = kept.account.model_copy(update={"dropped": dropped})
    return kept, rows.chosen(held)


def load_rows(
    files: Sequence[RowsFile],
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    parts_of: PartsOf,
    *,
    cache: Path | None = None,
    mixture: Mixture | None = None,
) -> Rows:
    """Read and encode files of rows, or map what was encoded before.

    Raises DataError naming file and line for a bad row, MaskingError where what is trained cannot be told,
    and what `cached` raises.
    """
    tables = [load_table(Path(file.path), tokenizer, settings, parts_of, cache) for file in files]
    texts = [Lines(Path(file.path)) for file in files]
    return Rows(
        tables, files, lambda file, _, offset: texts[file].example(offset), manner_of(settings), mixture
    )


def rows_of(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    parts_of: PartsOf = lambda example: (example,),
    *,
    lines: Sequence[int] | None = None,
    file: str = "rows",
) -> Rows:
    """Encode rows that are in memory; `lines` are their places in `file`, 1, 2, … where none are given."""
    manner = manner_of(settings)
    numbers = list(lines) if lines is not None else list(range(1, len(examples) + 1))
    by_line = dict(zip(numbers, examples, strict=True))
    changed = [manner(example, line) for line, example in by_line.items()]
    table = encode_table(changed, numbers, [0] * len(changed), tokenizer, settings, parts_of, file=file)
    return Rows([table], [RowsFile(path=file)], lambda _, line, __: by_line[line], manner)


def refuse_empty(
    account: Account, settings: Settings, context_tokens: int | None, left: str = NO_ROW_LEFT
) -> None:
    """Raise MaskingError where no row is left; `context_tokens` is what the model reads, where known."""
    if not account.kept:
        reasons, hint = none_left(account, settings, context_tokens)
        raise MaskingError(f"{left}: {reasons}", hint=hint)
