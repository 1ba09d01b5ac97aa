"""Whether a model is right as often as it is sure, and by how much its sureness is off.

Confidence is the probability that the model gave the answer it gave (`models.generator.Confidence`).
The expected calibration error sorts answers into bins of confidence and averages |right - sure|, weighted
by answers (Naeini 2015; Guo 2017). It is never negative, so few answers look worse than they are: only
compare errors over the same problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log, log1p
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record
from realm.core.seeds import fraction
from realm.evaluation.comparison import Pair, Share
from realm.evaluation.statistics import bootstrap

Bins = Literal["width", "mass"]
"""Bins equally wide, or with equally many answers."""

_EDGE = 1e-6
"""Confidences are kept so far from 0 and 1 where their logarithm is taken."""
_COLDEST, _HOTTEST = 0.05, 20.0
"""Temperatures that are looked at; a fit at an end says that no temperature helps."""


class CalibrationConfig(Config):
    """How confidences are sorted."""

    bins: Annotated[int, Field(ge=2, le=100)] = 10
    kind: Bins = "width"
    """`width` for bins equally wide, `mass` for bins with equally many answers."""


class Sure(Record):
    """One held-out answer: how sure the model was, and what it was worth."""

    key: str
    """Names the problem; decides into which half it falls where a fit is checked."""
    confidence: Share
    score: Share


class Bin(Record):
    """One row of the reliability table."""

    low: float
    high: float
    """Confidences that fall in: above `low` (the first: from it on) up to `high`."""
    answers: int
    confidence: float
    """Mean of its answers; 0 where it has none."""
    score: float


class Calibration(Record):
    """How well a checkpoint's confidences are calibrated."""

    answers: int
    width_error: float
    """Expected calibration error over bins equally wide."""
    mass_error: float
    """Over bins with equally many answers."""
    table: tuple[Bin, ...]
    """Reliability over bins of the configured kind; empty bins included."""
    temperature: float
    """Divides the log-odds of a confidence; above 1 the model was too sure. Fitted on all answers."""
    fitted: bool
    """False where no temperature helps: all right, all wrong, or sure where it is wrong."""
    corrected_error: float
    """Expected calibration error of answers whose temperature was fitted on the other half."""


def calibrate(answers: Sequence[Sure], config: CalibrationConfig | None = None) -> Calibration:
    """Measure a checkpoint's calibration and fit a temperature. Raises ValueError without answers."""
    if not answers:
        raise ValueError("calibration needs at least one answer with a confidence")
    config = config or CalibrationConfig()
    sure, scores = [a.confidence for a in answers], [a.score for a in answers]
    temperature = fit_temperature(sure, scores)
    return Calibration(
        answers=len(answers),
        width_error=expected_error(sure, scores, config.bins, "width"),
        mass_error=expected_error(sure, scores, config.bins, "mass"),
        table=reliability(sure, scores, config.bins, config.kind),
        temperature=temperature,
        fitted=_COLDEST < temperature < _HOTTEST,
        corrected_error=_cross_fitted(answers, config),
    )


def reliability(sure: Sequence[float], scores: Sequence[float], bins: int, kind: Bins) -> tuple[Bin, ...]:
    """Return the reliability table, lowest confidences first."""
    edges = _edges(sure, bins, kind)
    sorted_in: list[list[int]] = [[] for _ in range(len(edges) - 1)]
    for index, confidence in enumerate(sure):
        sorted_in[_bin(edges, confidence)].append(index)
    return tuple(
        Bin(
            low=low,
            high=high,
            answers=len(places),
            confidence=sum(sure[i] for i in places) / max(1, len(places)),
            score=sum(scores[i] for i in places) / max(1, len(places)),
        )
        for low, high, places in zip(edges, edges[1:], sorted_in, strict=False)
    )


def expected_error(sure: Sequence[float], scores: Sequence[float], bins: int, kind: Bins) -> float:
    """Return Σ |mean score - mean confidence| · answers / all answers over the bins; 0 without answers."""
    table = reliability(sure, scores, bins, kind)
    return sum(row.answers * abs(row.score - row.confidence) for row in table) / max(1, len(sure))


def _edges(sure: Sequence[float], bins: int, kind: Bins) -> list[float]:
    if kind == "width" or not sure:
        return [i / bins for i in range(bins)] + [1.0]
    ordered = sorted(sure)
    inner = {ordered[i * len(ordered) // bins - 1] for i in range(1, bins) if i * len(ordered) >= bins}
    return [0.0, *sorted(inner - {0.0, 1.0}), 1.0]


def _bin(edges: Sequence[float], confidence: float) -> int:
    for place, high in enumerate(edges[1:]):
        if confidence <= high:
            return place
    return len(edges) - 2


def fit_temperature(sure: Sequence[float], scores: Sequence[float]) -> float:
    """Return the temperature under which the scores are likeliest.

    A confidence p becomes σ(logit(p) / T). The likelihood is concave in 1/T, so the root of its slope is
    found by bisection; without a root within the bounds the nearer bound is returned.
    """
    odds = [log(p) - log1p(-p) for p in (min(1 - _EDGE, max(_EDGE, c)) for c in sure)]

    def slope(sharpness: float) -> float:
        return sum(x * (y - _sigmoid(sharpness * x)) for x, y in zip(odds, scores, strict=True))

    return 1 / _root(slope, 1 / _HOTTEST, 1 / _COLDEST)


def tempered(confidence: float, temperature: float) -> float:
    """Return a confidence at another temperature."""
    p = min(1 - _EDGE, max(_EDGE, confidence))
    return _sigmoid((log(p) - log1p(-p)) / temperature)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def _cross_fitted(answers: Sequence[Sure], config: CalibrationConfig) -> float:
    halves: tuple[list[Sure], list[Sure]] = ([], [])
    for answer in answers:
        halves[fraction("evaluation/calibration", answer.key) < 0.5].append(answer)
    corrected: list[tuple[float, float]] = []
    for half, other in (halves, halves[::-1]):
        temperature = fit_temperature([a.confidence for a in other], [a.score for a in other]) if other else 1
        corrected += [(tempered(a.confidence, temperature), a.score) for a in half]
    return expected_error([c for c, _ in corrected], [s for _, s in corrected], config.bins, config.kind)


class ErrorDifference(Record):
    """How much worse the second of two models is calibrated on the same problems."""

    answers: int
    """Of each, with a confidence."""
    before: float
    after: float
    low: float
    high: float
    """95 % bootstrap interval of after - before, problems resampled with both answers."""

    @property
    def difference(self) -> float:
        """Return after - before."""
        return self.after - self.before


def compare_calibration(pairs: Sequence[Pair], bins: int = 10) -> ErrorDifference | None:
    """Compare the calibration of two models where both confidences are known; None where none are.

    Bins are equally wide, so that both models and all resamples share their edges.
    """
    rows = [
        (p.before_confidence, p.after_confidence, p.before, p.after)
        for p in pairs
        if p.before_confidence is not None and p.after_confidence is not None
    ]
    if not rows:
        return None
    edges = _edges((), bins, "width")
    first = [(_bin(edges, sure), score - sure) for sure, _, score, _ in rows]
    second = [(_bin(edges, sure), score - sure) for _, sure, _, score in rows]
    everything = list(range(len(rows)))

    def difference(places: list[int]) -> float:
        return _binned(second, places, bins) - _binned(first, places, bins)

    low, high = bootstrap(len(rows), difference, purpose="calibration")
    return ErrorDifference(
        answers=len(rows),
        before=_binned(first, everything, bins),
        after=_binned(second, everything, bins),
        low=low,
        high=high,
    )


def _binned(rows: Sequence[tuple[int, float]], places: Sequence[int], bins: int) -> float:
    """Return the expected error of answers given as (bin, score - confidence)."""
    gaps = [0.0] * bins
    for place in places:
        bin_, gap = rows[place]
        gaps[bin_] += gap
    return sum(map(abs, gaps)) / len(places)
