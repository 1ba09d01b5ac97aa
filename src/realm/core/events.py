"""Typed events: what people watch, and what a child process tells its supervisor.

One event is one JSON line with its `kind`. Training and evaluation children append them to
`events.jsonl` in the run's folder; the lab keeps the ones worth keeping in the ledger.
Live numbers have no other home.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from realm.core.records import Record


class Interval(Record):
    """Right answers out of a total, with the 95 % Wilson interval of the share."""

    correct: int
    total: int
    low: float
    high: float


class _Event(Record):
    at: str = ""
    """When it was written, ISO 8601 UTC; empty until a writer stamps it."""


# --- told by a training child -------------------------------------------------------------


class RunStarted(_Event):
    kind: Literal["run_started"] = "run_started"
    run: str
    steps_total: int
    """Steps this run will have taken at its end."""
    step: int
    """Steps already taken; above 0 after a resume."""
    parameters: int
    """All of the model's."""
    trained_parameters: int = 0
    device: str
    precision: str = "fp32"
    servable: tuple[str, ...] = ()
    """Which engines can serve what the run produces, and how."""


class MaskingProven(_Event):
    kind: Literal["masking_proven"] = "masking_proven"
    run: str
    rows: int
    tokens: int
    trained_tokens: int
    checks: tuple[str, ...]
    """The checks that passed, each with its figure."""
    dropped: dict[str, int]
    """Rows left out or cut, by reason."""
    sources: dict[str, int] = Field(default_factory=dict)
    """Rows of an epoch by the dataset they are drawn from."""
    packed: bool = True
    """Whether rows share packs; not where the model would let them see each other."""


class StepTaken(_Event):
    kind: Literal["step_taken"] = "step_taken"
    run: str
    step: int
    """Steps this run has taken, from 1."""
    steps_total: int
    hero_step: int
    """Steps over the hero's whole life."""
    loss: float
    """Mean cross-entropy per trained token, nats."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    tokens: int
    """Real tokens in this step, each update on a batch counted anew."""
    trained_tokens: int
    seconds: float
    figures: dict[str, float] = Field(default_factory=dict)
    """What the method measures of its own, such as a preference's margin; means a unit."""
    memory_bytes: int = 0
    """Held by the process, or on its GPU, at its highest so far; 0 where it is not known."""


class LayersMeasured(_Event):
    """Norms of the weights, layer by layer."""

    kind: Literal["layers_measured"] = "layers_measured"
    run: str
    step: int
    norms: dict[str, float]
    """Euclidean norm of a layer's trained parameters."""
    gradients: dict[str, float]
    """Norm of a layer's gradient at this step, before clipping."""
    drift: dict[str, float]
    """Distance from the weights that the run began with, relative to their norm."""


class ValidationMeasured(_Event):
    kind: Literal["validation_measured"] = "validation_measured"
    run: str
    step: int
    losses: dict[str, float]
    """Mean cross-entropy a trained token, nats, by set; `held-out` is the run's own."""
    rows: dict[str, int]


class PreviewWritten(_Event):
    """What the model says to fixed prompts."""

    kind: Literal["preview_written"] = "preview_written"
    run: str
    step: int
    samples: tuple[tuple[str, str], ...]
    """Prompt and answer."""
    source: str
    """What generated them."""


class AlertRaised(_Event):
    """Something about a run that a person should look at."""

    kind: Literal["alert_raised"] = "alert_raised"
    run: str
    step: int
    alert: Literal["plateau", "divergence", "overfitting", "stall"]
    what: str
    hint: str


class RolledBack(_Event):
    """A step went wrong; the run goes on from the last good one, past the batch that did it."""

    kind: Literal["rolled_back"] = "rolled_back"
    run: str
    step: int
    """The step that was discarded, as the run counts its steps."""
    to_step: int
    """The last good one, from which it goes on; `step` - 1 where only this one was left out."""
    cause: str


class RunPredicted(_Event):
    """What a run was predicted to take, before it began; later estimates learn from it."""

    kind: Literal["run_predicted"] = "run_predicted"
    run: str
    machine: str
    """What decides memory and speed: the device, or processor and system."""
    peak_bytes: int
    """Of the device, as the formula says before any correction."""
    step_seconds: float
    step_tokens: int


class MemoryLowered(_Event):
    """Memory ran out; the run starts again with smaller packs and the same steps."""

    kind: Literal["memory_lowered"] = "memory_lowered"
    run: str
    tokens_at_once: int
    cause: str


class CheckpointStaged(_Event):
    """Files are written and flushed in `stage`; only the supervisor may publish them."""

    kind: Literal["checkpoint_staged"] = "checkpoint_staged"
    run: str
    stage: str
    step: int
    hero_step: int
    stats: dict[str, float]
    final: bool


class RunInterrupted(_Event):
    """The child was asked to stop, saved and left."""

    kind: Literal["run_interrupted"] = "run_interrupted"
    run: str
    step: int


class RunFinished(_Event):
    kind: Literal["run_finished"] = "run_finished"
    run: str
    step: int
    seconds: float


class Failed(_Event):
    """A child ended with an error that it can explain."""

    kind: Literal["failed"] = "failed"
    run: str
    error: str
    """The class of the error in `core.errors`."""
    what: str
    hint: str = ""


# --- told by an evaluation child ----------------------------------------------------------


class Graded(Record):
    """One problem's answer and what it is worth."""

    key: str
    primitive: str
    score: Annotated[float, Field(ge=0, le=1)]
    answer: str
    """Raw; the transcript where there were several turns."""
    notes: tuple[str, ...] = ()
    """What was checked and failed, in words."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability that the model gave the whole answer; None where nobody knows it."""


class AnswersGraded(_Event):
    """One batch of answers; the supervisor collects them into an evaluation."""

    kind: Literal["answers_graded"] = "answers_graded"
    run: str
    checkpoint: str
    """Content hash."""
    suite: str
    results: tuple[Graded, ...]
    loss: float
    """Summed cross-entropy of the right answers, nats."""
    loss_tokens: int
    """Tokens that `loss` is over."""
    context: dict[str, str]
    """What generated them: backend, dtype, template hash, sampling."""
    done: int
    total: int
    seconds: float
    """Since the suite's first problem was begun."""
    verdict: str = ""
    """Why the rest is not asked, where the verdict is certain early; empty otherwise."""


class RowsMeasured(_Event):
    """One batch of a dataset's rows, and how improbable a checkpoint finds their answers."""

    kind: Literal["rows_measured"] = "rows_measured"
    run: str
    losses: tuple[tuple[int, float], ...]
    """Row, counted from 0, and mean cross-entropy of its assistant turns, nats a token."""
    done: int
    """Rows that were read."""
    total: int
    seconds: float


# --- told by the lab ----------------------------------------------------------------------


class DatasetAdded(_Event):
    kind: Literal["dataset_added"] = "dataset_added"
    dataset: str
    name: str
    spec: str
    rows: int


class CollectionAdded(_Event):
    kind: Literal["collection_added"] = "collection_added"
    collection: str
    source: str
    documents: int


class FileRefused(_Event):
    kind: Literal["file_refused"] = "file_refused"
    file: str
    line: int | None
    reason: str
    quarantine: str


class JobQueued(_Event):
    kind: Literal["job_queued"] = "job_queued"
    job: str
    title: str
    priority: str


class JobEnded(_Event):
    kind: Literal["job_ended"] = "job_ended"
    job: str
    state: str
    reason: str = ""


class CheckpointSaved(_Event):
    kind: Literal["checkpoint_saved"] = "checkpoint_saved"
    run: str
    name: str
    hash: str
    sequence: int
    hero_step: int
    loss: float | None


class Evaluated(_Event):
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


class LevelMastered(_Event):
    kind: Literal["level_mastered"] = "level_mastered"
    skill: str
    level: int
    next_level: int | None
    hero_step: int


class LevelReviewed(_Event):
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


class LevelSet(_Event):
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


class TrialBegun(_Event):
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


class TrialArm(Record):
    """What one campaign of a trial came to."""

    campaign: str
    checkpoint: str
    """Content hash of its last one."""
    tokens: int
    """Trained with."""
    share: float
    """Mean over the skills of the share of right answers, on held-out problems."""


class TrialDecided(_Event):
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


class Sparred(_Event):
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


class Appraised(_Event):
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


class DriftMeasured(_Event):
    """The conventions of a dataset were compared with those collected since."""

    kind: Literal["drift_measured"] = "drift_measured"
    dataset: str
    """Content hash."""
    score: float
    """0 nothing changed, 1 everything."""
    retrain: bool


class RegressionFound(_Event):
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


class GateDecided(_Event):
    kind: Literal["gate_decided"] = "gate_decided"
    checkpoint: str
    passed: bool
    reasons: tuple[str, ...]


class Promoted(_Event):
    kind: Literal["promoted"] = "promoted"
    model: str
    """Registered version, such as `dio-v2`."""
    checkpoint: str
    hash: str
    hero_step: int


Event = Annotated[
    RunStarted
    | MaskingProven
    | StepTaken
    | LayersMeasured
    | ValidationMeasured
    | PreviewWritten
    | AlertRaised
    | RolledBack
    | RunPredicted
    | MemoryLowered
    | CheckpointStaged
    | RunInterrupted
    | RunFinished
    | Failed
    | AnswersGraded
    | RowsMeasured
    | DatasetAdded
    | CollectionAdded
    | FileRefused
    | JobQueued
    | JobEnded
    | CheckpointSaved
    | Evaluated
    | LevelMastered
    | LevelReviewed
    | LevelSet
    | TrialBegun
    | TrialDecided
    | Sparred
    | DriftMeasured
    | Appraised
    | RegressionFound
    | GateDecided
    | Promoted,
    Field(discriminator="kind"),
]

Emit = Callable[[Event], None]
"""Takes an event and returns at once."""

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def write(event: Event) -> str:
    """Write an event as one JSON line, without the line end."""
    return event.model_dump_json()


def read(line: str | bytes) -> Event:
    """Read an event from a JSON line. Raises pydantic's ValidationError."""
    return _ADAPTER.validate_json(line)


def ignore(event: Event) -> None:
    """Take an event and do nothing, where nobody watches."""
