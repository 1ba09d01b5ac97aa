"""The syntax gate: whether a text is whole by its language's grammar (tree-sitter).

Some grammars are quadratic or worse on garbage (1 MB of `/*` keeps Lua's busy for many minutes) or need
gigabytes for deep nesting. So a text is refused before parsing for its size, line length and depth, and
work that uses ten times the CPU time of an ordinary text is ended and counts as refused. That last limit
is the only thing here that depends on the machine.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from realm.core.errors import MissingExtraError

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser, Point, Query, Tree

GRAMMARS = frozenset({"bash", "c", "cpp", "gdscript", "go", "json", "lua", "python", "toml"})
"""Languages with a gate."""

_TEXT_BYTES = 1_000_000
_LINE_BYTES = 10_000
_DEEPEST = 200
_CHUNK_BYTES = 4_096
_MOST_BROKEN = 10_000
_FIXED_S = 0.5
_PER_BYTE_S = 4e-6
_THREAD = threading.local()
_COSTLY = {"python": re.compile(rb"[/%&^|]\s*\*")}
"""What no code is full of, and what takes memory with the square of its number: 2 KB of it 0.2 GB, at the
end of a parse, where it cannot be stopped."""
_MOST_COSTLY = 400
_NOT_BRACKETS = bytes(set(range(256)) - set(b"()[]{}"))
ATTRIBUTE = (
    rb"\b(?:_[A-Z][A-Z0-9_]*_|[A-Z][A-Z0-9_]*_(?:API|EXPORT|EXTERN|INLINE|NORETURN|NODISCARD|DEPRECATED|"
    rb"UNUSED|PURE|DECL))\b"
)
"""Macros of C and C++ that stand for attributes, by custom."""
_ATTRIBUTE = re.compile(ATTRIBUTE + rb"(?![ \t]*[(])")


class Budget:
    """CPU time of this thread that the work on one text may take; once spent, it stays spent."""

    def __init__(self, size_bytes: int) -> None:
        self._ends = time.thread_time() + _FIXED_S + _PER_BYTE_S * size_bytes
        self._spent = False

    @property
    def spent(self) -> bool:
        """Say whether the work must end; its results are then void."""
        self._spent = self._spent or time.thread_time() > self._ends
        return self._spent


def refusal(source: bytes, language: str) -> str | None:
    """Return why a text is not even parsed, or None."""
    if len(source) > _TEXT_BYTES:
        return "too long to parse"
    if b"\0" in source:
        return "holds NUL"
    if max(map(len, source.split(b"\n"))) > _LINE_BYTES:
        return "a line too long to parse"
    if _depth(source) > _DEEPEST:
        return "nested too deep to parse"
    costly = _COSTLY.get(language)
    if costly is not None and len(list(islice(costly.finditer(source), _MOST_COSTLY))) == _MOST_COSTLY:
        return "too broken to parse"
    return None


def parse(source: bytes, language: str, budget: Budget) -> Tree | None:
    """Parse a text that `refusal` let pass; None where the budget does not suffice.

    Raises MissingExtraError without tree-sitter's grammars.
    """

    def feed(offset: int, _point: Point) -> bytes:
        return b"" if budget.spent else source[offset : offset + _CHUNK_BYTES]

    # A short text cannot take long, and is parsed faster in one piece.
    tree = _parser(language).parse(source if len(source) <= _CHUNK_BYTES else feed)
    return None if budget.spent else tree


def parses(text: str, language: str) -> bool:
    """Say whether a text is whole by its language's grammar. False for languages without a gate."""
    if language not in GRAMMARS:
        return False
    source = text.encode("utf-8", "replace")
    return gated(source, language, Budget(len(source))) is not None


def gated(source: bytes, language: str, budget: Budget) -> Tree | None:
    """Return the tree of a text without a syntax error, or None. Positions are those of the text."""
    if refusal(source, language) is not None:
        return None
    tree = parse(source, language, budget)
    return None if tree is None or tree.root_node.has_error else tree


def unattributed(source: bytes, language: str) -> bytes:
    """Blank out attribute-like macros of C and C++, keeping every position.

    A file is searched for functions in this form; the functions are gated as they stand.
    """
    if language not in ("c", "cpp"):
        return source
    return _ATTRIBUTE.sub(lambda found: b" " * len(found.group()), source)


def captures(node: Node, language: str, query: str, name: str) -> list[Node]:
    """Return the nodes that a query captures as `name`, in the order of the text.

    Ask `is_shattered` first: the search may be quadratic in the children of a broken node.
    """
    return all_captures(node, language, query).get(name, [])


def all_captures(node: Node, language: str, query: str) -> dict[str, list[Node]]:
    """Return the nodes that a query captures, by name, each list in the order of the text.

    One search for several things costs about half of several searches. See `captures`.
    """
    from tree_sitter import QueryCursor

    found = QueryCursor(_query(language, query)).captures(node)
    return {
        name: sorted(nodes, key=lambda each: (each.start_byte, -each.end_byte))
        for name, nodes in found.items()
    }


def is_shattered(root: Node) -> bool:
    """Say whether a syntax error has so many children that searching below it may take long."""
    below = [root]
    while below:
        node = below.pop()
        if node.has_error:
            if node.child_count > _MOST_BROKEN and node.is_error:
                return True
            below.extend(node.children)
    return False


def before(node: Node) -> Iterator[Node]:
    """Yield the named siblings before a node, nearest first."""
    sibling = node.prev_named_sibling
    while sibling is not None:
        yield sibling
        sibling = sibling.prev_named_sibling


def _depth(source: bytes) -> int:
    """Return how deep brackets of any kind nest, those in strings and comments included."""
    depth = deepest = 0
    for bracket in source.translate(None, _NOT_BRACKETS):
        if bracket in b"([{":
            depth += 1
            deepest = max(deepest, depth)
        elif depth:
            depth -= 1
    return deepest


def _parser(language: str) -> Parser:
    """Return this thread's parser: Python may change threads in the middle of a parse."""
    held: dict[str, Parser] = _THREAD.__dict__
    if language not in held:
        held[language] = _new_parser(language)
    return held[language]


def _new_parser(language: str) -> Parser:
    try:
        from tree_sitter_language_pack import get_parser
    except ImportError:
        raise MissingExtraError(
            "this needs tree-sitter-language-pack",
            hint="install the corpus extra: pip install 'realm-lab[corpus]'",
        ) from None
    parser: Parser = get_parser(cast("Any", language))
    return parser


@cache
def _query(language: str, query: str) -> Query:
    from tree_sitter import Query

    grammar: Language | None = _parser(language).language
    assert grammar is not None, "a parser of the pack has its language"
    return Query(grammar, query)
