"""What a dataset holds: rows, tokens, lengths and who gave what, counted in one pass."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated

from pydantic import Field

from realm.core.records import Example, Record
from realm.corpus.lineage import RowLineage
from realm.corpus.shaper import Row
from realm.corpus.tally import Reason
from realm.corpus.texts.wording import digest_int, texts

Count = Annotated[int, Field(ge=0)]

OTHERS = "others"
UNKNOWN = "unknown"
"""Licence of a row that nobody gave one; never published."""
_OPERATORS = ("AND", "OR", "WITH")
_OPEN = re.compile(
    r"0BSD|AFL-[\d.]+|AGPL-[\d.]+(?:-only|-or-later)?|Apache-[\d.]+|Artistic-[\d.]+|BSD-[1-4]-Clause(?:-[A-Za-z]+)?"
    r"|BSL-1\.0|BlueOak-1\.0\.0|CC0-1\.0|CC-BY(?:-SA)?-[\d.]+|CC-PDDC|CDDL-[\d.]+|CECILL-(?:[\d.]+|B|C)"
    r"|CDLA-[A-Za-z]+-[\d.]+|ECL-[\d.]+|EPL-[\d.]+|EUPL-[\d.]+|FTL|GFDL-[\d.]+(?:-only|-or-later)?"
    r"|L?GPL-[\d.]+(?:\+|-only|-or-later)?|HPND|ISC|LPPL-[\d.]+[a-c]?|MIT(?:-0|-Modern-Variant)?|MPL-[\d.]+"
    r"|MS-[PR]L|MulanPSL-[\d.]+|NCSA|ODC-By-1\.0|ODbL-1\.0|OFL-[\d.]+|OSL-[\d.]+|PDDL-1\.0|PSF-[\d.]+"
    r"|PostgreSQL|Python-[\d.]+|Ruby|UPL-1\.0|Unicode-(?:3\.0|DFS-\d+)|Unlicense|Vim|W3C|WTFPL|X11|Zlib"
    r"|bzip2-1\.0\.\d|curl|libpng-2\.0"
)
"""SPDX identifiers of licences that let what is made of a work be given on. No `NC` or `ND`, no `BUSL`."""

_VALUES = 1000
"""Values that are told of one tag; rows of further ones count as `others`."""
_BINS_PER_OCTAVE = 8


class Lengths(Record):
    """How long rows are: quantiles to about ±4 %, least and most exact."""

    least: Count = 0
    p05: Count = 0
    p50: Count = 0
    p95: Count = 0
    most: Count = 0
    total: Count = 0


class LicenceCount(Record):
    """Rows under one licence."""

    licence: str
    """SPDX identifier as the source gives it."""
    rows: Count
    publishable: bool


class CheckVersion(Record):
    """A check that the rows have passed."""

    name: str
    version: str
    depth: str


class DatasetStatistics(Record):
    """What a dataset holds and what was left out."""

    rows: Count
    groups: Count
    """Sessions, files and work items that the rows are of."""
    forms: dict[str, int]
    """Chats, preferences, prompts and texts."""
    by: dict[str, dict[str, int]]
    """Rows by value of role, task, domain, language, source, made_by, shaper, generator, contributor."""
    licences: tuple[LicenceCount, ...]
    """Most rows first."""
    chars: Lengths
    tokens: Lengths | None = None
    """By the hero's tokenizer without the marks of its template; None where nobody counted."""
    dropped: tuple[Reason, ...] = ()
    checks: tuple[CheckVersion, ...] = ()

    @property
    def publishable(self) -> bool:
        """Whether every row has a licence that it may be published under."""
        return self.rows > 0 and all(each.publishable for each in self.licences)


class LengthCounter:
    """Count lengths in bins of an eighth of an octave, in fixed memory."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._least: int | None = None
        self._most = 0
        self._total = 0

    def add(self, length: int) -> None:
        """Count one length, 0 or more."""
        self._bins[round(math.log2(length + 1) * _BINS_PER_OCTAVE)] += 1
        self._least = length if self._least is None else min(self._least, length)
        self._most = max(self._most, length)
        self._total += length

    def lengths(self) -> Lengths:
        """Return the quantiles."""
        least = self._least or 0
        p05, p50, p95 = (min(max(self._quantile(share), least), self._most) for share in (0.05, 0.5, 0.95))
        return Lengths(least=least, p05=p05, p50=p50, p95=p95, most=self._most, total=self._total)

    def _quantile(self, share: float) -> int:
        due = share * self._bins.total()
        seen = 0
        for index, count in sorted(self._bins.items()):
            seen += count
            if seen >= due:
                return round(2 ** (index / _BINS_PER_OCTAVE)) - 1
        return 0


class StatisticsCounter:
    """Take the accepted rows one by one; memory grows with their number alone, eight bytes each."""

    def __init__(self, count_tokens: Callable[[str], int] | None = None) -> None:
        self._count_tokens = count_tokens
        self._rows = 0
        self._groups = array("Q")
        self._forms: Counter[str] = Counter()
        self._by: dict[str, Counter[str]] = {}
        self._licences: Counter[str] = Counter()
        self._chars = LengthCounter()
        self._tokens = LengthCounter()

    def add(self, row: Row) -> None:
        """Count one row."""
        self.add_stored(row.example, row)

    def add_stored(self, example: Example, made_of: Row | RowLineage | None) -> None:
        """Count a row of a dataset; one whose making nobody noted has no group and an unknown licence."""
        self._rows += 1
        self._forms[_form(example)] += 1
        self._licences[UNKNOWN if made_of is None else made_of.origin.licence] += 1
        if made_of is not None:
            self._groups.append(digest_int(made_of.group))
        for name, value in _facts(example, made_of):
            counts = self._by.setdefault(name, Counter())
            counts[value if value in counts or len(counts) < _VALUES else OTHERS] += 1
        said = texts(example)
        self._chars.add(sum(map(len, said)))
        if self._count_tokens is not None:
            self._tokens.add(sum(map(self._count_tokens, said)))

    def statistics(
        self, dropped: tuple[Reason, ...] = (), checks: Iterable[CheckVersion] = ()
    ) -> DatasetStatistics:
        """Return everything counted, with what was left out and which checks looked."""
        return DatasetStatistics(
            rows=self._rows,
            groups=_distinct(self._groups),
            forms=_ordered(self._forms),
            by={name: _ordered(counts) for name, counts in sorted(self._by.items())},
            licences=tuple(
                LicenceCount(licence=name, rows=count, publishable=is_publishable(name))
                for name, count in _ordered(self._licences).items()
            ),
            chars=self._chars.lengths(),
            tokens=self._tokens.lengths() if self._count_tokens is not None else None,
            dropped=dropped,
            checks=tuple(checks),
        )


def _distinct(numbers: array[int]) -> int:
    if not numbers:
        return 0
    from realm.corpus.texts.shingles import np

    return len(np.unique(np.frombuffer(numbers, dtype=np.uint64)))


def is_publishable(licence: str) -> bool:
    """Return whether rows under a licence, or an SPDX expression of several, may be published at all.

    Deny by default: each identifier of the expression must be one of the open licences known here.
    """
    parts = licence.replace("(", " ").replace(")", " ").split()
    names, operators = parts[::2], parts[1::2]
    if len(parts) % 2 == 0 or any(operator not in _OPERATORS for operator in operators):
        return False
    exceptions = {index + 1 for index, operator in enumerate(operators) if operator == "WITH"}
    return all(index in exceptions or _OPEN.fullmatch(name) for index, name in enumerate(names))


def _form(example: Example) -> str:
    if example.text is not None:
        return "text"
    if example.rejected:
        return "preference"
    return "prompt" if example.messages[-1].role == "user" else "chat"


def _facts(example: Example, made_of: Row | RowLineage | None) -> list[tuple[str, str]]:
    names = ("role", "task", "domain", "language")
    facts = [(name, str(example.tags[name])) for name in names if example.tags.get(name, "") != ""]
    if made_of is None:
        return facts
    origin = made_of.origin
    facts += [("source", origin.source), ("made_by", origin.made_by), ("shaper", made_of.shaper)]
    if origin.generator:
        facts.append(("generator", origin.generator))
    if origin.contributor:
        facts.append(("contributor", origin.contributor))
    return facts


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
