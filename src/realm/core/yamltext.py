"""Ways to read YAML: safe types only, and no key twice in one mapping.

What strangers may have written has no aliases either and a bounded depth, since a small file with aliases can
stand for a huge one. `realm.yaml`, recipes and suites, which the owner writes, go through `read_strictly`.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_DEPTH = 32


class StrictLoader(yaml.SafeLoader):
    """Raise YAMLError, with its place, for a key that a mapping has twice; plain YAML takes the last.

    Also for a value that is none of its own type, such as the 13th month or a number of 5,000 digits.
    """

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct one value."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):  # of PyYAML's own parsing
            shown = node.tag.removeprefix("tag:yaml.org,2002:")
            raise yaml.MarkedYAMLError(
                problem=f"this is no {shown}: put a text in quotes", problem_mark=node.start_mark
            ) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Construct one mapping."""
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value} is set twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_strictly(text: str) -> Any:
    """Return what a text of the owner holds. Raises YAMLError, and RecursionError for one nested too deep."""
    return yaml.load(text, StrictLoader)  # noqa: S506 - a safe loader


class BoundedLoader(StrictLoader):
    """Raise YAMLError, with its place, for an alias and for a node below `MAX_DEPTH` others."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one node."""
        self._depth += 1
        alias = self.check_event(yaml.AliasEvent)
        if alias or self._depth > MAX_DEPTH:
            ahead: Any = self
            problem = "aliases are not taken" if alias else f"more than {MAX_DEPTH} levels"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=ahead.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node
