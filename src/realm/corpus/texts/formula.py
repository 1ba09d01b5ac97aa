"""Formulas: workflows of agents as TOML. What a valid one is, and what is wrong with another.

Top level: `formula` (its name), `version` (a whole number), `description`, optionally `type`; without a
type it follows from what there is. A workflow has `[[steps]]` or `extends`, a convoy `[[legs]]`, an
expansion `[[template]]`, an aspect `[[aspects]]` or `[[advice]]`; each part has an `id` of its own and may
`need` others of them, without a cycle. `[vars.NAME]` is a table or a default value.
"""

from __future__ import annotations

import tomllib
from typing import Any

from realm.core.records import Record
from realm.corpus.files.lines import refusal

_PARTS = {
    "workflow": ("steps", "extends"),
    "convoy": ("legs",),
    "expansion": ("template",),
    "aspect": ("aspects", "advice"),
}
_LISTS = ("steps", "legs", "template", "aspects")
_OLD_SHAPES = {
    "variables": "a [variables] table where [vars.NAME] belongs",
    "step": "[step.NAME] tables where [[steps]] belongs",
}


class Formula(Record):
    """What a formula says of itself."""

    name: str
    type: str
    version: int
    description: str
    variables: tuple[str, ...]
    parts: dict[str, tuple[str, ...]]
    """Id of each step, leg, template step or aspect, and the ids it needs."""


_MOST_CHARS = 64 * 1024
"""tomllib takes time with the square of a key's length: seconds for a few hundred kilobytes of dots."""


def read_formula(text: str) -> Formula:
    """Read a formula. Raises DataError without a file, with one of a fixed set of reasons."""
    if len(text) > _MOST_CHARS:
        raise refusal(f"more than {_MOST_CHARS:,} characters")
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError):
        raise refusal("not TOML") from None
    _refuse_old_shapes(data)
    name, version = data.get("formula"), data.get("version", 1)
    if not isinstance(name, str) or not name.strip():
        raise refusal("no `formula` name at the top")
    if not isinstance(version, int) or isinstance(version, bool):
        raise refusal("a version that is no whole number")
    kind = _type(data)
    if not any(data.get(part) for part in _PARTS[kind]):
        raise refusal(f"a {kind} without its parts")
    parts = _parts(data)
    _refuse_cycle(parts)
    description = data.get("description", "")
    return Formula(
        name=name,
        type=kind,
        version=version,
        description=description if isinstance(description, str) else "",
        variables=_variables(data),
        parts=parts,
    )


def _refuse_old_shapes(data: dict[str, Any]) -> None:
    if isinstance(data.get("formula"), dict):
        raise refusal("a [formula] table where a name belongs")
    for key, reason in _OLD_SHAPES.items():
        if isinstance(data.get(key), dict):
            raise refusal(reason)
    if isinstance(data.get("steps"), dict):
        raise refusal("[steps.NAME] tables where [[steps]] belongs")


def _type(data: dict[str, Any]) -> str:
    kind = data.get("type")
    if kind is None:
        kind = next((kind for kind, parts in _PARTS.items() if any(data.get(part) for part in parts)), "")
    if not isinstance(kind, str) or kind not in _PARTS:
        raise refusal("a type other than workflow, convoy, expansion and aspect")
    return kind


def _variables(data: dict[str, Any]) -> tuple[str, ...]:
    variables = data.get("vars", {})
    if not isinstance(variables, dict):
        raise refusal("vars that are no tables")
    return tuple(variables)


def _parts(data: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    parts: dict[str, tuple[str, ...]] = {}
    for name in _LISTS:
        listed = data.get(name, [])
        if not isinstance(listed, list):
            raise refusal("parts that are no list of tables")
        for part in listed:
            id_ = part.get("id") if isinstance(part, dict) else None
            if not isinstance(id_, str) or not id_:
                raise refusal("a part without an id")
            if id_ in parts:
                raise refusal("an id given twice")
            parts[id_] = _needs(part)
    # What a formula extends may hold the part that is needed.
    if not data.get("extends") and any(need not in parts for needs in parts.values() for need in needs):
        raise refusal("a part that needs one that is not there")
    return parts


def _needs(part: dict[str, Any]) -> tuple[str, ...]:
    needs = part.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise refusal("needs that are no list of ids")
    return tuple(needs)


def _refuse_cycle(parts: dict[str, tuple[str, ...]]) -> None:
    waiting = {id_: {need for need in needs if need in parts} for id_, needs in parts.items()}
    followers: dict[str, list[str]] = {}
    for id_, needs in waiting.items():
        for need in needs:
            followers.setdefault(need, []).append(id_)
    ready = [id_ for id_, needs in waiting.items() if not needs]
    done = 0
    while ready:
        done += 1
        last = ready.pop()
        for id_ in followers.get(last, ()):
            waiting[id_].discard(last)
            if not waiting[id_]:
                ready.append(id_)
    if done != len(parts):
        raise refusal("parts that need each other in a circle")
