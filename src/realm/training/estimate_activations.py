"""What a pass over a pack holds: activations tensor by tensor, the loss's logits, working memory.

Counted is what autograd keeps of a layer (norms, attention, MLP, experts) for N packed tokens, or the
layer's input alone where it is computed again, and of a trimmed last layer only the M places where
something is predicted. The fast decoder (`fast/`) keeps buffers of its own instead, counted by name.
"""

from __future__ import annotations

import math

from realm.training.estimate_constants import Constants
from realm.training.estimate_plan import BF16, FP32, Planned

LOGITS_AT_ONCE = {False: 1 << 25, True: 3 << 23}
"""Logits that are held at a time by the plain head and by the fast one; more are scored in pieces."""
ROWS_AT_ONCE = 1024
"""Rows that the fast head scores at a time, at most."""
PIECES = (1024, 256, 128)
"""Rows that the fast head multiplies at a time in bf16."""
_PLAIN_LOGITS = 3
"""Matrices of logits in fp32 that the plain head's backward pass holds."""
SOFTMAX_AT_ONCE = 1 << 20
"""Rounded logits that the fast head brings to fp32 at a time."""
WEIGHTS_AT_ONCE = 1 << 21
"""Rounded values that it adds to its weight's gradient at a time."""
SCORES_AT_ONCE = 1 << 20
"""Scores that the fast decoder's attention holds at a time."""

PROVEN_TOKENS = 1024
"""Of a row whose loss is computed alone before the first step, at most."""
_GIVEN_BACK = 32 << 20
"""glibc gives larger blocks back when they are freed."""


class Activations:
    """Bytes that one pass over a plan's largest pack holds."""

    def __init__(self, planned: Planned, constants: Constants) -> None:
        self._planned, self._constants = planned, constants
        self._shape, self._trained = planned.shape, planned.trained
        self._tokens, self._chosen = planned.pack_tokens, planned.pack_trained
        self._value_bytes = planned.value_bytes
        self._stream_bytes = max(planned.value_bytes, planned.frozen_bytes)
        """Of a value of the sum that runs through plain layers: that of embeddings."""

    @property
    def in_pieces(self) -> bool:
        """Whether there are too many logits to be held at a time."""
        return self._chosen * self._shape.vocabulary > LOGITS_AT_ONCE[self._planned.fast_head]

    def kept(self) -> float:
        """Return the bytes that are kept until the backward pass."""
        if self._planned.fast:
            return self._fast_kept()
        every = self._planned.rules.memory.recompute_layers
        layers = [self._layer(number) for number in range(self._shape.layers)]
        streams = 0.0
        if every is not None:
            redone = [number for number in range(len(layers)) if number % every == 0]
            streams = len(redone) * self._tokens * self._shape.hidden * float(self._stream_bytes)
            # Where only some are, part of it happens in the room of those that were kept.
            most = sum(layers[number] for number in redone)
            held = min(most, max(layers) * (1 + self._constants.again) / every)
            layers = [size for number, size in enumerate(layers) if number % every] + [held]
        inputs = self._tokens * self._shape.hidden * FP32
        room = self._constants.adapted * self._adapted() / (every or 1)
        return sum(layers) + streams + inputs + room

    def working(self) -> float:
        """Return the bytes of gradients that flow through the widest layer."""
        if self._planned.fast:
            return self._scratch()
        shape = self._shape
        inner = max(shape.mlp, shape.experts_per_token * shape.expert + shape.shared_expert)
        widest = max(inner, shape.heads * shape.head_dim, shape.hidden)
        return self._constants.working * self._tokens * widest * self._value_bytes

    def loss(self) -> float:
        """Return the bytes of logits, of the piece that is scored where there are many."""
        values = self._chosen * self._shape.vocabulary
        planned, hidden = self._planned, 2 * self._chosen * self._shape.hidden
        if planned.technique.all_logits:
            return planned.technique.all_logits * values * FP32 + hidden * self._value_bytes
        if not planned.fast_head:
            held = min(values, LOGITS_AT_ONCE[False])
            return _PLAIN_LOGITS * float(held) * FP32 + hidden * self._value_bytes
        tile = self._constants.logits * self._tile() * self._value_bytes
        return tile + hidden * FP32 + (self._rounded_head(values) if planned.half else 0.0)

    def _tile(self) -> int:
        """Return the logits of one of the tiles that the fast head scores: equal ones, or whole pieces."""
        most = max(1, min(ROWS_AT_ONCE, LOGITS_AT_ONCE[True] // self._shape.vocabulary))
        if self._planned.half:
            filled = math.ceil(self._chosen / PIECES[-1]) * PIECES[-1]
            rows = min(filled, next((size for size in PIECES if size <= most), PIECES[-1]))
        else:
            rows = math.ceil(self._chosen / math.ceil(self._chosen / most))
        return rows * self._shape.vocabulary

    def _rounded_head(self, values: int) -> float:
        """Return what the fast head holds beside rounded logits: its sides, and pieces brought to fp32."""
        weight = self._shape.vocabulary * self._shape.hidden
        exact = weight if self._planned.frozen_bytes == FP32 else 0
        sides = exact + self._chosen * self._shape.hidden
        gradient = min(weight, WEIGHTS_AT_ONCE) if self._planned.trains_head else 0
        return float(BF16 * (sides + gradient) + FP32 * min(values, SOFTMAX_AT_ONCE))

    def proof(self) -> float:
        """Return the bytes of one row's logits, and what is computed of them, before the first step."""
        return 2.0 * FP32 * self._proven()

    def left_by_proof(self) -> float:
        """Return the bytes of those that the allocator does not give back."""
        given_back = FP32 * self._proven() > _GIVEN_BACK
        return 0.0 if given_back else self._constants.proof * self.proof()

    def _proven(self) -> int:
        return min(self._planned.plan.lengths.longest_tokens, PROVEN_TOKENS) * self._shape.vocabulary

    # --- the fast decoder ------------------------------------------------------------------

    def _fast_kept(self) -> float:
        """Return the bytes of the buffers that are kept of each layer."""
        shape, half = self._shape, self._planned.half
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        # Rounded ones take half of it, and queries and keys are kept once more as attention takes them.
        product = BF16 if half else FP32
        inside = FP32 * (shape.hidden + queries * half) + product * (queries + 2 * shape.mlp)
        outside = FP32 * (shape.hidden + queries + keys * half) + product * 2 * keys
        every = (shape.layers - 1) * self._tokens * (inside + outside)
        last = self._tokens * outside + self._chosen * inside
        return float(every + last + FP32 * self._chosen * shape.hidden) + self._low()

    def _low(self) -> float:
        """Return the bytes of what adapters make of their maps' inputs, kept where it is rounded."""
        facts = self._planned.rules.parameters.adapter
        if facts is None or not self._planned.half:
            return 0.0
        beside = sum(
            tensor.linear and tensor.name in self._trained.beside for tensor in self._shape.tensors()
        )
        return float(BF16 * facts.rank * beside * self._tokens)

    def _scratch(self) -> float:
        shape = self._shape
        rounded = 0.0
        if self._planned.half:
            maps = max(2 * shape.mlp, (shape.heads + 2 * shape.kv_heads) * shape.head_dim)
            rounded = float(BF16 * shape.hidden * maps)
        shared = max(self._mlp_scratch(), self._attention_scratch()) + 2 * shape.hidden
        taken = self._tokens * shared * FP32 + self._attention_batch() + rounded
        return self._constants.fast_working * taken

    def _mlp_scratch(self) -> float:
        """Return the values a token, those in bf16 as halves."""
        shape = self._shape
        if not self._planned.half:
            return 2.0 * (shape.hidden + shape.mlp)
        sides = 2 if self._trained.adapters else 1
        return 3 * shape.hidden + (1 + sides) * shape.mlp

    def _attention_scratch(self) -> float:
        """Return the same of attention, but for what its batches of rows take."""
        shape, half = self._shape, self._planned.half
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        sides = 2 if self._trained.adapters else 1
        grads, turned = queries + 2 * keys, queries + keys
        scores = queries + (keys if half else turned)
        normed = max((4 if half else 3) * queries, queries + (4 if half else 3) * keys)
        maps = turned + (2 * shape.hidden + sides * grads / 2 if half else shape.hidden)
        return shape.hidden + grads + max(scores, normed, maps)

    def _attention_batch(self) -> float:
        """Return the bytes of one batch of rows: its heads, two matrices of scores, a gradient."""
        shape, tokens = self._shape, self._planned.row_tokens
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        together = min(self._tokens, max(1.0, SCORES_AT_ONCE / (shape.heads * tokens**2)) * tokens)
        scores = 2 * min(together * shape.heads * tokens, SCORES_AT_ONCE)
        return FP32 * (together * (2 * queries + 3 * keys) + scores)

    # --- what autograd keeps ---------------------------------------------------------------

    def _adapted(self) -> float:
        """Return the bytes of all outputs that an adapter lies beside; rounded ones come in both formats."""
        tensors = self._shape.tensors()
        outputs = sum(t.size[0] for t in tensors if t.linear and t.name in self._trained.beside)
        return float(outputs * self._tokens * FP32 * (2 if self._planned.half else 1))

    def _layer(self, number: int) -> float:
        """Return the bytes kept of one layer; a trimmed last one is computed at M places."""
        shape = self._shape
        trimmed = shape.build.trimmed and number == shape.layers - 1
        places = self._chosen if trimmed else self._tokens
        prefix = f"{shape.build.prefix}layers.{number}."
        mixing = (
            self._attention(prefix + "self_attn.", places)
            if shape.attends(number)
            else self._linear_attention()
        )
        inner = self._mixture() if shape.experts else self._mlp(prefix + "mlp.", places)
        return mixing + inner + self._magnitudes(number, places)

    def _norm(self, name: str, width: int, tokens: int, input_bytes: int) -> float:
        """Keep a norm's input in fp32, and its scaled values where its weight is trained."""
        return tokens * width * (FP32 + input_bytes * self._trained.reads_input(name))

    def _normed(self, norm: str, maps: tuple[str, ...], tokens: int) -> float:
        """Keep what goes through a layer's norm, and what comes out for the linear maps that read it."""
        readers = sum(map(self._trained.reads_input, maps))
        # Each makes its own copy where its format is another than that of the norm or of the adapter.
        copies = readers if self._planned.rounds_inputs else min(1, readers)
        hidden = self._shape.hidden
        return self._norm(norm, hidden, tokens, self._stream_bytes) + (
            tokens * hidden * copies * self._value_bytes
        )

    def _magnitudes(self, number: int, places: int) -> float:
        """Keep both parts of each output that DoRA scales, and the identity its norms are taken with."""
        facts = self._planned.rules.parameters.adapter
        if facts is None or not facts.dora:
            return 0.0
        total = 0
        for tensor in self._shape.layer(number):
            if tensor.linear and tensor.name in self._trained.beside:
                everywhere = tensor.name.endswith(("k_proj.weight", "v_proj.weight"))
                out, into = tensor.size
                total += 2 * (self._tokens if everywhere else places) * out + into * into
        return float(total * self._value_bytes)

    def _attention(self, prefix: str, places: int) -> float:
        shape, read, tokens = self._shape, self._trained.reads_input, self._tokens
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        norm = prefix.removesuffix("self_attn.") + "input_layernorm.weight"
        maps = tuple(f"{prefix}{name}_proj.weight" for name in "qkv")
        total = self._normed(norm, maps, tokens)
        if shape.build.normed_heads:
            total += self._norm(f"{prefix}q_norm.weight", queries, places, self._value_bytes)
            total += self._norm(f"{prefix}k_norm.weight", keys, tokens, self._value_bytes)
        gated = 2 if shape.build.gated_heads else 0
        turned = tokens * (queries + 2 * keys)
        out = tokens * queries * (1 + read(f"{prefix}o_proj.weight") + gated)
        return total + self._value_bytes * (turned + out)

    def _linear_attention(self) -> float:
        """Keep projections, their convolution, and chunks of 64 tokens against each other."""
        shape = self._shape
        keys, values = shape.linear_widths
        spread = keys * shape.linear_value_heads // max(1, shape.linear_key_heads)
        stream = 3 * shape.hidden * FP32
        projected = (2 * (2 * keys + 2 * values) + (2 * keys + values)) * self._value_bytes
        chunked = (4 * spread + 5 * values + 4 * 64 * shape.linear_value_heads) * FP32
        return float(self._tokens * (stream + projected + chunked))

    def _mlp(self, prefix: str, places: int) -> float:
        read, shape = self._trained.reads_input, self._shape
        norm = prefix.removesuffix("mlp.") + "post_attention_layernorm.weight"
        maps = tuple(f"{prefix}{name}_proj.weight" for name in ("gate", "up"))
        inner = 3 + read(f"{prefix}down_proj.weight")
        return self._normed(norm, maps, places) + places * shape.mlp * inner * self._value_bytes

    def _mixture(self) -> float:
        shape, width = self._shape, self._value_bytes
        each = 2 * shape.hidden + 4 * shape.expert
        routed = shape.experts_per_token * each * width + shape.experts * FP32
        shared = (4 * shape.shared_expert + 2 * shape.hidden) * width if shape.shared_expert else 0
        return float(self._tokens * (routed + shared + shape.hidden * (FP32 + 2 * width)))
