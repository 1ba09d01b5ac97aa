"""Lay the settings of one recipe over those of the recipe that it extends.

A key that is said again replaces the old value, a group is gone through key by key. Where a group is of
another kind, such as `optimizer: adamw8bit` over an `adamw`, only those of the old settings stay that both
kinds take from one base class: a rate, betas and a decay mean the same to every optimizer, a warm-up to every
schedule. Whoever changes the optimizer of a recipe wants its rate, which the model bears, and not the default
of drills. Keys that are alike in name alone, such as the `beta` of dpo and of distillation, fall away with
all that the new kind does not know. Whether the old kind was written or is the default makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast, get_args

from pydantic import BaseModel

from realm.core.config import Config
from realm.core.errors import NotFoundError
from realm.core.kinds import Choice

_ALTERNATIVES = (("steps", "epochs"), ("epochs", "steps"))
"""Keys of which the one that is said replaces the other."""


def merged(
    below: Mapping[str, Any], above: Mapping[str, Any], model: type[BaseModel] | None
) -> dict[str, Any]:
    """Return `above` laid over `below`; both are settings of `model`, valid or not; none is not known."""
    result = dict(below)
    for key, value in above.items():
        result[key] = _laid_over(result.get(key), value, _place(model, key))
    for given, other in _ALTERNATIVES:
        if given in above and other not in above:
            result.pop(other, None)
    return result


class _Place(NamedTuple):
    """What a key holds."""

    model: type[BaseModel] | None = None
    """Of a group; none where a value is held, or a kind."""
    kinds: Choice | None = None


def _laid_over(below: Any, above: Any, place: _Place) -> Any:
    if place.kinds is not None and (isinstance(below, Mapping) or isinstance(above, Mapping)):
        below, above = _spelt_out(below), _spelt_out(above)
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    if place.kinds is None:
        return merged(below, above, place.model)
    before = _config(place.kinds, below.get("kind", place.kinds.default))
    after = _config(place.kinds, above.get("kind", below.get("kind", place.kinds.default)))
    if before is not after:
        shared = _shared(before, after)
        below = {name: value for name, value in below.items() if name in shared}
    return merged(below, above, after)


def _spelt_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _config(kinds: Choice, kind: object) -> type[Config] | None:
    """Return the config of a kind; none where there is none of that name, which validation tells."""
    try:
        return kinds.model(kind) if isinstance(kind, str) and kinds.model else None
    except NotFoundError:
        return None


def _shared(one: type[Config] | None, other: type[Config] | None) -> set[str]:
    """Return the names of the settings that two kinds take from one base, their own `kind` aside."""
    if one is None or other is None:
        return set()
    bases = [cast("type[BaseModel]", base) for base in one.__mro__ if base in other.__mro__]
    fields = (getattr(base, "model_fields", {}) for base in bases if base is not BaseModel)
    return {name for each in fields for name in each} - {"kind"}


def _place(model: type[BaseModel] | None, key: str) -> _Place:
    field = model.model_fields.get(key) if model is not None else None
    if field is None:
        return _Place()
    # Of `X | None` with an annotated X, the marks of X lie one level deeper.
    marks = [*field.metadata, *(mark for each in get_args(field.annotation) for mark in get_args(each)[1:])]
    kinds = next((mark for mark in marks if isinstance(mark, Choice)), None)
    group = field.annotation if isinstance(field.annotation, type) else None
    return _Place(group if kinds is None and group and issubclass(group, BaseModel) else None, kinds)
