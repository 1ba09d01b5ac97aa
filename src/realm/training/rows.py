"""From files of rows to sequences: read, changed by the profile, encoded, cut or left out, and counted.

Every row of a file ends as a row that is trained on, as several pieces of it, or in the account of what
was left out, with the reason; so does every trained token. Pieces of a chat are whole exchanges that
end with a trained answer, each with the chat's system turn before it. Pieces of a text overlap by one
token, which is masked in the later one, so that every token is predicted once and from a token before
it.

Shapes: S sequences, R rows that are trained on (a piece is a row of its own).
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from realm.core.errors import ConfigError, DataError, MaskingError
from realm.core.hashing import hash_bytes, hash_file, hash_json
from realm.core.records import Example, Message, Record
from realm.core.seeds import rng
from realm.models import chat, profile, renderchild, template, words
from realm.models.chat import Encoded, Encodings, encode_flat, joined, prompt_ids
from realm.models.profile import PROFILES
from realm.models.template import ASSISTANT
from realm.training.cache import Made, cached
from realm.training.job import RowsFile, TrainJob
from realm.training.masking import Sequences
from realm.training.method import Method, Row
from realm.training.rules import Encoding, Mixture, OverLong
from realm.training.sampling import Order, Sampler, mixed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from realm.training.batching import Unit
    from realm.training.trainee import Trainee

T = TypeVar("T")
PartsOf = Callable[[Example], tuple[Example, ...]]
"""What a method encodes of a row; `Method.sequences`."""
_UNCUT = 1 << 40
_COMPARED_ROWS = 64


class Settings(Record):
    """Everything beside rows and tokenizer that decides over tokens and weights."""

    max_tokens: int
    over_long: OverLong = "drop"
    roles: tuple[str, ...] = ASSISTANT
    """Whose turns are trained."""
    profile: dict[str, Any] = Field(default_factory=lambda: {"kind": "none"})
    """Config of the profile."""
    method: dict[str, Any] = Field(default_factory=lambda: {"kind": "supervised"})
    """Config of the method, which decides what is encoded of a row."""
    seed: int = 0
    """Of what the profile draws."""

    generates: bool = False
    """Rows are prompts to answer: encoded up to where the assistant speaks, nothing of them trained."""

    @classmethod
    def of(
        cls,
        encoding: Encoding,
        *,
        max_tokens: int,
        method: Mapping[str, Any] | None = None,
        generates: bool = False,
        seed: int = 0,
    ) -> Settings:
        """Take a recipe's settings; without a method rows are encoded as they are."""
        profile = encoding.profile.model_dump(mode="json")
        return cls(
            max_tokens=max_tokens,
            over_long=encoding.over_long,
            roles=encoding.train_roles,
            profile=profile,
            method=dict(method or {"kind": "supervised"}),
            generates=generates,
            # Where nothing is drawn, runs of other seeds share what is cached.
            seed=seed if profile["kind"] != "none" else 0,
        )


class Account(Record):
    """What became of the rows of a file, or of several."""

    rows: int
    """In the file."""
    kept: int
    """Rows that are trained on; a piece counts as one."""
    pieces: int
    """How many of those are pieces."""
    split: int
    """Rows that were cut into pieces."""
    dropped: dict[str, int]
    """Rows of which nothing is trained, by reason."""
    lost: dict[str, int]
    """Trained tokens that are not trained on, by reason; those of dropped rows too."""
    tokens: int
    """In what is trained on."""
    trained_tokens: int

    def __add__(self, other: Account) -> Account:
        return Account(
            rows=self.rows + other.rows,
            kept=self.kept + other.kept,
            pieces=self.pieces + other.pieces,
            split=self.split + other.split,
            dropped=dict(Counter(self.dropped) + Counter(other.dropped)),
            lost=dict(Counter(self.lost) + Counter(other.lost)),
            tokens=self.tokens + other.tokens,
            trained_tokens=self.trained_tokens + other.trained_tokens,
        )

    def lines(self) -> dict[str, int]:
        """Return what was left out or cut, by reason, for the event that tells of it."""
        cut = {"cut into pieces": self.split} if self.split else {}
        lost = {f"trained tokens {why}": count for why, count in self.lost.items() if why not in self.dropped}
        return {**self.dropped, **cut, **lost}


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file as sequences."""

    sequences: Encodings
    expected_S: NDArray[np.int64]
    """Turns of each that are to be trained; -1 for a text."""
    firsts_R: NDArray[np.int64]
    """(R + 1,): where each row's sequences begin."""
    lines_R: NDArray[np.int64]
    """Each row's line in the file, from 1."""
    offsets_R: NDArray[np.int64]
    """Where that line begins, bytes."""
    account: Account


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
        """Rows of an epoch by their dataset, and by the mixture's tag where there is one."""
        return self.sampler("given", 0).quotas

    @property
    def sizes(self) -> list[int]:
        """Tokens of each row's longest sequence."""
        return [max((len(sequence.ids) for sequence in row), default=0) for row in self.sequences]

    def row(self, index: int) -> Row:
        """Return a row as methods see it."""
        return Row(index, self.examples[index], self.sequences[index])

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
        tags = [str(self.raw(index).tags.get(self._mixture.by, "")) for index in range(len(self))]
        return Sampler(*mixed(unique, weights, self._file_R, tags, self._mixture), order=order, seed=seed)

    def chosen(self, indices: Sequence[int]) -> Rows:
        """Return some of the rows, such as those that are held out; in the order of the files."""
        wanted_R = np.zeros(len(self), np.bool_)
        wanted_R[np.asarray(indices, np.int64)] = True
        parts = [_part(table, wanted_R[self._file_R == file]) for file, table in enumerate(self.tables)]
        return Rows(parts, self._files, self._raw_of, self._manner, self._mixture)

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

    Raises DataError naming the file and the line of the first bad row, and what `load_rows` raises.
    """
    from realm.training.batching import Unit
    from realm.training.validation import HELD_OUT, is_held_out

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
    rows = load_rows(job.rows, trainee.tokenizer, settings, method.sequences, cache=cache, mixture=mixture)
    sets: dict[str, list[Unit]] = {}

    def units(found: Rows) -> list[Unit]:
        return [Unit(row, i) for i, row in enumerate(found.sequences[:limit])]

    if share:
        held = [index for index in range(len(rows)) if is_held_out(rows.raw(index), share)]
        if held:
            sets[HELD_OUT] = units(rows.chosen(held))
            rows = rows.chosen(sorted(set(range(len(rows))) - set(held)))
            refuse_empty(rows.account)
    for file in job.validation:
        found = load_rows([file], trainee.tokenizer, settings, method.sequences, cache=cache)
        sets[file.name] = units(found)
    return rows, sets


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

    Raises DataError naming file and line for a bad row, MaskingError where no row is left or what is
    trained cannot be told, and what `cached` raises.
    """
    manner = _manner(settings)
    tables = [_table(Path(file.path), tokenizer, settings, manner, parts_of, cache) for file in files]
    texts = [_Lines(Path(file.path)) for file in files]
    rows = Rows(tables, files, lambda file, _, offset: texts[file].example(offset), manner, mixture)
    refuse_empty(rows.account)
    return rows


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
    manner = _manner(settings)
    numbers = list(lines) if lines is not None else list(range(1, len(examples) + 1))
    by_line = dict(zip(numbers, examples, strict=True))
    changed = [manner(example, line) for line, example in by_line.items()]
    table = encode_table(changed, numbers, [0] * len(changed), tokenizer, settings, parts_of, file=file)
    return Rows([table], [RowsFile(path=file)], lambda _, line, __: by_line[line], manner)


def _manner(settings: Settings) -> Callable[[Example, int], Example]:
    """Return how the profile changes the row of a line."""
    profile = PROFILES.build(settings.profile)
    return lambda example, line: profile.transform(example, line - 1, settings.seed)


def refuse_empty(account: Account) -> None:
    """Raise MaskingError where no row is left to train on."""
    if not account.kept:
        counted = (
            ", ".join(f"{count} {reason}" for reason, count in account.dropped.items()) or "there are none"
        )
        raise MaskingError(f"no row is left to train on: {counted}", hint="raise max_tokens or fix the rows")


def ending_only(example: Example) -> tuple[Example, Example]:
    """Return the better and the worse ending of a preference; only where they differ is trained.

    What both chats begin with is their prompt and masked. Raises DataError for a row that is no
    preference, or whose endings are the same or train nothing.
    """
    better, worse = example.messages, example.rejected
    if not worse:
        raise DataError(
            "the row has no rejected ending", file="rows", hint="preferences are prompt, chosen, rejected"
        )
    common = 0
    while common < min(len(better), len(worse)) and _same(better[common], worse[common]):
        common += 1
    endings = (better[common:], worse[common:])
    for which, ending in zip(("chosen", "rejected"), endings, strict=True):
        if not any(turn.role == "assistant" and turn.weight for turn in ending):
            raise DataError(
                f"the {which} ending says nothing that the other one does not",
                file="rows",
                hint="the two endings must differ in what the assistant says",
            )
    prompt = tuple(_masked(turn) for turn in better[:common])
    first, second = (
        example.model_copy(update={"messages": (*prompt, *ending), "rejected": ()}) for ending in endings
    )
    return first, second


def read_examples(path: Path) -> tuple[list[Example], list[int], list[int]]:
    """Read a dataset's rows, their lines from 1 and where these begin. Raises DataError for a bad line."""
    examples, lines, offsets, offset = list[Example](), list[int](), list[int](), 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.isspace():
                examples.append(_parsed(line, path, number))
                lines.append(number)
                offsets.append(offset)
            offset += len(line)
    if not examples:
        raise DataError("there are no rows", file=str(path))
    return examples, lines, offsets


def encode_table(
    examples: Sequence[Example],
    lines: Sequence[int],
    offsets: Sequence[int],
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    parts_of: PartsOf,
    *,
    file: str,
) -> Table:
    """Encode rows, treat those that are too long as the settings say, and count what becomes of them."""
    wanted = [_parts(example, parts_of, file, line) for example, line in zip(examples, lines, strict=True)]
    flat = [sequence for row in wanted for sequence in row]
    origin_S = np.repeat(np.arange(len(examples)), [len(row) for row in wanted])
    found = _encoded(flat, tokenizer, settings, [lines[row] for row in origin_S.tolist()], file)
    _compare(flat, found, tokenizer, settings)
    return _Table(flat, origin_S, found, tokenizer, settings, np.asarray(lines), np.asarray(offsets)).table()


class _Table:
    """One table while it is made."""

    def __init__(
        self,
        flat: Sequence[Example],
        origin_S: NDArray[np.int64],
        found: Encodings,
        tokenizer: PreTrainedTokenizerFast,
        settings: Settings,
        lines: NDArray[np.int64],
        offsets: NDArray[np.int64],
    ) -> None:
        self._flat, self._found, self._origin_S = flat, found, origin_S
        self._tokenizer, self._settings = tokenizer, settings
        self._lines, self._offsets = lines, offsets
        rows = len(lines)
        self._limit = settings.max_tokens
        self._trained_S = predicted(found)
        self._count_R = np.bincount(origin_S, minlength=rows)
        long_R = np.bincount(origin_S, found.full_S > self._limit, minlength=rows) > 0
        silent_S = (self._trained_S == 0) & (not settings.generates)
        silent_R = np.bincount(origin_S, silent_S, minlength=rows) > 0
        cuts = settings.over_long == "split" and not settings.generates
        self._cut_R = long_R & cuts & (self._count_R == 1) & ~silent_R
        self._dropped_R = (long_R | silent_R) & ~self._cut_R
        self._dropped: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        lost_R = np.bincount(origin_S, self._trained_S, minlength=rows)
        for reason, which_R in (
            ("no trained token", silent_R),
            (f"longer than {self._limit} tokens", long_R & ~silent_R & ~self._cut_R),
        ):
            if which_R.any():
                self._dropped[reason] = int(np.count_nonzero(which_R))
                self._lost[reason] = int(lost_R[which_R].sum())

    def table(self) -> Table:
        """Return the rows that are kept, each piece as a row."""
        kept_S = np.flatnonzero(~(self._dropped_R | self._cut_R)[self._origin_S])
        whole = _Sequences(
            self._found.taken(kept_S),
            np.asarray(
                [expected_turns(self._flat[i], self._settings.roles) for i in kept_S.tolist()], np.int64
            ),
            self._origin_S[kept_S],
        )
        pieces = self._pieces()
        joined = whole if pieces is None else whole.joined(pieces)
        kept_R = np.flatnonzero(~(self._dropped_R | self._cut_R))
        origin_R, counts_R = kept_R, self._count_R[kept_R]
        if pieces is not None:
            origin_R = np.concatenate([kept_R, pieces.origin_S])
            counts_R = np.concatenate([counts_R, np.ones(len(pieces.origin_S), np.int64)])
            order = np.argsort(origin_R, kind="stable")
            joined = joined.taken(np.argsort(joined.origin_S, kind="stable"))
            origin_R, counts_R = origin_R[order], counts_R[order]
        account = Account(
            rows=len(self._lines),
            kept=len(origin_R),
            pieces=0 if pieces is None else len(pieces.origin_S),
            split=0 if pieces is None else len(np.unique(pieces.origin_S)),
            dropped=dict(self._dropped),
            lost={reason: count for reason, count in self._lost.items() if count},
            tokens=int(joined.encodings.sizes_S.sum()),
            trained_tokens=int(predicted(joined.encodings).sum()),
        )
        return Table(
            joined.encodings,
            joined.expected_S,
            np.concatenate([[0], np.cumsum(counts_R)]).astype(np.int64),
            self._lines[origin_R],
            self._offsets[origin_R],
            account,
        )

    def _pieces(self) -> _Sequences | None:
        """Cut the rows that are to be cut; count what is lost of them."""
        cut_S = np.flatnonzero(self._cut_R[self._origin_S])
        if not len(cut_S):
            return None
        chats = [i for i in cut_S.tolist() if self._flat[i].messages]
        texts = [i for i in cut_S.tolist() if not self._flat[i].messages]
        made = [self._text_pieces(i) for i in texts]
        groups = cut_chats([self._flat[i] for i in chats], self._settings.roles, self._limit, self._sizes_of)
        examples = [piece for group in groups for piece in group]
        origin = np.repeat(self._origin_S[chats], [len(group) for group in groups]).astype(np.int64)
        found = encode_flat(self._tokenizer, examples, _UNCUT, self._settings.roles)
        expected = np.asarray([expected_turns(piece, self._settings.roles) for piece in examples], np.int64)
        result = _Sequences(found, expected, origin)
        trained = np.bincount(origin, predicted(found), minlength=len(self._lines))
        for i, group in zip(chats, groups, strict=True):
            row = int(self._origin_S[i])
            lost = int(self._trained_S[i] - trained[row])
            if not group:
                self._dropped[f"no exchange fits {self._limit} tokens"] += 1
            if lost > 0:
                self._lost[f"in exchanges longer than {self._limit} tokens"] += lost
        for piece in made:
            result = result.joined(piece)
        return result

    def _sizes_of(self, examples: Sequence[Example]) -> list[int]:
        found = encode_flat(self._tokenizer, examples, _UNCUT, self._settings.roles)
        sizes: list[int] = found.full_S.tolist()
        return sizes

    def _text_pieces(self, index: int) -> _Sequences:
        row = self._found[index]
        stride = self._limit - 1
        begins = range(0, len(row.ids) - 1, stride)
        ids = [row.ids[begin : begin + self._limit] for begin in begins]
        weights = [row.weights[begin : begin + self._limit].copy() for begin in begins]
        for piece in weights[1:]:
            piece[0] = 0
        sizes = np.asarray([len(piece) for piece in ids], np.int64)
        found = Encodings.of(np.concatenate(ids), np.concatenate(weights), sizes, self._limit)
        origin = np.full(len(sizes), self._origin_S[index], np.int64)
        return _Sequences(found, np.full(len(sizes), -1, np.int64), origin)


@dataclass(frozen=True, slots=True)
class _Sequences:
    encodings: Encodings
    expected_S: NDArray[np.int64]
    origin_S: NDArray[np.int64]
    """Index of the row that each comes from."""

    def taken(self, chosen: NDArray[np.int64]) -> _Sequences:
        return _Sequences(self.encodings.taken(chosen), self.expected_S[chosen], self.origin_S[chosen])

    def joined(self, other: _Sequences) -> _Sequences:
        together = joined([self.encodings, other.encodings])
        return _Sequences(
            together,
            np.concatenate([self.expected_S, other.expected_S]),
            np.concatenate([self.origin_S, other.origin_S]),
        )


def cut_chats(
    chats: Sequence[Example],
    roles: tuple[str, ...],
    limit: int,
    sizes_of: Callable[[Sequence[Example]], list[int]],
) -> list[list[Example]]:
    """Cut each chat, from its beginning, into pieces of as many whole exchanges as fit `limit` tokens.

    Exchanges that do not fit alone are left out, and so is what follows the last trained answer.
    """
    cuts = [_Cut(example, roles) for example in chats]
    sizes = iter(sizes_of([single for cut in cuts for single in cut.singles()]))
    for cut in cuts:
        cut.sizes = [next(sizes) for _ in cut.exchanges]
    pairs = [cut for cut in cuts if len(cut.exchanges) > 1]
    for cut, size in zip(pairs, sizes_of([cut.piece(0, 2) for cut in pairs]), strict=True):
        cut.repeated = sum(cut.sizes[:2]) - size
    while open_cuts := [cut for cut in cuts if cut.propose(limit)]:
        found = sizes_of([cut.piece(cut.begin, cut.end) for cut in open_cuts])
        for cut, size in zip(open_cuts, found, strict=True):
            cut.settle(fits=size <= limit)
    return [cut.pieces for cut in cuts]


class _Cut:
    """One chat while it is cut."""

    def __init__(self, example: Example, roles: tuple[str, ...]) -> None:
        self.example = example
        turns = example.messages
        self.system = turns[:1] if turns[0].role == "system" else ()
        self.exchanges = _exchanges(turns[len(self.system) :], roles)
        self.sizes: list[int] = []
        """Tokens of each exchange alone, the system turn before it."""
        self.repeated = 0
        """Tokens that two exchanges share."""
        self.pieces: list[Example] = []
        self.begin, self.end = 0, 0
        self._most = len(self.exchanges)

    def piece(self, begin: int, end: int) -> Example:
        """Return some exchanges; what the system says is trained in the first piece only."""
        system = self.system if not self.pieces else tuple(_masked(turn) for turn in self.system)
        turns = [turn for exchange in self.exchanges[begin:end] for turn in exchange]
        return self.example.model_copy(update={"messages": (*system, *turns)})

    def singles(self) -> list[Example]:
        """Return every exchange alone."""
        return [self.piece(place, place + 1) for place in range(len(self.exchanges))]

    def propose(self, limit: int) -> bool:
        """Choose the next exchanges to measure; tell whether there are any."""
        while self.begin < len(self.exchanges) and self.sizes[self.begin] > limit:
            self.begin += 1
            self._most = len(self.exchanges)
        self.end, total = self.begin, self.repeated
        while self.end < self._most and total + self.sizes[self.end] - self.repeated <= limit:
            total += self.sizes[self.end] - self.repeated
            self.end += 1
        return self.end > self.begin

    def settle(self, *, fits: bool) -> None:
        """Keep what was measured as a piece, or try with one exchange less."""
        if fits:
            self.pieces.append(self.piece(self.begin, self.end))
            self.begin, self._most = self.end, len(self.exchanges)
        else:
            self._most = self.end - 1


def _exchanges(turns: Sequence[Message], roles: tuple[str, ...]) -> list[tuple[Message, ...]]:
    """Cut turns behind every trained answer that another speaker follows; the rest is left out."""
    result: list[tuple[Message, ...]] = []
    begun: list[Message] = []
    for place, turn in enumerate(turns):
        begun.append(turn)
        followed = place + 1 < len(turns) and turns[place + 1].role == "assistant"
        if turn.role == "assistant" and turn.weight and "assistant" in roles and not followed:
            result.append(tuple(begun))
            begun = []
    return result


def expected_turns(example: Example, roles: tuple[str, ...]) -> int:
    """Return how many turns of a chat are to be trained; -1 for a text."""
    if not example.messages:
        return -1
    return sum(turn.role in roles and turn.weight * example.weight > 0 for turn in example.messages)


def predicted(found: Encodings) -> NDArray[np.int64]:
    """Return (S,) how many trained tokens of each sequence have a token before them."""
    counted_N = np.concatenate([[0], np.cumsum(found.weights_N > 0, dtype=np.int64)])
    ends_S = found.begins_S + found.sizes_S
    result_S: NDArray[np.int64] = counted_N[ends_S] - counted_N[np.minimum(found.begins_S + 1, ends_S)]
    return result_S


def _table(
    path: Path,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    manner: Callable[[Example, int], Example],
    parts_of: PartsOf,
    cache: Path | None,
) -> Table:
    """Encode one file, or map what was encoded before."""

    def make() -> Table:
        examples, lines, offsets = read_examples(path)
        changed = [manner(example, line) for example, line in zip(examples, lines, strict=True)]
        return encode_table(changed, lines, offsets, tokenizer, settings, parts_of, file=str(path))

    if cache is None:
        return make()
    parts = {"rows": hash_file(path), "tokenizer": tokenizer_hash(tokenizer), "code": code_hash()}
    stored = cached(
        cache, {**parts, "settings": settings.model_dump(mode="json")}, lambda: _flattened(make())
    )
    return _unflattened(stored.arrays, stored.facts)


_OF_ENCODINGS = tuple(field.name for field in fields(Encodings))
_OF_TABLE = tuple(field.name for field in fields(Table) if field.name not in ("sequences", "account"))


def _flattened(table: Table) -> Made:
    found = table.sequences
    arrays = {name: getattr(found, name) for name in _OF_ENCODINGS}
    rest = {name: getattr(table, name) for name in _OF_TABLE}
    return {**arrays, **rest}, {"account": table.account.model_dump(mode="json")}


def _unflattened(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> Table:
    rest = dict(arrays)
    found = Encodings(**{name: rest.pop(name) for name in _OF_ENCODINGS})
    return Table(sequences=found, account=Account.model_validate(facts["account"]), **rest)


def tokenizer_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the hash of a tokenizer with its template and special tokens."""
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    whole = hash_bytes(tokenizer.backend_tokenizer.to_str().encode())
    return hash_json({"tokenizer": whole, "template": tokenizer.chat_template, "special": special})


def code_hash() -> str:
    """Return the hash of what turns rows into tokens: our modules, and the versions of the libraries."""
    files = [Path(module.__file__ or "") for module in (chat, profile, renderchild, template, words)]
    files += [Path(__file__), *sorted((Path(profile.__file__).parent / "profiles").glob("*.py"))]
    libraries = {name: version(name) for name in ("jinja2", "tokenizers", "transformers")}
    return hash_json({"files": [hash_file(path) for path in files], "libraries": libraries})


def _encoded(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    lines: Sequence[int],
    file: str,
) -> Encodings:
    try:
        if settings.generates:
            return _prompts(examples, tokenizer)
        return encode_flat(tokenizer, examples, _UNCUT, settings.roles)
    except DataError as error:
        line = None if error.line is None else lines[error.line - 1]
        raise DataError(error.reason, file=file, line=line, hint=error.hint) from None


def _prompts(examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast) -> Encodings:
    """Encode prompts up to where the assistant begins to speak; nothing of them is trained."""
    ids = prompt_ids(tokenizer, [example.messages for example in examples])
    sizes_S = np.asarray([len(prompt) for prompt in ids], np.int64)
    ids_N = np.asarray([token for prompt in ids for token in prompt], np.int32)
    return Encodings.of(ids_N, np.zeros(len(ids_N), np.float32), sizes_S, _UNCUT)


def _compare(
    examples: Sequence[Example], found: Encodings, tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> None:
    """Encode a sample of the rows the slow and plain way too. Raises MaskingError where that differs."""
    if settings.generates:
        return
    count = min(_COMPARED_ROWS, len(examples))
    chosen = sorted(rng("rows/compare", settings.seed, len(examples)).sample(range(len(examples)), count))
    plain = encode_flat(tokenizer, [examples[i] for i in chosen], _UNCUT, settings.roles, plainly=True)
    for place, index in enumerate(chosen):
        one, other = found[index], plain[place]
        if not (np.array_equal(one.ids, other.ids) and np.array_equal(one.weights, other.weights)):
            raise MaskingError(
                f"sequence {index + 1} has other tokens when it is rendered and tokenised as a whole",
                hint="the template or the tokenizer looks further than it should; report it with this row",
            )


def _parts(example: Example, parts_of: PartsOf, file: str, line: int) -> tuple[Example, ...]:
    try:
        return parts_of(example)
    except DataError as error:
        raise DataError(error.reason, file=file, line=line, hint=error.hint) from None


def _part(table: Table, wanted_R: NDArray[np.bool_]) -> Table:
    """Return some rows of a table, with an account of their own."""
    rows = np.flatnonzero(wanted_R)
    counts = np.diff(table.firsts_R)[rows]
    begins = table.firsts_R[rows]
    firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    chosen = np.repeat(begins - firsts[:-1], counts) + np.arange(firsts[-1])
    found = table.sequences.taken(chosen)
    account = table.account.model_copy(
        update={
            "kept": len(rows),
            "tokens": int(found.sizes_S.sum()),
            "trained_tokens": int(predicted(found).sum()),
        }
    )
    return Table(found, table.expected_S[chosen], firsts, table.lines_R[rows], table.offsets_R[rows], account)


class _Lines:
    """A file of rows, mapped when its first row is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None

    def example(self, offset: int) -> Example:
        """Return the row that begins at this byte."""
        if self._map is None:
            with self._path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        end = self._map.find(b"\n", offset)
        return Example.model_validate_json(self._map[offset : end if end >= 0 else len(self._map)])


def _parsed(line: bytes, path: Path, number: int) -> Example:
    try:
        return Example.model_validate_json(line)
    except ValidationError as error:
        raise DataError(str(error.errors()[0]["msg"]), file=str(path), line=number) from None


def _masked(turn: Message) -> Message:
    return turn.model_copy(update={"weight": 0.0})


def _same(one: Message, other: Message) -> bool:
    return one.role == other.role and one.content == other.content
