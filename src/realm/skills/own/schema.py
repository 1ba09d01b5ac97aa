"""What a skill's YAML file may say."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from realm.core.config import Config
from realm.core.records import Name
from realm.http.client import KeyVariable
from realm.skills.own.grading import Grading
from realm.skills.own.keys import normalised

Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Line = Annotated[str, StringConstraints(max_length=400)]
Operand = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
_INT64 = 2**63

UNUSED = (
    *("display", "level_progression", "output_schema", "eval", "accuracy_thresholds", "passive_id"),
    *("icon", "color", "short_name"),
)
"""Fields of other tools' skill files that mean nothing here; they are left out with a warning."""
UNUSED_OF_PRIMITIVES = ("version", "prerequisites", "tags")


class Numbers(Config):
    """Whole numbers from `low` to `high`, both included."""

    low: Annotated[int, Field(gt=-_INT64, lt=_INT64)]
    high: Annotated[int, Field(gt=-_INT64, lt=_INT64)]
    step: Annotated[int, Field(ge=1, lt=_INT64)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise ValueError("high is below low")
        return self


Choice = Annotated[str, StringConstraints(min_length=1, max_length=200)] | int


class TemplateConfig(Config):
    """Problems that differ in their operands."""

    prompt: Text
    """The question; `{name}` is an operand."""
    answer: Text
    """The answer; `{...}` is an expression over the operands."""
    operands: Annotated[
        dict[Operand, Numbers | Annotated[tuple[Choice, ...], Field(min_length=1, max_length=10_000)]],
        Field(min_length=1, max_length=8),
    ]
    """What may fill each place: a range of numbers, or a list."""
    where: Text | None = None
    """Only combinations for which this expression is true."""
    primitive: Name | None = None
    """None means the skill's id."""
    level: Annotated[int, Field(ge=1, le=1000)] = 1
    grading: Grading | None = None
    """None means the skill's."""

    @field_validator("operands")
    @classmethod
    def _different(cls, operands: dict[str, Any]) -> dict[str, Any]:
        for name, values in operands.items():
            if isinstance(values, tuple) and len({normalised(str(v)) for v in values}) < len(values):
                raise ValueError(f"{name} lists a value twice; case, width and white space make no other one")
        return operands


class RowConfig(Config):
    """One problem."""

    prompt: Text
    answer: Text
    primitive: Name | None = None
    """None means the skill's id."""
    level: Annotated[int, Field(ge=1, le=1000)] = 1
    grading: Grading | None = None
    """None means the skill's."""


class PrimitiveConfig(Config):
    """One thing that can be got right or wrong."""

    name: Name
    display_name: Line = ""
    description: Line = ""
    difficulty: Annotated[int, Field(ge=1, le=10)] = 1
    track: Line = ""


class LevelConfig(Config):
    """What a level is called."""

    name: Line
    description: Line = ""


class ApiConfig(Config):
    """A server that hands the problems out."""

    url: str
    token_variable: KeyVariable | None = None
    """Environment variable with the server's token."""
    allow_host: str | None = None
    """The URL's host, where that is another machine."""


class SkillFile(Config):
    """A skill as a person writes it."""

    id: Name
    name: Line = ""
    """What people read; none means the id."""
    version: Line = "1"
    description: Line = ""
    category: Line = ""
    tags: tuple[Line, ...] = ()
    system_prompt: Annotated[str, StringConstraints(max_length=4000)] = ""
    """The system turn of every problem; none where it is empty."""
    grading: Grading = "exact"
    heldout_fraction: Annotated[float, Field(ge=0.05, le=0.5)] = 0.30
    """Share of all problems that is never trained on."""
    max_level: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Highest level; none means the highest that has problems."""
    levels: Annotated[tuple[LevelConfig, ...], Field(max_length=1000)] = ()
    """Names of the levels, from level 1 on."""
    primitives: Annotated[tuple[PrimitiveConfig, ...], Field(max_length=1000)] = ()
    """None means those that rows and templates name."""
    rows: tuple[RowConfig, ...] | Annotated[str, StringConstraints(max_length=200)] = ()
    """Problems, or the name of a JSONL file beside this one."""
    templates: Annotated[tuple[TemplateConfig, ...], Field(max_length=1000)] = ()
    api: ApiConfig | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.rows or self.templates) == bool(self.api):
            raise ValueError("a skill has rows or templates, or else an api")
        names = [primitive.name for primitive in self.primitives]
        if len(set(names)) < len(names):
            raise ValueError("primitives: a name stands there twice")
        return self
