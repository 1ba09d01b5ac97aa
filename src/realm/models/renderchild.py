"""Render chat templates away from everything that matters: `python -I renderchild.py`, killable.

A template is a program from outside. It runs here, in Jinja's sandbox, in a process without files,
network clients or an environment, under limits of memory and of CPU time that the kernel enforces.
Requests and answers are JSON lines on standard input and output; the first request names the template.
The process ends with its input. The limit of memory holds on Linux; macOS enforces that of CPU time
alone.

Imports nothing of Realm, so that it starts in a tenth of a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

_CPU_S = 5
_CPU_S_A_CHAT = 0.02
_MEMORY_BYTES = 1 << 30
_LONGEST = 64 << 20
"""Characters of one rendered chat."""
_TODAY = datetime(2024, 7, 26)
"""What templates are told when they ask for the date: the same in training and in asking."""


class Generation(jinja2.ext.Extension):
    """Note where `{% generation %}` blocks are rendered."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own form

    def parse(self, parser: Any) -> nodes.Node:
        """Turn the block into a call that notes it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("note"), [], [], body).set_lineno(line)

    def note(self, caller: Any) -> str:
        """Render the block and remember its characters."""
        text: str = caller()
        pieces, spans = NOTES
        spans.append((sum(map(len, pieces)), text))
        return text


NOTES: tuple[list[str], list[tuple[int, str]]] = ([], [])
"""Pieces rendered so far, and the blocks among them with where they begin, of the chat at hand."""


class Namespace(jinja2.utils.Namespace):
    """A namespace that keeps no underscored names."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _refuse_name(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_name(name)
        super().__setitem__(name, value)


def _refuse_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace keeps no {name!r}")


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment that chat templates are written for."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise
    made.globals["strftime_now"] = _TODAY.strftime
    made.globals["namespace"] = Namespace
    return made


def _raise(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def literals(tree: nodes.Template) -> list[str]:
    """Return the texts that the template searches, cuts or replaces; by these it tells contents apart."""
    found: set[str] = set()
    for node in tree.find_all((nodes.Compare, nodes.Call, nodes.Filter, nodes.Test)):
        if isinstance(node, nodes.Compare) and all(operand.op in ("eq", "ne") for operand in node.ops):
            roles = {const.value for const in node.find_all(nodes.Const)} & {*_ROLES, True, False, None}
            if roles:
                continue
        found |= {const.value for const in node.find_all(nodes.Const) if isinstance(const.value, str)}
    return sorted(text for text in found - _KEYS if text.strip())


_ROLES = ("system", "user", "assistant", "tool", "developer")
_KEYS = frozenset(
    [
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "name",
        "function",
        "arguments",
        "type",
        "text",
        "reasoning_content",
        "thinking",
        "parameters",
        "description",
        "tools",
        "image",
        "video",
        "audio",
    ]
)
"""Keys of messages, which templates ask messages for; they say nothing about contents."""


def render(
    template: jinja2.Template, chat: list[dict[str, str]], variables: dict[str, Any]
) -> dict[str, Any]:
    """Render one chat; return its text and generation spans, or what the template says against it."""
    pieces, spans = NOTES
    pieces.clear()
    spans.clear()
    try:
        size = 0
        for piece in template.generate(messages=chat, tools=None, documents=None, **variables):
            pieces.append(piece)
            size += len(piece)
            if size > _LONGEST:
                return {"error": f"it renders more than {_LONGEST:,} characters"}
    except (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        return {"error": str(error) or type(error).__name__}
    except (MemoryError, RecursionError) as error:
        return {"error": f"it takes too much memory ({type(error).__name__})"}
    text = "".join(pieces)
    if any(not text.startswith(block, begin) for begin, block in spans):
        return {"error": "a generation block is kept in a variable or macro and written elsewhere"}
    return {"text": text, "spans": [(begin, begin + len(block)) for begin, block in spans]}


def _allow_cpu(chats: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + _CPU_S + _CPU_S_A_CHAT * chats) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _confine() -> None:
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    with contextlib.suppress(ValueError, OSError):  # not on macOS
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def main() -> None:
    """Answer requests until the input ends."""
    _confine()
    _allow_cpu(0)
    made = environment()
    first = json.loads(sys.stdin.buffer.readline())
    try:
        tree = made.parse(first["source"])
        template = made.from_string(tree)
    except (jinja2.TemplateError, MemoryError, RecursionError) as error:
        _answer({"error": str(error) or type(error).__name__})
        return
    marked = any(
        isinstance(node.call, nodes.Call) and _notes(node.call) for node in tree.find_all(nodes.CallBlock)
    )
    _answer({"literals": literals(tree), "marked": marked})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _allow_cpu(len(request["chats"]))
        _answer([render(template, chat, request["variables"]) for chat in request["chats"]])


def _notes(call: nodes.Call) -> bool:
    return isinstance(call.node, nodes.ExtensionAttribute) and call.node.identifier == Generation.identifier


def _answer(value: Any) -> None:
    sys.stdout.buffer.write(json.dumps(value).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
