"""The names of units, with the class or table that they belong to, and of what they call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from realm.corpus.code import syntax
from realm.corpus.code.grammars import TABLE

if TYPE_CHECKING:
    from tree_sitter import Node

_NAME = re.compile(r"~?[A-Za-z_$][\w$]*|operator\s*\S{1,12}")
_NO_NAMES = frozenset({"if", "for", "while", "switch", "catch", "return", "sizeof", "defined", "else", "do"})
_RECEIVER = re.compile(rb"(?:\b([A-Za-z_]\w{0,63})[ \t]*)?(\.|->|::|:)[ \t]*\Z")
_RECEIVER_BYTES = 120
_OWNER_CHARS = 60
_MOST_CALLS = 200


class Call(NamedTuple):
    """One thing that is called."""

    name: str
    receiver: str
    """Word before it: a variable, class, table or module. Empty for a plain call, `?` where it is no word."""
    joint: str
    """`.`, `->`, `::`, `:` or nothing."""

    @property
    def shown(self) -> str:
        """Return the call as it is written, without its arguments."""
        return self.name if self.receiver in ("", "?") else f"{self.receiver}{self.joint}{self.name}"


def name_of(node: Node, source: bytes, language: str) -> str | None:
    """Return the name of a unit, or None where it cannot be one."""
    name = _own_name(node, source, language)
    return name if name is None else _with_owner(node, name, source, language)


def declared_name(node: Node, source: bytes, language: str) -> str | None:
    """Return the name of a function of C or C++, or None where none is declared."""
    name = _declared(node, source)
    return name if name is None else _with_owner(node, name, source, language)


def last(name: str) -> str:
    """Return a name without its class or table."""
    return name.replace("::", ".").replace(":", ".").rpartition(".")[2]


def owner(name: str) -> str:
    """Return the innermost class or table of a name, or nothing."""
    return last(name.replace("::", ".").replace(":", ".").rpartition(".")[0])


def calls(root: Node, source: bytes, language: str) -> tuple[Call, ...]:
    """Return what is called, each name once, in the order of the text."""
    query = TABLE[language].calls
    found: dict[str, Call] = {}
    for node in syntax.captures(root, language, query, "c") if query else ():
        name = text_of(node, source)
        if name not in found and len(found) < _MOST_CALLS:
            before = source[max(node.start_byte - _RECEIVER_BYTES, 0) : node.start_byte]
            joined = _RECEIVER.search(before)
            receiver = (joined.group(1) or b"?").decode() if joined else ""
            found[name] = Call(name, receiver, joined.group(2).decode() if joined else "")
    return tuple(found.values())


def text_of(node: Node, source: bytes) -> str:
    """Return the text of a node."""
    return source[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _own_name(node: Node, source: bytes, language: str) -> str | None:
    if language in ("c", "cpp"):
        return _declared(node, source)
    if language == "json":
        key = node.child_by_field_name("key")
        large = node.end_point.row > node.start_point.row + 1
        return text_of(key, source).strip('"') if key is not None and large else None
    if language == "toml":
        keys = [c for c in node.named_children if c.type in ("bare_key", "dotted_key", "quoted_key")]
        return text_of(keys[0], source) if keys else None
    if node.type == "constructor_definition":
        return "_init"
    if node.type == "assignment_statement":
        return text_of(node.named_children[0], source) if node.named_children else None
    named = node.child_by_field_name("name")
    return text_of(named, source) if named is not None else None


def _declared(node: Node, source: bytes) -> str | None:
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
    name = text_of(named, source)
    bare = name.rpartition("::")[2].strip()
    if not _NAME.match(bare) or bare in _NO_NAMES:
        return None
    return name


def _with_owner(node: Node, name: str, source: bytes, language: str) -> str:
    grammar = TABLE[language]
    if node.type == "method_declaration":
        return _receiver_type(node, source) + name
    around = node.parent if grammar.owners else None
    while around is not None:
        named = around.child_by_field_name("name") if around.type in grammar.owners else None
        if named is not None:
            shown = text_of(named, source)
            if "\n" not in shown and len(shown) <= _OWNER_CHARS:
                name = f"{shown}{grammar.joint}{name}"
        around = around.parent
    return name


def _receiver_type(node: Node, source: bytes) -> str:
    """Return the type that a method of Go belongs to, and a dot."""
    receiver = node.child_by_field_name("receiver")
    words = re.findall(r"[A-Za-z_]\w*", text_of(receiver, source).partition("[")[0]) if receiver else []
    return f"{words[-1]}." if words else ""
