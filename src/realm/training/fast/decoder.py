"""The whole decoder as one autograd function: embedding, layers, last norm.

The last layer is computed only where something is predicted, but for its keys and values. Not
covered: gradients of gradients, going through one pass backward twice, and `torch.autograd.grad` of a model
that trains an embedding tied to its head: its part is added to the embedding's `.grad` whatever is asked for.

Shapes: N tokens, M places that predict, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from realm.core.errors import StateError
from realm.training.attention import Groups
from realm.training.fast.attention import Rows
from realm.training.fast.buffers import Pool
from realm.training.fast.layer import MLP, Attention, Norm
from realm.training.fast.products import Products, asked_for, exactly, kept_in
from realm.training.fast.run import Run


class Decoder:
    """The decoder of a causal language model, run by hand on the model's own parameters."""

    def __init__(self, causal: Any) -> None:
        model = causal.model
        self._embedding: Any = model.embed_tokens
        self._tied = causal.get_output_embeddings().weight is model.embed_tokens.weight
        self._rotary: Any = model.rotary_emb
        self._norm = Norm(model.norm)
        last = len(model.layers) - 1
        self._layers = [
            (
                Attention(layer.input_layernorm, layer.self_attn, number, chosen=number == last),
                MLP(layer.post_attention_layernorm, layer.mlp, number),
            )
            for number, layer in enumerate(model.layers)
        ]
        self._kept_in = kept_in(self._embedding.weight.dtype)
        self._pool = Pool(self._kept_in)

    def __call__(
        self, inputs_N: torch.Tensor, positions_N: torch.Tensor, groups: Groups, places_M: torch.Tensor
    ) -> torch.Tensor:
        """Return the last hidden states (M, C) at the places given."""
        read = [self._norm.weight]
        for halves in self._layers:
            read += [weight for half in halves for weight in half.parameters()]
        # Each once: a weight that several modules share gets one gradient.
        weights = dict.fromkeys([self._embedding.weight, *read])
        trained = [weight for weight in weights if weight.requires_grad]
        angles = self._rotary(torch.empty(0, dtype=self._kept_in), positions_N[None])
        cos_N1D, sin_N1D = (x.squeeze(0).unsqueeze(1) for x in angles)
        products = Products(self._pool.scratch, self._kept_in, asked_for(self._kept_in))
        attention, _ = self._layers[0]
        rows = Rows(groups, attention.heads, attention.key_heads, self._kept_in)
        run = Run(rows, (cos_N1D, sin_N1D), places_M, self._pool.take(), products)
        hidden_MC: torch.Tensor = _Decode.apply(  # type: ignore[no-untyped-call]
            self, run, inputs_N, trained, read, *trained
        )
        if not hidden_MC.requires_grad:
            self._pool.give_back(run.buffers)
        return hidden_MC

    def forward(self, inputs_N: torch.Tensor, run: Run) -> torch.Tensor:
        """Return the hidden states (M, C); the pass keeps what `backward` needs."""
        width = self._embedding.embedding_dim
        x = run.buffers("0 x", len(inputs_N), width)
        x.copy_(self._embedding.weight.index_select(0, inputs_N))
        for number, (attention, mlp) in enumerate(self._layers):
            rows = len(run.places_M) if number == len(self._layers) - 1 else len(inputs_N)
            x = attention.forward(x, run.buffers(f"{number} mid", rows, width), run)
            x = mlp.forward(x, run.buffers(f"{number + 1} x", rows, width), run)
        return self._norm.forward(x, torch.empty_like(x), run)

    def backward(self, grad_MC: torch.Tensor, inputs_N: torch.Tensor, run: Run) -> None:
        """Collect all gradients in the pass, then let go of its memory."""
        (chosen, width), tokens, last = grad_MC.shape, len(inputs_N), len(self._layers) - 1
        into_embedding = bool(self._embedding.weight.requires_grad)
        grad = run.buffers("chosen grad", chosen, width).copy_(grad_MC)
        self._norm.backward(grad, run.buffers(f"{last + 1} x", chosen, width), run)
        for number in range(last, -1, -1):
            attention, mlp = self._layers[number]
            mlp.backward(grad, run.buffers(f"{number} mid", *grad.shape), run)
            further = number > 0 or into_embedding
            x_NC = run.buffers(f"{number} x", tokens, width)
            grad = attention.backward(grad, x_NC, run, further=further)
        if into_embedding:
            self._embedding_backward(grad, inputs_N, run)
        self._pool.give_back(run.buffers)

    def _embedding_backward(self, grad_NC: torch.Tensor, inputs_N: torch.Tensor, run: Run) -> None:
        weight, padding = self._embedding.weight, self._embedding.padding_idx
        if padding is not None:
            grad_NC = grad_NC.masked_fill((inputs_N == padding).unsqueeze(1), 0.0)
        if self._tied:
            _add_rows_at_the_end(weight, inputs_N, grad_NC.clone())
        else:
            run.gradients.add(weight, torch.zeros_like(weight).index_add_(0, inputs_N, grad_NC))


def _add_rows_at_the_end(weight: nn.Parameter, rows_N: torch.Tensor, grad_NC: torch.Tensor) -> None:
    """Add rows to a weight's gradient when the whole backward pass has ended.

    A tied head leaves a dense gradient of the same weight; autograd would add the two in fresh memory of its
    size (156 MB at a vocabulary of 152k).
    """

    def add() -> None:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, rows_N, grad_NC)

    engine: Any = torch.autograd.Variable._execution_engine
    engine.queue_callback(add)


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        decoder: Decoder,
        run: Run,
        inputs_N: torch.Tensor,
        trained: list[nn.Parameter],
        read: list[nn.Parameter],
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        ctx.decoder, ctx.run, ctx.inputs_N, ctx.trained = decoder, run, inputs_N, trained
        # The backward pass reads them from their modules; what is saved here tells whether they are the same.
        ctx.save_for_backward(*read)
        with exactly():
            return decoder.forward(inputs_N, run)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MC: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        run, ctx.run = ctx.run, None
        if run is None:
            raise StateError(
                "a pass of the fast decoder can go backward once", hint="add the losses up first"
            )
        _ = ctx.saved_tensors  # refused where one was written to in between
        with exactly():
            ctx.decoder.backward(grad_MC, ctx.inputs_N, run)
        return (None, None, None, None, None, *(run.gradients.pop(weight) for weight in ctx.trained))
