"""Which parameters and layers names and patterns mean, and which ones nobody may train.

Protected are routers, and whatever reads anything but text. A router that moves sends tokens to
experts that were not made for them; a vision tower cannot learn from text rows. Routers are known
by the names that transformers' builds give them; everything outside the text decoder and its head
counts as vision, whatever it is called.

All names are those of the plain model, also where an adapter wraps its layers.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from realm.core.errors import ConfigError
from realm.models.adapters import AdapterShape, base_of, decoder, head

_ROUTERS = frozenset(
    {"gate", "shared_expert_gate", "wg", "moe_statics", "e_score_correction_bias", "expert_bias"}
)
_ADAPTED = frozenset(
    {
        *("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj"),
        *("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"),
        *("in_proj_qkvz", "in_proj_qkv", "in_proj_z"),
        *("gate_proj", "up_proj", "down_proj", "gate_up_proj"),
    }
)
"""Projections of attention, of latent attention, of linear attention, and of MLPs."""
_SHOWN = 6


def is_router(name: str) -> bool:
    """Return whether a module or parameter of this name belongs to a router."""
    return any(part in _ROUTERS or "router" in part for part in name.split("."))


def protected(model: PreTrainedModel | PeftModel, names: Iterable[str]) -> list[str]:
    """Return those of these names of modules or parameters that nobody may train."""
    text = _text_prefixes(model)
    return [name for name in names if is_router(name) or not f"{name}.".startswith(text)]


def matching(
    pattern: str,
    names: Sequence[str],
    *,
    where: str,
    whole_modules: bool = False,
    refused: Collection[str] = (),
) -> list[str]:
    """Return the names that a name, an ending or a pattern means. Raises ConfigError if there is none.

    With `whole_modules` the name of a module means all that is in it. What means a refused name is not
    suggested.
    """
    forms = [pattern, f"*.{pattern}"]
    if whole_modules:
        forms += [f"{form}.*" for form in forms]
    found = [name for name in names if any(fnmatchcase(name, form) for form in forms)]
    if found:
        return found
    known = _short_names(names, whole_modules) - _short_names(refused, whole_modules)
    sound = sorted(known or set(names) - set(refused))
    near = difflib.get_close_matches(pattern.rpartition(".")[2], sound, n=3, cutoff=0.4)
    hint = f"near names: {', '.join(near)}" if near else f"such as: {', '.join(sound[:_SHOWN]) or 'none'}"
    raise ConfigError(f"{where}: {pattern!r} matches nothing in this model", hint=hint)


def _short_names(names: Iterable[str], whole_modules: bool) -> set[str]:
    """Return the endings of names, and the modules above them where their names mean all that is in them."""
    if not whole_modules:
        return {name.rpartition(".")[2] for name in names}
    return {part for name in names for part in name.split(".") if not part.isdigit()}


def linear_layers(model: PreTrainedModel | PeftModel, patterns: Iterable[str], *, where: str) -> list[str]:
    """Return the linear layers of the decoder that the patterns mean.

    Raises ConfigError where a pattern means nothing, or a router, a vision part, the head or routed
    experts beside whatever else it means.
    """
    linear = set(_linear(model))
    candidates = [name for name, _ in _modules(model) if name in linear or is_router(name)]
    kept = set(protected(model, candidates)) | {_name_of(model, head(model))}
    forbidden = {name for name in candidates if name in kept or _in_experts(name)}
    chosen = set[str]()
    for pattern in patterns:
        found = matching(pattern, candidates, where=where, refused=forbidden)
        wrong = [name for name in found if name in forbidden]
        if wrong:
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise ConfigError(
                f"{where}: {pattern!r} matches what is never adapted: {', '.join(wrong[:_SHOWN])}{more}",
                hint="routers, vision parts and the head stay as they are; experts: true adds experts",
            )
        chosen.update(found)
    return [name for name in _linear(model) if name in chosen]


def default_layers(model: PreTrainedModel | PeftModel) -> list[str]:
    """Return the projections of attention and of dense or shared MLPs. Raises ConfigError if none."""
    names = [name for name in _linear(model) if name.rpartition(".")[2] in _ADAPTED and not _in_experts(name)]
    forbidden = set(protected(model, names))
    found = [name for name in names if name not in forbidden]
    if not found:
        known = sorted({name.rpartition(".")[2] for name in _linear(model)})
        raise ConfigError(
            f"parameters.targets: no default is known for models of type {base_of(model).config.model_type}",
            hint=f"name some of its linear layers: {', '.join(known[:20])}",
        )
    return found


def fused_experts(model: PreTrainedModel | PeftModel) -> list[str]:
    """Return the fused 3-D weights of routed experts. Raises ConfigError if there are none."""
    names = [name for name, parameter in _parameters(model) if parameter.ndim == 3 and _in_experts(name)]
    forbidden = set(protected(model, names))
    found = [name for name in names if name not in forbidden]
    if not found:
        raise ConfigError(
            f"parameters.experts: models of type {base_of(model).config.model_type} have no fused experts",
            hint="leave experts out",
        )
    return found


def adapted_layers(model: PreTrainedModel | PeftModel, shape: AdapterShape) -> set[str]:
    """Return the names of the layers, and of the fused weights, that an adapter of this shape adapts."""
    fused = [name for name, parameter in _parameters(model) if parameter.ndim == 3]
    return {
        *(name for name in _linear(model) if f".{name}".endswith(_endings(shape.layers))),
        *(name for name in fused if f".{name}".endswith(_endings(shape.fused))),
    }


def _endings(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f".{name}" for name in names)


def _linear(model: PreTrainedModel | PeftModel) -> list[str]:
    return [name for name, module in _modules(model) if isinstance(module, torch.nn.Linear)]


def _modules(model: PreTrainedModel | PeftModel) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the plain model's modules by their plain names; a wrapped one once, as it was."""
    for name, module in base_of(model).named_modules():
        if not isinstance(module, LoraLayer) and not _of_adapter(name):
            yield _plain(name), module


def _parameters(model: PreTrainedModel | PeftModel) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for name, parameter in base_of(model).named_parameters():
        if not _of_adapter(name):
            yield _plain(name), parameter


def _text_prefixes(model: PreTrainedModel | PeftModel) -> tuple[str, ...]:
    """Return how the names of everything begin that makes text of text."""
    return tuple(f"{_name_of(model, part)}." for part in (decoder(model), head(model)))


def _name_of(model: PreTrainedModel | PeftModel, wanted: torch.nn.Module) -> str:
    return next(_plain(name) for name, module in base_of(model).named_modules() if module is wanted)


def _plain(name: str) -> str:
    """Return the name without what a wrapper adds."""
    return ".".join(part for part in name.split(".") if part != "base_layer")


def _of_adapter(name: str) -> bool:
    return any(part.startswith("lora_") for part in name.split("."))


def _in_experts(name: str) -> bool:
    return "experts" in name.split(".")
