"""Encode rows: changed by the profile, tokenised, cut or left out where too long, counted, and cached.

Every row of a file ends as a row that is trained on, as several pieces of it, or in the account of what
was left out, with the reason; so does every trained token.

What is cached is named by the rows, the tokenizer, the settings and the code that encodes. A sample of
the rows, drawn by the seed, is encoded the slow and plain way too and must come out the same.

Shapes: N tokens, S sequences, R rows of the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realm.core import records, seeds
from realm.core.errors import DataError, MaskingError
from realm.core.hashing import hash_bytes, hash_file, hash_json
from realm.core.records import Example
from realm.core.seeds import rng
from realm.models import (
    chat,
    correction,
    encodings,
    marks,
    profile,
    renderchild,
    renderer,
    shape,
    template,
    words,
)
from realm.models.chat import encode_flat, prompt_ids
from realm.models.encodings import Encodings, joined
from realm.models.profile import PROFILES
from realm.training import dropping, jsonl, reward, splitting, table
from realm.training.cache import cached
from realm.training.dropping import Account, Cause, Tally
from realm.training.jsonl import read_examples
from realm.training.method import METHODS
from realm.training.settings import Settings
from realm.training.splitting import cut_chats, cut_text
from realm.training.table import Table, predicted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PartsOf = Callable[[Example], tuple[Example, ...]]
"""What a method encodes of a row; `Method.sequences`."""
_MODULES = (
    *(chat, encodings, marks, renderchild, renderer, shape, template, words, correction, profile),
    *(dropping, jsonl, reward, splitting, table, records, seeds),
)
"""What decides over the tokens of a row, beside profiles and methods."""
_UNCUT = 1 << 40
_COMPARED_ROWS = 64


def load_table(
    path: Path,
    tokenizer: PreTrainedTokenizerFast,
    settings: Settings,
    parts_of: PartsOf,
    cache: Path | None,
) -> Table:
    """Encode one file of rows, or map what was encoded before.

    Raises DataError naming file and line for a bad row, MaskingError where what is trained cannot be
    told, and what `cached` raises.
    """

    def make() -> Table:
        examples, lines, offsets = read_examples(path)
        manner = manner_of(settings)
        changed = [manner(example, line) for example, line in zip(examples, lines, strict=True)]
        return encode_table(changed, lines, offsets, tokenizer, settings, parts_of, file=str(path))

    if cache is None:
        return make()
    parts = {"rows": hash_file(path), "tokenizer": tokenizer_hash(tokenizer), "code": code_hash(settings)}
    stored = cached(
        cache, {**parts, "settings": settings.model_dump(mode="json")}, lambda: make().flattened()
    )
    return Table.unflattened(stored.arrays, stored.facts)


def tokenizer_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return the hash of a tokenizer with its template and special tokens."""
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    whole = hash_bytes(tokenizer.backend_tokenizer.to_str().encode())
    return hash_json({"tokenizer": whole, "template": tokenizer.chat_template, "special": special})


def code_hash(settings: Settings) -> str:
    """Return the hash of what turns rows into tokens: modules, and the versions of the libraries."""
    files = [Path(__file__), *[Path(module.__file__ or "") for module in _MODULES]]
    # Own kinds of other packages too: a profile rewrites rows, a method decides what of them is encoded.
    files += _beside(PROFILES.load(settings.profile["kind"]))
    files += _beside(METHODS.load(settings.method["kind"]))
    libraries = {name: version(name) for name in ("jinja2", "tokenizers", "transformers")}
    return hash_json({"files": [hash_file(path) for path in files], "libraries": libraries})


def _beside(kind: type[object]) -> list[Path]:
    """Return the file of a kind's module, and those that lie beside it in its package."""
    module = sys.modules[kind.__module__]
    file = Path(module.__file__ or "")
    return sorted(file.parent.glob("*.py")) if module.__package__ else [file]


def manner_of(settings: Settings) -> Callable[[Example, int], Example]:
    """Return how the profile changes the row of a line."""
    profile = PROFILES.build(settings.profile)
    return lambda example, line: profile.transform(example, line - 1, settings.seed)


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
    table = _Table(flat, origin_S, found, tokenizer, settings, np.asarray(lines), np.asarray(offsets)).table()
    # A method that reads both endings makes a sequence of each.
    halved = {
        line
        for row, parts, line in zip(examples, wanted, lines, strict=True)
        if row.rejected and len(parts) == 1
    }
    kept = halved.intersection(table.lines_R.tolist())
    return replace(table, account=table.account.model_copy(update={"chosen_alone": len(kept)}))


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
        self._silent_S = silent_S
        self._tally = Tally(self._limit)
        ends_R = np.cumsum(self._count_R)
        for row in np.flatnonzero(self._dropped_R).tolist():
            self._leave_out(range(int(ends_R[row] - self._count_R[row]), int(ends_R[row])))

    def _leave_out(self, sequences: range) -> None:
        """Count a row of these sequences, with the reason and the trained tokens that are lost."""
        own = slice(sequences.start, sequences.stop)
        lost = int(self._trained_S[own].sum())
        silent = next((i for i in sequences if self._silent_S[i]), None)
        if silent is None:
            self._tally.too_long(int(self._found.full_S[own].max()), parts=len(sequences), lost=lost)
        else:
            self._tally.silent(self._flat[silent], self._settings.roles, lost=lost)

    def table(self) -> Table:
        """Return the rows that are kept, each piece as a row."""
        kept_S = np.flatnonzero(~(self._dropped_R | self._cut_R)[self._origin_S])
        whole = _Sequences(
            self._found.taken(kept_S),
            np.asarray(
                [_expected_turns(self._flat[i], self._settings.roles) for i in kept_S.tolist()], np.int64
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
            dropped=dict(self._tally.dropped),
            lost=dict(self._tally.lost),
            tokens=int(joined.encodings.sizes_S.sum()),
            trained_tokens=int(predicted(joined.encodings).sum()),
            shortest=self._tally.shortest,
            roles=tuple(sorted(self._tally.roles)),
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
        made = [self._pieces_of_text(i) for i in texts]
        groups = cut_chats([self._flat[i] for i in chats], self._settings.roles, self._limit, self._sizes_of)
        examples = [piece for group in groups for piece in group]
        origin = np.repeat(self._origin_S[chats], [len(group) for group in groups]).astype(np.int64)
        found = encode_flat(self._tokenizer, examples, _UNCUT, self._settings.roles)
        expected = np.asarray([_expected_turns(piece, self._settings.roles) for piece in examples], np.int64)
        result = _Sequences(found, expected, origin)
        trained = np.bincount(origin, predicted(found), minlength=len(self._lines))
        for i, group in zip(chats, groups, strict=True):
            row = int(self._origin_S[i])
            lost = int(self._trained_S[i] - trained[row])
            if not group:
                self._tally.leave_out(Cause.NO_EXCHANGE)
            self._tally.lose(f"in exchanges longer than {self._limit} tokens", lost)
        for piece in made:
            result = result.joined(piece)
        return result

    def _sizes_of(self, examples: Sequence[Example]) -> list[int]:
        found = encode_flat(self._tokenizer, examples, _UNCUT, self._settings.roles)
        sizes: list[int] = found.full_S.tolist()
        return sizes

    def _pieces_of_text(self, index: int) -> _Sequences:
        found = cut_text(self._found[index], self._limit)
        origin = np.full(len(found), self._origin_S[index], np.int64)
        return _Sequences(found, np.full(len(found), -1, np.int64), origin)


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


def _expected_turns(example: Example, roles: tuple[str, ...]) -> int:
    """Return how many turns of a chat are to be trained; -1 for a text."""
    if not example.messages:
        return -1
    return sum(turn.role in roles and turn.weight * example.weight > 0 for turn in example.messages)


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
