"""The parts of a recipe that more than one place reads. Nothing here loads torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.models.profile import PROFILES, ProfileConfig

Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
LARGEST_COUNT = 10**9
"""Of steps, rows or tokens. The product of two still is a number that the ledger and tensors hold."""
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Masking(Config):
    """Bounds of the masking proof. A text row is trained as a whole and counts for none of them."""

    min_trained_share: Share = 0.02
    """Of the tokens in chats; below it training refuses to start."""
    min_masked_share: Share = 0.15
    """Of the tokens in chats; below it training refuses to start."""


class Memory(Config):
    """What is given up in speed to fit into memory."""

    tokens_at_once: Annotated[Count, Field(ge=2)] | None = None
    """Tokens of one pack; a step of more is cut into packs, its gradient is the same. None: no limit."""
    recompute_layers: Count | None = None
    """Every so manieth layer keeps only its input and is computed again in the backward pass; 1 means all.

    On CPUs it leaves the fast way, and with it bf16 by `precision: auto`.
    """


VllmRank = Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]
"""Values that vLLM's `--max-lora-rank` may take; its default is 16."""


class Saving(Config):
    """When a checkpoint is staged, and how."""

    every_steps: Count = 100
    """Steps of the run between two checkpoints; the last step always leaves one."""
    asynchronous: bool = True
    """Write while training goes on; only copying the weights holds it up. Takes memory for the copy."""
    merge: bool = False
    """Leave a whole model at the end, the adapter added to its base's weights, for engines that need it."""
    vllm_max_rank: VllmRank = 16
    """The `--max-lora-rank` that vLLM will be started with; higher ranks must be merged for it."""


class Source(Config):
    """A dataset among those a run draws from."""

    dataset: Text
    """Its name, or its content hash."""
    weight: Weight = 1.0
    """How often its rows are drawn against those of the others, relative to its size."""


class Validation(Config):
    """Rows that are measured and never trained on."""

    share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Of the run's rows, held out by the hash of their content."""
    sets: tuple[Text, ...] = ()
    """Datasets, by name or hash, that are measured as they are."""
    every_steps: Count = 100
    """Steps of the run between two measurements."""
    max_rows: Count = 200
    """Of each set, the first in its files; held-out rows beyond them are neither measured nor trained."""


class Locked(Config):
    """What a campaign may not change once it has begun."""

    base: Text | None = None
    """The model the recipe was made for, as its maker calls it; none means whatever the hero is."""
    context_tokens: Annotated[Count, Field(ge=2)] | None = None
    """The longest sequence; none means what the model was built for."""
    tokenizer: Text | None = None
    """Content hash of the tokenizer; none means the hero's own."""


Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]

OverLong = Literal["drop", "split"]
Role = Literal["system", "user", "assistant", "tool"]


class Encoding(Config):
    """How rows become sequences."""

    over_long: OverLong = "drop"
    """Rows of more than `max_tokens` are left out, or cut between exchanges (chats) and tokens (texts).

    Pairs of `dpo` and prompts of `grpo` are left out either way.
    """
    train_roles: Annotated[tuple[Role, ...], Field(min_length=1)] = ("assistant",)
    """Whose turns are trained, and nobody else's, where the chat template lets them be told apart."""
    profile: ProfileConfig = Field(default_factory=lambda: PROFILES.config("none"))
    """A manner of answering that the rows are written in."""


class Mixture(Config):
    """How often rows are drawn by what a tag says of them."""

    by: Text
    """Name of the tag, such as `domain` or `role`."""
    weights: dict[str, Weight]
    """By the tag's value, relative to how many rows have it; others, and rows without the tag, weigh 1."""
