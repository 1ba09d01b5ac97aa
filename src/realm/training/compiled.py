"""Decoder layers through torch.compile: fewer kernels, each of which does more.

A layer becomes two graphs: up to its attention, and from there to its end. Attention itself runs as
everywhere, between the two. Layers of one build share their graphs. Nothing in them depends on how
long a pack is or how it is divided: sizes are symbols, and `groups` travel sealed. So compiling ends
after the first pack; again it is needed once where a pass is of another kind: without gradients, with
an adapter switched off, with a single token where there were several.

Dropout draws what it draws in plain layers. In fp32 losses and gradients are those of plain layers
but for the order of sums; in bf16 a graph rounds less often than plain layers do.

What is compiled is kept in the run's cache, which makes the next start several times shorter. It is
machine code that is loaded again: whoever can write there can run code as this user.

Not covered: rows that are trained apart. CUDA graphs: they repeat one sequence of kernels at fixed
addresses and sizes, and no two packs are of the same size; padding packs to a few sizes would compute
tokens that nobody asked for, and attention changes with every pack in any case.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.core.errors import RefusedError
from realm.models.adapters import decoder, text_config
from realm.models.encodings import Encoded
from realm.training.attention import PACKED, Groups, Sealed
from realm.training.batching import Batch, pack
from realm.training.method import Loss
from realm.training.precision import Chosen, autocast

if TYPE_CHECKING:
    from realm.training.trainee import Trainee
    from realm.training.world import World

FOLDER = "compiled"
"""Of a cache: what was compiled."""
_KINDS_OF_PASS = 64
"""Graphs of one piece of code; beyond it torch would run the layers plainly and say so in the log."""
_LENGTHS = (61, 97, 97, 257)
"""Tokens of the made-up rows; what they add up to tells the compiler which sizes are usual."""
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.03}
"""Relative, of the loss and of the gradient's norm."""
_NEEDS = (
    "on a CPU it takes a C++ compiler (Debian: apt install g++) and Python's headers (python3-dev), on a "
    "GPU triton and a C compiler; or leave rules.compile out"
)


class Compiled:
    """A layer's forward pass, compiled when it is first called."""

    def __init__(self, forward: MethodType) -> None:
        """Take the place of a layer's `forward`, past what transformers wraps around it."""
        self._function: Callable[..., Any] = inspect.unwrap(forward.__func__)
        self._layer = forward.__self__
        self._backend = torch.compiler.get_default_backend()

    def __call__(self, *args: Any, groups: Groups, **kwargs: Any) -> Any:
        return _compiler(self._backend)(self._function, self._layer, *args, groups=Sealed(groups), **kwargs)


def compile_layers(model: PreTrainedModel | PeftModel) -> None:
    """Let every decoder layer run compiled; `recompute_layers` comes after this.

    Raises RefusedError where rows are trained apart.
    """
    inner: Any = decoder(model)
    if inner.config._attn_implementation != PACKED:
        raise RefusedError(
            f"rules.compile: models of type {inner.config.model_type} are trained on rows apart, "
            "which is not compiled",
            hint="leave rules.compile out",
        )
    for layer in inner.layers:
        layer.forward = Compiled(layer.forward)


def prove_compiled(trainee: Trainee, world: World, precision: Chosen, folder: Path | None) -> str:
    """Compile for training and compare with plain layers; return what was found and how long it took.

    The rows are made up, and the same in every run of a recipe, so that a resumed run compiles what the
    first one did. Every process calls it, at the same time. Leaves no gradients. Raises RefusedError
    where nothing can be compiled, or where the layers compute something else.
    """
    if folder is not None:
        # Torch would take a folder of this user's name among the files that everybody may write.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / FOLDER)
    measure = partial(_measured, trainee, world, precision)
    began = time.monotonic()
    try:
        found = measure()
    except torch._dynamo.exc.TorchDynamoException as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise RefusedError(
            f"rules.compile: the layers could not be compiled: {why[0]}", hint=_NEEDS
        ) from error
    seconds = time.monotonic() - began
    with torch.compiler.set_stance("force_eager"):
        wanted = measure()
    worst = max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(found, wanted, strict=True))
    if not worst <= _TOLERANCES[precision.dtype]:
        raise RefusedError(
            f"rules.compile: loss or gradient of the compiled layers differs by {worst:.1e}",
            hint="leave rules.compile out",
        )
    return f"compiled layers: loss and gradient equal plain ones to {worst:.1e} (compiled in {seconds:.0f} s)"


def _measured(trainee: Trainee, world: World, precision: Chosen) -> tuple[float, float]:
    """Return the loss a token and the gradient's norm of the made-up rows, as in a step."""
    batch = _made_up(text_config(trainee.model).vocab_size, trainee.max_tokens, trainee.device)
    on_gpu = [trainee.device] if trainee.device.type == "cuda" else []
    with torch.random.fork_rng(on_gpu):
        torch.manual_seed(0)
        with autocast(precision, trainee.device):
            loss = world.run(lambda: Loss(trainee.cross_entropy(batch, batch.weights_M))).total
        loss = loss / batch.trained_tokens
        loss.backward()  # type: ignore[no-untyped-call]
    world.reduce_gradients(trainee.model)
    norm = world.clip(trainee.model, float("inf"))
    trainee.model.zero_grad(set_to_none=True)
    return float(loss.detach()), norm


def _made_up(vocabulary: int, max_tokens: int, device: torch.device) -> Batch:
    """Return a pack of rows whose second half is trained, none longer than the model may see."""
    rows = list[Encoded]()
    for length in (min(length, max_tokens) for length in _LENGTHS):
        ids = (np.arange(length, dtype=np.int64) * 7919 + len(rows)) % vocabulary
        weights = (np.arange(length) >= length // 2).astype(np.float32)
        rows.append(Encoded(ids.astype(np.int32), weights, 1, length))
    return pack(rows, device)


@cache
def _compiler(backend: str) -> Callable[..., Any]:
    """Return what runs any layer compiled; one for all, so that layers of a build share their graphs."""
    # One graph up to attention and one behind it, instead of two for each call on the way there.
    torch._dynamo.config.nested_graph_breaks = True
    options = {"fallback_random": True} if backend == "inductor" else None
    run: Callable[..., Any] = torch.compile(  # type: ignore[call-overload]
        _run, dynamic=True, backend=backend, options=options, recompile_limit=_KINDS_OF_PASS
    )
    return run


def _run(function: Callable[..., Any], layer: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    return function(layer, *args, **kwargs)
