"""Train a low-rank adapter beside frozen weights: LoRA, rsLoRA, DoRA, QLoRA.

A linear layer W computes W·x + s·B·A·x with A (rank × in) drawn, B (out × rank) zero at first, and
s = alpha / rank (Hu et al. 2022) or alpha / √rank (rsLoRA, Kalajdzievski 2023). DoRA (Liu et al.
2024) also trains the length of each row of W + s·B·A. QLoRA (Dettmers et al. 2023) holds W in 4 bits.

By default every projection of attention, linear attention included, and of dense or shared MLPs is
adapted. Left out: the `in_proj_ba` of linear attention, which sets how fast it forgets and has fewer
outputs than an adapter has ranks; routed experts, which `experts` adds; and always routers, vision
parts, embeddings and head.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from realm.core.seeds import seed as seed_of
from realm.training.parameter import AdapterFacts, ParametersConfig

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel
    from transformers import PreTrainedModel

    from realm.models.adapters import AdapterShape


def _published(folder: str) -> str:
    if not re.search(r"(^|/)[0-9a-f]{64}$", folder):
        raise ValueError("no folder of a published adapter: its name is a hash of 64 hex digits")
    return folder


_Folder = Annotated[str, AfterValidator(_published)]


class Lora:
    """Train an adapter of low rank; the model's own parameters stay as they are."""

    class Config(ParametersConfig):
        """Size and place of the adapter."""

        kind: Literal["lora"] = "lora"
        rank: Annotated[int, Field(ge=1, le=4096)] = 16
        """Rows of each adapted layer's two factors: more of them can hold more, and take more memory."""
        alpha: Annotated[int | float, Field(gt=0, le=1e6)] = 32
        """Strength: the adapter's output is multiplied by alpha / rank."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Share of the adapter's inputs that is left out in training."""
        rank_stabilised: bool = False
        """Multiply by alpha / √rank, so that high ranks learn as fast as low ones."""
        dora: bool = False
        """Train directions and lengths of weights apart; slower, and merged before vLLM serves it."""
        targets: Literal["default"] | tuple[str, ...] = "default"
        """Names of linear layers, their endings (`q_proj`), or patterns (`*.layers.0.*`)."""
        experts: bool = False
        """Adapt the routed experts too: rank × experts more parameters."""
        bits: Literal[4] | None = None
        """Hold the frozen linear layers in 4 bits; needs bitsandbytes on a CUDA GPU or an x86 CPU."""
        frozen: tuple[_Folder, ...] = ()
        """Folders of published adapters, each named by its hash, added to the base beforehand."""

        @model_validator(mode="after")
        def _no_dora_on_experts(self) -> Self:
            if self.dora and self.experts:
                raise ValueError("dora cannot adapt fused experts: choose one of dora and experts")
            return self

        @model_validator(mode="after")
        def _no_dropout_on_experts(self) -> Self:
            if self.dropout and self.experts:
                raise ValueError("dropout cannot be had on fused experts: choose one of dropout and experts")
            return self

        @model_validator(mode="after")
        def _adapts_something(self) -> Self:
            if not self.targets and not self.experts:
                raise ValueError("targets names no layer: leave it out for the default")
            return self

        @property
        def adapter(self) -> AdapterFacts:
            """The adapter that a run will leave."""
            return AdapterFacts(
                rank=self.rank,
                rank_stabilised=self.rank_stabilised,
                dora=self.dora,
                experts=self.experts,
                stacked=bool(self.frozen),
            )

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def frozen(self) -> tuple[str, ...]:
        """Content hashes of the adapters that are added to the base beforehand, in order."""
        return tuple(f"sha256:{folder[-64:]}" for folder in self.config.frozen)

    def apply(self, model: PreTrainedModel | PeftModel, seed: int) -> PeftModel:
        """Return the model with the adapter, the only thing that requires gradients.

        A model that carries this adapter already is gone on with, under the dropout that holds now. Raises
        ConfigError where it carries another one, or where targets match nothing or what is protected.
        """
        from peft import PeftModel

        from realm.models.adapters import set_dropout, wrap
        from realm.training.quantised import quantise

        if isinstance(model, PeftModel):
            self._refuse_other(model)
            set_dropout(model, self.config.dropout)
            wrapped = model
        else:
            plain = self._with_frozen(model)
            wrapped = wrap(plain, self._shape(plain), seed_of("lora", seed))
        if self.config.bits == 4:
            quantise(wrapped)
        return wrapped

    def trained(self, model: PreTrainedModel | PeftModel) -> list[str]:
        """Return the names of the parameters that an applied model trains."""
        return [name for name, parameter in model.named_parameters() if parameter.requires_grad]

    def continues(self, folder: Path) -> bool:
        """Say whether a checkpoint holds this adapter, whatever its dropout was."""
        from realm.models.adapters import read_base, read_shape
        from realm.models.files import outline

        below = read_base(folder)
        if below is None or below.frozen != self.frozen:
            return False
        return not self._unlike(read_shape(folder), outline(folder))

    def _with_frozen(self, model: PreTrainedModel) -> PreTrainedModel:
        from pathlib import Path

        from realm.models.adapters import attach, merge_adapter
        from realm.models.files import adapter_folder

        for folder in map(Path, self.config.frozen):
            adapter_folder(folder)
            model = merge_adapter(attach(model, folder))
        return model

    def _shape(self, model: PreTrainedModel | PeftModel) -> AdapterShape:
        """Return the adapter's settings for this model, with every target by its full name."""
        from realm.models.adapters import AdapterShape
        from realm.training.selection import default_layers, fused_experts, linear_layers

        settings = self.config
        if settings.targets == "default":
            targets = default_layers(model)
        else:
            targets = linear_layers(model, settings.targets, where="parameters.targets")
        return AdapterShape(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            use_rslora=settings.rank_stabilised,
            use_dora=settings.dora,
            target_modules=tuple(targets),
            target_parameters=tuple(fused_experts(model)) if settings.experts else (),
        )

    def _unlike(self, present: AdapterShape, model: PreTrainedModel | PeftModel) -> list[str]:
        """Return what makes an adapter on this model another one than the one described here.

        Dropout does not: it changes no weight, and what the adapter computes is the same without it.
        """
        from realm.training.selection import adapted_layers

        asked = self._shape(model)
        before, now = (
            shape.model_dump(exclude={"lora_dropout", "target_modules", "target_parameters"})
            for shape in (present, asked)
        )
        differing = [f"{key} {before[key]}, asked {now[key]}" for key in now if before[key] != now[key]]
        if adapted_layers(model, present) != adapted_layers(model, asked):
            differing.append("it adapts other layers")
        return differing

    def _refuse_other(self, model: PeftModel) -> None:
        """Raise ConfigError where the model carries another adapter than the one described here."""
        from realm.core.errors import ConfigError
        from realm.models.adapters import shape_of

        differing = self._unlike(shape_of(model), model)
        if differing:
            raise ConfigError(
                f"parameters: the checkpoint carries another adapter: {'; '.join(differing)}",
                hint="load it merged, as a new run does",
            )
