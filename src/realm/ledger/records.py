"""Frozen records that go into the ledger and come out of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, FiniteFloat, model_validator

from realm.core.records import ArtifactKind, Name, Record, Sha256

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
LEVEL = "level"
"""Kind of the evaluations that the curriculum counts."""
RunOutcome = Literal["done", "failed", "stopped", "dropped"]
ModelStatus = Literal["candidate", "active", "archived"]


class DatasetRecord(Record):
    """A published dataset."""

    hash: Sha256
    name: str
    spec: str
    rows: Count
    size_bytes: Count
    source: str
    """Where it came from, such as `drill` or `inbox:chats.jsonl`."""
    generator: dict[str, Any] | None = None
    """Name, version and parameters of what generated it; None for data that was brought in."""
    scrub: dict[str, Any] | None = None
    """What the scrubber did; None when it did not run."""
    build: dict[str, Any] | None = None
    """What it was built of and how; None for what was not built from collections."""
    created_at: AwareDatetime


class SourceRecord(Record):
    """A source that the lab collects from."""

    name: Name
    kind: str
    config: dict[str, Any]
    created_at: AwareDatetime


class CollectionRecord(Record):
    """Scrubbed documents of some items of a source, published together."""

    hash: Sha256
    source: Name
    version: str
    """Of the reading code."""
    documents: Count
    size_bytes: Count
    read_bytes: Count
    """Of the items, before anything was left out."""
    left_out: tuple[dict[str, Any], ...] = ()
    """Reasons with their counts."""
    scrub: dict[str, Any]
    created_at: AwareDatetime


class CollectedRecord(Record):
    """An item of a source, as it was last collected."""

    item: str
    fingerprint: str
    collections: tuple[Sha256, ...]
    """Of its parts, in their order; a small item has one."""
    read: Count
    """Documents read of an item in several parts, those in quarantine included."""


class RunRecord(Record):
    """One training run, from its plan to its outcome."""

    id: Name
    campaign: str
    hero: str
    title: str
    dataset: Sha256
    spec: dict[str, Any]
    spec_hash: Sha256
    steps_total: Count | None = None
    step: Count = 0
    """Steps that a published checkpoint holds."""
    start: Sha256 | None = None
    """The checkpoint it began from; None until it has started."""
    outcome: RunOutcome | None = None
    """None while it is open."""
    reason: str = ""
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None


class NewCheckpoint(Record):
    """A published checkpoint that has no row yet."""

    campaign: str
    hero: str
    hash: Sha256
    size_bytes: Count
    run: Name | None = None
    step: Count
    """Steps within the run."""
    hero_step: Count
    """Steps over the hero's whole life."""
    stats: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Figures at the moment of saving, such as `loss`; never NaN or infinite."""
    sequence: int | None = None
    """The number written into its sidecar; the ledger gives the next free one and logs a difference."""
    pinned: bool = False
    created_at: AwareDatetime | None = None
    """None: now."""


class CheckpointRecord(Record):
    """One saved state of a hero."""

    id: int
    campaign: str
    hero: str
    sequence: int
    """Order of saving within the campaign, from 1."""
    name: str
    hash: Sha256
    size_bytes: Count
    run: Name | None
    step: Count
    hero_step: Count
    stats: dict[str, float]
    pinned: bool
    damage: str = ""
    """What is wrong with its bytes, which are set aside; empty while they are not known to be damaged."""
    created_at: AwareDatetime


class ProblemResult(Record):
    """How one problem of a suite was answered."""

    key: str
    """Identifies the problem within its suite."""
    primitive: str
    correct: bool
    answer: str
    """Raw; the transcript where there were several turns."""
    score: Share
    """What the answer is worth; without a word on it 1 where it is right, else 0."""
    notes: tuple[str, ...] = ()
    """What was checked and failed, in words."""
    confidence: Share | None = None
    """Probability that the model gave this whole answer; None where nobody knows it."""

    @model_validator(mode="before")
    @classmethod
    def _all_or_nothing(cls, data: Any) -> Any:
        if isinstance(data, dict) and "score" not in data and isinstance(data.get("correct"), bool):
            return {**data, "score": float(data["correct"])}
        return data


class NewEvaluation(Record):
    """An evaluation to store; its counts are taken from the results."""

    checkpoint: Sha256
    hero_step: Count
    suite: str
    kind: str = LEVEL
    """What it is for: `level` where the curriculum asked, else the kind of task of a suite's part."""
    skill: str
    """The skill, or what else was tested."""
    level: int
    """The level that was tested; 0 where there are none."""
    problems: Count | None = None
    """Problems that the suite holds; None where all of them were asked."""
    verdict: str = ""
    """Why not all problems were asked: the verdict that was certain early."""
    loss: FiniteFloat | None = None
    """Mean cross-entropy of the right answers, nats per token; None where it was not measured."""
    context: dict[str, Any] = Field(default_factory=dict)
    """How it was measured: backend, template hash, seed, code version."""
    created_at: AwareDatetime | None = None
    """None: now."""


class EvaluationRecord(Record):
    """One suite asked of one checkpoint, once."""

    id: int
    checkpoint: Sha256
    hero_step: Count
    suite: str
    kind: str = LEVEL
    skill: str
    level: int
    correct: Count
    score: float | None = None
    """Mean score of the answers, in [0, 1]; None when nothing was asked."""
    total: Count
    """Problems that were asked."""
    problems: Count = 0
    """Problems that the suite holds; more than `total` where the verdict was certain early."""
    verdict: str = ""
    """The verdict that was certain early, in words; empty where all problems were asked."""
    primitives: dict[str, tuple[int, int]]
    """Right answers and problems, by primitive."""
    loss: float | None
    """Mean cross-entropy of the right answers, nats per token; None where it was not measured."""
    context: dict[str, Any]
    created_at: AwareDatetime

    @property
    def accuracy(self) -> float | None:
        """Return the pooled share of right answers, in [0, 1]; None when nothing was asked."""
        return self.correct / self.total if self.total else None


class ModelRecord(Record):
    """A registered version of a hero."""

    campaign: str
    hero: str
    version: int
    name: str
    """`<hero>-v<version>`, unique over all campaigns."""
    checkpoint: Sha256
    scores: dict[str, Any]
    status: ModelStatus
    created_at: AwareDatetime


class Champion(Record):
    """The model that answers as its hero."""

    model: ModelRecord
    revision: int
    """Counts the changes of champion; what `promote` compares."""


class PromotionRecord(Record):
    """One decision of the gate."""

    id: int
    campaign: str
    hero: str
    outcome: Literal["promoted", "refused"]
    from_model: str | None
    """The champion at that moment."""
    to_model: str
    decision: dict[str, Any]
    at: AwareDatetime


class SkillRecord(Record):
    """Where a campaign stands in one skill."""

    campaign: str
    skill: str
    state: dict[str, Any]
    updated_at: AwareDatetime


class TombstoneRecord(Record):
    """A deletion that was allowed; its bytes may still be there while `finished_at` is None."""

    kind: ArtifactKind
    hash: Sha256
    begun_at: AwareDatetime
    finished_at: AwareDatetime | None
