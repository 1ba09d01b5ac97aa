"""Write the reference of recipes out of their schema: `python -m realm.cli.recipe_reference FILE`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from realm.flows.config import schema
from realm.training.recipe import Recipe

HEAD = """# Every key of a recipe

Written by `make docs` out of the schema (`realm config schema`); `make check` fails when it is out of date.
What the sections are for, and how recipes extend each other: [recipes.md](recipes.md).

Where a key takes a kind, its name alone stands for its defaults (`schedule: cosine`), and a mapping sets its
keys (`schedule: {kind: cosine, floor: 0.1}`). `none` is written `null`. Keys with the default `—` have to be
given, and of `rules.steps` and `rules.epochs` one.
"""
ELSEWHERE = {"skill": "skills.md", "task": "evaluation.md"}
"""Families whose kinds have pages of their own."""
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true` · `false`",
    "null": "none",
}
BOUNDS = {
    "minimum": "≥",
    "gt": ">",
    "exclusiveMinimum": ">",
    "le": "≤",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "multipleOf": "a multiple of",
}


class Key(NamedTuple):
    """One key of a mapping."""

    name: str
    takes: str
    default: str
    what: str


class Group(NamedTuple):
    """A mapping, such as `rules.memory` or the kind `method: dpo`."""

    title: str
    what: str
    keys: tuple[Key, ...]


def reference() -> str:
    """Return the whole reference as Markdown."""
    return HEAD + "".join(_text(group) for group in groups())


def groups() -> Iterator[Group]:
    """Yield the mappings of a recipe, each before those in it, then the kinds of each family."""
    recipe, families = _whole()["recipe"], _whole()["families"]
    defaults = Recipe.model_validate({"rules": {"steps": 1}}).model_dump(mode="json")
    yield from _groups("recipe", recipe, recipe["$defs"], defaults)
    for family, kinds in families.items():
        for kind in kinds["oneOf"] if family not in ELSEWHERE else ():
            yield from _groups(_titled(family, kind), kind, kind.get("$defs", {}), {})


@cache
def _whole() -> dict[str, Any]:
    return schema()


def _groups(title: str, node: Any, defs: Any, defaults: Any) -> Iterator[Group]:
    """Yield one mapping and those in it.

    `defaults` are its values in a recipe that sets nothing: the schema has those of no key that takes a kind.
    """
    keys, below = [], list[tuple[str, Any, Any]]()
    above = "" if title == "recipe" else f"{title.partition(':')[0]}."
    for name, value in node.get("properties", {}).items():
        if name == "kind":
            continue
        found = [defs[ref] for ref in dict.fromkeys(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(value)))]
        place, given = f"{above}{name}{'[]' if 'items' in value else ''}", (defaults or {}).get(name)
        below += [(_titled(place, one), one, given) for one in found]
        default = value["default"] if "default" in value else (given or {}).get("kind")
        told = "—" if name in node.get("required", ()) else _default(default)
        takes = _takes(value, " · ".join(_link(_titled(place, one)) for one in found))
        what = value.get("description") or (found[0]["description"] if len(found) == 1 else "")
        keys.append(Key(name, takes, told, what))
    yield Group(title, node["description"], tuple(keys))
    for inner, one, given in below:
        yield from _groups(inner, one, defs, given)


def _titled(place: str, node: Any) -> str:
    kind = node["properties"].get("kind", {}).get("const")
    return f"{place}: {kind}" if kind else place


def _link(title: str) -> str:
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    return f"[{re.split(r'[. ]', title.removesuffix('[]'))[-1]}](#{anchor})"


def _takes(value: Any, links: str) -> str:
    """Say what a key takes; `links` lead to the mappings."""
    bounds = {key: value[key] for key in BOUNDS if key in value}
    if "anyOf" in value:  # bounds of a number of either type stand beside the types
        return " or ".join(dict.fromkeys(_takes({**one, **bounds}, links) for one in value["anyOf"]))
    if items := value.get("items") or value.get("prefixItems"):
        return f"list of {_takes(items if 'items' in value else items[0], links)}"
    if family := value.get("family"):
        kinds = [_link(_titled(family, kind)) for kind in _whole()["families"][family]["oneOf"]]
        return f"[{family}]({ELSEWHERE[family]})" if family in ELSEWHERE else " · ".join(kinds)
    if "$ref" in value or "oneOf" in value:
        return links
    if choices := value.get("enum") or [value[key] for key in ("const",) if key in value]:
        return " · ".join(f"`{choice}`" for choice in choices)
    if value["type"] == "object":
        return f"mapping to {_takes(value['additionalProperties'], '')}"
    limits = " and ".join(f"{BOUNDS[key]} {bound:g}".replace("e+0", "e") for key, bound in bounds.items())
    return f"{WORDS[value['type']]} {limits}".strip()


def _default(value: Any) -> str:
    if value == "" or (isinstance(value, dict) and "kind" not in value):  # its own table has the defaults
        return ""
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def _text(group: Group) -> str:
    rows = [f"| `{key.name}` | {key.takes} | {key.default} | {_flat(key.what)} |\n" for key in group.keys]
    head = "\n| key | takes | default | what it does |\n|---|---|---|---|\n" if rows else ""
    return f"\n## `{group.title}`\n\n{_flat(group.what)}\n{head}{''.join(rows)}"


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def main() -> None:
    """Write the reference to the file named on the command line."""
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
