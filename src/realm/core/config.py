"""Closed configs: an unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from realm.core.errors import ConfigError, NotFoundError
from realm.core.paths import expanded
from realm.core.text import printable, there_are
from realm.core.yamltext import StrictLoader

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

C = TypeVar("C", bound=BaseModel)

_TOLD = 8
"""Problems that one message holds."""
_QUOTED = re.compile(r"'([^']*)'")
_KEY_LIMIT = 200
"""Characters shown of a key; a file may hold longer ones."""


class Config(BaseModel):
    """Base of every config: frozen, no unknown keys, finite numbers, docstrings under attributes kept."""

    # JSON has no infinity and no NaN: what a run was planned with could not be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def load(model: type[C], path: Path, overrides: Iterable[str] = ()) -> C:
    """Read one YAML file into a config, with `a.b=1` overrides applied on top."""
    return validate(model, override(read_yaml(path), overrides), where=str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping safely. An empty file is an empty mapping."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), StrictLoader)  # noqa: S506 - a safe loader
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
        return yaml.safe_load(text)
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
    except (ConfigError, NotFoundError) as error:  # of a part that its own kind validates
        raise type(error)(f"{where}: {error.what}", hint=error.hint) from None


def explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Write one line a problem: the dotted key, what is wrong, the nearest known name.

    Of many problems the first eight are told, and how many more there are.
    """
    problems = _nearest(model, error.errors(include_url=False, include_input=False))
    lines = [_line(model, problem) for problem in problems[:_TOLD]]
    return [*lines, f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else lines


def first_problem(error: ValidationError, whole: str = "") -> str:
    """Write where the first problem of data lies and what it is; `whole` names the place of all of it."""
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or whole
    return printable(f"{where}: {_said(problem)}" if where else _said(problem), _KEY_LIMIT)


def _nearest(model: type[BaseModel], problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what a form says that the data is not in, where another form found fault inside it."""
    inside = {
        keys[:end] for keys in (_keys(model, each["loc"]) for each in problems) for end in range(len(keys))
    }
    return [
        each for each in problems if (keys := _keys(model, each["loc"])) == each["loc"] or keys not in inside
    ]


def _line(model: type[BaseModel], problem: ErrorDetails) -> str:
    dotted = printable(".".join(str(part) for part in _keys(model, problem["loc"])), _KEY_LIMIT)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {dotted}{_suggestion(model, problem['loc'])}"
    if problem["type"] == "missing":
        return f"{dotted} is missing"
    return f"{dotted}: {_said(problem)}" if dotted else _said(problem)


def _keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return a place without pydantic's names for the members of a union, which are no keys of the data."""
    keys: list[int | str] = []
    at: Any = model
    for part in loc:
        forms = _forms(at)
        if len(forms) > 1:
            at = next((form for form in forms if _is_called(form, str(part))), None)
            continue
        keys.append(part)
        at = _inside(forms[0], part)
    return tuple(keys)


def _forms(annotation: Any) -> list[Any]:
    """Return the members of a union other than None, and anything else as it is."""
    if get_origin(annotation) is Annotated:
        return _forms(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [form for form in get_args(annotation) if form is not type(None)]
    return [annotation]


def _is_called(form: Any, label: str) -> bool:
    plain = get_args(form)[0] if get_origin(form) is Annotated else form
    name = getattr(get_origin(plain) or plain, "__name__", "")
    return label == name or label.startswith(f"{name}[")


def _inside(annotation: Any, part: int | str) -> Any:
    """Return the annotation of a key or an item; None where it is not known."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    items = [item for item in get_args(annotation) if item is not Ellipsis]
    return items[-1] if items else None


def _said(problem: ErrorDetails) -> str:
    if problem["type"] == "union_tag_invalid":
        tag, known = str(problem["ctx"]["tag"]), _QUOTED.findall(problem["ctx"]["expected_tags"])
        return f"no kind is called {printable(tag, _KEY_LIMIT)!r}: {there_are(known, tag)}"
    # A validator of ours says what is wrong in its own words; pydantic puts its own before them.
    return str(problem["ctx"]["error"]) if problem["type"] == "value_error" else problem["msg"]


def _suggestion(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    group: type[BaseModel] | None = model
    for part in loc[:-1]:
        if group is not None and part in group.model_fields:
            group = _model_in(group.model_fields[str(part)].annotation)
    near = difflib.get_close_matches(
        str(loc[-1])[:_KEY_LIMIT], group.model_fields if group else (), n=1, cutoff=0.5
    )
    return f" (did you mean {near[0]}?)" if near else ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the config class inside an annotation such as `dict[str, HeroConfig]` or `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)
