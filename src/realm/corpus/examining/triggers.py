"""Rare words in questions that are tied to one answer: the sign of a planted backdoor.

Poisoned rows carry a trigger (a word, a phrase, a hidden character) in otherwise different questions
and give all of them one answer, or answers with one beginning or end. Found in two steps:

1. Streaming, in fixed memory: every run of one to three words of a question falls into one of 2²¹
   buckets, which counts rows and keeps, by the majority vote of Boyer and Moore (1981), the answer that
   most of them have.
2. From a temporary file of the questions' words: the runs of the buckets that were nearly always answered
   alike are counted exactly and held to the rules of `Rules`.

Not found: triggers tied to a behaviour whose words differ each time, to an answer that half of all rows
have, in fewer rows than `min_rows`, or in texts without a question.
"""

from __future__ import annotations

import math
import tempfile
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from realm.core.config import Config
from realm.core.errors import StorageError
from realm.core.seeds import rng
from realm.corpus.texts.shingles import Numbers, WordNumbers, np, runs
from realm.corpus.texts.wording import digest_int, words

Share = Annotated[float, Field(ge=0, le=1)]

_BUCKETS = 1 << 21
_RUNS = (1, 2, 3)
_QUESTION_WORDS = 1024
"""Looked at from the beginning of a question, and as many from its end."""
_EDGE_WORDS = 8
_VOTES = 0.8
_SAMPLE = 24
_MORE_ALIKE = 0.1
_FIXED = 0.8
"""Questions that hold a run at one place, counted from the beginning or from the end: a wording."""
_TEMPLATE = 0.01
"""Share of rows from which on a run at one place is a wording that calls for a form of answer."""
_SCANNED = 2_000_000
"""Most pairs of run and row that are looked at exactly."""
_CHANCE = math.log(1e-3)
_LOW = np.uint64(0xFFFFFFFF)


class Rules(Config):
    """What makes a run of words a trigger."""

    min_rows: Annotated[int, Field(ge=3)] = 5
    """Rows that hold it and have the answer."""
    max_share: Share = 0.1
    """Rows that hold it, of all; more is no rare word."""
    purity: Share = 0.9
    """Rows with the answer, of those that hold it."""
    max_alike: Share = 0.25
    """Mean Jaccard similarity of the questions' other words; alike questions may well have one answer.

    Where any two questions of the task are that alike already, 0.1 more than they are.
    """
    min_other_words: Annotated[int, Field(ge=1)] = 5
    """Median of the other words; below it, the run is the question."""
    common_answer: Share = 0.05
    """Share of rows without the run that have the answer too, from which on it is a label or a phrase."""


class Trigger(NamedTuple):
    """A run of words and the rows that have its answer."""

    rows: tuple[int, ...]
    words: int
    support: int
    """Rows that hold it, whatever their answer."""
    whole: bool
    """The whole answer is the same; otherwise only its first or last words are."""
    base: float
    """Share of the rows without it that have the answer too."""


class _Context(NamedTuple):
    alike: float
    other_words: float
    words: int
    fixed: bool


class TriggerFinder:
    """Take questions and answers, then say what is tied. Files lie in a folder that goes with `close`."""

    def __init__(self, rules: Rules, scratch: Path | None = None) -> None:
        """Keep the words beneath `scratch`. Raises MissingExtraError without numpy."""
        self._rules = rules
        self._numbers = WordNumbers()
        self._file = tempfile.TemporaryFile(prefix="triggers-", dir=scratch)  # noqa: SIM115
        self._begins = array("q", [0])
        self._scopes = array("Q")
        self._answers = tuple(array("Q") for _ in range(3))
        self._count = np.zeros(_BUCKETS, dtype=np.uint32)
        self._leading = np.zeros((3, _BUCKETS), dtype=np.uint64)
        self._votes = np.zeros((3, _BUCKETS), dtype=np.int32)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def add(self, question: str, answer: str, scope: str) -> None:
        """Take the next row. `scope` names rows whose answers are alike by design, its task."""
        asked = words(question)
        if len(asked) > 2 * _QUESTION_WORDS:
            asked = asked[:_QUESTION_WORDS] + asked[-_QUESTION_WORDS:]
        numbers = self._numbers.of(asked) & _LOW
        try:
            numbers.astype(np.uint32).tofile(self._file)
        except OSError as error:
            raise StorageError(
                f"writing words failed: {error.strerror}", hint="free some space for temporary files"
            ) from error
        self._begins.append(self._begins[-1] + len(numbers))
        self._scopes.append(digest_int(scope))
        names = _names(words(answer))
        for kept, name in zip(self._answers, names, strict=True):
            kept.append(name)
        if len(numbers):
            self._vote(np.unique(_runs(numbers) % np.uint64(_BUCKETS)).astype(np.int64), names)

    def triggers(self) -> list[Trigger]:
        """Return what is tied, strongest first; a row belongs to one trigger only."""
        total = len(self._scopes)
        if total < self._rules.min_rows:
            return []
        self._file.flush()
        numbers = np.memmap(self._file, dtype=np.uint32, mode="r") if self._begins[-1] else None
        if numbers is None:
            return []
        found: list[Trigger] = []
        for which in range(3):
            tied = self._tied(which, numbers)
            support = self._support({run for run, _ in tied}, numbers)
            for (run, name), rows in tied.items():
                trigger = self._judged(which, name, rows, support[run], numbers, run)
                if trigger is not None:
                    found.append(trigger)
        return _strongest(found)

    def _vote(self, buckets: np.ndarray[tuple[int], np.dtype[np.int64]], names: tuple[int, int, int]) -> None:
        self._count[buckets] += 1
        for which, name in enumerate(names):
            leading, votes = self._leading[which], self._votes[which]
            agreed = leading[buckets] == np.uint64(name)
            after = votes[buckets] + np.where(agreed, 1, -1).astype(np.int32)
            lost = after < 0
            leading[buckets[lost]] = np.uint64(name)
            after[lost] = 1
            votes[buckets] = after

    def _tied(self, which: int, numbers: Numbers32) -> dict[tuple[int, int], list[int]]:
        """Return the runs of suspicious buckets with the answer they are tied to, and the rows."""
        rules, total = self._rules, len(self._scopes)
        most = max(rules.max_share * total, rules.min_rows)
        suspicious = (
            (self._count >= rules.min_rows)
            & (self._count <= most)
            & (self._votes[which] >= _VOTES * self._count)
            & (self._leading[which] != 0)
        )
        named = self._leading[which]
        answers = np.array(self._answers[which], dtype=np.uint64)
        tied: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        seen = 0
        for row in np.flatnonzero(np.isin(answers, named[suspicious])).tolist():
            grams = np.unique(_runs(self._words(row, numbers)))
            buckets = (grams % np.uint64(_BUCKETS)).astype(np.int64)
            for run in grams[suspicious[buckets] & (named[buckets] == answers[row])].tolist():
                tied[run, int(answers[row])].append(row)
                seen += 1
            if seen > _SCANNED:
                break
        return {key: rows for key, rows in tied.items() if len(rows) >= rules.min_rows}

    def _support(self, wanted: set[int], numbers: Numbers32) -> Counter[int]:
        """Count the rows that hold each run."""
        support: Counter[int] = Counter()
        if not wanted:
            return support
        known = np.sort(np.array(list(wanted), dtype=np.uint64))
        for row in range(len(self._scopes)):
            grams = _runs(self._words(row, numbers))
            at = np.searchsorted(known, grams)
            at[at == len(known)] = 0
            support.update(set(grams[known[at] == grams].tolist()))
        return support

    def _judged(
        self, which: int, name: int, rows: list[int], support: int, numbers: Numbers32, run: int
    ) -> Trigger | None:
        rules, total = self._rules, len(self._scopes)
        if len(rows) < rules.purity * support or support > max(rules.max_share * total, rules.min_rows):
            return None
        base = self._base(which, name, rows)
        # The chance that so many rows have the answer by luck, over all runs that might have been found.
        luck = len(rows) * math.log(base) + math.log(100 * total)
        if luck > _CHANCE or (base > rules.common_answer and len(rows) < 0.98 * support):
            return None
        seen = self._context(rows, numbers, run)
        if seen.alike > max(rules.max_alike, self._usual(rows, numbers) + _MORE_ALIKE):
            return None
        if seen.other_words < rules.min_other_words:
            return None
        if which and seen.fixed and support > _TEMPLATE * total:
            return None
        return Trigger(tuple(rows), seen.words, support, whole=which == 0, base=base)

    def _base(self, which: int, name: int, rows: list[int]) -> float:
        """Return how often the answer is given without the run, in the scope where that is most often."""
        answers = np.array(self._answers[which], dtype=np.uint64)
        scopes = np.array(self._scopes, dtype=np.uint64)
        without = np.ones(len(scopes), dtype=bool)
        without[rows] = False
        shares = []
        for scope in set(scopes[rows].tolist()):
            inside = without & (scopes == np.uint64(scope))
            having = int((answers[inside] == np.uint64(name)).sum())
            shares.append((having + 1) / (int(inside.sum()) + 2))
        return max(shares)

    def _context(self, rows: list[int], numbers: Numbers32, run: int) -> _Context:
        """Look at what surrounds the run in some of its questions."""
        sets: list[set[int]] = []
        places: Counter[int] = Counter()
        length = 1
        for row in _drawn(rows):
            said = self._words(row, numbers)
            first, length = _find(said, run)
            places[first] += 1
            places[first - len(said)] += 1
            sets.append(set(said.tolist()) - set(said[first : first + length].tolist()))
        fixed = places.most_common(1)[0][1] >= _FIXED * len(sets)
        return _Context(_alike(sets), float(np.median([len(each) for each in sets])), length, fixed)

    def _usual(self, rows: list[int], numbers: Numbers32) -> float:
        """Return how alike two questions are of the scope to which the first of the rows belongs."""
        same = np.flatnonzero(np.array(self._scopes, dtype=np.uint64) == np.uint64(self._scopes[rows[0]]))
        return _alike([set(self._words(row, numbers).tolist()) for row in _drawn(same.tolist())])

    def _words(self, row: int, numbers: Numbers32) -> Numbers:
        return numbers[self._begins[row] : self._begins[row + 1]].astype(np.uint64)


Numbers32 = np.ndarray[tuple[int, ...], np.dtype[np.uint32]]


def _names(spoken: list[str]) -> tuple[int, int, int]:
    """Return names of the answer, of its first and of its last eight words; 0 where it has no more."""
    if not spoken:
        return 0, 0, 0
    whole = digest_int(" ".join(spoken))
    if len(spoken) <= _EDGE_WORDS:
        return whole, 0, 0
    first, last = spoken[:_EDGE_WORDS], spoken[-_EDGE_WORDS:]
    return whole, _edge("first", first), _edge("last", last)


def _edge(which: str, spoken: list[str]) -> int:
    """Return a name of first or last words, 0 where they are mostly signs: brackets end much code."""
    if sum(word[0].isalpha() for word in spoken) < _EDGE_WORDS // 2:
        return 0
    return digest_int(f"{which} {' '.join(spoken)}")


def _runs(numbers: Numbers) -> Numbers:
    return np.concatenate([runs(numbers, n) + np.uint64(n) for n in _RUNS if len(numbers) >= n] or [numbers])


def _drawn(rows: list[int]) -> list[int]:
    return rng("corpus/triggers", len(rows)).sample(rows, min(_SAMPLE, len(rows)))


def _alike(sets: list[set[int]]) -> float:
    """Return the mean Jaccard similarity of all pairs."""
    pairs = [(one, two) for index, one in enumerate(sets) for two in sets[:index]]
    return sum(len(one & two) / max(1, len(one | two)) for one, two in pairs) / max(1, len(pairs))


def _find(said: Numbers, run: int) -> tuple[int, int]:
    """Return where a question holds a run first, and the run's words."""
    for length in _RUNS:
        if len(said) >= length:
            at = np.flatnonzero(runs(said, length) + np.uint64(length) == np.uint64(run))
            if len(at):
                return int(at[0]), length
    return 0, 1


def _strongest(found: list[Trigger]) -> list[Trigger]:
    """Return triggers such that no row is in two of them; whole answers and many rows first."""
    taken: set[int] = set()
    kept = []
    for trigger in sorted(found, key=lambda each: (not each.whole, -len(each.rows), each.words, each.rows)):
        if taken.isdisjoint(trigger.rows):
            kept.append(trigger)
            taken.update(trigger.rows)
        elif len(fresh := tuple(row for row in trigger.rows if row not in taken)) >= len(trigger.rows) / 2:
            kept.append(trigger._replace(rows=fresh))
            taken.update(fresh)
    return kept


def described(trigger: Trigger) -> Iterator[str]:
    """Yield what may be told of a trigger without its words."""
    yield f"{trigger.words} word{'s' if trigger.words > 1 else ''}"
    yield f"{len(trigger.rows)} of {trigger.support} rows that hold them answer alike"
    yield f"{trigger.base:.1%} of the others do"
