"""What a run will take: memory part by part, and time. A pure function of numbers; nothing is loaded.

Memory is the largest of four moments of a step, each a sum of parts:

    head       weights + moments + copies + activations + loss + gradients so far
    embedding  weights + moments + copies + all gradients + the embedding's own
    update     weights + moments + copies + all gradients + what the optimizer holds for a moment
    save       weights + moments + all gradients + copies that are written at once
    generate   weights + moments + copies + keys and values, for methods whose rows are answers

Activations are counted tensor by tensor: what autograd keeps of a layer (norms, attention, MLP,
experts) for N packed tokens, or the layer's input alone where it is computed again, and of a
trimmed last layer only the M places where something is predicted.

Time is model FLOPs by what the hardware reaches, the optimizer's traffic, and a wait per layer.

On the CPU in fp32 a dense model runs through the fast decoder (`fast/`), whose buffers are counted by
name and live from step to step; everything else is counted as autograd keeps it.

`Constants` are fitted by `benchmarks/estimate.py fit` on measured shapes; FITTED below is what that
command printed on the day it names. GPU figures come from data sheets and from counting: they have not
been fitted, and an estimate for a GPU says so. Not covered: the time of generation, the rows
themselves in memory, several processes on one CPU.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from realm.core.records import Record
from realm.training.hardware import GB, Hardware
from realm.training.lengths import Lengths
from realm.training.recipe import Recipe
from realm.training.shapes import Shape
from realm.training.trained import Trained, trained

LOGITS_AT_ONCE = {False: 1 << 25, True: 3 << 23}
"""Logits that are held at a time by the plain head and by the fast one; more are scored in pieces."""
_FAST_BUILDS = ("llama", "qwen2", "qwen3")
_FP32, _BF16 = 4, 2
_SMALL = 4096
"""Tensors of fewer values keep fp32 moments in an 8-bit optimizer."""
_SCALES = 8 / 256
"""Bytes of scales a value in an 8-bit optimizer: two fp32 numbers a block of 256."""
_FOUR_BIT = 0.5 + 0.127 / 8
"""Bytes of a value in NF4 with its scales, which are quantised too."""


Moment = Literal["head", "embedding", "update", "save", "generate"]


class Constants(NamedTuple):
    """What counting cannot tell. Fitted on measured peaks by least squares of the logarithms."""

    activations: float
    """Bytes kept for the backward pass, against those counted."""
    logits: float
    """Matrices of logits alive at once."""
    working: float
    """Widest matrices of a layer alive at once in the backward pass."""
    fast_working: float
    """The fast decoder's scratch memory, against what is counted."""
    adapted: float
    """Outputs of adapted linear maps for which the allocator keeps room after they are gone."""
    again: float
    """Layers for whose activations it does, where layers are computed again."""
    fixed_bytes: float
    """Thread pools, kernels and buffers that a first step brings, whatever the model."""
    share: float
    """Of everything else: what the allocator holds and does not use."""


FITTED = Constants(
    activations=0.982,
    logits=1.34,
    working=2.54,
    fast_working=1.86,
    adapted=2.95,
    again=4.14,
    fixed_bytes=12.5e6,
    share=0.0001,
)
"""22 November 2026, 14 shapes: mean error 3.7 %, worst 13.4 %. On ten held-out shapes 3.9 % and 9.5 %."""
GPU = Constants(
    activations=1.0,
    logits=3.0,
    working=4.0,
    fast_working=1.0,
    adapted=0.0,
    again=0.0,
    fixed_bytes=0.9 * GB,
    share=0.05,
)
"""Not fitted: a CUDA context, cuBLAS and the caching allocator as they are usually seen."""

PROCESS_BYTES = int(0.4 * GB)
"""What a training process holds after its imports, in the machine's memory."""

_UTILISATION = {"cpu": 0.42, "cuda": 0.40}
"""Share of the hardware's best rate that a step reaches; 0.38 to 0.57 on two cores (docs/LOG.md)."""
_LAUNCH_S = {"cpu": 0.4e-3, "cuda": 0.9e-3}
"""A layer's kernels, forwards and backwards, however small."""
_HOST_LINK = 20 * GB
"""Bytes a second between host and device."""


class Moments(NamedTuple):
    """What an optimizer keeps and for how long."""

    per_matrix: float
    """Values kept for each value of a hidden matrix, in the weights' own format unless `eight_bit`."""
    per_other: float
    eight_bit: bool = False
    on_host: bool = False
    """They lie in the machine's memory where the model is on a GPU."""
    working: float = 0.0
    """Copies of the largest matrix that a step makes."""


_ADAMW = Moments(2, 2)
_OPTIMIZERS = {
    "adamw": _ADAMW,
    "adamw8bit": Moments(2, 2, eight_bit=True),
    "paged_adamw8bit": Moments(2, 2, eight_bit=True, on_host=True),
    "muon": Moments(1, 2, working=4),
}


class Technique(NamedTuple):
    """What a method takes beside a step of its rows."""

    sequences: int = 1
    """Sequences of a row, where rows are not known."""
    reference: bool = False
    """It keeps the model as it began; beside an adapter that costs nothing."""
    all_logits: float = 0.0
    """Whole matrices of logits alive at once; 0 scores them in pieces."""


_TECHNIQUES = {
    "dpo": Technique(sequences=2, reference=True),
    "distillation": Technique(all_logits=6.0),
}


class Part(Record):
    """One part of a peak."""

    name: str
    bytes: int
    why: str


class Estimate(Record):
    """What a run will take on this hardware."""

    hardware: Hardware
    parameters: int
    trained_parameters: int
    moment: Moment
    """When memory is highest."""
    parts: tuple[Part, ...]
    """Of each device at that moment; they add up to the peak."""
    peak_bytes: int
    host_parts: tuple[Part, ...]
    """In the machine's memory, where the model is on a GPU."""
    host_bytes: int
    pack_tokens: int
    """The largest pack."""
    step_tokens: int
    """Of an average step."""
    step_flops: float
    step_seconds: float
    steps: int | None
    """None where neither the recipe nor the data says."""
    total_seconds: float | None
    basis: tuple[str, ...]
    """What was assumed and what was measured."""

    @property
    def fits(self) -> bool:
        """Whether the device, and the machine's memory where it is known, can hold it."""
        host = self.hardware.host_bytes
        return self.peak_bytes <= self.hardware.memory_bytes and (host is None or self.host_bytes <= host)


class Plan(Record):
    """Everything an estimate is a function of."""

    recipe: Recipe
    shape: Shape
    lengths: Lengths
    hardware: Hardware
    weight_bytes: Annotated[int, Field(ge=1, le=4)] = _FP32
    """Of one value, as the weights lie in their files."""
    teacher_bytes: Annotated[int, Field(ge=0)] = 0
    """Of a local teacher's weights."""
    saves: bool = True
    """Count what saving a checkpoint takes."""
    memory_factor: Annotated[float, Field(gt=0)] = 1.0
    """Measured by predicted peak of past runs."""
    seconds_factor: Annotated[float, Field(gt=0)] = 1.0
    """Measured by predicted time of past steps."""

    def with_recipe(self, recipe: Recipe) -> Plan:
        """Return the same plan by another recipe; rows that become too long are cut."""
        limit = max(2, min(self.lengths.longest_tokens, recipe.rules.max_tokens))
        ratio = min(1.0, limit / self.lengths.mean_tokens)
        cut = {
            "longest_tokens": limit,
            "mean_tokens": max(2.0, self.lengths.mean_tokens * ratio),
            "attended_tokens": min(self.lengths.attended_tokens, limit / 2),
        }
        return self.model_copy(update={"recipe": recipe, "lengths": self.lengths.model_copy(update=cut)})


def estimate(plan: Plan, constants: Constants | None = None) -> Estimate:
    """Return what a run will take on the plan's hardware."""
    return _Run(plan, constants or (GPU if plan.hardware.kind == "cuda" else FITTED)).estimate()


class _Run:
    """One plan, worked out."""

    def __init__(self, plan: Plan, constants: Constants) -> None:
        self.plan, self.constants = plan, constants
        self.shape, self.rules, self.hardware = plan.shape, plan.recipe.rules, plan.hardware
        launcher = self.rules.launcher.model_dump()
        self.processes: int = min(self.hardware.count, launcher.get("processes", 1))
        self.shards: int = self.processes if launcher.get("strategy") == "fsdp2" else 1
        self.trained: Trained = trained(self.shape, self.rules.parameters)
        self.optimizer = _moments(self.rules.optimizer)
        precision = self.rules.precision
        self.half = precision == "bf16" or (precision == "auto" and self.hardware.half)
        self.value_bytes = _BF16 if self.half else _FP32
        self.fast_head = plan.hardware.kind == "cpu" and not self.half and plan.weight_bytes == _FP32
        self.fast = self.fast_head and self._has_fast_decoder()
        self.adapter_bytes = _FP32
        self.method: dict[str, Any] = plan.recipe.method.model_dump()
        self.technique = _TECHNIQUES.get(self.method["kind"], Technique())
        sequences = 1 if plan.lengths.rows else self.technique.sequences
        answers: int = self.method.get("group_size", 1)
        answer: int = self.method.get("max_answer_tokens", 0)
        self.rows: int = math.ceil(self.rules.batch_rows * sequences * answers / self.processes)
        self.row_tokens: float = plan.lengths.mean_tokens + answer
        longest = plan.lengths.longest_tokens * sequences + answer
        unlucky = plan.lengths.of_step(self.rows) + self.rows * answer
        limit = self.rules.memory.tokens_at_once
        self.pack_tokens: int = math.ceil(min(unlucky, max(limit or unlucky, longest)))
        self.step_tokens = self.rules.batch_rows * sequences * answers * self.row_tokens
        self.packs = max(1, math.ceil(self.step_tokens / self.processes / self.pack_tokens))
        self.several = limit is not None and unlucky > self.pack_tokens
        self.pack_trained: int = max(1, round(self.pack_tokens * plan.lengths.trained_share))

    def estimate(self) -> Estimate:
        """Put it all together."""
        plan = self.plan
        moment, parts = self._peak()
        host = self._host_parts()
        seconds, flops = self._seconds()
        rules = self.rules
        steps = rules.steps
        if steps is None and plan.lengths.rows:
            steps = max(1, math.ceil((rules.epochs or 0) * plan.lengths.rows / rules.batch_rows))
        return Estimate(
            hardware=self.hardware,
            parameters=self.shape.parameters,
            trained_parameters=self.trained.parameters,
            moment=moment,
            parts=parts,
            peak_bytes=sum(part.bytes for part in parts),
            host_parts=host,
            host_bytes=sum(part.bytes for part in host),
            pack_tokens=self.pack_tokens,
            step_tokens=round(self.step_tokens),
            step_flops=flops,
            step_seconds=seconds,
            steps=steps,
            total_seconds=steps * seconds if steps is not None else None,
            basis=self._basis(),
        )

    def _has_fast_decoder(self) -> bool:
        """Return whether one hand-written pass computes the decoder; its buffers outlive the step."""
        parameters = self.rules.parameters
        plain = parameters.adapter is None or not (
            parameters.adapter.dora or float(getattr(parameters, "dropout", 0.0)) > 0 or self.trained.four_bit
        )
        layers = self.rules.compile or self.rules.memory.recompute_layers
        return self.shape.model_type in _FAST_BUILDS and not layers and plain

    # --- memory ---------------------------------------------------------------------------

    def _peak(self) -> tuple[Moment, tuple[Part, ...]]:
        """Return the moment of the highest memory use, and its parts."""
        gradients = self._gradients()
        embedding = self.shape.vocabulary * self.shape.hidden * self.plan.weight_bytes
        own = {tensor.name for tensor in self.trained.own}
        trains_embedding = any(name.endswith("embed_tokens.weight") for name in own)
        trains_head = "lm_head.weight" in own or (self.shape.tied and trains_embedding)
        pieces = self.pack_trained * self.shape.vocabulary > LOGITS_AT_ONCE[self.fast_head]
        temporary = pieces and not self.fast_head
        head_gradient = embedding * (2 if temporary else 1) / self.shards if trains_head else 0
        again = trains_embedding and (self.shape.tied or self.several)
        outlives = (
            {"activations": self._activations(), "working memory": self._working()} if self.fast else {}
        )
        twice = gradients if self.fast and self.several else 0
        always = self._always()
        copies = {} if self.hardware.kind == "cuda" else self._copies()
        kept = copies if self.rules.saving.asynchronous else {}
        moments: dict[Moment, dict[str, float]] = {
            "head": {
                **always,
                **kept,
                "activations": self._activations(),
                "loss": self._loss(),
                "gradients": head_gradient + (gradients if self.several else 0),
                "working memory": self._working(),
            },
            "embedding": {
                **always,
                **kept,
                "working memory": self._working(),
                **outlives,
                "gradients": gradients + (twice or (embedding if again else 0)),
            },
            "update": {
                **always,
                **kept,
                **outlives,
                "gradients": gradients,
                "update": self._update_bytes(),
            },
            "save": {**always, **outlives, **copies, "gradients": gradients},
        }
        if "max_answer_tokens" in self.method:
            moments["generate"] = {**always, **kept, "generation": self._cache_bytes()}
        worst = max(moments, key=lambda moment: sum(moments[moment].values()))
        parts = moments[worst]
        bare = sum(parts.values())
        overhead = self.constants.fixed_bytes + self.constants.share * bare
        factor = self.plan.memory_factor
        named = {**parts, "overhead": overhead + (factor - 1) * (bare + overhead)}
        if self.hardware.kind == "cpu":
            named["process"] = PROCESS_BYTES
        return worst, tuple(
            Part(name=name, bytes=round(size), why=self._why(name)) for name, size in named.items() if size
        )

    def _always(self) -> dict[str, float]:
        shape = self.shape
        four_bit = self.trained.four_bit
        weights = (shape.parameters - four_bit) * self.plan.weight_bytes + four_bit * _FOUR_BIT
        found = {
            "weights": weights / self.shards
            + sum(tensor.values for tensor in self.trained.adapters) * self.adapter_bytes,
            "optimizer": 0.0 if self._moments_on_host else self._moment_bytes() / self.shards,
        }
        if (self.technique.reference or self.method.get("kl_weight")) and not self.trained.adapters:
            found["reference"] = weights / self.shards
        if self.plan.teacher_bytes:
            found["teacher"] = float(self.plan.teacher_bytes)
        if self.shards > 1:
            found["gathered layers"] = 2 * self._layer_bytes()
        if self.half and self.plan.weight_bytes == _FP32:
            linear = sum(tensor.values for tensor in shape.tensors() if tensor.linear)
            found["weights in bf16"] = linear * _BF16 / self.shards
        return found

    @property
    def _moments_on_host(self) -> bool:
        return self.hardware.kind == "cuda" and self.optimizer.on_host

    def _layer_bytes(self) -> float:
        """Bytes of a whole layer's weights, which sharded training gathers one ahead."""
        return max(
            sum(tensor.values for tensor in self.shape.layer(layer))
            for layer in range(min(self.shape.layers, self.shape.full_attention_every))
        ) * float(self.plan.weight_bytes)

    def _gradients(self) -> float:
        own = sum(tensor.values for tensor in self.trained.own) * self.plan.weight_bytes
        adapters = sum(tensor.values for tensor in self.trained.adapters) * self.adapter_bytes
        return (own + adapters) / self.shards

    def _moment_bytes(self) -> float:
        """Bytes of moments over all devices."""
        total = 0.0
        for tensors, width in (
            (self.trained.own, self.plan.weight_bytes),
            (self.trained.adapters, self.adapter_bytes),
        ):
            for tensor in tensors:
                kept = self.optimizer.per_matrix if tensor.linear else self.optimizer.per_other
                if self.optimizer.eight_bit:
                    small = tensor.values < _SMALL
                    total += tensor.values * (2 * _FP32 if small else kept + _SCALES)
                else:
                    total += tensor.values * kept * width
        return total

    def _update_bytes(self) -> float:
        largest = max((tensor.values for tensor in self.trained.tensors), default=0)
        matrices = max((t.values for t in self.trained.tensors if t.linear), default=0)
        visiting = 2 * largest * self.plan.weight_bytes if self._moments_on_host else 0
        return visiting + self.optimizer.working * matrices * self.plan.weight_bytes

    def _copies(self) -> dict[str, float]:
        """What a save copies: trained weights, or all of a whole model's, and the moments."""
        if not self.plan.saves:
            return {}
        adapters = sum(tensor.values for tensor in self.trained.adapters) * self.adapter_bytes
        whole = self.shape.parameters * self.plan.weight_bytes
        weights = adapters if self.trained.adapters else whole
        return {"copy to save": weights + self._moment_bytes()}

    def _cache_bytes(self) -> float:
        """Bytes of keys and values of all answers of a step at their full length."""
        shape = self.shape
        attending = sum(shape.attends(layer) for layer in range(shape.layers))
        tokens = self.rows * self.row_tokens
        return tokens * attending * 2 * shape.kv_heads * shape.head_dim * float(self.plan.weight_bytes)

    def _host_parts(self) -> tuple[Part, ...]:
        if self.hardware.kind == "cpu":
            return ()
        found = {"process": float(PROCESS_BYTES), **self._copies()}
        if self._moments_on_host:
            found["optimizer"] = self._moment_bytes()
        return tuple(
            Part(name=name, bytes=round(size), why=self._why(name)) for name, size in found.items() if size
        )

    def _activations(self) -> float:
        """Bytes that are kept until the backward pass."""
        if self.fast:
            return self._fast_activations()
        every = self.rules.memory.recompute_layers
        layers = [self._layer(number) for number in range(self.shape.layers)]
        streams = 0.0
        if every is not None:
            redone = [number for number in range(len(layers)) if number % every == 0]
            streams = len(redone) * self.pack_tokens * self.shape.hidden * float(self.value_bytes)
            # Where only some are, part of it happens in the room of those that were kept.
            most = sum(layers[number] for number in redone)
            held = min(most, max(layers) * (1 + self.constants.again) / every)
            layers = [size for number, size in enumerate(layers) if number % every] + [held]
        inputs = self.pack_tokens * self.shape.hidden * _FP32
        room = self.constants.adapted * self._adapted_bytes() / (every or 1)
        return self.constants.activations * (sum(layers) + streams + inputs) + room

    def _fast_activations(self) -> float:
        """Bytes of the buffers that the fast decoder keeps for each layer."""
        shape, tokens, chosen = self.shape, self.pack_tokens, self.pack_trained
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        inside = shape.hidden + queries + 2 * shape.mlp
        outside = shape.hidden + 2 * keys + queries
        layers = (shape.layers - 1) * tokens * (inside + outside) + tokens * outside + chosen * inside
        return float(_FP32 * (layers + chosen * shape.hidden))

    def _adapted_bytes(self) -> float:
        """Bytes of the outputs of all linear maps that an adapter lies beside."""
        outputs = sum(t.size[0] for t in self.shape.tensors() if t.linear and t.name in self.trained.beside)
        return float(outputs * self.pack_tokens * self.value_bytes)

    def _layer(self, number: int) -> float:
        """Bytes kept of one layer; a trimmed last one is computed at M places."""
        tokens = self.pack_tokens
        trimmed = self.shape.build.trimmed and number == self.shape.layers - 1
        places = self.pack_trained if trimmed else tokens
        prefix = f"{self.shape.build.prefix}layers.{number}."
        if self.shape.attends(number):
            mixing = self._attention(prefix + "self_attn.", tokens, places)
        else:
            mixing = self._linear_attention(tokens)
        if self.shape.experts:
            return mixing + self._mixture(tokens)
        return mixing + self._mlp(prefix + "mlp.", places, self.shape.mlp)

    def _norm(self, name: str, width: int, tokens: int, *, read: bool) -> float:
        """Keep a norm's input in fp32; its scaled values where its weight is trained; its output."""
        own = self.trained.reads_input(name)
        return tokens * width * (_FP32 + self.value_bytes * (own + read))

    def _attention(self, prefix: str, tokens: int, places: int) -> float:
        shape, read = self.shape, self.trained.reads_input
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        norm = prefix.removesuffix("self_attn.") + "input_layernorm.weight"
        reads = any(read(f"{prefix}{name}_proj.weight") for name in "qkv")
        total = self._norm(norm, shape.hidden, tokens, read=reads)
        if shape.build.normed_heads:
            total += self._norm(f"{prefix}q_norm.weight", queries, places, read=False)
            total += self._norm(f"{prefix}k_norm.weight", keys, tokens, read=False)
        gated = 2 if shape.build.gated_heads else 0
        turned = tokens * (queries + 2 * keys)
        out = tokens * queries * (1 + read(f"{prefix}o_proj.weight") + gated)
        return total + self.value_bytes * (turned + out)

    def _linear_attention(self, tokens: int) -> float:
        """Keep projections, their convolution, and chunks of 64 tokens against each other."""
        shape = self.shape
        keys, values = shape.linear_widths
        spread = keys * shape.linear_value_heads // max(1, shape.linear_key_heads)
        stream = 3 * shape.hidden * _FP32
        projected = (2 * (2 * keys + 2 * values) + (2 * keys + values)) * self.value_bytes
        chunked = (4 * spread + 5 * values + 4 * 64 * shape.linear_value_heads) * _FP32
        return float(tokens * (stream + projected + chunked))

    def _mlp(self, prefix: str, tokens: int, width: int) -> float:
        read = self.trained.reads_input
        norm = prefix.removesuffix("mlp.") + "post_attention_layernorm.weight"
        reads = any(read(f"{prefix}{name}_proj.weight") for name in ("gate", "up"))
        inner = 3 + read(f"{prefix}down_proj.weight")
        total = self._norm(norm, self.shape.hidden, tokens, read=reads)
        return total + tokens * width * inner * self.value_bytes

    def _mixture(self, tokens: int) -> float:
        shape = self.shape
        each = 2 * shape.hidden + 4 * shape.expert
        routed = shape.experts_per_token * each * self.value_bytes + shape.experts * _FP32
        shared = (4 * shape.shared_expert + 2 * shape.hidden) * self.value_bytes if shape.shared_expert else 0
        return float(tokens * (routed + shared + shape.hidden * (_FP32 + 2 * self.value_bytes)))

    def _working(self) -> float:
        """Bytes of gradients that flow through the widest layer."""
        shape = self.shape
        if self.fast:
            queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
            mlp = 2 * (shape.hidden + shape.mlp)
            turned, onward = 3 * queries + keys, 2 * shape.hidden + 3 * queries
            attention = queries + 2 * keys + max(turned, onward)
            shared = max(mlp, attention) + 2 * shape.hidden
            return self.constants.fast_working * self.pack_tokens * shared * _FP32
        inner = max(shape.mlp, shape.experts_per_token * shape.expert + shape.shared_expert)
        widest = max(inner, shape.heads * shape.head_dim, shape.hidden)
        return self.constants.working * self.pack_tokens * widest * self.value_bytes

    def _loss(self) -> float:
        """Bytes of logits, of the piece that is scored where there are many."""
        values = self.pack_trained * self.shape.vocabulary
        hidden = 2 * self.pack_trained * self.shape.hidden * self.value_bytes
        if self.technique.all_logits:
            return self.technique.all_logits * values * _FP32 + hidden
        return self.constants.logits * min(values, LOGITS_AT_ONCE[self.fast_head]) * _FP32 + hidden

    # --- time -----------------------------------------------------------------------------

    def _seconds(self) -> tuple[float, float]:
        """Return the seconds and model FLOPs of an average step."""
        shape, tokens = self.shape, self.step_tokens
        cores = self.rules.threads if self.hardware.kind == "cpu" else 1
        flops = self._flops(tokens)
        best = self.hardware.flops * cores * self.processes
        reached = best * _UTILISATION[self.hardware.kind]
        again = shape.layers if self.rules.memory.recompute_layers else 0
        waits = _LAUNCH_S[self.hardware.kind] * (shape.layers + again / 3) * self.packs
        seconds = flops / reached + waits + self._update_seconds()
        updates: int = self.method.get("updates_per_batch", 1)
        return updates * seconds * self.plan.seconds_factor, updates * flops

    def _flops(self, tokens: float) -> float:
        """Multiplications and additions of a step; a frozen weight needs no gradient of its own."""
        shape = self.shape
        active = shape.experts_per_token / shape.experts if shape.experts else 0.0
        every = self.rules.memory.recompute_layers
        again = 2.0 / every if every else 0.0
        names = {tensor.name for tensor in self.trained.own}
        total = 0.0
        for tensor in shape.tensors():
            if tensor.name.endswith("embed_tokens.weight") or len(tensor.size) < 2:
                continue
            share = active if ".experts." in tensor.name else 1.0
            each = 6.0 if tensor.name in names else 4.0
            in_head = tensor.name == "lm_head.weight"
            seen = tokens * self.plan.lengths.trained_share if in_head else tokens
            total += (each + (0 if in_head else again)) * tensor.values * share * seen
        if shape.tied:
            each = 6.0 if self.trained.own else 4.0
            total += each * shape.vocabulary * shape.hidden * tokens * self.plan.lengths.trained_share
        total += 6.0 * sum(tensor.values for tensor in self.trained.adapters) * tokens
        attending = sum(shape.attends(layer) for layer in range(shape.layers))
        pairs = tokens * self.plan.lengths.attended_tokens * shape.heads * shape.head_dim
        return total + attending * pairs * 4 * (3.5 + again / 2)

    def _update_seconds(self) -> float:
        """Seconds in which weights, gradients and moments are read and written."""
        trained_bytes = self._gradients() * self.shards
        moved = 2 * (2 * trained_bytes + self._moment_bytes())
        seconds = moved / self.hardware.bandwidth / self.shards
        if self._moments_on_host:
            seconds += 2 * self._moment_bytes() / _HOST_LINK
        return seconds

    # --- words ----------------------------------------------------------------------------

    def _basis(self) -> tuple[str, ...]:
        found = []
        if self.hardware.kind == "cuda":
            found.append("by formula alone: GPU figures are counted and from data sheets, not measured")
        if not self.plan.lengths.rows:
            found.append(
                f"no rows given: all are taken to be {self.plan.lengths.longest_tokens:,} tokens long"
            )
        if self.plan.memory_factor != 1.0 or self.plan.seconds_factor != 1.0:
            found.append(
                f"corrected by what was measured here: memory × {self.plan.memory_factor:.2f}, "
                f"time × {self.plan.seconds_factor:.2f}"
            )
        return tuple(found)

    def _why(self, name: str) -> str:
        width = self.plan.weight_bytes
        again = self.rules.memory.recompute_layers
        return {
            "weights": f"{self.shape.parameters:,} values of {width} bytes",
            "weights in bf16": "what autocast makes of fp32 weights",
            "optimizer": f"moments of {self.trained.parameters:,} trained values",
            "gradients": f"of {self.trained.parameters:,} trained values",
            "activations": f"a pack of {self.pack_tokens:,} tokens"
            + (f", every {again}. layer computed again" if again and again > 1 else "")
            + (", layers computed again" if again == 1 else ""),
            "loss": f"logits of {self.pack_trained:,} trained tokens over {self.shape.vocabulary:,}",
            "working memory": "of the widest layer in the backward pass",
            "update": "what the optimizer holds for a moment",
            "gathered layers": "whole layers put together from all devices",
            "reference": "the model as it began",
            "teacher": "its weights",
            "generation": "keys and values of answers that are being written",
            "copy to save": "weights and moments while they are written",
            "overhead": "kernels, buffers and what the allocator holds",
            "process": "Python, torch and their libraries",
        }[name]


def _moments(optimizer: Any) -> Moments:
    """Return what an optimizer keeps; one of another package is taken to keep what AdamW does."""
    found = _OPTIMIZERS.get(optimizer.kind, _ADAMW)
    return found._replace(on_host=True) if getattr(optimizer, "offload", False) else found
