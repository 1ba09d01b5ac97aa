"""Recipes: everything about training that does not depend on the data or the model."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from realm.core.config import Config, load
from realm.core.errors import NotFoundError
from realm.training.method import METHODS
from realm.training.optimizers import AdamW
from realm.training.schedules import Linear, Schedule

Method = Annotated[SerializeAsAny[Config], BeforeValidator(METHODS.config)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Masking(Config):
    """Bounds of the masking proof. A text row is trained as a whole and counts for none of them."""

    min_trained_share: _Share = 0.02
    """Of the tokens in chats; below it training refuses to start."""
    min_masked_share: _Share = 0.15
    """Of the tokens in chats; below it training refuses to start."""


class Recipe(Config):
    """The rules of a run. The defaults are the vetted drill setting."""

    method: Method = Field(default_factory=lambda: METHODS.config("supervised"))
    optimizer: AdamW = AdamW()
    schedule: Schedule = Linear(clock="hero", warmup_steps=30, horizon_steps=450, floor=0.1)
    batch_rows: Annotated[int, Field(ge=1)] = 64
    """Rows in one step."""
    max_tokens: Annotated[int, Field(ge=2)] = 1024
    """Longer rows are left out and counted."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the rows; give this or `steps`."""
    steps: Annotated[int, Field(ge=1)] | None = None
    order: Literal["shuffled", "given"] = "shuffled"
    """Shuffled anew each epoch, or as in the file."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Gradients longer than this are scaled down to it; none leaves them."""
    save_every_steps: Annotated[int, Field(ge=1)] = 100
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    threads: Annotated[int, Field(ge=1)] = 2
    """CPU threads of the training process."""
    masking: Masking = Masking()

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a recipe has either epochs or steps")
        return self

    @classmethod
    def shipped(cls, name: str) -> Recipe:
        """Return a recipe that comes with the package."""
        folder = files("realm.training.recipes")
        names = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
        if name not in names:
            raise NotFoundError(f"no recipe is called {name!r}", hint=f"there are: {', '.join(names)}")
        with as_file(folder.joinpath(f"{name}.yaml")) as path:
            return load(cls, path)
