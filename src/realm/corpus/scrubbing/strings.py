"""The strings of a JSON value: taken out in order, and put back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_DEPTH = 200
_NAMES = ("name", "key", "variable", "env")
_VALUES = ("value", "secret_value", "default")


class Place(NamedTuple):
    """One string within a value."""

    number: int
    pointer: str
    """JSON pointer (RFC 6901); of a key, that of its value followed by `#`."""
    name: str
    """The key it stands under, or what a sibling says that it is called."""
    text: str


def walk(value: Any) -> list[Place]:
    """Return every string, keys included, in the order in which `put` expects them."""
    places: list[Place] = []
    _walk(value, "", "", places, 0)
    return places


def _walk(value: Any, pointer: str, name: str, places: list[Place], depth: int) -> None:
    if isinstance(value, str):
        places.append(Place(len(places), pointer, name, value))
    elif depth > _DEPTH:
        return
    elif isinstance(value, Mapping):
        called = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "")
        for key, child in value.items():
            below = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if isinstance(key, str):
                places.append(Place(len(places), below + "#", "", key))
            label = called[:80] if key in _VALUES and called else str(key)
            _walk(child, below, label, places, depth + 1)
    elif isinstance(value, list | tuple):
        for at, child in enumerate(value):
            _walk(child, f"{pointer}/{at}", name, places, depth + 1)


def places_of(value: Any, where: str) -> Iterator[str]:
    """Yield the string that a finding's `where` names."""
    for place in walk(value):
        if where in (place.pointer, f"#{place.number}"):
            yield place.text


def put(value: Any, changed: Mapping[int, str]) -> Any:
    """Return the value with some of its strings exchanged, by their numbers."""
    return _put(value, changed, itertools.count(), 0)


def _put(value: Any, changed: Mapping[int, str], numbers: Iterator[int], depth: int) -> Any:
    if isinstance(value, str):
        return changed.get(next(numbers), value)
    if depth > _DEPTH:
        return value
    if isinstance(value, Mapping):
        result: dict[Any, Any] = {}
        for key, child in value.items():
            kept = changed.get(next(numbers), key) if isinstance(key, str) else key
            result[_free(kept, result)] = _put(child, changed, numbers, depth + 1)
        return result
    if isinstance(value, list | tuple):
        return [_put(child, changed, numbers, depth + 1) for child in value]
    return value


def _free(key: Any, taken: Mapping[Any, Any]) -> Any:
    """Two keys may become one; neither value may be lost by that."""
    if key not in taken:
        return key
    return next(f"{key}~{number}" for number in itertools.count(2) if f"{key}~{number}" not in taken)
