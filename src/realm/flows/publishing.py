"""The publication gate: whether a dataset, or a model with all it was trained on, may leave the lab.

Deny by default. A dataset may leave when a search for secrets has run over it, every row has a licence known
to be open, and no row is a rig's that does not share with everybody; drills, which a skill of the lab makes
of a seed, may leave as they are. A model may leave when every dataset of every run behind it may, and it did
not begin from somebody else's model.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from realm.core.errors import NotFoundError, RefusedError
from realm.core.hashing import short
from realm.core.records import ArtifactKind, Record, Sha256
from realm.corpus.assembly.sharing import shares_with_all
from realm.corpus.assembly.statistics import UNKNOWN, LicenceCount, is_publishable
from realm.corpus.dataset import read_info
from realm.corpus.lineage import LINEAGE, read_lineage
from realm.flows.checkpoints import resolve
from realm.flows.context import Lab
from realm.flows.plan import RunPlan
from realm.ledger.records import CheckpointRecord, DatasetRecord, RunRecord

_OWN_BASE = "blank "
"""How the base of a hero that began from random weights is written down."""
_GENERATED = "skill:"
"""How the source of drills is written down: a program made them of a seed, nothing in them is anybody's."""


class Obstacle(Record):
    """One thing that stands against publication."""

    what: str
    """The dataset, by name and hash, or the base."""
    reason: str
    rows: int
    licences: dict[str, int]
    """Rows by licence that forbids it; empty where the reason is another."""
    hint: str


class Publishing(Record):
    """Whether something may be published."""

    allowed: bool
    datasets: tuple[Sha256, ...]
    """All that were looked at."""
    licences: tuple[LicenceCount, ...]
    """Of all rows, most first. What is published must name them."""
    obstacles: tuple[Obstacle, ...]

    def require(self, what: str, hint: str) -> None:
        """Raise RefusedError with all that stands against it, unless nothing does."""
        if self.allowed:
            return
        found = "; ".join(f"{each.what}: {told(each)}" for each in self.obstacles)
        hints = list(dict.fromkeys([*(each.hint for each in self.obstacles), hint]))
        raise RefusedError(f"{what} may not leave the lab: {found}", hint="; ".join(hints))


class Ancestry(NamedTuple):
    """What a model was trained on."""

    runs: tuple[RunRecord, ...]
    """Newest first."""
    base: str
    """What the first of them began from: `blank sha256:…`, or a folder with a model."""
    whole: bool
    """Whether every step back could be followed; otherwise all earlier runs of the hero are counted in."""

    @property
    def datasets(self) -> tuple[Sha256, ...]:
        """All that were drawn from, in the order of their first use."""
        rows = [each.dataset for run in reversed(self.runs) for each in RunPlan.of(run).rows]
        return tuple(dict.fromkeys(rows))


def publishable(lab: Lab, reference: str) -> Publishing:
    """Say whether a dataset (name, hash or prefix) or a model may be published, and what stands against it.

    Reads the lineage of every dataset concerned. Raises NotFoundError for what is neither.
    """
    try:
        record = dataset_of(lab, reference)
    except NotFoundError:
        return _model(lab, resolve(lab, reference))
    return _summed([_look(lab, record)])


def model_publishable(lab: Lab, reference: str) -> Publishing:
    """Say whether a model, by any name that `realm ask` takes, may be published."""
    return _model(lab, resolve(lab, reference))


def dataset_of(lab: Lab, reference: str) -> DatasetRecord:
    """Return the newest dataset of a name, or the one of a hash or prefix. Raises NotFoundError."""
    known = lab.ledger.datasets.list()
    named = next((record for record in known if record.name == reference), None)
    if named is not None:
        return named
    if re.fullmatch(r"(sha256:)?[0-9a-f]{1,64}", reference):
        return lab.ledger.datasets.get(reference)
    listed = ", ".join(list(dict.fromkeys(record.name for record in known))[:10]) or "none yet"
    raise NotFoundError(f"no dataset is called {reference!r}", hint=f"there are: {listed}")


def ancestry(lab: Lab, checkpoint: CheckpointRecord) -> Ancestry:
    """Return every run that a checkpoint's weights went through, back to its base."""
    runs: list[RunRecord] = []
    at: CheckpointRecord | None = checkpoint
    while at is not None and at.run is not None:
        runs.append(lab.ledger.runs.get(at.run))
        at = _start(lab, runs[-1])
        if at is None:
            runs += [run for run in _earlier(lab, runs[-1]) if run not in runs]
    return Ancestry(tuple(runs), _base(lab, runs, checkpoint), whole=at is not None)


def _start(lab: Lab, run: RunRecord) -> CheckpointRecord | None:
    """Return what a run began from; None where retention has let it go."""
    try:
        return lab.ledger.checkpoints.get(run.start) if run.start is not None else None
    except NotFoundError:
        return None


def _earlier(lab: Lab, run: RunRecord) -> list[RunRecord]:
    """Return every run that may be behind this one: those of its hero that began before it, newest first."""
    known = lab.ledger.runs.list()
    before = known[[each.id for each in known].index(run.id) + 1 :]
    same = [each for each in before if (each.campaign, each.hero) == (run.campaign, run.hero)]
    return [each for each in same if each.started_at is not None]


def _base(lab: Lab, runs: list[RunRecord], checkpoint: CheckpointRecord) -> str:
    if runs:
        return RunPlan.of(runs[-1]).locked.base or "a base that nobody noted"
    hero = lab.config.heroes.get(checkpoint.hero)
    if hero is None:
        return "a hero that realm.yaml no longer knows"
    return f"folder {hero.base}" if hero.base is not None else _OWN_BASE.strip()


def told(obstacle: Obstacle) -> str:
    """Return an obstacle in one phrase."""
    by = ", ".join(f"{licence or 'none'}: {rows:,}" for licence, rows in obstacle.licences.items())
    return f"{obstacle.reason} ({by})" if by else obstacle.reason


class _Looked(NamedTuple):
    """What one dataset has to show."""

    datasets: tuple[Sha256, ...]
    licences: Counter[str]
    obstacles: tuple[Obstacle, ...]


def _model(lab: Lab, checkpoint: CheckpointRecord) -> Publishing:
    behind = ancestry(lab, checkpoint)
    looked = []
    for content in behind.datasets:
        try:
            looked.append(_look(lab, lab.ledger.datasets.get(content)))
        except NotFoundError:
            looked.append(_gone(content))
    if not (behind.base + " ").startswith(_OWN_BASE):
        obstacle = Obstacle(
            what=behind.base,
            reason="the model began from another one, whose licence the lab does not know",
            rows=0,
            licences={},
            hint="only a hero that began blank can pass",
        )
        looked.append(_Looked((), Counter(), (obstacle,)))
    return _summed(looked)


def _gone(content: Sha256) -> _Looked:
    reason = "it was trained on and is no longer in the vault, so nobody can say what it held"
    hint = "train anew on datasets that are kept"
    gone = Obstacle(what=f"dataset {short(content)}", reason=reason, rows=0, licences={}, hint=hint)
    return _Looked((content,), Counter(), (gone,))


def _summed(looked: list[_Looked]) -> Publishing:
    counts: Counter[str] = Counter()
    for each in looked:
        counts.update(each.licences)
    obstacles = tuple(obstacle for each in looked for obstacle in each.obstacles)
    return Publishing(
        allowed=bool(looked) and not obstacles,
        datasets=tuple(content for each in looked for content in each.datasets),
        licences=tuple(
            LicenceCount(licence=licence, rows=rows, publishable=is_publishable(licence))
            for licence, rows in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ),
        obstacles=obstacles,
    )


def _look(lab: Lab, record: DatasetRecord) -> _Looked:
    """Hold one dataset against the rules."""
    if record.source.startswith(_GENERATED):
        return _Looked((record.hash,), Counter(), ())
    what = f"{record.name} ({short(record.hash)})"
    folder = lab.store.verified(ArtifactKind.DATASET, record.hash)
    licences, unshared = Counter[str](), Counter[str]()
    if (folder / LINEAGE).is_file():
        for row in read_lineage(folder):
            licences[row.origin.licence] += 1
            rig = row.origin.rig
            if rig is not None and not shares_with_all(rig, lab.config.corpus.sharing):
                unshared[rig] += 1
    licences[UNKNOWN] += record.rows - licences.total()
    licences = +licences
    obstacles = []
    if read_info(folder).scrub is None:
        obstacles.append(_obstacle(what, "no search for secrets has run over it", record.rows, _COLLECT))
    against = {licence: rows for licence, rows in licences.most_common() if not is_publishable(licence)}
    if against:
        reason = f"{sum(against.values()):,} rows have a licence that is unknown or forbids it"
        found = _obstacle(what, reason, sum(against.values()), _LICENSE)
        obstacles.append(found.model_copy(update={"licences": against}))
    if unshared:
        named = ", ".join(sorted(unshared))
        reason = f"{unshared.total():,} rows are of rigs that do not share with everybody: {named}"
        obstacles.append(_obstacle(what, reason, unshared.total(), _SHARE))
    return _Looked((record.hash,), licences, tuple(obstacles))


_COLLECT = "take its rows in with `realm data add`, which scrubs them, and build a dataset of them"
_LICENSE = "give the source its licence where you know it, or build without it: realm data build SOURCE…"
_SHARE = "a rig opts in with `corpus.sharing.rigs: {RIG: [all]}`"


def _obstacle(what: str, reason: str, rows: int, hint: str) -> Obstacle:
    return Obstacle(what=what, reason=reason, rows=rows, licences={}, hint=hint)
