"""Units: the functions of a file, each with its signature, doc comment and calls.

Where a file as a whole does not parse (macros break half of all C files), its functions are still found
and each is held to the syntax gate alone. TOML's tables and JSON's larger members are units too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from realm.corpus.code import comments, syntax

if TYPE_CHECKING:
    from tree_sitter import Node, Tree


class _Grammar(NamedTuple):
    """What one language calls the things looked for."""

    units: str
    calls: str = ""
    comments: tuple[str, ...] = ("comment",)
    wrappers: tuple[str, ...] = ()
    """Nodes around a unit that belong to it: decorators, templates."""


_C_CALLS = "(call_expression function: (identifier) @c)"
_GRAMMARS: dict[str, _Grammar] = {
    "bash": _Grammar("(function_definition) @u", "(command name: (command_name (word) @c))"),
    "c": _Grammar("(function_definition) @u", _C_CALLS),
    "cpp": _Grammar(
        "(function_definition) @u",
        _C_CALLS
        + "(call_expression function: (field_expression field: (field_identifier) @c))"
        + "(call_expression function: (qualified_identifier name: (identifier) @c))"
        + "(call_expression function: (template_function name: (identifier) @c))"
        + "(call_expression function: (field_expression field: (template_method (field_identifier) @c)))",
        wrappers=("template_declaration",),
    ),
    "gdscript": _Grammar(
        "(function_definition) @u (constructor_definition) @u",
        "(call (identifier) @c) (attribute_call (identifier) @c)",
    ),
    "go": _Grammar(
        "(function_declaration) @u (method_declaration) @u",
        "(call_expression function: (identifier) @c)"
        "(call_expression function: (selector_expression field: (field_identifier) @c))",
    ),
    "json": _Grammar("(document (object (pair) @u)) (document (object (pair (object (pair) @u))))"),
    "lua": _Grammar(
        "(function_declaration) @u(assignment_statement (expression_list value: (function_definition))) @u",
        "(function_call name: (identifier) @c)"
        "(function_call name: (dot_index_expression field: (identifier) @c))"
        "(function_call name: (method_index_expression method: (identifier) @c))",
    ),
    "python": _Grammar(
        "(function_definition) @u",
        "(call function: (identifier) @c) (call function: (attribute attribute: (identifier) @c))",
        wrappers=("decorated_definition",),
    ),
    "toml": _Grammar("(table) @u (table_array_element) @u"),
}
_SECTIONS = frozenset({"json", "toml"})
_PROTOTYPES = "(declaration) @p (field_declaration) @p"
_ATTRIBUTES_BEFORE = re.compile(rb"^[ \t]*((?:" + syntax.ATTRIBUTE + rb"[ \t]*\n?[ \t]*){1,4})\Z", re.M)
_NAME = re.compile(r"~?[A-Za-z_$][\w$]*|operator\s*\S{1,12}")
_NO_NAMES = frozenset({"if", "for", "while", "switch", "catch", "return", "sizeof", "defined", "else", "do"})
_MOST_UNITS = 20_000
_MOST_CALLS = 200
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
    calls: tuple[str, ...]
    """Names of what it calls, each once, in the order of the text."""

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
    reason = syntax.refusal(source)
    if reason is not None:
        return reason
    budget = syntax.Budget(len(source))
    tree = syntax.parse(syntax.unattributed(source, language), language, budget)
    if tree is None:
        return "too slow to parse"
    root, grammar = tree.root_node, _GRAMMARS[language]
    if syntax.is_shattered(root):
        return "too broken to parse"
    units: list[Unit] = []
    refused: list[range] = []
    ends = 0
    for node in syntax.captures(root, language, grammar.units, "u")[:_MOST_UNITS]:
        if budget.spent:
            break
        if node.start_byte < ends:
            continue
        name = _name(node, source, language)
        if name is None and language in _SECTIONS:
            continue
        unit = _unit(node, name, source, language, budget) if name is not None else None
        if unit is None:
            # What looks like one broken function may hold whole ones.
            refused.append(_rows(node))
        else:
            units.append(unit)
            ends = node.end_byte
    prototypes = tuple(_prototypes(root, source, language, budget)) if language in ("c", "cpp") else ()
    asides = tuple(_asides(root, source, language)) if language not in _SECTIONS else ()
    if budget.spent:
        return "too slow to parse"
    return Found(tuple(units), prototypes, tuple(refused), asides)


def _asides(root: Node, source: bytes, language: str) -> Iterator[range]:
    """Yield runs of comments that are long block comments, or speak of rights."""
    run: list[Node] = []
    for node in syntax.captures(root, language, "(comment) @a", "a"):
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


def _unit(node: Node, name: str, source: bytes, language: str, budget: syntax.Budget) -> Unit | None:
    grammar = _GRAMMARS[language]
    outer = node
    while outer.parent is not None and outer.parent.type in grammar.wrappers:
        outer = outer.parent
    start, row = _start(outer, source, language)
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
    docless = text
    if language == "python" and body is not None:
        inner = _docstring(body, source)
        if inner is not None:
            doc, docless = comments.spoken(inner[0]), _without(text, inner[1], row)
    signature = _dedented(header, margin).rstrip()
    return Unit(
        language=language,
        name=name,
        is_function=language not in _SECTIONS,
        signature=signature,
        text=text.rstrip(),
        body_at=body.start_point.row - row if body else 1,
        doc=doc,
        docless=docless.rstrip(),
        first_line=row + 1,
        last_line=row + len(text.rstrip().split("\n")),
        doc_line=doc_line,
        calls=_calls(tree.root_node, language),
    )


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


def _name(node: Node, source: bytes, language: str) -> str | None:
    """Return the name of a unit, or None where it cannot be one."""
    if language in ("c", "cpp"):
        return _declared_name(node, source)
    if language == "json":
        key = node.child_by_field_name("key")
        large = node.end_point.row > node.start_point.row + 1
        return _text(key, source).strip('"') if key is not None and large else None
    if language == "toml":
        keys = [c for c in node.named_children if c.type in ("bare_key", "dotted_key", "quoted_key")]
        return _text(keys[0], source) if keys else None
    if node.type == "constructor_definition":
        return "_init"
    if node.type == "assignment_statement":
        return _text(node.named_children[0], source) if node.named_children else None
    named = node.child_by_field_name("name")
    return _text(named, source) if named is not None else None


def _declared_name(node: Node, source: bytes) -> str | None:
    """Follow a C declarator to its name. C functions have a type, which tells them from macros."""
    declarator = node.child_by_field_name("declarator")
    while declarator is not None and declarator.type not in ("function_declarator", "operator_cast"):
        inner = declarator.child_by_field_name("declarator")
        declarator = inner or next((c for c in declarator.named_children if "declarator" in c.type), None)
    if declarator is None:
        return None
    if declarator.type == "operator_cast":
        return "operator"
    named = declarator.child_by_field_name("declarator")
    if named is None:
        return None
    name = _text(named, source)
    last = name.rpartition("::")[2].strip()
    if not _NAME.match(last) or last in _NO_NAMES:
        return None
    return name


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
            sibling.type not in _GRAMMARS[language].comments
            or last != row - 1
            or not _opens_line(sibling, source)
        ):
            break
        above.append(sibling)
        row = sibling.start_point.row
    raw = "\n".join(_text(comment, source) for comment in reversed(above))
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
    words = "".join(_text(child, source) for child in string.named_children if child.type == "string_content")
    return words, range(first.start_point.row, first.end_point.row + 1)


def _without(text: str, rows: range, first: int) -> str:
    return "\n".join(line for number, line in enumerate(text.split("\n"), first) if number not in rows)


def _calls(root: Node, language: str) -> tuple[str, ...]:
    query = _GRAMMARS[language].calls
    if not query:
        return ()
    found = (node.text for node in syntax.captures(root, language, query, "c"))
    names = dict.fromkeys(name.decode("utf-8", "replace") for name in found if name)
    return tuple(names)[:_MOST_CALLS]


def _prototypes(root: Node, source: bytes, language: str, budget: syntax.Budget) -> Iterator[Prototype]:
    for node in syntax.captures(root, language, _PROTOTYPES, "p")[:_MOST_UNITS]:
        if budget.spent:
            return
        name = _declared_name(node, source)
        if name is None or node.has_error:
            continue
        start, row = _start(node, source, language)
        doc, _ = _doc(node, row, source, language)
        if doc:
            text = _dedented(source[start : node.end_byte], _margin(start, source))
            yield Prototype(language, name, text, doc, row + 1, node.end_point.row + 1)


def _text(node: Node, source: bytes) -> str:
    return source[node.start_byte : node.end_byte].decode("utf-8", "replace")
