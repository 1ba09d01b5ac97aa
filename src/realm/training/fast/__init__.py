"""A faster decoder and head for dense Llama, Qwen2 and Qwen3 models on the CPU.

`fit` puts one hand-written forward and backward pass in the place of a known decoder's own; `head`
scores trained tokens without ever holding all logits. Both read the parameters where they lie and
leave ordinary gradients, so that optimizers, clipping, adapters and saving stay as they are. Under
autocast to bf16 they round what they multiply, and nothing else (`products`). The plain path
(transformers' modules with packed attention) is the reference for both.

Not covered, and left to the plain path: GPUs, weights in half precision, fp16, gradient checkpointing,
dropout, sliding windows, mixtures of experts, quantised weights, every adapter but plain LoRA, and models
whose modules somebody listens to, or exchanged since they were fitted.
"""

from __future__ import annotations

from realm.training.fast.build import computes, fit, takes_packs

__all__ = ["computes", "fit", "takes_packs"]
