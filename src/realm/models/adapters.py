"""Adapters, and the parts of a model that wrappers hide.

A language model may be plain, wrapped by PEFT, the text part of a vision-language model, or several
of these. Whoever wants its decoder, head or text settings asks here.

An adapter is stored as PEFT stores it: `adapter_config.json` and `adapter_model.safetensors`, under
PEFT's names. Only LoRA and its variants are read, and of the settings only those that decide what
is computed; settings by which PEFT would import modules, follow paths or run patterns are refused.

In models with fused experts PEFT (0.21) takes every target named `gate_proj`, `up_proj` or
`down_proj` for the experts, shared and dense MLPs as well, and adapts those instead. So they are
wrapped out of its sight, and stored among `target_parameters` as `<layer>.weight`, by which PEFT
finds them; DoRA on such layers it refuses to load.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from realm.core.config import first_problem
from realm.core.errors import CorruptError, StateError, UnsafeFileError
from realm.core.records import Record, Sha256

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
NAME = "default"
"""What PEFT calls the one adapter a model carries."""
_TAKEN_FOR_EXPERTS = frozenset({"gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})
_WEIGHT = ".weight"
_IGNORED = frozenset({"base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type"})
"""Settings that change nothing here: the base is found by its hash alone."""


class Base(Record):
    """What lies under an adapter: checkpoints, by content hash."""

    base: Sha256
    frozen: tuple[Sha256, ...] = ()
    """Adapters that are added to the base's weights first, in this order."""


class AdapterShape(BaseModel):
    """The settings of a LoRA adapter that decide what it computes, as PEFT names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    peft_type: Literal["LORA"] = "LORA"
    r: Annotated[int, Field(ge=1)]
    lora_alpha: Annotated[int | float, Field(gt=0, allow_inf_nan=False)]
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    target_modules: tuple[str, ...] = ()
    """Module names or their endings; never a pattern."""
    target_parameters: tuple[str, ...] = ()
    """Fused weights, and linear layers that PEFT would take for some."""

    @model_validator(mode="after")
    def _adapts_something(self) -> Self:
        if not (self.target_modules or self.target_parameters):
            raise ValueError("target_modules and target_parameters name nothing")
        return self

    @property
    def layers(self) -> tuple[str, ...]:
        """Names or endings of all linear layers."""
        hidden = [name for name in self.target_parameters if name.endswith(_WEIGHT)]
        return (*self.target_modules, *(name.removesuffix(_WEIGHT) for name in hidden))

    @property
    def fused(self) -> tuple[str, ...]:
        """Names or endings of the fused weights."""
        return tuple(name for name in self.target_parameters if not name.endswith(_WEIGHT))

    def peft(self) -> LoraConfig:
        """Return the settings as PEFT takes them, every layer among the modules."""
        from peft import LoraConfig

        return LoraConfig(
            r=self.r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            target_modules=list(self.layers) or None,
            target_parameters=list(self.fused) or None,
            task_type="CAUSAL_LM",
        )


# --- the parts of a model ----------------------------------------------------------------------


def base_of(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the model itself, without the wrapper of an adapter."""
    from peft import PeftModel

    base: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    return base


def decoder(model: PreTrainedModel | PeftModel) -> torch.nn.Module:
    """Return the module that turns token ids into hidden states, last norm included."""
    found: torch.nn.Module = base_of(model).get_decoder()
    return found


def head(model: PreTrainedModel | PeftModel) -> torch.nn.Module:
    """Return the module that turns hidden states into logits."""
    found: torch.nn.Module = base_of(model).get_output_embeddings()
    return found


def text_config(model: PreTrainedModel | PeftModel) -> PreTrainedConfig:
    """Return the settings of the text part: vocab_size, max_position_embeddings, hidden_size, …"""
    return base_of(model).config.get_text_config(decoder=True)


# --- switching, merging, adding ----------------------------------------------------------------


@contextmanager
def without_adapter(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Switch the adapter off for a while, so that the model answers as its base does.

    Raises StateError where there is no adapter.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        raise StateError(
            "the model has no adapter to switch off", hint="keep a frozen copy of it as the reference"
        )
    with model.disable_adapter():
        yield


def merge_adapter(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the plain model with the adapter added to its weights; a plain one comes back as it is.

    The weights change in place. Raises StateError where they are held in 4 bits, which would round
    the sum: load the checkpoint merged instead.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return model
    if any(type(parameter).__name__ == "Params4bit" for parameter in model.parameters()):
        raise StateError(
            "an adapter cannot be merged exactly into weights of 4 bits",
            hint="load its saved checkpoint merged: that adds it to the base as it was stored",
        )
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def wrap(model: PreTrainedModel, shape: AdapterShape, seed: int) -> PeftModel:
    """Return the model with a fresh adapter, A drawn from the seed and B zero; only it is trained.

    Global random state is kept.
    """
    import torch
    from peft import get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), _nameless(model.config):
        # PEFT asks transformers under a name that it is about to lose.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        torch.manual_seed(seed)
        wrapped: PeftModel = get_peft_model(model, shape.peft(), adapter_name=NAME)
    return wrapped


def shape_of(model: PeftModel) -> AdapterShape:
    """Return the settings of the adapter that a model carries, as they are stored."""
    shape = _shape(model.peft_config[NAME].to_dict(), "the model's adapter")
    base = base_of(model)
    if not any(p.ndim == 3 and "experts" in name.split(".") for name, p in base.named_parameters()):
        return shape
    hidden = {name for name in shape.layers if name.rpartition(".")[2] in _TAKEN_FOR_EXPERTS}
    return shape.model_copy(
        update={
            "target_modules": tuple(name for name in shape.layers if name not in hidden),
            "target_parameters": (*shape.fused, *(name + _WEIGHT for name in hidden)),
        }
    )


def set_dropout(model: PeftModel, share: float) -> None:
    """Leave out such a share of the adapter's inputs in training from now on; the weights stay."""
    from peft.tuners.lora import LoraLayer
    from torch import nn

    for module in model.modules():
        if isinstance(module, LoraLayer):
            dropout = nn.Dropout(share) if share else nn.Identity()
            module.lora_dropout[NAME] = dropout.train(module.training)
    model.peft_config[NAME].lora_dropout = share


@contextmanager
def _nameless(config: PreTrainedConfig) -> Iterator[None]:
    """Hide the model's type from PEFT, which has its own idea of what targets mean in some."""
    config.model_type = "unnamed"
    try:
        yield
    finally:
        del config.model_type  # the class's own is seen again


# --- on disk -----------------------------------------------------------------------------------


def state_to_save(model: PreTrainedModel | PeftModel) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint, not copied: an adapter's own, or all of a model's.

    A tensor that has two names, such as a tied head, is there once.
    """
    from peft import PeftModel, get_peft_model_state_dict

    if not isinstance(model, PeftModel):
        first = {name for name, _ in model.named_parameters()}
        again = {name for name, _ in model.named_parameters(remove_duplicate=False)} - first
        return {name: value for name, value in model.state_dict().items() if name not in again}
    return dict(get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False))


def write_adapter(shape: AdapterShape, weights: Mapping[str, torch.Tensor], base: Base, folder: Path) -> None:
    """Write an adapter as PEFT does, with what lies under it; equal adapters give equal bytes."""
    from safetensors.torch import save_file

    settings = shape.model_dump(mode="json")
    for several in ("target_modules", "target_parameters"):
        settings[several] = sorted(settings[several]) or None
    facts = {"task_type": "CAUSAL_LM", "base_model_name_or_path": None, "inference_mode": True, **settings}
    (folder / CONFIG).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / BASE).write_text(base.model_dump_json(exclude_defaults=True) + "\n", encoding="utf-8")


def read_base(folder: Path) -> Base | None:
    """Return what lies under the adapter in a folder; none where the folder holds a whole model."""
    path = folder / BASE
    if not path.is_file():
        return None
    try:
        return Base.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UnsafeFileError(
            f"{path}: not the hash of a base", hint='expected {"base": "sha256:<64 hex digits>"}'
        ) from None


def read_shape(folder: Path) -> AdapterShape:
    """Read an adapter's settings. Raises UnsafeFileError for all that is not plain LoRA."""
    path = folder / CONFIG
    try:
        data = json.loads(path.read_bytes())
    except ValueError:
        raise UnsafeFileError(f"{path}: not readable as JSON") from None
    return _shape(data, str(path))


def attach(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Add a folder's adapter to its base, ready to be trained on. Raises CorruptError if it does not fit."""
    from peft import set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    wrapped = wrap(model, read_shape(folder), seed=0)
    try:
        found, expected = load_file(folder / WEIGHTS), state_to_save(wrapped)
    except SafetensorError as error:
        raise CorruptError(
            f"{folder / WEIGHTS}: not readable as safetensors: {error}", hint="copy the file again"
        ) from None
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected or found[name].shape != expected[name].shape:
            raise CorruptError(
                f"{folder / WEIGHTS}: {name} does not fit the base", hint="is base.json that of this adapter?"
            )
    set_peft_model_state_dict(wrapped, found, adapter_name=NAME)
    return wrapped


def _shape(data: Any, where: str) -> AdapterShape:
    """Keep the settings that matter; every other one must be as PEFT has it when nothing is asked."""
    from peft import LoraConfig

    if not isinstance(data, dict) or data.get("peft_type") != "LORA":
        raise UnsafeFileError(f"{where}: only adapters of peft_type LORA are loaded")
    fields, idle = AdapterShape.model_fields, LoraConfig().to_dict()
    for name, value in data.items():
        if name not in fields and name not in _IGNORED and value != idle.get(name, ...):
            raise UnsafeFileError(
                f"{where}: {name} is set, which is never followed", hint="merge this adapter with PEFT first"
            )
    try:
        return AdapterShape.model_validate({k: v for k, v in data.items() if k in fields and v is not None})
    except ValidationError as error:
        raise UnsafeFileError(f"{where}: {first_problem(error)}") from None
