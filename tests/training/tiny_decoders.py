"""Small decoders of every build that the fast path knows, rows for them, and the plain path beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import MethodType
from typing import Any

import numpy as np
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from realm.models.adapters import decoder
from realm.models.encodings import Encoded
from realm.training import fast, forward
from realm.training.attention import use_packed
from realm.training.batching import Batch

VOCABULARY = 50
BUILDS = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 8}),
    "qwen3-no-sharing": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 8, "num_key_value_heads": 4}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": False}),
    "llama-biases": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True, "mlp_bias": True}),
}
MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LENGTHS = {"equal": [9, 9, 9], "mixed": [2, 3, 3, 5, 17, 40], "one token in": [2, 2], "one row": [12]}


def build(name: str = "qwen3", *, dtype: torch.dtype = torch.float32, **settings: Any) -> PreTrainedModel:
    config, model, own = BUILDS[name]
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.15,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = model(config(**{**shape, **own, **settings}))
        for parameter_name, parameter in built.named_parameters():  # ones and zeros would hide mistakes
            if "norm" in parameter_name or "bias" in parameter_name:
                torch.nn.init.normal_(parameter, mean=float("norm" in parameter_name), std=0.2)
    return built.to(dtype).train()


def adapted(model: PreTrainedModel, *others: str, **settings: Any) -> Any:
    """A model with an adapter that is on, and others, each drawn for itself, that are not."""
    from peft import LoraConfig, get_peft_model

    shape = LoraConfig(r=4, lora_alpha=8, target_modules=MAPS, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wrapped = get_peft_model(model, shape)
        for other in others:
            wrapped.add_adapter(other, shape)
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:  # zeros at birth, which would hide A's gradients
                torch.nn.init.normal_(parameter, std=0.1)
    return wrapped


def with_exact_norms(model: Any) -> Any:
    """A reference in double precision, where transformers' norms would round to single."""

    def forward(norm: Any, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon)
        return scaled * norm.weight

    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = MethodType(forward, module)
    return model


def rows(lengths: Sequence[int], seed: int = 0, vocabulary: int = VOCABULARY) -> list[Encoded]:
    draw = random.Random(seed)
    found = []
    for length in lengths:
        weights = [0.0, *(float(draw.random() < 0.5) for _ in range(length - 2)), 1.0]
        ids = [draw.randrange(vocabulary) for _ in range(length)]
        found.append(Encoded(np.array(ids, np.int32), np.array(weights, np.float32), 1, length))
    return found


def weights_of(batch: Batch, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.linspace(0.2, 2.0, batch.trained_tokens, dtype=dtype)


def plainly(model: Any, batch: Batch) -> torch.Tensor:
    """The reference: transformers' modules, and all logits at once."""
    use_packed(decoder(model))
    logits_MV = model.get_output_embeddings()(forward.predictions(model, batch))
    return torch.log_softmax(logits_MV, -1).gather(1, batch.targets_M[:, None]).squeeze(1)


def fitted(model: Any) -> Any:
    use_packed(decoder(model))
    assert fast.fit(model)
    return model


def fast_loss(model: Any, batch: Batch) -> torch.Tensor:
    hidden_MC = forward.predictions(model, batch)
    assert type(hidden_MC.grad_fn).__name__ != "IndexSelectBackward0", "the plain path ran"
    return forward.cross_entropy_sum(model, hidden_MC, batch.targets_M, weights_of(batch, hidden_MC.dtype))


def assert_equal_gradients(model: Any, reference: Any, tolerance: float) -> None:
    for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None), name
        if other.grad is not None:
            assert parameter.grad.layout is torch.strided, name
            difference = (parameter.grad - other.grad).abs().max()
            assert difference <= tolerance * other.grad.abs().max().clamp(min=1e-3), name
