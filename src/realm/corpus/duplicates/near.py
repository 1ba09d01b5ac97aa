"""Near duplicates: pairs of rows that say nearly the same.

A row is two sets of runs of three words, of its question and of its answer. Two rows are near where
the Jaccard similarity of both sets together reaches `threshold` and that of the answers alone
`answer_threshold`: rows that share a long passage and answer different questions about it are not
copies. Candidates come from MinHash bands; every pair is confirmed by its exact sets, so there is no
false pair.

What is kept is settled greedily in the order of quality, then of arrival: a row goes where it is near
one that stays. So each row that goes has its reason among those that stay, which clusters would not give.

Memory is about 30 bytes a row and, while pairs are looked for, 40 more; sets and band keys lie in a
temporary folder, about 1.5 KB for a row of 1 KB.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple, Self

from pydantic import Field

from realm.core.config import Config
from realm.core.errors import StorageError
from realm.corpus.duplicates.minhash import Backend, Signer
from realm.corpus.texts.shingles import Numbers, WordNumbers, jaccard, mixed, np, run_sets
from realm.corpus.texts.wording import digest_int, words

_BATCH = 512
_ALL_PAIRS = 64
"""Rows of one bucket that are compared all with all; of a fuller one, each with so many that stay."""
_REJECTED = 2_000_000
_SETS = "sets.bin"


class NearConfig(Config):
    """When two rows are near, and how hard pairs are looked for."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Jaccard similarity of the rows' runs of words, from which on they are near."""
    answer_threshold: Annotated[float, Field(ge=0, le=1)] = 0.4
    """The same of the answers alone; 0 leaves them out."""
    run_words: Annotated[int, Field(ge=1, le=32)] = 3
    """Words of a run."""
    bands: Annotated[int, Field(ge=1, le=256)] = 24
    rows: Annotated[int, Field(ge=1, le=32)] = 5
    """Minima of a band: 24 bands of 5 find 99.99 % of the pairs of similarity 0.8, 99.0 % at 0.7."""
    backend: Backend = "auto"


class Text(NamedTuple):
    """What of a row is compared."""

    question: str
    answer: str
    scope: str = ""
    """Rows of different scopes are never near; the row's task."""
    kin: str = ""
    """Rows of the same kin are never near, because they were made of one document on purpose."""
    quality: float = 0.0


class Pair(NamedTuple):
    """Two near rows, by their places in the order of `add`."""

    first: int
    second: int
    jaccard: float


class Duplicate(NamedTuple):
    """A row that goes, and the near one that stays."""

    row: int
    of: int
    jaccard: float


class NearIndex:
    """Collect rows, then find the near ones. The temporary folder goes with `close`."""

    def __init__(self, config: NearConfig, scratch: Path | None = None) -> None:
        """Keep files in a folder of its own beneath `scratch`. Raises MissingExtraError without numpy."""
        self._config = config
        self._signer = Signer(config.bands, config.rows, config.backend)
        self.backend = self._signer.backend
        self._numbers = WordNumbers()
        self._waiting: list[tuple[Numbers, Numbers, int]] = []
        self._begins = array("q", [0])
        self._kin = array("Q")
        self._quality = array("f")
        self.uncompared = 0
        """Rows that met more than 64 others in a bucket, none of them near, and were let go."""
        self._folder = tempfile.TemporaryDirectory(prefix="near-", dir=scratch)
        self._path = Path(self._folder.name)
        self._sets = (self._path / _SETS).open("wb")
        self._bands: list[BinaryIO] = [self._band(band).open("wb") for band in range(config.bands)]

    def __len__(self) -> int:
        return len(self._kin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        for file in (self._sets, *self._bands):
            file.close()
        self._folder.cleanup()

    def add(self, text: Text) -> int:
        """Take the next row and return its place. Raises StorageError where the disk is full."""
        place = len(self._kin)
        asked, answered = words(text.question), words(text.answer)
        if not asked and not answered:
            answered = [f"nothing {place}"]  # near to no other
        self._waiting.append((self._numbers.of(asked), self._numbers.of(answered), digest_int(text.scope)))
        self._kin.append(digest_int(text.kin) if text.kin else 0)
        self._quality.append(text.quality)
        if len(self._waiting) >= _BATCH:
            self._flush()
        return place

    def pairs(self) -> list[Pair]:
        """Return near pairs, by place. In a bucket of more than 64 rows not every pair is looked at."""
        self._flush()
        for file in (self._sets, *self._bands):
            file.flush()
        finder = _Finder(self._config, self._path / _SETS, self._begins, self._kin, self._ranks())
        for band in range(self._config.bands):
            finder.look(np.fromfile(self._band(band), dtype=np.uint64))
        self.uncompared = finder.uncompared
        return [Pair(first, second, found) for (first, second), found in sorted(finder.found.items())]

    def duplicates(self) -> list[Duplicate]:
        """Return the rows that go, by place: better quality stays, of equal quality the earlier row."""
        ranks = self._ranks()
        better: dict[int, list[tuple[int, float]]] = {}
        for first, second, found in self.pairs():
            worse, other = (second, first) if ranks[first] < ranks[second] else (first, second)
            better.setdefault(worse, []).append((other, found))
        gone: dict[int, Duplicate] = {}
        for row in sorted(better, key=lambda row: int(ranks[row])):
            staying = [
                (found, -int(ranks[other]), other) for other, found in better[row] if other not in gone
            ]
            if staying:
                found, _, other = max(staying)
                gone[row] = Duplicate(row, other, found)
        return [gone[row] for row in sorted(gone)]

    def _ranks(self) -> Numbers:
        """Return each row's place in the order in which rows are kept."""
        quality = np.array(self._quality, dtype=np.float32)
        ranks = np.empty(len(quality), dtype=np.uint64)
        ranks[np.argsort(-quality, kind="stable")] = np.arange(len(quality), dtype=np.uint64)
        return ranks

    def _band(self, band: int) -> Path:
        return self._path / f"band{band}.bin"

    def _flush(self) -> None:
        if not self._waiting:
            return
        texts: list[Numbers] = []
        salts: list[int] = []
        for asked, answered, scope in self._waiting:
            texts += (asked, answered)
            salts += (scope, scope ^ 1)
        self._waiting = []
        flat, begins = run_sets(texts, self._config.run_words, mixed(np.array(salts, dtype=np.uint64)))
        keys = self._signer.keys(flat, begins[::2].astype(np.uint64))
        try:
            flat.tofile(self._sets)
            for band, file in enumerate(self._bands):
                np.ascontiguousarray(keys[:, band]).tofile(file)
        except OSError as error:
            raise StorageError(
                f"writing near-duplicate keys failed: {error.strerror}",
                hint="free some space for temporary files",
            ) from error
        base = self._begins[-1]
        self._begins.extend((begins[1:] + base).tolist())


class _Finder:
    """Confirm the pairs that bands propose."""

    def __init__(
        self, config: NearConfig, sets: Path, begins: array[int], kin: array[int], ranks: Numbers
    ) -> None:
        self._config = config
        self._begins, self._kin, self._ranks = begins, kin, ranks
        self._sets: Numbers = (
            np.memmap(sets, dtype=np.uint64, mode="r") if begins[-1] else np.empty(0, dtype=np.uint64)
        )
        self._rejected: set[tuple[int, int]] = set()
        self._incomplete: set[int] = set()
        self.found: dict[tuple[int, int], float] = {}

    @property
    def uncompared(self) -> int:
        return len(self._incomplete)

    def look(self, keys: Numbers) -> None:
        """Compare the rows that share a key."""
        for bucket in _buckets(keys):
            ordered = sorted(bucket, key=lambda row: int(self._ranks[row]))
            if len(ordered) <= _ALL_PAIRS:
                for index, row in enumerate(ordered):
                    for other in ordered[:index]:
                        self._is_near(row, other)
            else:
                self._look_at_many(ordered)

    def _look_at_many(self, ordered: Sequence[int]) -> None:
        staying: list[int] = []
        for row in ordered:
            if any(self._is_near(row, other) for other in staying):
                continue
            if len(staying) < _ALL_PAIRS:
                staying.append(row)
            else:
                self._incomplete.add(row)

    def _is_near(self, row: int, other: int) -> bool:
        pair = (row, other) if row < other else (other, row)
        if pair in self.found:
            return True
        if pair in self._rejected:
            return False
        similar = self._similarity(*pair)
        if similar is None:
            if len(self._rejected) >= _REJECTED:
                self._rejected.clear()
            self._rejected.add(pair)
            return False
        self.found[pair] = similar
        return True

    def _similarity(self, row: int, other: int) -> float | None:
        if self._kin[row] and self._kin[row] == self._kin[other]:
            return None
        one, two = self._set(row, 0), self._set(other, 0)
        if min(len(one), len(two)) < self._config.threshold * max(len(one), len(two)):
            return None
        similar = jaccard(one, two)
        if similar < self._config.threshold:
            return None
        if jaccard(self._set(row, 1), self._set(other, 1)) < self._config.answer_threshold:
            return None
        return similar

    def _set(self, row: int, part: int) -> Numbers:
        """Return a row's runs: all (part 0) or the answer's alone (part 1)."""
        return self._sets[self._begins[2 * row + part] : self._begins[2 * row + 2]]


def _buckets(keys: Numbers) -> Iterator[list[int]]:
    """Yield the places of equal keys, two and more."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    begins = np.concatenate(([0], changes))
    ends = np.concatenate((changes, [len(keys)]))
    for index in np.flatnonzero(ends - begins > 1).tolist():
        yield order[begins[index] : ends[index]].tolist()
