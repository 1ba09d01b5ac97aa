"""Recipes: everything about training that does not depend on the data or the model's weights.

A recipe says for which model it is (`model`, locked once a campaign has begun), where its rows come
from (`where`), by which rules it trains (`rules`) and by which technique (`method`). It may extend
another one and then says what it overrides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Annotated, Any, Literal, Self, cast

import yaml
from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from realm.core.config import Config, override, validate
from realm.core.errors import ConfigError, NotFoundError
from realm.core.records import Name, Record
from realm.core.text import there_are
from realm.core.yamltext import read_strictly
from realm.models.blank import BLANKS
from realm.training.extending import merged
from realm.training.guard import Guard
from realm.training.launcher import LAUNCHERS
from realm.training.method import METHODS
from realm.training.optimizer import OPTIMIZERS
from realm.training.parameter import PARAMETERS, ParametersConfig
from realm.training.rules import (
    Count,
    Device,
    Encoding,
    Locked,
    Masking,
    Memory,
    Mixture,
    Precision,
    Saving,
    Source,
    Validation,
)
from realm.training.schedules import Linear, Schedule
from realm.training.watch import Watch

MethodConfig = Annotated[SerializeAsAny[Config], METHODS.part()]
OptimizerConfig = Annotated[SerializeAsAny[Config], OPTIMIZERS.part("adamw")]
ParametersChoice = Annotated[SerializeAsAny[ParametersConfig], PARAMETERS.part("full")]
LauncherChoice = Annotated[SerializeAsAny[Config], LAUNCHERS.part()]
BlankConfig = Annotated[SerializeAsAny[Config], BLANKS.part()]


def _full() -> ParametersConfig:
    return cast("ParametersConfig", PARAMETERS.config("full"))


class ModelRules(Locked):
    """The model that a recipe is for."""

    shape: BlankConfig | None = None
    """Its architecture, which the hero has to have; estimates take it where there are no weights."""
    vocabulary_size: Count | None = None
    """Of that shape."""


class Where(Config):
    """Where rows come from, and what is measured."""

    datasets: tuple[Source, ...] = ()
    """Datasets to draw from beside the one that the run was queued for."""
    mixture: Mixture | None = None
    """Rows of some domain or role more often than others."""
    validation: Validation = Validation()
    suites: tuple[Name, ...] = ()
    """Skills of the hero whose suites judge what is saved; none named means all of them."""


class Rules(Config):
    """How training goes. The defaults suit drills; `spark` has the schedule that was measured for them."""

    parameters: ParametersChoice = Field(default_factory=_full)
    """What is trained: all weights, or an adapter."""
    optimizer: OptimizerConfig = Field(default_factory=lambda: OPTIMIZERS.config("adamw"))
    """How gradients become steps."""
    schedule: Schedule = Linear(clock="hero", warmup_steps=30, horizon_steps=450, floor=0.1)
    """How the learning rate moves, as a factor of the optimizer's full rate."""
    precision: Precision = "auto"
    """Of products; `auto` takes bf16 where the device and the way through the model do it well."""
    batch_rows: Count = 64
    """Rows in one step."""
    max_tokens: Annotated[Count, Field(ge=2)] = 1024
    """Longer rows are treated as `over_long` says, and counted."""
    epochs: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Passes over the rows; give this or `steps`."""
    steps: Count | None = None
    """Updates in the whole run; give this or `epochs`."""
    order: Literal["shuffled", "given"] = "shuffled"
    """Shuffled anew each epoch, or as in the file."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Gradients longer than this are scaled down to it; none leaves them."""
    memory: Memory = Memory()
    compile: bool = False
    """Fuse what a decoder layer does into fewer kernels; that takes about a minute before the first step."""
    saving: Saving = Saving()
    encoding: Encoding = Encoding()
    masking: Masking = Masking()
    guard: Guard = Guard()
    watch: Watch = Watch()
    launcher: LauncherChoice = Field(default_factory=lambda: LAUNCHERS.config("child"))
    """Which processes train: one, or several ranks."""
    device: Device = "auto"
    """`auto` takes a GPU where there is one."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    """CPU threads of the training process."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a recipe has either epochs or steps")
        return self


class Recipe(Config):
    """One way to train, complete."""

    format: Literal[1] = 1
    """Of recipes; there is one."""
    title: str = ""
    """What it is for, in a line."""
    extends: Name | None = None
    """The recipe whose settings hold where this one says nothing."""
    model: ModelRules = ModelRules()
    where: Where = Where()
    rules: Rules
    method: MethodConfig = Field(default_factory=lambda: METHODS.config("supervised"))
    """The technique: what a step minimises."""

    @classmethod
    def shipped(cls, name: str) -> Recipe:
        """Return a recipe that comes with the package."""
        return resolve(name, shipped_text).recipe


class Resolved(Record):
    """A recipe with everything it extends folded in."""

    name: Name
    recipe: Recipe
    overrides: tuple[str, ...] = ()
    """What it sets differently from the recipe it extends, as `rules.batch_rows: 64 → 32`."""


def shipped_names() -> list[str]:
    """Return the recipes that come with the package."""
    found = files("realm.training.recipes").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in found if f.name.endswith(".yaml"))


def shipped_text(name: str) -> str:
    """Return the YAML of a recipe that comes with the package."""
    if name not in shipped_names():
        raise NotFoundError(f"no recipe is called {name!r}", hint=there_are(shipped_names(), name))
    return files("realm.training.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def resolve(name: str, text_of: Callable[[str], str], sets: Iterable[str] = ()) -> Resolved:
    """Read a recipe, what it extends, and `a.b=value` settings on top, as of one that extends it.

    Raises ConfigError, also where recipes extend each other.
    """
    data, below = _layered(name, text_of, ())
    if above := override({}, sets):
        data, below = merged(data, above, Recipe), data if below is None else below
    recipe = validate(Recipe, data, where=f"recipe {name}")
    overrides: tuple[str, ...] = ()
    if below is not None:
        overrides = tuple(_differences(below, data, _with_defaults(below), recipe.model_dump(mode="json")))
    found = {"name": name, "recipe": recipe, "overrides": overrides}
    return validate(Resolved, found, where=f"recipe {name}")


def _layered(
    name: str, text_of: Callable[[str], str], above: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the settings of a recipe with those it extends, and the latter alone."""
    if above.count(name) > 1:
        raise ConfigError(f"recipes extend each other: {' → '.join((*above, name))}")
    try:
        own = read_strictly(text_of(name)) or {}
    except NotFoundError as error:
        extends = f"recipe {above[-1]} extends: " if above else ""
        raise NotFoundError(f"{extends}{error.what}", hint=error.hint) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"recipe {name}: not readable as YAML: {error}") from None
    if not isinstance(own, dict):
        raise ConfigError(f"recipe {name}: a mapping was expected at the top")
    if not isinstance(own.get("extends"), str):
        return own, None
    below, _ = _layered(own["extends"], text_of, (*above, name))
    return merged(below, own, Recipe), below


def _with_defaults(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings with the defaults of what they leave out, if they make a recipe by themselves."""
    try:
        return Recipe.model_validate(data).model_dump(mode="json")
    except (ValidationError, ConfigError, NotFoundError):
        return data


def _differences(below: Any, above: Any, before: Any, after: Any, path: str = "") -> list[str]:
    """Return where settings differ, as they are written or, where nothing is, by what holds then.

    `before` and `after` are the same places with all defaults.
    """
    if below == above or before == after:
        return []
    if below is None and isinstance(above, Mapping) and isinstance(before, Mapping):
        below = {}
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        keys = [key for key in dict.fromkeys([*below, *above]) if path or key not in ("extends", "title")]
        return [
            line
            for key in keys
            for line in _differences(
                below.get(key),
                above.get(key),
                _at(before, key),
                _at(after, key),
                f"{path}.{key}" if path else str(key),
            )
        ]
    return [
        f"{path}: {_short(before if below is None else below)} → {_short(after if above is None else above)}"
    ]


def _at(settings: Any, key: str) -> Any:
    return settings.get(key) if isinstance(settings, Mapping) else None


def _short(value: Any) -> str:
    return (
        "unset"
        if value is None
        else yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("\n...")
    )
