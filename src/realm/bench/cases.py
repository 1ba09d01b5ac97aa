"""The four cases, and the settings that all contenders share."""

from __future__ import annotations

import math
from typing import Any, Literal

from realm.bench.flops import Shape
from realm.core.records import Record

BATCH_ROWS = 32
"""Chats in one optimizer step, on every side."""
LEARNING_RATE = 1e-4
BETAS = (0.9, 0.98)
EPS = 1e-8
CLIP_NORM = 1.0
RANK = 16
ALPHA = 32
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_SMALL = 4096
_LARGE = 151_936
_MICRO_ROWS = 8
"""Chats in one forward pass of the peers that collect gradients over several."""
_ROOM = 1.02
"""Packs are this much larger than they would be without any gap."""


class Case(Record):
    """One model, trained one way."""

    name: str
    shape: Shape
    mode: Literal["full", "lora"]
    rows: int
    """Chats in a segment; each is seen once in it. A multiple of 32."""
    quick_rows: int
    """The same for a quick run."""

    @property
    def rank(self) -> int | None:
        """Rank of the adapter; none where all is trained."""
        return RANK if self.mode == "lora" else None

    @property
    def model(self) -> str:
        """The architecture, as it is reported."""
        shape = self.shape
        return f"qwen3 {shape.layers} × {shape.hidden_size}, {shape.heads} heads, tied"


class Peer(Record):
    """One way to run TRL."""

    name: str
    settings: dict[str, Any]
    """Of its SFTConfig, beside what all contenders share."""
    trained_positions_only: bool = False
    """Patched so that its head scores trained positions alone."""


def cases() -> list[Case]:
    """Return the cases in the order in which they are reported."""
    return [
        Case(
            name=f"{name}-{mode}",
            shape=Shape(
                hidden_size=256,
                layers=6,
                heads=4,
                kv_heads=2,
                head_dim=64,
                intermediate_size=768,
                vocabulary=vocabulary,
            ),
            mode=mode,
            rows=rows,
            quick_rows=quick_rows,
        )
        for name, vocabulary, rows, quick_rows in (("4k", _SMALL, 256, 64), ("152k", _LARGE, 64, 32))
        for mode in ("full", "lora")
    ]


def peers(case: Case, tokens: int, steps: int) -> list[Peer]:
    """Return the ways to run TRL on segments of so many tokens and steps."""
    plain = {"per_device_train_batch_size": BATCH_ROWS}
    best = {**plain, "bf16": False, "gradient_checkpointing": False}
    micro = {
        "per_device_train_batch_size": _MICRO_ROWS,
        "gradient_accumulation_steps": BATCH_ROWS // _MICRO_ROWS,
    }
    free = {**best, "padding_free": True, "max_length": None, "train_sampling_strategy": "sequential"}
    packed = {
        **best,
        "packing": True,
        "packing_strategy": "bfd",
        "max_length": math.ceil(tokens / steps * _ROOM),
        "per_device_train_batch_size": 1,
    }
    tuned = {
        "group_by_length": {**best, "train_sampling_strategy": "group_by_length"},
        "bfd": packed,
        "padding_free": free,
        "padding_free micro-batches": {**free, **micro},
    }
    found = [Peer(name="defaults", settings=plain)]
    if case.shape.vocabulary > _SMALL:
        found.append(Peer(name="padding_free", settings=free))
        return found + [
            Peer(name=f"{name}, trained positions only", settings=settings, trained_positions_only=True)
            for name, settings in tuned.items()
        ]
    return found + [Peer(name=name, settings=settings) for name, settings in tuned.items()]
