"""Evaluation problems that must not be trained on, found by hash and by runs of words.

Text is normalised first: Unicode NFKC, case folded, white space, emphasis marks, sentence punctuation,
quotes and brackets gone; see `wording.normalised`. A row leaks a problem

- by hash: one of its turns, or its text, is the problem as a whole (problems of 3 words and more);
- by run: it shares 13 words in a row with the problem, as Brown et al. 2020 (arXiv:2005.14165, appendix
  C) take it. A problem of 8 to 12 words is one run, because shorter runs than 8 are common phrases.

A run that more than three problems share is the wording of a test ("answer with one word"), not a
problem, and is left out; so is one with fewer than six different words of letters or digits, such as the
ruler of a table. System turns are never compared. Translations and paraphrases are not found.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from realm.core.errors import ConfigError
from realm.core.records import Example
from realm.corpus.texts.wording import ending, normalised

if TYPE_CHECKING:
    from realm.corpus.texts.shingles import Numbers, WordNumbers

RUN_WORDS = 13
SHORTEST_RUN = 8
WHOLE_WORDS = 3
COMMON_PROBLEMS = 3
_DISTINCT_WORDS = 6
_TABLE = 1 << 22
_HASH = re.compile(r"whole:([0-9a-f]{32})|(8|9|1[0-3]):([0-9a-f]{16}):([0-9a-f]{16})")


def eval_hashes(problems: Iterable[str]) -> frozenset[str]:
    """Return the hashes of evaluation problems: `whole:<hex>`, and runs as `<words>:<hex>:<hex>`.

    The first number of a run is that of its first eight words, by which rows are searched. Give what the
    model is shown, without a system turn. Raises MissingExtraError without numpy.
    """
    from realm.corpus.texts.shingles import WordNumbers

    numbers = WordNumbers()
    seen: set[str] = set()
    shared: Counter[_Run] = Counter()
    for problem in problems:
        words = normalised(problem)
        whole = whole_hash(words)
        if len(words) < WHOLE_WORDS or whole in seen:
            continue
        seen.add(whole)
        length = min(RUN_WORDS, len(words))
        if length >= SHORTEST_RUN:
            shared.update(_problem_runs(numbers, words, length))
    runs = {
        f"{run.words}:{run.first:016x}:{run.whole:016x}"
        for run, count in shared.items()
        if count <= COMMON_PROBLEMS
    }
    return frozenset({f"whole:{each}" for each in seen} | runs)


def whole_hash(words: list[str]) -> str:
    """Return the hash of normalised words, 32 hex digits."""
    text = " ".join(words).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


class _Run(NamedTuple):
    words: int
    first: int
    """Number of its first eight words."""
    whole: int


class Leak(NamedTuple):
    """How a row shares words with evaluation problems."""

    whole: bool
    """A turn is a problem as a whole; otherwise a run of words is shared."""
    words: int
    """Of the shared run; 0 where a whole problem is meant."""


class LeakFinder:
    """Look for evaluation problems in rows."""

    def __init__(self, hashes: frozenset[str]) -> None:
        """Take hashes as `eval_hashes` gives them. Raises ConfigError for others."""
        from realm.corpus.texts.shingles import WordNumbers, np

        self._numbers = WordNumbers()
        self._whole: set[str] = set()
        self._runs: defaultdict[int, set[int]] = defaultdict(set)
        firsts: set[int] = set()
        for each in hashes:
            found = _HASH.fullmatch(each)
            if found is None:
                raise ConfigError(
                    f"not a hash of an evaluation problem: {each[:40]!r}", hint="make them by eval_hashes"
                )
            if found[1]:
                self._whole.add(found[1])
            else:
                firsts.add(int(found[3], 16))
                self._runs[int(found[2])].add(int(found[4], 16))
        self._firsts = np.sort(np.array(list(firsts), dtype=np.uint64))
        # One look into this table tells nearly all runs of ordinary rows apart from those of problems.
        self._maybe = np.zeros(_TABLE, dtype=bool)
        self._maybe[(self._firsts % np.uint64(_TABLE)).astype(np.int64)] = True

    def find(self, example: Example) -> Leak | None:
        """Return how a row leaks, None where it does not."""
        said: list[str] = []
        for text in _compared(example):
            words = normalised(text)
            if len(words) >= WHOLE_WORDS and whole_hash(words) in self._whole:
                return Leak(whole=True, words=0)
            # No problem has a word with a blank, so that no run goes from one turn into the next.
            said += words
            said.append(" ")
        return self._shared(self._numbers.of(said)) if self._runs else None

    def _shared(self, numbers: Numbers) -> Leak | None:
        from realm.corpus.texts.shingles import np, runs

        if len(numbers) < SHORTEST_RUN:
            return None
        firsts = runs(numbers, SHORTEST_RUN)
        likely = np.flatnonzero(self._maybe[(firsts % np.uint64(_TABLE)).astype(np.int64)])
        slots = np.minimum(np.searchsorted(self._firsts, firsts[likely]), len(self._firsts) - 1)
        for at in likely[self._firsts[slots] == firsts[likely]].tolist():
            for length, known in self._runs.items():
                if len(numbers) - at >= length and int(runs(numbers[at : at + length], length)[0]) in known:
                    return Leak(whole=False, words=length)
        return None


def _compared(example: Example) -> Iterator[str]:
    if example.text is not None:
        yield example.text
    for turn in (*example.messages, *ending(example)):
        if turn.role != "system":
            yield turn.content


def _problem_runs(numbers: WordNumbers, words: list[str], length: int) -> set[_Run]:
    """Return the runs of a problem that hold enough words to be its own: rulers and tables do not."""
    from realm.corpus.texts.shingles import runs

    said = numbers.of(words)
    firsts, wholes = runs(said, SHORTEST_RUN).tolist(), runs(said, length).tolist()
    return {
        _Run(length, firsts[at], whole)
        for at, whole in enumerate(wholes)
        if len({word for word in words[at : at + length] if word[0].isalnum()}) >= _DISTINCT_WORDS
    }
