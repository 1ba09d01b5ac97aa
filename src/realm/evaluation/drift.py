"""How far an owner's conventions have moved since the corpus was built, and whether to train again.

Each kind of text (conventions, formulas, config) has two distances from 0 to 1. By hash: the share of
files that changed at all. By embedding: how far their wording moved, 1 - cosine, averaged over files. The
hash notices a changed word that turns a rule around, the embedding tells an edit from a rewrite; they are
mixed. The embedding that comes along counts words and pairs of words in hashed places: it knows no
meaning, so a paraphrase looks far. A model that does can be handed in.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import fsum, log1p, sqrt
from typing import Annotated, Protocol, Self

from pydantic import Field, model_validator

from realm.core.config import Config
from realm.core.errors import ConfigError
from realm.core.hashing import hash_bytes
from realm.core.records import Record

Snapshot = Mapping[str, Mapping[str, str]]
"""Text by path, by kind."""

_DIMENSIONS = 1024
_LONGEST = 200_000
"""Characters of a file that are embedded; the hash is over all of them."""


class Embedder(Protocol):
    """Turn texts into vectors whose cosine tells how alike they are."""

    @property
    def name(self) -> str:
        """Name it for reports: which model, which version."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, all equally long; the same for the same text."""


class HashedWords:
    """Count words and pairs of neighbours in 1,024 hashed places, damped by the logarithm."""

    @property
    def name(self) -> str:
        """Name it for reports."""
        return "hashed words 1"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector a text; an empty text gets zeros."""
        return [_hashed(text[:_LONGEST]) for text in texts]


class DriftConfig(Config):
    """What moved conventions weigh, and when to train again."""

    weights: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=lambda: {"conventions": 0.5, "formulas": 0.3, "config": 0.2}
    )
    """Weight of each kind; they sum to 1."""
    retrain_above: Annotated[float, Field(gt=0, le=1)] = 0.2
    hash_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    """What the hash distance counts beside the embedding's."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(fsum(self.weights.values()) - 1) > 1e-6:
            raise ValueError("weights must sum to 1")
        return self


class KindDrift(Record):
    """How far one kind of text has moved."""

    kind: str
    weight: float
    files: int
    """Then or now; a moved file counts once."""
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    hash_distance: float
    embedding_distance: float
    distance: float
    """Both mixed by `hash_share`."""


class DriftReport(Record):
    """How far everything has moved."""

    kinds: tuple[KindDrift, ...]
    score: float
    """Σ weight · distance, 0 to 1."""
    retrain: bool
    embedder: str


def drift(
    then: Snapshot, now: Snapshot, config: DriftConfig | None = None, embedder: Embedder | None = None
) -> DriftReport:
    """Compare two snapshots. Raises ConfigError for a kind without a weight."""
    config, embedder = config or DriftConfig(), embedder or HashedWords()
    if unknown := sorted((then.keys() | now.keys()) - config.weights.keys()):
        raise ConfigError(f"no weight for {', '.join(unknown)}", hint=f"known: {', '.join(config.weights)}")
    kinds = tuple(
        _kind(kind, weight, (then.get(kind, {}), now.get(kind, {})), config, embedder)
        for kind, weight in config.weights.items()
    )
    score = fsum(kind.weight * kind.distance for kind in kinds)
    return DriftReport(kinds=kinds, score=score, retrain=score > config.retrain_above, embedder=embedder.name)


def _kind(
    kind: str,
    weight: float,
    texts: tuple[Mapping[str, str], Mapping[str, str]],
    config: DriftConfig,
    embedder: Embedder,
) -> KindDrift:
    then, now = texts
    changed = sorted(path for path in then.keys() & now.keys() if _digest(then[path]) != _digest(now[path]))
    removed, added = _unmoved(then, now)
    files = len(then.keys() | now.keys()) - (len(then.keys() - now.keys()) - len(removed))
    moved = _distances([then[path] for path in changed], [now[path] for path in changed], embedder)
    by_hash = (len(changed) + len(added) + len(removed)) / max(1, files)
    by_embedding = (fsum(moved) + len(added) + len(removed)) / max(1, files)
    return KindDrift(
        kind=kind,
        weight=weight,
        files=files,
        added=tuple(added),
        removed=tuple(removed),
        changed=tuple(changed),
        hash_distance=by_hash,
        embedding_distance=by_embedding,
        distance=config.hash_share * by_hash + (1 - config.hash_share) * by_embedding,
    )


def _unmoved(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the paths that are gone and new, less those whose text only changed its place."""
    gone, new = sorted(then.keys() - now.keys()), sorted(now.keys() - then.keys())
    left, came = Counter(_digest(then[path]) for path in gone), Counter(_digest(now[path]) for path in new)
    return _unmatched(gone, then, left & came), _unmatched(new, now, left & came)


def _unmatched(paths: list[str], texts: Mapping[str, str], moved: Counter[str]) -> list[str]:
    rest, matched = [], Counter(moved)
    for path in paths:
        digest = _digest(texts[path])
        if matched[digest]:
            matched[digest] -= 1
        else:
            rest.append(path)
    return rest


def _digest(text: str) -> str:
    return hash_bytes(text.encode("utf-8", "surrogatepass"))


def _distances(then: list[str], now: list[str], embedder: Embedder) -> list[float]:
    if not then:
        return []
    vectors = embedder.embed([*then, *now])
    return [_distance(a, b) for a, b in zip(vectors[: len(then)], vectors[len(then) :], strict=True)]


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Return 1 - cosine within 0 to 1; two texts without words are alike, one of them is far."""
    sizes = sqrt(fsum(x * x for x in a)), sqrt(fsum(y * y for y in b))
    if not all(sizes):
        return float(any(sizes))
    cosine = fsum(x * y for x, y in zip(a, b, strict=True)) / (sizes[0] * sizes[1])
    return min(1.0, max(0.0, 1 - cosine))


def _hashed(text: str) -> list[float]:
    words = text.lower().split()
    counts = Counter(words)
    counts.update(f"{one} {two}" for one, two in pairwise(words))
    vector = [0.0] * _DIMENSIONS
    for term, count in counts.items():
        place = zlib.crc32(term.encode("utf-8", "surrogatepass"))
        vector[place % _DIMENSIONS] += log1p(count) if place & (1 << 31) else -log1p(count)
    return vector
