"""What training and evaluation children tell their supervisor."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from realm.core.events.base import Told
from realm.core.records import Record

# --- told by a training child -------------------------------------------------------------


class RunStarted(Told):
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


class MaskingProven(Told):
    kind: Literal["masking_proven"] = "masking_proven"
    run: str
    rows: int
    tokens: int
    trained_tokens: int
    checks: tuple[str, ...]
    """The checks that passed, each with its figure."""
    dropped: dict[str, int]
    """Rows left out or cut, and trained tokens lost, by reason."""
    sources: dict[str, int] = Field(default_factory=dict)
    """Rows of the first epoch by the dataset they are drawn from."""
    packed: bool = True
    """Whether rows share packs; not where the model would let them see each other."""


class StepTaken(Told):
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


class LayersMeasured(Told):
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


class ValidationMeasured(Told):
    kind: Literal["validation_measured"] = "validation_measured"
    run: str
    step: int
    losses: dict[str, float]
    """Mean cross-entropy a trained token, nats, by set; `held-out` is the run's own."""
    rows: dict[str, int]


class PreviewWritten(Told):
    """What the model says to fixed prompts."""

    kind: Literal["preview_written"] = "preview_written"
    run: str
    step: int
    samples: tuple[tuple[str, str], ...]
    """Prompt and answer."""
    source: str
    """What generated them."""


class AlertRaised(Told):
    """Something about a run that a person should look at."""

    kind: Literal["alert_raised"] = "alert_raised"
    run: str
    step: int
    alert: Literal["plateau", "divergence", "overfitting", "stall"]
    what: str
    hint: str


class RolledBack(Told):
    """A step went wrong; the run goes on from the last good one, past the batch that did it."""

    kind: Literal["rolled_back"] = "rolled_back"
    run: str
    step: int
    """The step that was discarded, as the run counts its steps."""
    to_step: int
    """The last good one, from which it goes on; `step` - 1 where only this one was left out."""
    cause: str


class RunPredicted(Told):
    """What a run was predicted to take, before it began; later estimates learn from it."""

    kind: Literal["run_predicted"] = "run_predicted"
    run: str
    machine: str
    """What decides memory and speed: the device, or processor and system."""
    peak_bytes: int
    """Of the device, as the formula says before any correction."""
    step_seconds: float
    step_tokens: int


class MemoryLowered(Told):
    """Memory ran out; the run starts again with smaller packs and the same steps."""

    kind: Literal["memory_lowered"] = "memory_lowered"
    run: str
    tokens_at_once: int
    cause: str


class CheckpointStaged(Told):
    """Files are written and flushed in `stage`; only the supervisor may publish them."""

    kind: Literal["checkpoint_staged"] = "checkpoint_staged"
    run: str
    stage: str
    step: int
    hero_step: int
    stats: dict[str, float]
    final: bool


class RunInterrupted(Told):
    """The child was asked to stop, saved and left."""

    kind: Literal["run_interrupted"] = "run_interrupted"
    run: str
    step: int


class RunFinished(Told):
    kind: Literal["run_finished"] = "run_finished"
    run: str
    step: int
    seconds: float


class Failed(Told):
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

    @property
    def correct(self) -> bool:
        """Say whether the answer is wholly right."""
        return self.score == 1.0


class AnswersGraded(Told):
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


class RowsMeasured(Told):
    """One batch of a dataset's rows, and how improbable a checkpoint finds their answers."""

    kind: Literal["rows_measured"] = "rows_measured"
    run: str
    losses: tuple[tuple[int, float], ...]
    """Row, counted from 0, and mean cross-entropy of its assistant turns, nats a token."""
    done: int
    """Rows that were read."""
    total: int
    seconds: float
