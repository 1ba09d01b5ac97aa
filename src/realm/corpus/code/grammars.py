"""What each grammar calls the things looked for in a file: units, calls, comments, classes."""

from __future__ import annotations

from typing import NamedTuple


class Grammar(NamedTuple):
    """The node types of one language."""

    units: str
    """Query whose captures `u` are functions or sections."""
    calls: str = ""
    """Query whose captures `c` are the names of what is called."""
    comments: tuple[str, ...] = ("comment",)
    wrappers: tuple[str, ...] = ()
    """Nodes around a unit that belong to it: decorators, templates."""
    owners: tuple[str, ...] = ()
    """Nodes around a unit that it is a member of, with a field `name`."""
    joint: str = "."
    """Between the name of an owner and that of its member."""
    prototypes: str = ""
    """Query whose captures `p` may be declared functions without a body."""

    @property
    def everything(self) -> str:
        """Return one query for units, prototypes and comments (`a`)."""
        asides = " ".join(f"({comment}) @a" for comment in self.comments)
        return f"{self.units} {self.prototypes} {asides}"


_C_CALLS = "(call_expression function: (identifier) @c)"
_C_PROTOTYPES = "(declaration) @p (field_declaration) @p"

TABLE: dict[str, Grammar] = {
    "bash": Grammar("(function_definition) @u", "(command name: (command_name (word) @c))"),
    "c": Grammar("(function_definition) @u", _C_CALLS, prototypes=_C_PROTOTYPES),
    "cpp": Grammar(
        "(function_definition) @u",
        _C_CALLS
        + "(call_expression function: (field_expression field: (field_identifier) @c))"
        + "(call_expression function: (qualified_identifier name: (identifier) @c))"
        + "(call_expression function: (template_function name: (identifier) @c))"
        + "(call_expression function: (field_expression field: (template_method (field_identifier) @c)))",
        wrappers=("template_declaration",),
        owners=("class_specifier", "struct_specifier", "union_specifier"),
        joint="::",
        prototypes=_C_PROTOTYPES,
    ),
    "gdscript": Grammar(
        "(function_definition) @u (constructor_definition) @u",
        "(call (identifier) @c) (attribute_call (identifier) @c)",
        owners=("class_definition",),
    ),
    "go": Grammar(
        "(function_declaration) @u (method_declaration) @u",
        "(call_expression function: (identifier) @c)"
        "(call_expression function: (selector_expression field: (field_identifier) @c))",
    ),
    "json": Grammar(
        "(document (object (pair) @u)) (document (object (pair (object (pair) @u))))", comments=()
    ),
    "lua": Grammar(
        "(function_declaration) @u(assignment_statement (expression_list value: (function_definition))) @u",
        "(function_call name: (identifier) @c)"
        "(function_call name: (dot_index_expression field: (identifier) @c))"
        "(function_call name: (method_index_expression method: (identifier) @c))",
    ),
    "python": Grammar(
        "(function_definition) @u",
        "(call function: (identifier) @c) (call function: (attribute attribute: (identifier) @c))",
        wrappers=("decorated_definition",),
        owners=("class_definition",),
    ),
    "toml": Grammar("(table) @u (table_array_element) @u"),
}
SECTIONS = frozenset({"json", "toml"})
"""Languages whose units are sections, not functions."""
EVERYDAY = frozenset(
    {
        "abs", "append", "assert", "ceil", "echo", "enumerate", "error", "exit", "fclose", "float", "floor",
        "fopen", "format", "fprintf", "free", "getattr", "insert", "int", "ipairs", "isinstance", "join",
        "len", "list", "make", "malloc", "max", "memcpy", "memset", "min", "move", "next", "pairs", "panic",
        "pcall", "print", "print_debug", "printf", "printerr", "push_error", "push_warning", "puts", "range",
        "realloc", "require", "setattr", "sizeof", "snprintf", "sorted", "sprintf", "sqrt", "static_assert",
        "str", "strcmp", "strdup", "strlen", "super", "swap", "tonumber", "tostring", "tuple", "type",
        "unpack",
    }
)  # fmt: skip
"""Names that come with a language, which nobody asks an example of a library for."""
