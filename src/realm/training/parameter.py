"""The contract of the `parameters` family: which parameters a run trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from realm.core.config import Config
from realm.core.kinds import Family
from realm.core.records import Record

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftModel
    from transformers import PreTrainedModel


class AdapterFacts(Record):
    """What an engine has to know of an adapter to serve it."""

    rank: int
    rank_stabilised: bool = False
    dora: bool = False
    experts: bool = False
    """Fused experts are adapted, beside linear layers."""
    stacked: bool = False
    """Other adapters lie between it and the whole model."""


class ParametersConfig(Config):
    """What the config of every kind tells."""

    @property
    def adapter(self) -> AdapterFacts | None:
        """The adapter that a run will leave; none where it leaves a whole model."""
        return None


class Parameters(Protocol):
    """A choice of parameters, as weights of the model itself or of an adapter beside it."""

    @property
    def frozen(self) -> tuple[str, ...]:
        """Content hashes of the adapters that lie merged under the trained one; none for `full`."""
        ...

    def apply(self, model: PreTrainedModel | PeftModel, seed: int) -> PreTrainedModel | PeftModel:
        """Return the model with `requires_grad` set; new weights are drawn from the seed alone.

        A model that carries this choice's adapter already is gone on with. Raises ConfigError where
        a pattern matches nothing, or a router or vision parameter.
        """
        ...

    def continues(self, folder: Path) -> bool:
        """Say whether a checkpoint's adapter is of this choice; another one is merged by a new run.

        The checkpoints under it are looked for beside its folder. Raises what `apply` raises of patterns.
        """
        ...

    def trained(self, model: PreTrainedModel | PeftModel) -> list[str]:
        """Return the names of the parameters that an applied model trains."""
        ...


PARAMETERS: Family[Parameters] = Family("parameters", "realm.training.parameters")
