"""What a person who read the rows of real repositories found wrong stays mended."""

from __future__ import annotations

import resource
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_code_shaper import SAMPLES, answer, asked, by_task, document, shape, unfenced, units

from realm.corpus.check import Context
from realm.corpus.checks.syntax import Syntax
from realm.corpus.code import comments, syntax
from realm.corpus.code.languages import language_of
from realm.corpus.code.names import Call
from realm.corpus.code.units import Found, find

WHOLE = {
    "bash": ("one() {{\n  echo {n}\n  ls\n}}\n", "one() {{\n  if {n}; then\n}}\n"),
    "c": ("int f{n}(int a)\n{{\n    return a;\n}}\n", "int f{n}(int a {{ return a; }}\n"),
    "cpp": ("int A::f{n}() const {{\n    return a;\n}}\n", "int A::f{n}(]) const {{ return a; }}\n"),
    "gdscript": ("func f{n}() -> void:\n\tmove()\n\tstop()\n", "func f{n}( -> void:\n\tmove((]\n"),
    "go": ("func f{n}(a int) int {{\n\treturn a\n}}\n", "func f{n}(a int) int {{ return ) }}\n"),
    "lua": ("function f{n}(a)\n  return a\nend\n", "function f{n}(a\n  return ) a\nend\n"),
    "python": ("def f{n}(a):\n    b = a\n    return b\n", "def f{n}(a:\n    return )\n"),
    "toml": ("[t{n}]\na = 1\nb = 2\n", "[u{n}]\na = = 1\nb = 2\n"),
}


@pytest.mark.parametrize("language", WHOLE)
def test_a_broken_function_of_any_language_costs_no_other(language: str) -> None:
    good, broken = WHOLE[language]
    text = good.format(n=1) + "\n" + broken.format(n=2) + "\n" + good.format(n=3)
    found = units(text, language)
    alone = [find(good.format(n=n), language) for n in (1, 3)]
    assert all(isinstance(each, Found) and len(each.units) == 1 for each in alone)
    texts = [unit.text for unit in found]
    assert [good.format(n=n).strip() for n in (1, 3)] == [texts[0], texts[-1]]
    for unit in found:
        assert text.split("\n")[unit.first_line - 1] == unit.text.split("\n")[0]
    assert all(syntax.parses(text, language) for text in texts)
    assert not syntax.parses(broken.format(n=2), language)


BROKEN = [
    ("bash", "two() {{\n  echo 'abc\n  ls\n}}\n"),
    ("c", "int two(int a)\n{{\n    if (a) {{\n    return a;\n}}\n"),
    ("cpp", 'int two(int a)\n{{\n    char *s = "abc;\n    return a;\n}}\n'),
    ("gdscript", "func two():\n\tmove((\n\tstop()\n"),
    ("go", "func two(a int) int {{\n\tif a {{\n\treturn a\n}}\n"),
    ("lua", "function two(a)\n  local x = 'abc\n  return a\nend\n"),
    ("lua", "function two(a)\n  if a then\n    b()\n  return a\nend\n"),
    ("python", "class A:\n    @one\n    def two(a):\n        return (a\n"),
]


@pytest.mark.parametrize(("language", "broken"), BROKEN)
def test_what_is_not_closed_costs_no_other(language: str, broken: str) -> None:
    good, _ = WHOLE[language]
    texts = [good.format(n=n) for n in (1, 3, 4)]
    found = units("\n".join([texts[0], broken.format(), *texts[1:]]), language)
    assert [unit.text for unit in found if "two" not in unit.text] == [text.strip() for text in texts]


def test_methods_behind_a_broken_one_are_found_with_their_comments() -> None:
    text = (
        "class A:\n    def one(self:\n        return )\n\n"
        "    # Tell what is left of it.\n    @held\n    def two(self):\n        a = 1\n        return a\n"
    )
    (unit,) = units(text, "python")
    assert (unit.first_line, unit.last_line, unit.doc) == (6, 9, "Tell what is left of it.")
    assert unit.text == "@held\ndef two(self):\n    a = 1\n    return a"


def test_json_and_code_blocks_are_gated() -> None:
    good = '{"a": {\n "b": 1,\n "c": 2\n}}'
    assert [unit.name for unit in units(good, "json")] == ["a"]
    assert not syntax.parses('{"a": {\n "b": 1,\n "c": \n}', "json")
    both = "# A\n\nThese are some words here.\n\n```lua\nf(\n```\n\n```lua\nf()\n```\n"
    rows, reasons = shape(document(both, "markdown"))
    assert [answer(row) for row in rows] == ["```lua\nf()\n```"]
    assert reasons == {"code: a block does not parse": 1}


@pytest.mark.parametrize(
    ("comment", "language", "said"),
    [
        ("-- ── keeping ────\n-- Keep what is to stay.", "lua", "Keep what is to stay."),
        ("-- ──────────\n-- Update loop (and more)\n-- ──────────", "lua", ""),
        ("# -- Moving about --\n# Move the body on.", "bash", "Move the body on."),
        ("/*******\n * Add two numbers up and give what comes of it to all who ask.\n *******/", "c",
         "Add two numbers up and give what comes of it to all who ask."),
        ("--region #SERVER CALLS", "lua", ""),
        ("--endregion\n--Show a glow around it.", "lua", "Show a glow around it."),
        ("// Return the region of the map.", "c", "Return the region of the map."),
        ("/// Return the licence of a file.", "cpp", "Return the licence of a file."),
        ("// The following functions draw all sorts of shapes.", "c", ""),
        ("# Called when the node enters the scene tree for the first time.", "gdscript", ""),
        ("# Isn't called by anybody at all.", "gdscript", ""),
        ("# Created by warlocks, and by others.", "python", ""),
        ("/** @ingroup shapes\n * Move @p a to the right.\n * @code\n * move(a);\n * @endcode\n */", "c",
         "Move `a` to the right.\n```\nmove(a);\n```"),
    ],
)  # fmt: skip
def test_comments_that_say_something_else(comment: str, language: str, said: str) -> None:
    assert comments.prose(comment, language) == said


def test_fields_of_sphinx_are_written_as_words() -> None:
    said = comments.spoken("Indent a text.\n\n:param text: what to indent\n:return: the same, indented")
    assert said == "Indent a text.\n\n- `text`: what to indent\nReturns: the same, indented"


def test_a_function_within_a_macro_is_none() -> None:
    macro = (
        "#define KEEP(T) \\\nprivate: \\\n"
        "  static void drop(void * /*data*/, T *at) { \\\n    free(at); \\\n  } \\\n"
    )
    (unit,) = units(macro + "\nint f(int a)\n{\n    return a;\n}\n", "cpp")
    assert unit.name == "f"


def test_members_carry_their_class() -> None:
    text = "struct Box {\n    template <class T>\n    int size(T a) const {\n        return a.n;\n    }\n};\n"
    (unit,) = units(text, "cpp")
    assert unit.name == "Box::size"
    assert unit.text.startswith("template <class T>\nint size")
    (unit,) = units("package a\n\nfunc (s *Stack[T]) Push(v T) {\n\ts.n++\n}\n", "go")
    assert unit.name == "Stack.Push"
    (unit,) = units("class Inner:\n\tfunc go():\n\t\tmove()\n\t\tstop()\n", "gdscript")
    assert unit.name == "Inner.go"


def test_calls_are_shown_as_written() -> None:
    body = "    world.make<int>(1);\n    at->go();\n    std::sort(a);\n    f().tail();\n    plain();\n"
    (unit,) = units(f"void f(int a)\n{{\n{body}}}\n", "cpp")
    assert [call.shown for call in unit.calls] == ["world.make", "at->go", "std::sort", "f", "tail", "plain"]
    assert unit.calls[4] == Call("tail", "?", ".")


BRANCHES = {
    "c": """int f(int a)
{
    if (a) {
        first_one(a);
        second_one(a);
    } else {
        third_one(a);
    }
    fourth_one(a);
    return fifth_one(a);
}
""",
    "lua": """function f(a)
    if a then
        first_one(a)
        second_one(a)
    else
        third_one(a)
    end
    fourth_one(a)
    return fifth_one(a)
end
""",
    "gdscript": """func f(a):
\tif a:
\t\tfirst_one(a)
\t\tsecond_one(a)
\telse:
\t\tthird_one(a)
\tfourth_one(a)
\treturn fifth_one(a)
""",
}


@pytest.mark.parametrize("language", BRANCHES)
def test_a_gap_takes_whole_statements(language: str) -> None:
    (unit,) = units(BRANCHES[language], language)
    lines = unit.text.split("\n")
    rows, _ = shape(document(BRANCHES[language], language), fill_in=8, per_function=32)
    gaps = [unfenced(answer(row)) for row in by_task(rows, "fill_in")]
    assert len(set(gaps)) == len(gaps) >= 4
    for gap in gaps:
        assert gap in unit.text
        assert gap.count("{") == gap.count("}")
        assert gap.strip() not in ("end", "}", "else:", "else")
        assert 2 * len(gap.split("\n")) <= len(lines)
        margin = gap[: len(gap) - len(gap.lstrip())]
        filled = unit.text.replace(gap, margin + ("pass" if language == "gdscript" else ""))
        assert "else" in gap or syntax.parses(filled, language)


@pytest.mark.parametrize("language", [*BRANCHES, "json", "toml"])
def test_no_row_is_lost_to_the_check_of_syntax(language: str) -> None:
    texts = {
        **BRANCHES,
        "json": '{"a": {\n  "one": 1,\n  "two": 2,\n  "three": [\n    4\n  ]\n}}',
        "toml": SAMPLES["toml"],
    }
    rows, _ = shape(document(texts[language], language), fill_in=4)
    check = Syntax(Syntax.Config())
    check.begin(Context(syntax=lambda named, code: None if syntax.parses(code, named) else "a syntax error"))
    assert [problem for row in rows for problem in check.see(row)] == []
    assert by_task(rows, "fill_in") or language == "toml"


def test_a_copy_gives_no_second_rows() -> None:
    text = "int one(int a)\n{\n    return other(a);\n}\n"
    files = [document(text, "c", "a/x.c"), document(text.replace("    ", "\t"), "c", "b/x.c")]
    rows, reasons = shape(*files)
    assert {row.origin.path for row in rows} == {"a/x.c"}
    assert reasons["code: a unit seen before"] == 1
    elsewhere = files[1].model_copy(update={"origin": files[1].origin.model_copy(update={"source": "t"})})
    assert len(shape(files[0], elsewhere)[0]) == 2 * len(rows)


def test_an_inline_file_may_be_c() -> None:
    assert language_of("a.inl", "static\nint f(int a) {\n    return a & 1;\n}\n") == "c"
    assert language_of("a.inl", "const Self& g() const {\n    return *this;\n}\n") == "cpp"
    assert language_of("a.inl", "int A::f() {\n    return 1;\n}\n") == "cpp"


def test_the_context_has_no_empty_conditions_and_folds() -> None:
    text = (
        "#include <a.h>\n\n#ifdef WIDE\nint g(int a)\n{\n    return a;\n}\n#endif\n\n"
        "int f(int a)\n{\n    return a;\n}\n"
    )
    last = [
        row for row in by_task(shape(document(text, "c"))[0], "signature_to_body") if "int f" in answer(row)
    ]
    assert "#include <a.h>" in asked(last[0])
    assert "WIDE" not in asked(last[0])
    lua = "local a = 1\n--region #INIT\n--endregion\nfunction f(b)\n  return a + b\nend\n"
    (row,) = by_task(shape(document(lua, "lua"))[0], "signature_to_body")
    assert "region" not in asked(row)


def test_the_context_begins_with_something_whole() -> None:
    table = "static int kept[] = {\n" + "    12345,\n" * 60 + "};\n\nint after;\n\n"
    text = table + "int f(int a)\n{\n    int b = a;\n    return b;\n}\n"
    (row,) = by_task(shape(document(text, "c"))[0], "signature_to_body")
    assert "int after;" in asked(row)
    assert "12345" not in asked(row)


def crossed(*files: tuple[str, str, str]) -> list[str]:
    rows, _ = shape(*(document(text, language, path) for path, language, text in files))
    return [str(row.example.tags["with"]) for row in by_task(rows, "cross_file")]


def gd(call: str) -> str:
    return f"func act_now():\n\tstart()\n\t{call}\n"


def test_a_method_of_anything_is_no_call_of_a_definition_elsewhere() -> None:
    sort = "func sort():\n\tvar a = 1\n\tmove(a)\n"
    assert crossed(("a/x.gd", "gdscript", gd("players.sort()")), ("a/y.gd", "gdscript", sort)) == []
    clean = sort.replace("sort", "clean_up")
    assert crossed(("a/x.gd", "gdscript", gd("world.clean_up()")), ("a/y.gd", "gdscript", clean))
    assert crossed(("a/x.gd", "gdscript", gd("world.clean_up()")), ("b/y.gd", "gdscript", clean)) == []


def test_a_call_on_the_table_of_a_definition_means_it() -> None:
    caller = "function act(a)\n  local b = Things.count(a)\n  return b\nend\n"
    definition = "function {}.count(a)\n  local n = #a\n  return n\nend\n"
    assert crossed(("a/x.lua", "lua", caller), ("b/y.lua", "lua", definition.format("Things")))
    assert crossed(("a/x.lua", "lua", caller), ("b/y.lua", "lua", definition.format("Other"))) == []


def test_static_functions_and_variants_are_not_meant() -> None:
    caller = "int act(int a)\n{\n    int b = measure_it(a);\n    return b;\n}\n"
    callee = "{}int measure_it(int a)\n{{\n    int c = a + {};\n    return c;\n}}\n"
    assert crossed(("x.c", "c", caller), ("y.c", "c", callee.format("", 1)))
    assert crossed(("x.c", "c", caller), ("y.c", "c", callee.format("static\n", 1))) == []
    variants = f"#ifdef A\n{callee.format('', 1)}#else\n{callee.format('', 2)}#endif\n"
    assert crossed(("x.c", "c", caller), ("y.c", "c", variants)) == []
    header = "/* Tell how far a point is away. */\nint measure_it(int a);\n"
    assert crossed(("y.h", "c", header), ("y.c", "c", callee.format("", 1))) == ["y.h:2-2"]
    assert crossed(("y.h", "c", header), ("y.c", "c", variants)) == []


def test_a_member_meets_the_declaration_in_its_class() -> None:
    header = "class Box {\npublic:\n    /// Tell how many things are in it.\n    int size() const;\n};\n"
    body = "int Box::size() const {\n    int n = 0;\n    return n;\n}\n"
    assert crossed(("box.hpp", "cpp", header), ("box.cpp", "cpp", body)) == ["box.hpp:4-4"]
    assert crossed(("box.hpp", "cpp", header), ("pot.cpp", "cpp", body.replace("Box", "Pot"))) == []


def test_a_definition_is_asked_for_only_so_often() -> None:
    caller = "int act_{0}(int a)\n{{\n    int b = measure_it(a);\n    return b + {0};\n}}\n"
    callee = "int measure_it(int a)\n{\n    int c = a;\n    return c;\n}\n"
    files = [document(caller.format(n), "c", f"{n}.c") for n in range(30)]
    rows, _ = shape(*files, document(callee, "c", "m.c"))
    made = by_task(rows, "cross_file")
    assert len(made) == 30
    (asking,) = [row for row in made if row.origin.path == "m.c"]
    assert "int measure_it(int a)\n```" in asked(asking)
    assert "`m.c`" in asked(asking)


def test_an_example_has_the_context_of_its_file_and_no_everyday_call() -> None:
    text = '#include <lib.h>\n\nint main(void)\n{\n    lib_start(1);\n    printf("a");\n    return 0;\n}\n'
    (row,) = by_task(shape(document(text, "c", "examples/a.c"))[0], "usage")
    assert "`lib_start`" in asked(row)
    assert "#include <lib.h>" in asked(row)
    assert not by_task(
        shape(document(text.replace("lib_start(1)", "a = 1"), "c", "examples/a.c"))[0], "usage"
    )


def test_steps_of_a_plan_are_no_manual() -> None:
    block = "```lua\n  f()\n    g()\n```\n"
    steps = f"# A\n\n- [ ] **Step 1: put this in**\n\nInsert before the final return here:\n\n{block}"
    rows, reasons = shape(document(steps, "markdown"))
    assert (rows, reasons) == ([], {"code: a block of a list of things to do": 1})
    (row,) = shape(document(f"# A\n\nCall it with all of these:\n\n{block}", "markdown"))[0]
    assert answer(row) == "```lua\nf()\n  g()\n```"


ODD = {
    "broken heads": "def f(:\n" * 4_000,
    "unclosed": "func f((\nfunction g(\n" * 2_000,
    "stairs": "".join(" " * depth + "def f(:\n" for depth in range(300)),
    "above": "@a\n#b\n" * 3_000 + "def f(\n",
    "slashes": "/*\n" * 4_000,
    "spread slashes": "/\n\n*" * 1_000,
    "operators": "%*\n&*\n^*\n" * 600,
    "shattered": ") ^\n" * 6_000,
    "braces": "f() {\n" * 150,
}


@pytest.mark.parametrize("case", ODD)
def test_no_text_of_any_language_takes_long_or_much(case: str) -> None:
    size_mb = _largest_mb()
    for language in sorted(SAMPLES):
        assert isinstance(find(ODD[case], language), (Found, str))
    assert _largest_mb() - size_mb < 300


def _largest_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


NOISE = st.text(alphabet="(){}[]<>=:;,.#/*\"'`\\ \n\tabfeni_@%$", max_size=12)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_any_edits_of_code_leave_units_whole(language: str, data: st.DataObject) -> None:
    text = SAMPLES[language] + BRANCHES.get(language, "")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        end = min(len(text), at + data.draw(st.integers(0, 9)))
        text = text[:at] + data.draw(NOISE) + text[end:]
    found = find(text, language)
    if isinstance(found, str):
        return
    count = text.count("\n") + 1
    for unit in found.units:
        assert 1 <= unit.doc_line <= unit.first_line <= unit.last_line <= count
        assert language == "json" or syntax.parses(unit.text, language)
        lines = unit.text.split("\n")
        for group in unit.parts:
            assert all(1 <= first <= last < len(lines) for first, last in group)
            assert all(one[1] < other[0] for one, other in pairwise(group))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.binary(max_size=400), st.integers(1, 40))
def test_any_bytes_are_no_harm(language: str, noise: bytes, times: int) -> None:
    found = find(
        noise.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode() * times, language
    )
    assert isinstance(found, (Found, str))
