"""YAML that strangers may have written: safe types only, no aliases, bounded depth.

A small file with aliases can stand for a huge one. What a realm's owner writes (`realm.yaml`, recipes,
suites) is read by `core.config`.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_DEPTH = 32


class BoundedLoader(yaml.SafeLoader):
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
