"""What training must compute: floating-point operations of one pass over some chats.

Counted are matrix products and attention proper, a multiply and an add as two. Not counted: lookups,
norms, rotations, softmax, the optimizer, and anything computed twice to save memory.

Legend: N input tokens (every token of a chat but its last), M trained tokens, C hidden size, L layers,
H query heads, G key-value heads, D head size, I MLP width, V vocabulary, r rank of the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

from realm.core.records import Record


class Shape(Record):
    """A dense decoder: grouped-query attention, gated MLP, tied or untied head, no biases."""

    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocabulary: int


class Work(Record):
    """Sizes of some chats, as far as the operations depend on them."""

    inputs: int
    """N."""
    trained: int
    """M."""
    pairs: int
    """Σ over chats of T(T + 1)/2, T its input tokens: what causal attention looks at in one layer."""
    trained_pairs: int
    """Σ over trained tokens of the tokens before them: the same where only these places ask."""


def work_of(trained_flags: Sequence[Sequence[bool]]) -> Work:
    """Return the sizes of chats, each given as one flag a token: whether it is trained."""
    lengths = [len(chat) - 1 for chat in trained_flags]
    places = [place for chat in trained_flags for place, trained in enumerate(chat) if trained and place]
    return Work(
        inputs=sum(lengths),
        trained=len(places),
        pairs=sum(length * (length + 1) // 2 for length in lengths),
        trained_pairs=sum(places),
    )


def must_compute(shape: Shape, work: Work, rank: int | None) -> int:
    """Return the operations of forward and backward pass, full or with LoRA of a rank.

    The last layer's queries, output projection and MLP, and the head, are needed at M places only.
    A matrix of P elements that T tokens go through costs

        2·T·P  forward
        2·T·P  the gradient of its input; not of the first layer's q, k, v where the embedding is frozen
        2·T·P  its own gradient; not where it is frozen

    so 6·T·P where all is trained and 4·T·P where it is frozen. LoRA adds its own A (C × r) and B, which
    are trained: 6·T·P each, A of the first layer's q, k, v 4·T·P. Attention costs 4·H·D a pair forward
    (scores, weighted values) and twice as much backward (gradients of values, weights, queries, keys):
    12·H·D. Flash kernels compute the scores a second time, 14·H·D; that is a choice and not counted.
    """
    attention = 12 * shape.heads * shape.head_dim
    pairs = (shape.layers - 1) * work.pairs + work.trained_pairs
    head = shape.hidden_size * shape.vocabulary * work.trained
    return attention * pairs + (6 if rank is None else 4) * head + _layers(shape, work, rank)


def _layers(shape: Shape, work: Work, rank: int | None) -> int:
    """Return the operations of all linear projections of the layers."""
    return sum(
        _projection(inputs, outputs, _tokens(name, layer, shape, work), rank, begins=begins)
        for layer in range(shape.layers)
        for name, (inputs, outputs) in _projections(shape).items()
        for begins in (layer == 0 and name in ("q", "k", "v"),)
    )


def _projection(inputs: int, outputs: int, tokens: int, rank: int | None, *, begins: bool) -> int:
    """Return the operations of one projection; where it `begins`, nothing trained lies before it."""
    if rank is None:
        return 6 * tokens * inputs * outputs
    base, a, b = (2, 4, 6) if begins else (4, 6, 6)
    return tokens * (base * inputs * outputs + a * inputs * rank + b * rank * outputs)


def _tokens(name: str, layer: int, shape: Shape, work: Work) -> int:
    last = layer == shape.layers - 1
    return work.trained if last and name not in ("k", "v") else work.inputs


def _projections(shape: Shape) -> dict[str, tuple[int, int]]:
    """Return inputs and outputs of a layer's linear projections."""
    hidden, wide = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "q": (hidden, queries),
        "k": (hidden, keys),
        "v": (hidden, keys),
        "o": (queries, hidden),
        "gate": (hidden, wide),
        "up": (hidden, wide),
        "down": (wide, hidden),
    }
