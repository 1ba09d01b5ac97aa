"""Every row of code is whole by its grammar, says where it is from, and depends on its place alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.corpus.code import comments, syntax
from realm.corpus.code.markdown import blocks
from realm.corpus.code.units import Found, Unit, find
from realm.corpus.code.wording import QUESTIONS, question
from realm.corpus.document import Document, Origin
from realm.corpus.shaper import Row
from realm.corpus.shapers.code import Code
from realm.corpus.tally import Tally

C = """/* Licence and copyright of somebody. */
#include <stdio.h>

typedef struct { int x; } Point;

/** Move a point to the right by some steps.
 *
 * @param point The point to move.
 * @param steps How far, in cells.
 * @return The new place of it.
 */
LIB_API
int point_move(Point *point, int steps)
{
    point->x += steps;
    print_point(point);
    log_steps(steps);
    return point->x;
}

int broken(int a { return a; }

static int
half(int a)
{
    return a / 2;
}
"""
SAMPLES = {
    "c": C,
    "cpp": """class A {
public:
    /// Adds one value to the sum.
    template <typename T>
    void add(T value) {
        sum += value;
        sum += 0;
    }
};
A::A() : sum(0) {
    go();
}
""",
    "gdscript": """extends Node

var speed := 1.0


## Called by the engine for each frame, see [member speed].
func _process(delta: float) -> void:
\tvar step := speed * delta
\tposition.x += step
\tmove(step)
""",
    "go": """package a

// Sum adds two numbers up.
func Sum(a, b int) int {
\tc := a + b
\treturn c
}
""",
    "lua": """--- Says hello to the one named.
local function hello(name)
    local text = 'hi ' .. name
    print(text)
end

function M.two()
    return 2
end

M.three = function()
    return 3
end
""",
    "python": """import os


class A:
    @property
    def size(self) -> int:
        \"\"\"Return how many there are.

        Never below zero.
        \"\"\"
        found = os.listdir()
        return len(found)
""",
    "bash": """# Remove all built files again.
clean() {
  local dir=$1
  rm -r "$dir"
  echo done
}
""",
    "toml": """# Where the program listens for others.
[server]
port = 1
host = "a"

[[rule]]
name = "b"
x = 2
""",
    "json": """{"a": {
  "b": 1,
  "c": 2
}, "d": 3}
""",
}
NAMES = {
    "c": ["point_move", "half"],
    "cpp": ["A::add", "A::A"],
    "gdscript": ["_process"],
    "go": ["Sum"],
    "lua": ["hello", "M.two", "M.three"],
    "python": ["A.size"],
    "bash": ["clean"],
    "toml": ["server", "rule"],
    "json": ["a"],
}
MANUAL = """# Guide

## Moving

To move a point, call the function with the steps.

```c
int main(void) { return 0; }
```

```python
def broken(:
```

~~~~go
package a
~~~~

## Bare

```c
int x;
```

```yaml
a: 1
```

```c
unclosed
"""


def document(text: str, language: str | None, path: str = "src/a.x", **origin: object) -> Document:
    return Document(
        id=path,
        form="text",
        text=text,
        language=language,
        tags={"domain": "demo"},
        group=path,
        origin=Origin.model_validate(
            {"source": "s", "kind": "repo", "path": path, "licence": "MIT", "commit": "c" * 40, **origin}
        ),
    )


def shape(*documents: Document, **settings: object) -> tuple[list[Row], dict[str, int]]:
    tally = Tally()
    rows = list(Code(Code.Config.model_validate(settings)).shape(documents, tally))
    return rows, {reason.reason: reason.count for reason in tally.reasons()}


def units(text: str, language: str) -> tuple[Unit, ...]:
    found = find(text, language)
    assert isinstance(found, Found)
    return found.units


def answer(row: Row) -> str:
    return row.example.messages[-1].content


def asked(row: Row) -> str:
    return row.example.messages[-2].content


def by_task(rows: list[Row], task: str) -> list[Row]:
    return [row for row in rows if row.example.tags["task"] == task]


def unfenced(text: str) -> str:
    found = re.fullmatch(r"```\w*\n(.*)\n```", text, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("language", SAMPLES)
def test_units_of_every_language(language: str) -> None:
    text = SAMPLES[language]
    found = units(text, language)
    assert [unit.name for unit in found] == NAMES[language]
    lines = text.split("\n")
    for unit in found:
        here = "\n".join(lines[unit.first_line - 1 : unit.last_line])
        assert re.sub(r"\s+", "", unit.text) in re.sub(r"\s+", "", here)
        assert language == "json" or syntax.parses(unit.text, language)
        assert unit.text.startswith(unit.signature)
    docs = [unit for unit in found if unit.doc]
    assert len(docs) == (0 if language == "json" else 1)


def test_a_broken_function_costs_no_other_one() -> None:
    found = find(C, "c")
    assert isinstance(found, Found)
    assert [unit.name for unit in found.units] == ["point_move", "half"]
    whole = found.units[0]
    assert (
        whole.signature == "LIB_API\nint point_move(Point *point, int steps)"
        or whole.signature.startswith("int")
    )
    assert [call.shown for call in whole.calls] == ["print_point", "log_steps"]
    assert whole.doc == (
        "Move a point to the right by some steps.\n\n- `point`: The point to move.\n"
        "- `steps`: How far, in cells.\nReturns: The new place of it."
    )


@pytest.mark.parametrize(
    ("comment", "language", "said"),
    [
        ("// Adds two numbers up.\n// Never fails.", "c", "Adds two numbers up.\nNever fails."),
        ("/** @brief Adds two numbers.\n * @see other */", "c", "Adds two numbers."),
        ("## Moves [param body] up.[br]Then stops.", "gdscript", "Moves `body` up.\nThen stops."),
        ("--[[ Adds two numbers up. ]]", "lua", "Adds two numbers up."),
        ("// Copyright 2020 by all of us", "c", ""),
        ("// -------------------------", "c", ""),
        ("// int a = b;\n// a = c + d;", "c", ""),
        ("# TODO: write this function", "python", ""),
        ("// see https://example.org/a/b/c/d", "c", ""),
        ("/** @file a.c of the library */", "c", ""),
    ],
)
def test_what_a_comment_says(comment: str, language: str, said: str) -> None:
    assert comments.prose(comment, language) == said


def test_a_comment_elsewhere_is_no_doc() -> None:
    for above in ("// About something quite else.\n\n", "int a; // about the line before it\n"):
        (unit,) = units(above + "int f(void)\n{\n    return 1;\n}\n", "c")
        assert unit.doc == ""


def test_rows_of_one_function() -> None:
    rows, reasons = shape(document(C, "c"), min_lines=5)
    first = [row for row in rows if row.origin.last_line == 19 or "point_move" in answer(row) + asked(row)]
    tasks = [row.example.tags["task"] for row in first]
    assert tasks == ["doc_to_body", "signature_to_body", "explain", "fill_in"]
    assert reasons["code: a function does not parse by itself"] >= 1
    for row in first:
        assert row.example.tags["language"] == "c"
        assert row.example.tags["domain"] == "demo"
        assert (row.origin.licence, row.origin.commit, row.origin.path) == ("MIT", "c" * 40, "src/a.x")
        assert (row.document, row.group, row.shaper) == ("src/a.x", "s/src/a.x", "code@2")
        assert [turn.role for turn in row.example.messages] == ["user", "assistant"]
    body, signature, explained, filled = first
    assert "How far, in cells." in asked(body)
    assert answer(body) == answer(signature)
    assert syntax.parses(unfenced(answer(body)), "c")
    assert "typedef struct { int x; } Point;" in asked(signature)
    assert "copyright" not in asked(signature)
    assert "point->x += steps" not in asked(signature)
    assert "point->x += steps" in asked(explained)
    assert answer(explained).startswith("Move a point to the right")
    assert "How far" not in asked(explained)
    gapped = re.search(r"```c\n(.*)\n```", asked(filled), re.DOTALL)
    assert gapped is not None
    margin = re.search(r"^[ \t]*<GAP>$", gapped.group(1), re.M)
    assert margin is not None
    assert gapped.group(1).replace(margin.group(), unfenced(answer(filled))) == unfenced(answer(body))


def test_a_docstring_is_not_in_the_code_it_explains() -> None:
    rows, _ = shape(document(SAMPLES["python"], "python"))
    (row,) = by_task(rows, "explain")
    assert answer(row) == "Return how many there are.\n\nNever below zero."
    assert "how many" not in asked(row)
    assert "os.listdir()" in asked(row)


def test_switches_caps_and_lengths() -> None:
    off = {"doc_to_body": 0, "explain": 0, "fill_in": 0, "usage": 0, "cross_file": 0}
    rows, _ = shape(document(C, "c"), **off)
    assert {row.example.tags["task"] for row in rows} == {"signature_to_body"}
    several, _ = shape(document(C, "c"), **(off | {"signature_to_body": 3}))
    assert len({asked(row) for row in several}) == len(several) == 3 * len(rows)
    capped, reasons = shape(document(C, "c"), per_function=1)
    assert len(capped) == len(rows)
    assert reasons["code: over the cap of a function"] == 3
    none, reasons = shape(document(C, "c"), min_lines=50)
    assert (none, reasons["code: a unit too short"]) == ([], 2)
    none, reasons = shape(document(C, "c"), max_lines=3)
    assert (none, reasons["code: a unit too long"]) == ([], 2)


def test_the_system_prompt_is_that_of_the_domain() -> None:
    rows, _ = shape(document(C, "c"), domains={"demo": "You know it."}, system="other")
    assert {row.example.messages[0].content for row in rows} == {"You know it."}
    rows, _ = shape(document(C, "c"), domains={"else": "You know it."}, system="other")
    assert {row.example.messages[0].content for row in rows} == {"other"}


CALLER = "int use(Point *p)\n{\n    int a = measure_point(p);\n    return a;\n}\n"
CALLEE = "int measure_point(Point *p)\n{\n    int b = p->x;\n    return b;\n}\n"
HEADER = "/* Tell how far a point is from the origin. */\nint measure_point(Point *p);\n"


def test_a_call_meets_its_definition_of_another_file() -> None:
    files = (
        document(CALLER, "c", "a.c"),
        document(CALLEE, "c", "b.c", licence="Zlib"),
        document(HEADER, "c", "b.h"),
    )
    rows, _ = shape(*files)
    crossed = by_task(rows, "cross_file")
    assert len(crossed) == 2
    call = next(row for row in crossed if row.example.tags["with"] != "b.h:2-2")
    assert {call.origin.path, str(call.example.tags["with"])} in ({"a.c", "b.c:1-5"}, {"b.c", "a.c:1-5"})
    assert call.origin.licence == "MIT AND Zlib"
    assert call.group == f"s/{call.origin.path}"
    assert {call.group, *call.also} == {"s/a.c", "s/b.c"}
    header = next(row for row in crossed if row.example.tags["with"] == "b.h:2-2")
    assert "how far a point is" in asked(header)
    assert unfenced(answer(header)) == CALLEE.strip()
    for same in (
        (document(CALLER + CALLEE, "c", "a.c"),),
        (
            *files,
            document(CALLEE, "c", "c.c"),
        ),
    ):
        rows, _ = shape(*same)
        assert not [r for r in by_task(rows, "cross_file") if r.example.tags["with"] != "b.h:2-2"]


def test_what_is_too_much_to_hold_is_counted() -> None:
    many = [document(CALLER.replace("use", f"use_{n}"), "c", f"{n}.c") for n in range(1200)]
    _, reasons = shape(*many, held_mb=1)
    assert 0 < reasons["no room to join files"] < 1200


def test_examples_answer_how_a_call_is_used() -> None:
    rows, _ = shape(document(CALLER, "c", "examples/a.c"), document(CALLEE, "c", "src/b.c"))
    (row,) = by_task(rows, "usage")
    assert "`measure_point`" in asked(row)
    assert unfenced(answer(row)) == CALLER.strip()
    assert not by_task(shape(document(CALLER, "c", "lib/a.c"))[0], "usage")
    assert by_task(shape(document(CALLER, "c", "lib/a.c"), examples=["*"])[0], "usage")


def test_code_blocks_of_a_manual() -> None:
    rows, reasons = shape(document(MANUAL, "markdown", "guide.md"))
    assert [(row.origin.first_line, row.origin.last_line) for row in rows] == [(7, 9), (15, 17)]
    assert "Guide / Moving" in asked(rows[0])
    assert "call the function with the steps" in asked(rows[1])
    assert answer(rows[1]) == "```go\npackage a\n```"
    assert reasons == {
        "code: a block does not parse": 1,
        "code: a block without heading or prose": 1,
        "code: a block without a gated language": 1,
    }
    assert shape(document(MANUAL, "markdown"), markdown=False) == ([], {})


def test_other_documents_are_counted() -> None:
    record = Document(id="r", form="record", fields={"a": 1}, origin=Origin(source="s", kind="beads"))
    rows, reasons = shape(record, document("a: 1", "yaml"), document("words", None), document("int a;", "c"))
    assert rows == []
    assert reasons == {
        "code: not a text": 1,
        "code: a language without a grammar": 2,
        "code: no function or section": 1,
    }


def test_the_same_documents_give_the_same_rows() -> None:
    files = [document(text, language, f"{language}.x") for language, text in SAMPLES.items()]
    assert shape(*files) == shape(*files)
    moved = shape(document(C, "c", "elsewhere.c"))[0]
    here = shape(document(C, "c"))[0]
    assert [answer(row) for row in by_task(moved, "explain")] == [
        answer(row) for row in by_task(here, "explain")
    ]


def test_wordings_differ_until_all_are_used() -> None:
    words = {name: name for name in ("language", "name", "doc", "path", "signature", "code", "gap", "call",
                                     "other", "definition", "heading", "prose")}  # fmt: skip
    for kind, wordings in QUESTIONS.items():
        asked = {question(kind, turn, ("s", "p", 1), **words) for turn in range(len(wordings))}
        assert len(asked) == len(wordings) >= 3


HOSTILE = {
    "one line": "a b " * 250_000,
    "open brackets": "(" * 1_000_000,
    "open comments": "/*/*/*/*/*\n" * 10_000,
    "errors": "a a a a < <\n" * 10_000,
    "NUL": "int a;\0" * 1000,
    "fences": "```\n" * 25_000,
    "headings": "#" * 1_000_000,
    "steps": "".join(" " * depth + "if x:\n" for depth in range(700)),
    "quotes": "'\"`" * 3000 + "\n",
    "prototypes": "int f(int a);\n" * 10_000,
    "functions": "f() { a; }\n" * 10_000,
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("language", ["lua", "bash", "c", "markdown"])
def test_no_text_hangs(case: str, language: str) -> None:
    rows, reasons = shape(document(HOSTILE[case], language))
    assert rows or reasons or language == "markdown"


def test_hostile_texts_are_refused_by_reason() -> None:
    assert find("int a;\0", "c") == "holds NUL"
    assert find("(" * 300, "c") == "nested too deep to parse"
    assert find("a" * 20_000, "c") == "a line too long to parse"
    assert find("a\n" * 600_000, "c") == "too long to parse"
    assert find("/*/*/*/*/*\n" * 20_000, "lua") == "too slow to parse"
    assert find("```\n" * 40_000, "bash") == "too broken to parse"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_cut_and_mixed_code_gives_only_whole_rows(language: str, data: st.DataObject) -> None:
    text = SAMPLES[language]
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(0, len(text)))
    noise = data.draw(st.text(max_size=20))
    rows, _ = shape(document(text[:at] + noise + text[end:], language))
    for row in by_task(rows, "doc_to_body") + by_task(rows, "signature_to_body"):
        code = answer(row).split("\n", 1)[1].rpartition("\n")[0]
        assert syntax.parses(code, language)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["```c\n", "~~~\n", "# A\n", "words here\n", "    ```\n", "`` `\n", "\n", "|a|\n"])
    )
)
def test_any_markdown_gives_closed_blocks(lines: list[str]) -> None:
    text = "".join(lines)
    count = text.count("\n") + 1
    for block in blocks(text):
        assert block.code.strip()
        assert 1 <= block.first_line < block.last_line <= count


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.sampled_from(sorted(SAMPLES)))
def test_any_comment_has_some_prose(text: str, language: str) -> None:
    comments.prose(text, language)
    assert comments.spoken(text) == comments.spoken(text).strip()
