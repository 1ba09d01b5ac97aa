"""Families: one shape for things of many kinds.

A family is a folder, a kind is a module in it, and the module's name is the name in YAML.
Kinds are found by listing the folder, without importing anything; packages of others join
through entry points in the group `realm.<family>`. A kind is the one public class of its
module that carries a nested frozen `Config` with `kind: Literal["<name>"]`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, BeforeValidator

from realm.core.config import Config, validate, validate_part
from realm.core.errors import ConfigError, NotFoundError
from realm.core.problems import handed_up, no_kind
from realm.core.text import there_are

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(BeforeValidator):
    """What validates a key that holds one of several kinds, by its name alone or as a mapping."""

    model: Callable[[str], type[Config]] | None = None
    """Returns a kind's config. Raises NotFoundError where there is no such kind."""
    default: str | None = None
    """The kind of a mapping that names none."""


@dataclass(frozen=True)
class _Part(Choice):
    """A key that holds a kind, which its JSON Schema names by the family instead of listing all members."""

    family: str = ""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"type": ["object", "string"], "family": self.family}


class Family(Generic[T]):
    """Find, validate and build the kinds of one family."""

    def __init__(self, name: str, package: str) -> None:
        self.name = name
        self.package = package

    def names(self) -> list[str]:
        """Return the names of all kinds, ours and those of installed packages, sorted."""
        return sorted({*self._own(), *self._foreign()})

    def load(self, kind: str) -> type[T]:
        """Import one kind and return its class."""
        if kind in self._own():
            return cast("type[T]", _kind_class(f"{self.package}.{kind}"))
        foreign = self._foreign()
        if kind in foreign:
            return cast("type[T]", foreign[kind].load())
        raise NotFoundError(f"no {self.name} is called {kind!r}", hint=there_are(self.names(), kind))

    def config(self, data: Any) -> Config:
        """Validate `{"kind": …, …}` (or a bare kind name) as that kind's config."""
        if isinstance(data, Config):
            return data
        given = _spelt_out(data)
        if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
            raise ConfigError(f"a {self.name} needs a kind", hint=f"one of: {', '.join(self.names())}")
        return validate(self._model(given["kind"]), given, where=f"{self.name} {given['kind']}")

    def part(self, default: str | None = None) -> BeforeValidator:
        """Return what validates a key of a config as `config` does, and tells problems at that key's place.

        A mapping that names no kind is of the default one, where there is one.
        """
        return _Part(
            lambda data: self._part(data, default), model=self._model, default=default, family=self.name
        )

    def _part(self, data: Any, default: str | None) -> Config:
        if isinstance(data, Config):
            return data
        given = _spelt_out(data, default)
        if problem := no_kind(given, self.names()):
            raise handed_up([problem])
        return validate_part(self._model(given["kind"]), given)

    def _model(self, kind: str) -> type[Config]:
        cls: Any = self.load(kind)
        return cast("type[Config]", cls.Config)

    def build(self, data: Any) -> T:
        """Build a kind from its config."""
        config: Any = self.config(data)
        cls: Any = self.load(config.kind)
        return cast("T", cls(config))

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of all kinds, as one union told apart by `kind`."""
        members = [cast("Any", self.load(name)).Config.model_json_schema() for name in self.names()]
        return {"oneOf": members, "discriminator": {"propertyName": "kind"}}

    @cache  # noqa: B019 - a family lives as long as its module
    def _own(self) -> frozenset[str]:
        package = importlib.import_module(self.package)
        return frozenset(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))

    @cache  # noqa: B019
    def _foreign(self) -> dict[str, Any]:
        return {point.name: point for point in entry_points(group=f"realm.{self.name}")}


def _spelt_out(data: Any, default: str | None = None) -> Any:
    """Return a bare name as the mapping it is short for, and one without a kind as of the default one."""
    if isinstance(data, str):
        return {"kind": data}
    return {"kind": default, **data} if isinstance(data, Mapping) and default is not None else data


def _kind_class(module_name: str) -> type[Any]:
    module = importlib.import_module(module_name)
    found = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module_name and issubclass(getattr(cls, "Config", object), BaseModel)
    ]
    if len(found) != 1:
        raise TypeError(f"{module_name} must define exactly one class with a nested Config, found {found}")
    return found[0]
