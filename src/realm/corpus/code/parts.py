"""Parts of a function that can be taken out whole: neighbours of one parent, each on lines of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

Rows = tuple[int, int]
"""First and last line, from 0."""
Neighbours = tuple[Rows, ...]

_AFTER = re.compile(rb"[ \t;,]*(?:(?://|--|#|/\*).*)?")
_MOST_GROUPS = 60
_MOST_NEIGHBOURS = 60
_MOST_NODES = 20_000


def neighbours(root: Node, lines: list[bytes], least: int) -> tuple[Neighbours, ...]:
    """Return runs of nodes from the line `least` on that begin and end with their lines.

    Any run of neighbours may be cut out of the text and leaves its brackets and blocks whole. Comments are
    no neighbours of their own.
    """
    groups: list[Neighbours] = []
    below = [root]
    seen = 0
    while below and len(groups) < _MOST_GROUPS and seen < _MOST_NODES:
        children = below.pop().named_children
        seen += len(children)
        group: list[Rows] = []
        for child in children:
            rows = child.start_point.row, _last_row(child)
            if rows[1] > rows[0]:
                below.append(child)
            fits = rows[0] >= least and len(group) < _MOST_NEIGHBOURS
            if fits and "comment" not in child.type and _alone(child, rows, lines):
                group.append(rows)
        if group:
            groups.append(tuple(group))
    return tuple(sorted(groups))


def _last_row(node: Node) -> int:
    """Return the row of a node's last byte; some grammars count the line end in."""
    end = node.end_point
    return end.row - (end.column == 0 and end.row > node.start_point.row)


def _alone(node: Node, rows: Rows, lines: list[bytes]) -> bool:
    first, last = rows
    if last >= len(lines) or lines[first][: node.start_point.column].strip():
        return False
    end = node.end_point
    after = lines[last][end.column :] if last == end.row else b""
    return _AFTER.fullmatch(after) is not None
