"""The cases of each device, and the ways to run TRL that they are compared with.

What a case trains is a recipe: on the CPU one that is made here, on a GPU the shipped one of that
name, in which only the data and the end of the run are other than its users have them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from realm.bench.flops import Shape
from realm.bench.spec import Lora
from realm.bench.turns import Where
from realm.core.records import Record
from realm.models.blank import BlankShape
from realm.training.optimizer import AdamSettings
from realm.training.recipe import Recipe, resolve, shipped_text

BATCH_ROWS = 32
"""Chats in one optimizer step of the CPU cases, on every side."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Computed = Literal["fp32", "bf16"]
"""What products are computed in."""
LOSS_TOLERANCE: Mapping[Computed, float] = {"fp32": 1e-3, "bf16": 3e-3}
"""How far a peer's mean loss before the first step may be from ours, nats, by precision."""

_SMALL = 4096
_LARGE = 151_936
_MICRO_ROWS = 8
"""Chats in one forward pass of the peers that collect gradients over several."""
_ROOM = 1.02
"""Packs are at most this much larger than they would be without any gap."""
_ENDLESS = {
    "where": {"validation": {"share": 0.0}},
    "rules": {"schedule": {"kind": "constant"}, "order": "given", "steps": 1_000_000},
}
"""What the benchmark decides in every recipe: all rows are trained, in order, for as long as it asks."""


class Case(Record):
    """One model, trained one way."""

    name: str
    recipe: Recipe
    """What is trained, and how; it names the shape and the size of the vocabulary, and one device."""
    rows: int
    """Chats in a segment; each is seen once in it. A multiple of the rows in a step."""
    quick_rows: int
    """The same for a quick run."""
    chat_tokens: int | None = None
    """Every chat has exactly so many tokens; none: short ones of many lengths."""
    weights: Computed = "fp32"
    """What the model's files hold, and with them what full training keeps."""

    @property
    def blank(self) -> BlankShape:
        """The model that everybody begins from, without its vocabulary."""
        assert isinstance(self.recipe.model.shape, BlankShape)
        return self.recipe.model.shape

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding."""
        assert self.recipe.model.vocabulary_size is not None
        return self.recipe.model.vocabulary_size

    @property
    def shape(self) -> Shape:
        """The sizes that decide what must be computed."""
        sizes = self.blank.model_dump(include=set(Shape.model_fields))
        return Shape(vocabulary=self.vocabulary, **sizes)

    @property
    def mode(self) -> str:
        """`full` or `lora`."""
        return str(self.recipe.rules.parameters.model_dump()["kind"])

    @property
    def device(self) -> Where:
        """What it trains on."""
        device = self.recipe.rules.device
        assert device != "auto"
        return device

    @property
    def precision(self) -> Computed:
        """What our side computes products in."""
        precision = self.recipe.rules.precision
        assert precision != "auto"
        return precision

    @property
    def batch_rows(self) -> int:
        """Chats in one optimizer step."""
        return self.recipe.rules.batch_rows

    @property
    def rank(self) -> int | None:
        """Rank of the adapter; none where all is trained."""
        adapter = self.recipe.rules.parameters.adapter
        return adapter.rank if adapter else None

    @property
    def lora(self) -> Lora | None:
        """The adapter in the words of PEFT; none where all is trained."""
        if self.rank is None:
            return None
        settings = self.recipe.rules.parameters.model_dump()
        named = settings["targets"]
        return Lora(
            r=self.rank,
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            target_modules=PROJECTIONS if named == "default" else named,
        )

    @property
    def optimizer(self) -> AdamSettings:
        """Rate, moments and decay, on every side."""
        assert isinstance(self.recipe.rules.optimizer, AdamSettings)
        return self.recipe.rules.optimizer

    @property
    def model(self) -> str:
        """The architecture, as it is reported."""
        shape, tied = self.shape, "tied" if self.blank.tie_embeddings else "untied"
        return f"qwen3 {shape.layers} × {shape.hidden_size}, {shape.heads} heads, {tied}"


class Peer(Record):
    """One way to run TRL."""

    name: str
    settings: dict[str, Any]
    """Of its SFTConfig, beside what all contenders share."""
    trained_positions_only: bool = False
    """Patched so that its head scores trained positions alone."""
    optional: bool = False
    """Where it cannot run it is left out with its reason, instead of ending the benchmark."""


@dataclass(frozen=True)
class Suite:
    """What is run on one kind of device."""

    cases: Callable[[Computed], list[Case]]
    """By what the CPU's are to compute in."""
    peers: Callable[[Case, int, int], list[Peer]]
    warm_ups: int
    """Segments of every contender, before those that count."""
    takes_turns: bool
    """Contenders leave the device to each other between segments."""


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe that these settings, which may extend a shipped one, make endless."""
    texts = {"bench": json.dumps({**_ENDLESS, "extends": "settings"}), "settings": json.dumps(settings)}
    return resolve("bench", lambda name: texts.get(name) or shipped_text(name)).recipe


# --- on the CPU ---------------------------------------------------------------------------


def small_case(
    name: str,
    shape: Shape,
    mode: Literal["full", "lora"],
    *,
    rows: int,
    quick_rows: int,
    precision: Computed = "fp32",
) -> Case:
    """Return a case that trains a small model of fp32 weights on the CPU, full or with LoRA of rank 16."""
    parameters: dict[str, Any] = {"kind": mode}
    if mode == "lora":
        parameters |= {"rank": 16, "alpha": 32, "dropout": 0.0, "targets": list(PROJECTIONS)}
    settings = {
        "model": {
            "shape": {"kind": "qwen3", **shape.model_dump(exclude={"vocabulary"})},
            "vocabulary_size": shape.vocabulary,
        },
        "rules": {
            "parameters": parameters,
            "optimizer": {
                "kind": "adamw",
                "learning_rate": 1e-4,
                "betas": [0.9, 0.98],
                "eps": 1e-8,
                "weight_decay": 0.0,
            },
            "precision": precision,
            "batch_rows": BATCH_ROWS,
            "max_tokens": 1024,
            "clip_norm": 1.0,
            "device": "cpu",
        },
    }
    return Case(name=name, recipe=recipe_of(settings), rows=rows, quick_rows=quick_rows)


def cases(precision: Computed = "fp32") -> list[Case]:
    """Return the cases of the CPU in the order in which they are reported."""
    return [
        small_case(
            f"{name}-{mode}",
            Shape(
                hidden_size=256,
                layers=6,
                heads=4,
                kv_heads=2,
                head_dim=64,
                intermediate_size=768,
                vocabulary=vocabulary,
            ),
            mode,
            rows=rows,
            quick_rows=quick_rows,
            precision=precision,
        )
        for name, vocabulary, rows, quick_rows in (("4k", _SMALL, 256, 64), ("152k", _LARGE, 64, 32))
        for mode in ("full", "lora")
    ]


def peers(case: Case, tokens: int, steps: int) -> list[Peer]:
    """Return the ways to run TRL on the CPU, on segments of so many tokens and steps.

    Its best are known in fp32. Where our side computes in bf16, the fastest of them may as well.
    """
    plain = {"per_device_train_batch_size": BATCH_ROWS}
    best = {**plain, "bf16": False, "gradient_checkpointing": False}
    free = {**best, "padding_free": True, "max_length": None, "train_sampling_strategy": "sequential"}
    micro = {**free, **_micro(BATCH_ROWS, _MICRO_ROWS)}
    tuned = {
        "group_by_length": {**best, "train_sampling_strategy": "group_by_length"},
        "bfd": {**best, **_packed(tokens, steps)},
        "padding_free": free,
        "padding_free micro-batches": micro,
    }
    if case.precision == "bf16":
        tuned |= {
            "padding_free, bf16": {**free, "bf16": True},
            "padding_free micro-batches, bf16": {**micro, "bf16": True},
        }
    found = [Peer(name="defaults", settings=plain)]
    if case.shape.vocabulary > _SMALL:
        found.append(Peer(name="padding_free", settings=free))
        return found + [
            Peer(name=f"{name}, trained positions only", settings=settings, trained_positions_only=True)
            for name, settings in tuned.items()
        ]
    return found + [Peer(name=name, settings=settings) for name, settings in tuned.items()]


# --- on a GPU -----------------------------------------------------------------------------


def gpu_cases(_: Computed = "fp32") -> list[Case]:
    """Return the cases of a GPU in the order in which they are reported; recipes say what they compute in."""
    return [
        Case(
            name="0.6b-full",
            recipe=recipe_of({"extends": "0.6b-full"}),
            rows=2048,
            quick_rows=512,
            weights="bf16",
        ),
        Case(
            name="8b-lora-64k",
            recipe=recipe_of({"extends": "8b-lora-64k"}),
            rows=8,
            quick_rows=8,
            chat_tokens=65_536,
            weights="bf16",
        ),
    ]


def gpu_peers(case: Case, tokens: int, steps: int) -> list[Peer]:
    """Return the ways to run TRL with Liger on a GPU, on segments of so many tokens and steps.

    Chats that fill a step's pack on their own are neither padded nor packed, so that there the
    attention alone differs.
    """
    found = _one_by_one(case) if case.chat_tokens else _together(case, tokens, steps)
    return [Peer(name=name, settings=settings, optional=True) for name, settings in found.items()]


def _together(case: Case, tokens: int, steps: int) -> dict[str, dict[str, Any]]:
    """Return ways for short chats, many of which share a pass."""
    rows = {"per_device_train_batch_size": case.batch_rows}
    kept = {**rows, "gradient_checkpointing": False}
    free = {**kept, "padding_free": True, "max_length": None, "train_sampling_strategy": "sequential"}
    again = {**free, "gradient_checkpointing": True}
    return {
        "defaults": {**rows, "bf16": True, "use_liger_kernel": True},
        "group_by_length": {**kept, **_liger("sdpa"), "train_sampling_strategy": "group_by_length"},
        "padding_free micro-batches": {**free, **_liger("sdpa"), **_micro(case.batch_rows, _MICRO_ROWS)},
        "padding_free, flex": {**free, **_liger("flex_attention")},
        "padding_free, flex, recomputed": {**again, **_liger("flex_attention")},
        "padding_free, flash": {**free, **_liger("flash_attention_4")},
        "padding_free, flash, recomputed": {**again, **_liger("flash_attention_4")},
        "bfd, flash": {**kept, **_packed(tokens, steps), **_liger("flash_attention_4")},
    }


def _one_by_one(case: Case) -> dict[str, dict[str, Any]]:
    """Return ways for long chats, each of which is a pass of its own and computed a second time."""
    alone = {**_micro(case.batch_rows, 1), "gradient_checkpointing": True, "max_length": None}
    return {
        "sdpa": {**alone, **_liger("sdpa")},
        "flash": {**alone, **_liger("flash_attention_4")},
    }


def _liger(attention: str) -> dict[str, Any]:
    """Return what makes TRL fast on a GPU: Liger's kernels, bf16 throughout, this attention."""
    return {
        "bf16": True,
        "use_liger_kernel": True,
        # TRL would load fp32 and compute in bf16: slower, and more memory than our side takes.
        "model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": attention},
    }


def _micro(rows: int, at_once: int) -> dict[str, Any]:
    """Return settings that collect a step's gradient over several passes."""
    return {"per_device_train_batch_size": at_once, "gradient_accumulation_steps": rows // at_once}


def _packed(tokens: int, steps: int) -> dict[str, Any]:
    """Return settings that pack best fit first, into exactly as many packs as there are steps."""
    # With more room than half a pack in all, the chats would fit into one pack less.
    room = min(_ROOM, 1 + 0.5 / steps)
    return {
        "packing": True,
        "packing_strategy": "bfd",
        "max_length": math.ceil(tokens / steps * room),
        "per_device_train_batch_size": 1,
    }


SUITES: Mapping[Where, Suite] = {
    "cpu": Suite(cases=cases, peers=peers, warm_ups=0, takes_turns=False),
    "cuda": Suite(cases=gpu_cases, peers=gpu_peers, warm_ups=1, takes_turns=True),
}
"""By the device that they are for."""
