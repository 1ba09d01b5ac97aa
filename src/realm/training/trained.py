"""Which weights of a shape a run trains, by the same names and patterns as training itself.

The counterpart of `selection.py` for models that are not there: it works on names and sizes alone
and loads nothing. A test holds both against each other on every blank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from realm.core.config import Config
from realm.training.parameter import ParametersConfig
from realm.training.shapes import Shape, Tensor, is_router

_ADAPTED = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "in_proj_qkvz"),
    *("gate_proj", "up_proj", "down_proj"),
)
"""Linear layers that an adapter lies beside unless it names its own."""


class Trained(NamedTuple):
    """The weights of a model by what happens to them."""

    own: tuple[Tensor, ...]
    """Weights of the model itself that are trained."""
    adapters: tuple[Tensor, ...]
    """Matrices of an adapter, all trained."""
    beside: frozenset[str]
    """Weights of the model that an adapter lies beside."""
    four_bit: int
    """Frozen values that are held in 4 bits."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is trained."""
        return self.own + self.adapters

    @property
    def parameters(self) -> int:
        """How many values are trained."""
        return sum(tensor.values for tensor in self.tensors)

    def reads_input(self, name: str) -> bool:
        """Return whether the backward pass needs what comes into a weight's linear map."""
        return name in self.beside or name in self._names

    @property
    def _names(self) -> frozenset[str]:
        return _names(self.own)


@lru_cache(maxsize=64)
def trained(shape: Shape, parameters: ParametersConfig) -> Trained:
    """Return what a run trains. A pattern that matches nothing is for the run itself to refuse."""
    tensors = shape.tensors()
    facts = parameters.adapter
    if facts is None:
        frozen = _patterns(parameters, "freeze")
        own = [t for t in tensors if not is_router(t.name) and not _matches(t.name, frozen, inside=True)]
        return Trained(tuple(own), (), frozenset(), 0)
    wanted = _patterns(parameters, "targets") or _ADAPTED
    beside = [t for t in tensors if t.linear and t.name != "lm_head.weight" and _matches(_module(t), wanted)]
    experts = [t for t in tensors if facts.experts and ".experts." in t.name]
    held = getattr(parameters, "bits", None) == 4
    return Trained(
        own=(),
        adapters=(
            *(a for t in beside for a in _adapter(t, facts.rank, dora=facts.dora)),
            *(a for t in experts for a in _expert_adapter(t, facts.rank)),
        ),
        beside=frozenset(t.name for t in (*beside, *experts)),
        four_bit=sum(t.values for t in tensors if t.linear and t.name != "lm_head.weight") if held else 0,
    )


@lru_cache(maxsize=64)
def _names(tensors: tuple[Tensor, ...]) -> frozenset[str]:
    return frozenset(tensor.name for tensor in tensors)


def _patterns(parameters: Config, name: str) -> tuple[str, ...]:
    """Return the patterns of a setting that some kinds have."""
    given = getattr(parameters, name, ())
    return given if isinstance(given, tuple) else ()


def _module(tensor: Tensor) -> str:
    return tensor.name.removesuffix(".weight")


def _matches(name: str, patterns: Iterable[str], *, inside: bool = False) -> bool:
    forms = [form for pattern in patterns for form in (pattern, f"*.{pattern}")]
    if inside:
        forms += [f"{form}.*" for form in forms]
    return any(fnmatchcase(name, form) for form in forms)


def _adapter(tensor: Tensor, rank: int, *, dora: bool) -> Iterator[Tensor]:
    out, into = tensor.size
    yield Tensor(f"{_module(tensor)}.lora_A.weight", (rank, into), True)
    yield Tensor(f"{_module(tensor)}.lora_B.weight", (out, rank), True)
    if dora:
        yield Tensor(f"{_module(tensor)}.lora_magnitude_vector.weight", (out,), False)


def _expert_adapter(tensor: Tensor, rank: int) -> Iterator[Tensor]:
    experts, out, into = tensor.size
    yield Tensor(f"{tensor.name}.lora_A.weight", (rank * experts, into), True)
    yield Tensor(f"{tensor.name}.lora_B.weight", (out, rank * experts), True)
