"""Rows unlike the others of their task: by length, by how well they pack, by their characters."""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import answer, digest_int, tag

if TYPE_CHECKING:
    from realm.corpus.texts.shingles import Numbers

_LOOKED_AT = 4096
_SHORTEST = 160
"""Characters below which packing and shares say nothing."""
_BLANKS = bytes(range(33))
_SIGNS = bytes(c for c in range(33, 127) if not chr(c).isalnum())
_HIGH = bytes(range(128, 256))


class _Feature(NamedTuple):
    name: str
    floor: float
    """Least spread (1.4826 · MAD) it is measured by, so that equal rows do not make others outliers."""


_FEATURES = (
    _Feature("length", 0.35),
    _Feature("packing", 0.15),
    _Feature("word", 0.5),
    _Feature("blanks", 0.025),
    _Feature("signs", 0.035),
    _Feature("foreign", 0.03),
)


class Outliers:
    """Measure the robust z of six features of answers among the rows of one task, language and form.

    z = (x - median) / (1.4826 · MAD), of the logarithms of the characters, of the ratio of packed
    size (zlib) and of the longest run without blanks, and of the shares of blanks, of ASCII signs and of
    bytes beyond ASCII in UTF-8. A row goes where |z| exceeds `threshold` for two features, or that of
    packing exceeds it by half; otherwise it is told. Groups of fewer than `min_rows` rows are not
    judged. Holds 32 bytes a row.
    """

    depth: Depth = Depth.DEEP
    version: str = "1"

    class Config(BaseConfig):
        """How far out is too far."""

        kind: Literal["outliers"] = "outliers"
        threshold: Annotated[float, Field(gt=0)] = 6.0
        """|z|, in robust standard deviations."""
        min_rows: Annotated[int, Field(ge=10)] = 50

    def __init__(self, config: Config) -> None:
        self.config = config
        self._groups = array("Q")
        self._features = array("f")

    def begin(self, context: Context) -> None:
        """Forget earlier rows."""
        self._groups, self._features = array("Q"), array("f")

    def see(self, row: Row) -> Iterator[Problem]:
        """Measure the row."""
        example = row.example
        form = "text" if example.text is not None else "preference" if example.rejected else "chat"
        self._groups.append(digest_int(f"{tag(row, 'task')}/{tag(row, 'language')}/{form}"))
        self._features.extend(_measured(answer(example)))
        return iter(())

    def end(self) -> Iterator[Problem]:
        """Name the rows that are far out."""
        from realm.corpus.texts.shingles import np

        values = np.array(self._features, dtype=np.float64).reshape(-1, len(_FEATURES))
        groups = np.array(self._groups, dtype=np.uint64)
        for group in np.unique(groups).tolist():
            rows = np.flatnonzero(groups == np.uint64(group))
            if len(rows) >= self.config.min_rows:
                z = np.stack([_robust_z(values[rows, i], f.floor) for i, f in enumerate(_FEATURES)], axis=1)
                for index in np.flatnonzero((np.abs(z) > self.config.threshold).any(axis=1)).tolist():
                    yield self._problem(int(rows[index]), z[index].tolist())

    def _problem(self, row: int, z: list[float]) -> Problem:
        far = [
            (f.name, each) for f, each in zip(_FEATURES, z, strict=True) if abs(each) > self.config.threshold
        ]
        packing = dict(far).get("packing", 0.0)
        drops = len(far) > 1 or abs(packing) > 1.5 * self.config.threshold
        detail = ", ".join(f"{name} z {each:+.1f}" for name, each in far)
        return Problem(row=row, reason="unlike the other rows", detail=detail, drops=drops)


def _measured(text: str) -> tuple[float, ...]:
    """Return the features of a text; what says nothing is not a number."""
    length = math.log(len(text) + 1)
    if len(text) < _SHORTEST:
        return (length, *([math.nan] * (len(_FEATURES) - 1)))
    shown = text if len(text) <= _LOOKED_AT else text[: _LOOKED_AT // 2] + text[-_LOOKED_AT // 2 :]
    data = shown.encode("utf-8", "replace")
    size = len(data)
    packing = math.log(len(zlib.compress(data, 6)) / size)
    word = math.log(max(map(len, data.split()), default=1))
    shares = ((size - len(data.translate(None, kind))) / size for kind in (_BLANKS, _SIGNS, _HIGH))
    return (length, packing, word, *shares)


def _robust_z(values: Numbers, floor: float) -> Numbers:
    """Return z by median and median absolute deviation; 0 where there is no value."""
    from realm.corpus.texts.shingles import np

    known = ~np.isnan(values)
    if not known.any():
        return np.zeros_like(values)
    median = np.median(values[known])
    spread = max(floor, 1.4826 * float(np.median(np.abs(values[known] - median))))
    return np.where(known, (values - median) / spread, 0.0)
