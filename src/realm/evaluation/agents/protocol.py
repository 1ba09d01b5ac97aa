"""How a model uses tools: one JSON object a turn, and what it is told about that.

A turn holds exactly one call, either as the whole text or in the one fenced block of it:

    ```json
    {"tool": "run", "args": {"command": "git status"}}
    ```
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from realm.core.config import first_problem
from realm.core.errors import DataError, RefusedError
from realm.core.hashing import canonical_json
from realm.core.records import Record
from realm.core.text import printable
from realm.corpus.files import lines

LONGEST_TURN = 64_000
"""Characters of one turn; a longer one is no call."""
_DEPTH = 16
_FENCE = "```"


class Run(Record):
    """Run one command, without a shell."""

    class Args(Record):
        """Its command line."""

        command: str

    tool: Literal["run"] = "run"
    args: Args


class ReadFile(Record):
    """Read a text file of the work folder."""

    class Args(Record):
        """Where it lies, from the work folder on."""

        path: str

    tool: Literal["read_file"] = "read_file"
    args: Args


class WriteFile(Record):
    """Write a whole text file of the work folder."""

    class Args(Record):
        """Where it lies, and all of its text."""

        path: str
        content: str

    tool: Literal["write_file"] = "write_file"
    args: Args


class Finish(Record):
    """End the work, with an answer where one was asked for."""

    class Args(Record):
        """The answer; may be empty."""

        answer: str = ""

    tool: Literal["finish"] = "finish"
    args: Args = Args()


ToolCall = Annotated[Run | ReadFile | WriteFile | Finish, Field(discriminator="tool")]

_CALL: TypeAdapter[ToolCall] = TypeAdapter(ToolCall)

INSTRUCTIONS = """\
You work with tools. Answer every turn with exactly one call: a JSON object in a fenced block, such as

```json
{"tool": "run", "args": {"command": "git status"}}
```

Tools:
- run {"command"}: one command, no shell: no pipes, redirections or variables
- read_file {"path"}: a text file of the work folder
- write_file {"path", "content"}: writes the whole file
- finish {"answer"}: ends the work; the answer may be empty

You are in the work folder, a git repository whose remote is called origin. bd keeps the work items and gt \
speaks to the town."""


def parse(answer: str) -> ToolCall:
    """Read the call in a turn. Raises RefusedError saying what is wrong with it."""
    if len(answer) > LONGEST_TURN:
        raise RefusedError(f"a turn has at most {LONGEST_TURN:,} characters")
    try:
        row = lines.parse(_json(answer).encode(errors="surrogatepass"), _DEPTH)
    except DataError as error:
        raise RefusedError(f"the call is no valid JSON: {printable(error.reason, 200)}") from None
    try:
        return _CALL.validate_python(row)
    except ValidationError as error:
        raise RefusedError(f"not a call: {first_problem(error)}") from None


def written(call: Run | ReadFile | WriteFile | Finish) -> str:
    """Return the turn that makes a call."""
    value: Any = call.model_dump(mode="json")
    return f"{_FENCE}json\n{canonical_json(value)}\n{_FENCE}"


def _json(answer: str) -> str:
    """Return the JSON text of a turn: all of it, or its one fenced block."""
    text = answer.strip()
    if text.startswith("{"):
        return text
    blocks: list[list[str]] = []
    within = False
    for line in text.split("\n"):
        if line.strip().startswith(_FENCE):
            if not within:
                blocks.append([])
            within = not within
        elif within:
            blocks[-1].append(line)
    if within:
        raise RefusedError("a fenced block that does not end")
    if len(blocks) != 1:
        raise RefusedError(f"{len(blocks)} fenced blocks; exactly one call a turn is expected")
    return "\n".join(blocks[0])
