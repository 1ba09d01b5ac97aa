"""What the lab itself tells."""

from __future__ import annotations

from typing import Literal

from realm.core.events.base import Interval, Told
from realm.core.records import Record


class DatasetAdded(Told):
    kind: Literal["dataset_added"] = "dataset_added"
    dataset: str
    name: str
    spec: str
    rows: int


class CollectionAdded(Told):
    kind: Literal["collection_added"] = "collection_added"
    collection: str
    source: str
    documents: int


class FileRefused(Told):
    kind: Literal["file_refused"] = "file_refused"
    file: str
    line: int | None
    reason: str
    quarantine: str


class JobQueued(Told):
    kind: Literal["job_queued"] = "job_queued"
    job: str
    title: str
    priority: str


class JobEnded(Told):
    kind: Literal["job_ended"] = "job_ended"
    job: str
    state: str
    reason: str = ""


class CheckpointSaved(Told):
    kind: Literal["checkpoint_saved"] = "checkpoint_saved"
    run: str
    name: str
    hash: str
    sequence: int
    hero_step: int
    loss: float | None


class CheckpointSetAside(Told):
    """The bytes of a checkpoint are damaged: they lie in the quarantine, and nothing goes on from them."""

    kind: Literal["checkpoint_set_aside"] = "checkpoint_set_aside"
    hero: str
    checkpoint: str
    """Canonical name."""
    hash: str
    hero_step: int
    damage: str
    """Which file is damaged, and how."""
    consequence: str
    """What is done in its place, in words."""


class Evaluated(Told):
    kind: Literal["evaluated"] = "evaluated"
    checkpoint: str
    """Canonical name."""
    hero_step: int
    suite: str
    skill: str
    level: int
    """The level that was tested."""
    pooled: Interval
    primitives: dict[str, Interval]
    passed: bool
    """All thresholds of the level were met."""
    streak: int
    """Consecutive passes at this level, this one included."""


class LevelMastered(Told):
    kind: Literal["level_mastered"] = "level_mastered"
    skill: str
    level: int
    next_level: int | None
    hero_step: int


class LevelReviewed(Told):
    """A mastered level was asked again and is lost or regained: what it was does not change silently."""

    kind: Literal["level_reviewed"] = "level_reviewed"
    hero: str
    skill: str
    level: int
    change: Literal["lost", "regained"]
    checkpoint: str
    """Canonical name."""
    hero_step: int
    pooled: Interval
    fails: int
    """Evaluations in a row that failed; 0 where the level is regained."""
    consequence: str
    """What follows for the drills."""


class LevelSet(Told):
    """A person put a hero at a level."""

    kind: Literal["level_set"] = "level_set"
    hero: str
    skill: str
    level: int
    """The training level from now on."""
    before: int
    """The training level until now."""
    mastered_level: int
    reason: str


class TrialBegun(Told):
    """Two ways to drill are compared, each in campaigns of its own from one checkpoint."""

    kind: Literal["trial_begun"] = "trial_begun"
    trial: str
    campaign: str
    """Where the checkpoint is from."""
    hero: str
    a: str
    b: str
    """Strategies or presets."""
    start: str
    """Content hash of the checkpoint that every campaign of the trial begins with."""
    hero_step: int
    seeds: int
    steps: int
    """What was asked for, a campaign."""
    budget_tokens: int
    """Training tokens that a campaign may use; none uses more."""


class TrialAdvanced(Told):
    """A run begins in one of a trial's campaigns."""

    kind: Literal["trial_advanced"] = "trial_advanced"
    trial: str
    way: str
    """The strategy or preset that the campaign drills by."""
    seed: int
    campaign: int
    """From 1."""
    campaigns: int
    tokens: int
    """Trained with, in all campaigns."""
    tokens_total: int
    """What all campaigns may use."""
    left_s: float | None
    """Seconds until all is trained, at the pace so far; None before there is one."""


class TrialArm(Record):
    """What one campaign of a trial came to."""

    campaign: str
    checkpoint: str
    """Content hash of its last one."""
    tokens: int
    """Trained with."""
    share: float
    """Mean over the skills of the share of right answers, on held-out problems."""


class TrialDecided(Told):
    kind: Literal["trial_decided"] = "trial_decided"
    trial: str
    a: str
    b: str
    arms_a: tuple[TrialArm, ...]
    """By seed."""
    arms_b: tuple[TrialArm, ...]
    start_share: float
    """Of the checkpoint that they began with."""
    problems: int
    """Asked of each checkpoint."""
    difference: float
    """Of the shares, b minus a."""
    low: float
    high: float
    """95 % interval of the difference."""
    method: str
    """How the interval was made, and what it speaks for."""
    verdict: Literal["a", "b", "undecided"]
    """Which is better; `undecided` where the interval holds 0."""


class Sparred(Told):
    """A checkpoint answered training problems, and its mistakes became rows."""

    kind: Literal["sparred"] = "sparred"
    job: str
    checkpoint: str
    """Canonical name."""
    skill: str
    asked: int
    wrong: int
    rows: int
    """Three a mistake."""
    dataset: str | None
    """Content hash; None where nothing was wrong."""
    weakest: tuple[tuple[str, int, int], ...]
    """Primitive, right answers, problems asked; the smallest share first."""


class Appraised(Told):
    """What the training behind a checkpoint was worth."""

    kind: Literal["appraised"] = "appraised"
    checkpoint: str
    """Canonical name."""
    hash: str
    hero_step: int
    effort: float
    """Σ max(0, loss - floor) over its steps, nats · steps."""
    quality: float
    factor: float
    """Of the health checks, 0 to 1."""
    experience: float
    """effort · quality · factor."""
    verdict: Literal["strong", "partial", "weak"]
    checks: tuple[tuple[str, str, str, str], ...]
    """Id, status, details and remedy of each health check."""
    unknown: tuple[str, ...]
    """Health checks whose facts nobody measured."""


class DriftMeasured(Told):
    """The conventions of a dataset were compared with those collected since."""

    kind: Literal["drift_measured"] = "drift_measured"
    dataset: str
    """Content hash."""
    score: float
    """0 nothing changed, 1 everything."""
    retrain: bool


class RegressionFound(Told):
    """The newest checkpoint is significantly worse than the best on the same problems."""

    kind: Literal["regression_found"] = "regression_found"
    hero: str
    checkpoint: str
    """Canonical name."""
    hash: str
    hero_step: int
    score: float
    """Mean over the problems that both were asked."""
    best: str
    """Canonical name of the best."""
    best_hash: str
    best_score: float
    problems: int
    chance: float
    """Of so much loss by luck, corrected for all checkpoints that were ranked."""
    alarm: Literal["ok", "warning", "critical"]
    """By the size of the drop; `ok` is significant, but small."""
    reasons: tuple[str, ...]


class GateDecided(Told):
    kind: Literal["gate_decided"] = "gate_decided"
    checkpoint: str
    passed: bool
    reasons: tuple[str, ...]


class Promoted(Told):
    kind: Literal["promoted"] = "promoted"
    model: str
    """Registered version, such as `dio-v2`."""
    checkpoint: str
    hash: str
    hero_step: int
