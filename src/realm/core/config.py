"""Closed configs: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from realm.core.errors import ConfigError, NotFoundError
from realm.core.paths import expanded
from realm.core.problems import Problem, handed_up, problems_of
from realm.core.text import printable
from realm.core.yamltext import read_strictly

C = TypeVar("C", bound=BaseModel)

_TOLD = 8
"""Problems that one message holds."""
_LINE_LIMIT = 200
"""Characters of a problem with foreign data."""
_LARGEST = 2**63 - 1
"""Of the whole numbers that the ledger and tensors hold."""
_LARGEST_FLOAT = 3.4e38
"""About the largest number that a tensor of fp32 or bf16 holds; beyond it all is infinite."""


class Config(BaseModel):
    """Base of every config: frozen, no unknown keys, numbers that can be kept, attribute docstrings."""

    # JSON has no infinity and no NaN: what a run was planned with could not be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Refuse a number that could be planned with but neither stored nor computed with."""
        largest = _LARGEST_FLOAT if isinstance(value, float) else _LARGEST
        if isinstance(value, int | float) and abs(value) > largest:
            raise ValueError(f"too large a number: must be from {-largest} to {largest}")
        return value


def load(model: type[C], path: Path, overrides: Iterable[str] = ()) -> C:
    """Read one YAML file into a config, with `a.b=1` overrides applied on top."""
    return validate(model, override(read_yaml(path), overrides), where=str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping safely. An empty file is an empty mapping."""
    try:
        data = read_strictly(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a mapping was expected at the top, found {type(data).__name__}")
    return data


def override(data: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return the data with `a.b=value` assignments set; values are read as YAML."""
    result = dict(data)
    for assignment in assignments:
        dotted, sign, text = assignment.partition("=")
        if not sign or not dotted:
            raise ConfigError(f"--set {assignment}: expected KEY=VALUE", hint="for example --set queue.low=3")
        _assign(result, dotted.split("."), _value(text, assignment), assignment)
    return result


def _value(text: str, assignment: str) -> Any:
    try:
        return read_strictly(text)
    except (yaml.YAMLError, RecursionError):
        raise ConfigError(f"--set {assignment[:80]}: the value is no YAML", hint="put it in quotes") from None


def _assign(data: dict[str, Any], keys: list[str], value: Any, assignment: str) -> None:
    for key in keys[:-1]:
        child = data.get(key, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {assignment}: {key} is a value, not a group")
        data[key] = dict(child)
        data = data[key]
    data[keys[-1]] = value


def rooted(config: C, root: Path) -> C:
    """Return a config whose own relative paths begin at a folder; `~` is a home as everywhere."""
    paths = {name: root / expanded(value) for name, value in config if isinstance(value, Path)}
    return config.model_copy(update=paths)


def validate(model: type[C], data: Any, *, where: str) -> C:
    """Build a config, turning every validation error into one readable message."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(explain(model, error))) from None
    except (ConfigError, NotFoundError) as error:  # a config that names what is not there is a bad one
        raise ConfigError(f"{where}: {error.what}", hint=error.hint) from None


def validate_part(model: type[C], data: Any) -> C:
    """Build a part of a config inside that one's validator.

    Raises ValidationError, which gives every problem its place in the config around.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise handed_up(problems_of(error, model)[0]) from None
    except (ConfigError, NotFoundError) as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise handed_up([Problem((), f"{error.what}{hint}")]) from None


def explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Write one line a problem: the dotted key, what is wrong, the nearest known name.

    Of many problems the first eight are told, and how many more there are.
    """
    problems, more = problems_of(error, model, _TOLD)
    lines = [problem.line() for problem in problems]
    more += max(len(lines) - _TOLD, 0)
    return [*lines[:_TOLD], f"and {more} more"] if more else lines


def first_problem(error: ValidationError, whole: str = "") -> str:
    """Write where the first problem of data lies and what it is; `whole` names the place of all of it."""
    problems, _ = problems_of(error, most=1)
    return printable(problems[0].line(whole), _LINE_LIMIT)
