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
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel

from realm.core.config import Config, validate
from realm.core.errors import ConfigError, NotFoundError
from realm.core.text import there_are

T = TypeVar("T")


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
        if isinstance(data, str):
            data = {"kind": data}
        if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
            raise ConfigError(f"a {self.name} needs a kind", hint=f"one of: {', '.join(self.names())}")
        cls: Any = self.load(data["kind"])
        model: type[Config] = cls.Config
        return validate(model, data, where=f"{self.name} {data['kind']}")

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
