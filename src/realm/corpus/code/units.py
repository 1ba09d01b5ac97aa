"""Units: the functions of a file, each with its signature, doc comment and calls.

Where a file as a whole does not parse (macros break half of all C files), its functions are still found
and each is held to the syntax gate alone. TOML's tables and JSON's larger members are units too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from realm.corpus.code import comments, syntax
from realm.corpus.code.grammars import SECTIONS, TABLE
from realm.corpus.code.names import Call, calls, declared_name, name_of, text_of
from realm.corpus.code.parts import Neighbours, neighbours
from realm.corpus.code.pieces import pieces

if TYPE_CHECKING:
    from tree_sitter import Node, Tree


_ATTRIBUTES_BEFORE = re.compile(rb"^[ \t]*((?:" + syntax.ATTRIBUTE + rb"[ \t]*\n?[ \t]*){1,4})\Z", re.M)
_MOST_UNITS = 20_000
_COMMENT_CHARS = 20_000
_RIGHTS = re.compile(rb"copyright|spdx-license", re.IGNORECASE)
_LONG_COMMENT_LINES = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """One function, or one section of a config, whole by its language's grammar."""

    language: str
    name: str
    is_function: bool
    signature: str
    """Everything before the body; of a section its heading."""
    text: str
    """The whole, without the indentation around it and without its doc comment."""
    body_at: int
    """Line of `text`, from 0, where the body begins."""
    doc: str
    """What its doc comment says, plain; empty where it has none."""
    docless: str
    """`text` without a docstring, where the doc is one."""
    first_line: int
    last_line: int
    doc_line: int
    """First line of the doc comment, or `first_line`."""
    calls: tuple[Call, ...]
    """What it calls, each name once, in the order of the text."""
    parts: tuple[Neighbours, ...]
    """Lines of `text`, from 0, that may be taken out of its body whole."""

    @property
    def lines(self) -> int:
        """Return how many lines `text` has."""
        return self.last_line - self.first_line + 1


@dataclass(frozen=True, slots=True)
class Prototype:
    """A declared function with a doc comment, and no body."""

    language: str
    name: str
    text: str
    doc: str
    first_line: int
    last_line: int


class Found(NamedTuple):
    """What one file holds."""

    units: tuple[Unit, ...]
    prototypes: tuple[Prototype, ...]
    refused: tuple[range, ...]
    """Lines of functions that are not whole by themselves."""
    asides: tuple[range, ...]
    """Lines of long block comments: licences, chapters of a header."""


def find(text: str, language: str) -> Found | str:
    """Return the units of a file, or why it was not parsed. `language` is one of GRAMMARS."""
    source = text.encode("utf-8", "replace")
    reason = syntax.refusal(source, language)
    if reason is not None:
        return reason
    budget = syntax.Budget(len(source))
    tree = syntax.parse(syntax.unattributed(source, language), language, budget)
    if tree is None:
        return "too slow to parse"
    if syntax.is_shattered(tree.root_node):
        return "too broken to parse"
    nodes = syntax.all_captures(tree.root_node, language, TABLE[language].everything)
    units, refused = _units(nodes.get("u", []), source, language, budget)
    if tree.root_node.has_error:
        units = _with_pieces(units, text, language, budget)
    prototypes = tuple(_prototypes(nodes.get("p", []), source, language, budget))
    asides = tuple(_asides(nodes.get("a", []), source)) if language not in SECTIONS else ()
    if budget.spent:
        return "too slow to parse"
    return Found(tuple(units), prototypes, tuple(refused), asides)


def _units(
    nodes: list[Node], source: bytes, language: str, budget: syntax.Budget
) -> tuple[list[Unit], list[range]]:
    """Return units, and the lines of what is none."""
    units: list[Unit] = []
    refused: list[range] = []
    ends = 0
    for node in nodes[:_MOST_UNITS]:
        if budget.spent:
            break
        if node.start_byte < ends:
            continue
        name = name_of(node, source, language)
        if name is None and language in SECTIONS:
            continue
        unit = _unit(node, name, source, language, budget) if name is not None else None
        if unit is None:
            # What looks like one broken function may hold whole ones.
            refused.append(_rows(_outer(node, language)))
        else:
            units.append(unit)
            ends = node.end_byte
    return units, refused


def _with_pieces(units: list[Unit], text: str, language: str, budget: syntax.Budget) -> list[Unit]:
    """Return units with those that are found in the pieces of a broken file."""
    taken = bytearray(text.count("\n") + 1)
    for unit in units:
        taken[unit.doc_line - 1 : unit.last_line] = b"\1" * (unit.last_line - unit.doc_line + 1)
    added: list[Unit] = []
    for first_row, piece in pieces(text, language, taken):
        if budget.spent or len(added) == _MOST_UNITS:
            break
        source = piece.encode("utf-8", "replace")
        tree = syntax.parse(source, language, budget)
        if tree is None or syntax.is_shattered(tree.root_node):
            continue
        nodes = syntax.captures(tree.root_node, language, TABLE[language].units, "u")
        for unit in _units(nodes, source, language, budget)[0]:
            rows = slice(first_row + unit.doc_line - 1, first_row + unit.last_line)
            if not any(taken[rows]):
                taken[rows] = b"\1" * (unit.last_line - unit.doc_line + 1)
                added.append(
                    replace(
                        unit,
                        first_line=unit.first_line + first_row,
                        last_line=unit.last_line + first_row,
                        doc_line=unit.doc_line + first_row,
                    )
                )
    return sorted([*units, *added], key=lambda unit: unit.first_line)


def _asides(nodes: list[Node], source: bytes) -> Iterator[range]:
    """Yield runs of comments that are long block comments, or speak of rights."""
    run: list[Node] = []
    for node in nodes:
        if run and node.start_point.row > run[-1].end_point.row + 1:
            yield from _aside(run, source)
            run = []
        run.append(node)
    if run:
        yield from _aside(run, source)


def _aside(run: list[Node], source: bytes) -> Iterator[range]:
    lines = range(run[0].start_point.row + 1, run[-1].end_point.row + 2)
    words = source[run[0].start_byte : run[-1].end_byte]
    is_long = words.startswith((b"/*", b"--[[")) and len(lines) >= _LONG_COMMENT_LINES
    if is_long or _RIGHTS.search(words):
        yield lines


def _rows(node: Node) -> range:
    return range(node.start_point.row + 1, node.end_point.row + 2)


def _outer(node: Node, language: str) -> Node:
    """Return a node with the decorators or template around it."""
    while node.parent is not None and node.parent.type in TABLE[language].wrappers:
        node = node.parent
    return node


def _unit(node: Node, name: str, source: bytes, language: str, budget: syntax.Budget) -> Unit | None:
    outer = _outer(node, language)
    start, row = _start(outer, source, language)
    if language in ("c", "cpp") and _is_continued(start, source):
        return None
    margin = _margin(start, source)
    doc, doc_line = _doc(outer, row, source, language)
    text = _dedented(source[start : outer.end_byte], margin)
    tree = _gate(text, language, budget)
    if tree is None and start < outer.start_byte:
        # An attribute macro that the grammar does not take is left out, and the rest may be whole.
        start, row = outer.start_byte, outer.start_point.row
        text = _dedented(source[start : outer.end_byte], margin)
        tree = _gate(text, language, budget)
    if tree is None:
        return None
    body = _body(node)
    header = source[start : body.start_byte] if body else source[start : outer.end_byte].partition(b"\n")[0]
    body_at = body.start_point.row - row if body else 1
    docless, least = text, body_at
    if language == "python" and body is not None:
        inner = _docstring(body, source)
        if inner is not None:
            doc, docless = comments.spoken(inner[0]), _without(text, inner[1], row)
            least = inner[1].stop - row
    raw = text.encode()
    return Unit(
        language=language,
        name=name,
        is_function=language not in SECTIONS,
        signature=_dedented(header, margin).rstrip(),
        text=text.rstrip(),
        body_at=body_at,
        doc=doc,
        docless=docless.rstrip(),
        first_line=row + 1,
        last_line=row + len(text.rstrip().split("\n")),
        doc_line=doc_line,
        calls=calls(tree.root_node, raw, language),
        parts=neighbours(tree.root_node, raw.split(b"\n"), max(least, 1)),
    )


def _is_continued(start: int, source: bytes) -> bool:
    """Say whether a unit stands in a macro: the line above it goes on."""
    line = source.rfind(b"\n", 0, start)
    return line > 0 and source[line - 1 : line] == b"\\"


def _gate(text: str, language: str, budget: syntax.Budget) -> Tree | None:
    """Hold a unit's text to the gate; a member of JSON needs its braces."""
    whole = f"{{{text}}}" if language == "json" else text
    return syntax.gated(whole.encode(), language, budget)


def _body(node: Node) -> Node | None:
    body = node.child_by_field_name("body")
    if body is None and node.type == "assignment_statement":
        found = [child for child in node.named_children if child.type == "expression_list"]
        body = found[0].named_children[0].child_by_field_name("body") if found else None
    if body is None:
        return None
    initialisers = [child for child in node.named_children if child.type == "field_initializer_list"]
    return initialisers[0] if initialisers else body


def _start(node: Node, source: bytes, language: str) -> tuple[int, int]:
    """Return where a unit begins, byte and row, with the attribute macros before it."""
    start = node.start_byte
    if language in ("c", "cpp"):
        line = source.rfind(b"\n", 0, start) + 1
        above = source.rfind(b"\n", 0, max(line - 1, 0)) + 1
        found = _ATTRIBUTES_BEFORE.search(source[above:start])
        start = above + found.start(1) if found else start
    return start, node.start_point.row - source.count(b"\n", start, node.start_byte)


def _margin(start: int, source: bytes) -> bytes:
    """Return the indentation before a unit."""
    before = source[source.rfind(b"\n", 0, start) + 1 : start]
    return before if not before.strip() else b""


def _dedented(raw: bytes, margin: bytes) -> str:
    if margin:
        raw = raw.replace(b"\n" + margin, b"\n")
    return raw.decode("utf-8", "replace")


def _doc(node: Node, row: int, source: bytes, language: str) -> tuple[str, int]:
    """Return what the comment right above a unit says, and its first line.

    A blank line between them, or code before it on its line, and the comment is about something else.
    """
    above: list[Node] = []
    first = row
    for sibling in syntax.before(node):
        last = sibling.end_point.row - (
            sibling.end_point.column == 0 and sibling.end_byte > sibling.start_byte
        )
        if (
            sibling.type not in TABLE[language].comments
            or last != row - 1
            or not _opens_line(sibling, source)
        ):
            break
        above.append(sibling)
        row = sibling.start_point.row
    raw = "\n".join(text_of(comment, source) for comment in reversed(above))
    if not raw or len(raw) > _COMMENT_CHARS:
        return "", first + 1
    doc = comments.prose(raw, language)
    return doc, row + 1


def _opens_line(node: Node, source: bytes) -> bool:
    line = source.rfind(b"\n", 0, node.start_byte) + 1
    return not source[line : node.start_byte].strip()


def _docstring(body: Node, source: bytes) -> tuple[str, range] | None:
    """Return a docstring's words and the rows it takes."""
    first = body.named_children[0] if body.named_children else None
    string = first
    if first is not None and first.type == "expression_statement" and first.named_children:
        string = first.named_children[0]
    if first is None or string is None or string.type != "string":
        return None
    said = [child for child in string.named_children if child.type == "string_content"]
    words = "".join(text_of(child, source) for child in said)
    return words, range(first.start_point.row, first.end_point.row + 1)


def _without(text: str, rows: range, first: int) -> str:
    return "\n".join(line for number, line in enumerate(text.split("\n"), first) if number not in rows)


def _prototypes(
    nodes: list[Node], source: bytes, language: str, budget: syntax.Budget
) -> Iterator[Prototype]:
    for node in nodes[:_MOST_UNITS]:
        if budget.spent:
            return
        name = declared_name(node, source, language)
        if name is None or node.has_error:
            continue
        start, row = _start(node, source, language)
        doc, _ = _doc(node, row, source, language)
        if doc:
            text = _dedented(source[start : node.end_byte], _margin(start, source))
            yield Prototype(language, name, text, doc, row + 1, node.end_point.row + 1)
