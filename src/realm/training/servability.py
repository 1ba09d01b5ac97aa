"""Which engines can serve what a run will leave, told before it begins.

From public sources of the engines: vLLM (vllm/lora/peft_helper.py, vllm/config/lora.py, 0.27)
refuses DoRA, ranks above its `--max-lora-rank` and saved modules; llama.cpp's converter
(convert_lora_to_gguf.py) knows matrices A and B with alpha / rank alone. All take one adapter a
prompt, beside a whole base. What cannot be served as it is can be merged into its base. Not covered:
whether an engine's release knows every build of a family; loading it is the proof.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from realm.core.records import Record
from realm.training.parameter import AdapterFacts, ParametersConfig
from realm.training.rules import Saving, VllmRank

Engine = Literal["transformers", "vllm", "llama.cpp"]
How = Literal["as is", "only merged", "no"]

VLLM_RANKS: tuple[int, ...] = get_args(VllmRank)
_ENGINES: dict[Engine, frozenset[str] | None] = {
    "transformers": None,
    "vllm": frozenset({"llama", "qwen2", "qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl"}),
    "llama.cpp": frozenset({"llama", "qwen2", "qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl"}),
}
"""Model types each engine is known to run; none means whatever it can load."""


class ModelFacts(Record):
    """What an engine has to know of a model to serve it."""

    model_type: str
    """As in its config.json."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class Servable(Record):
    """Whether one engine can serve what a run will leave, and how."""

    engine: Engine
    how: How
    reason: str


_Check = Callable[[AdapterFacts, int], str | None]
"""Says why an adapter must be merged, given vLLM's highest rank; none where it need not."""


def _stacked(adapter: AdapterFacts, most: int) -> str | None:
    return "its base is itself an adapter, and it takes one a prompt" if adapter.stacked else None


def _dora(adapter: AdapterFacts, most: int) -> str | None:
    return "it does not serve DoRA" if adapter.dora else None


def _experts(adapter: AdapterFacts, most: int) -> str | None:
    return "it does not read adapters of fused experts" if adapter.experts else None


def _high_rank(adapter: AdapterFacts, most: int) -> str | None:
    if adapter.rank <= most:
        return None
    enough = next((rank for rank in VLLM_RANKS if rank >= adapter.rank), None)
    remedy = f"--max-lora-rank {enough} would do" if enough else f"its ranks end at {VLLM_RANKS[-1]}"
    return f"rank {adapter.rank} is above its --max-lora-rank {most}; {remedy}"


def _scale(adapter: AdapterFacts, most: int) -> str | None:
    return "it scales by alpha / rank alone" if adapter.rank_stabilised else None


_CHECKS: dict[Engine, tuple[_Check, ...]] = {
    "transformers": (_stacked,),
    "vllm": (_stacked, _dora, _experts, _high_rank),
    "llama.cpp": (_stacked, _dora, _experts, _scale),
}


def servable(
    parameters: ParametersConfig, model: ModelFacts, saving: Saving, *, on_adapter: bool = False
) -> tuple[Servable, ...]:
    """Say for each engine whether it serves the result as it is, only once it is merged, or not at all.

    `on_adapter` says that the checkpoint which an adapter will belong to is itself one.
    """
    adapter = None if saving.merge else parameters.adapter
    if adapter is not None and on_adapter:
        adapter = adapter.model_copy(update={"stacked": True})
    merged = ", merged at the end" if saving.merge and parameters.adapter is not None else ""
    return tuple(_of(engine, adapter, model, saving.vllm_max_rank, merged) for engine in _ENGINES)


def _of(engine: Engine, adapter: AdapterFacts | None, model: ModelFacts, most: int, merged: str) -> Servable:
    known = _ENGINES[engine]
    if known is not None and model.model_type not in known:
        return Servable(engine=engine, how="no", reason=f"not known to run models of type {model.model_type}")
    if adapter is None:
        return Servable(engine=engine, how="as is", reason=_whole(engine, model) + merged)
    reasons = [reason for check in _CHECKS[engine] if (reason := check(adapter, most))]
    if reasons:
        told = "; ".join([*reasons, "set rules.saving.merge: true"])
        return Servable(engine=engine, how="only merged", reason=told)
    return Servable(engine=engine, how="as is", reason=f"an adapter of rank {adapter.rank} beside its base")


def _whole(engine: Engine, model: ModelFacts) -> str:
    return "a whole model" + (", exported to GGUF" if engine == "llama.cpp" else f" in {model.dtype}")
