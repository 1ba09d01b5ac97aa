"""Skills from a YAML file: rows, templates, their little language, and files that are wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from realm import Realm
from realm.core.errors import ConfigError, DataError, NotFoundError, RealmError, UsageError
from realm.flows.drills import queue_drills
from realm.flows.skills import skill_state
from realm.jobs.queue import JobState
from realm.skills.own.expression import Expression
from realm.skills.own.grading import grade
from realm.skills.own.keys import key_of
from realm.skills.skill import SKILLS, Skill
from tiny_lab import carry_out_here, make_lab

SUMS = {
    "prompt": "What is {a} + {b}?",
    "answer": "{a + b}",
    "operands": {"a": {"low": 0, "high": 99}, "b": {"low": 0, "high": 99}},
    "where": "a >= b",
    "grading": "number",
    "primitive": "sums",
}
BIG = {
    "prompt": "Add {a} to {b}.",
    "answer": "{a + b}",
    "operands": {"a": {"low": 0, "high": 9999}, "b": {"low": -9999, "high": 9999}},
    "primitive": "sums",
    "level": 2,
}
WORDS = {
    "prompt": "Write {word} backwards {n} times.",
    "answer": "{reverse(word) * n}",
    "operands": {"word": ["stone", "gold tree", "gold", 7], "n": {"low": 1, "high": 100}},
    "primitive": "words",
}
MINE = {
    "id": "mine",
    "name": "Mine",
    "system_prompt": "Be brief.",
    "primitives": [{"name": "sums", "difficulty": 3}, {"name": "words"}],
    "levels": [{"name": "small", "description": "two digits"}],
    "templates": [
        SUMS,
        WORDS | {"operands": {**WORDS["operands"], "word": ["stone", "gold tree", "gold"]}},
        BIG,
    ],
}


def write(folder: Path, content: Any, name: str = "mine.yaml") -> Path:
    path = folder / name
    # Through JSON, since YAML would write what stands there twice as an alias.
    text = content if isinstance(content, str) else yaml.safe_dump(json.loads(json.dumps(content)))
    path.write_text(text, encoding="utf-8")
    return path


def build(folder: Path, content: Any) -> Skill:
    return SKILLS.build({"kind": "file", "path": str(write(folder, content))})


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"What is the square of {n}?", "answer": str(n * n), **more} for n in range(count)]


@pytest.fixture
def skill(tmp_path: Path) -> Skill:
    return build(tmp_path, MINE)


def test_templates_become_a_skill_with_counted_levels(skill: Skill) -> None:
    small, large = skill.levels()
    assert (skill.name, skill.title, small.name, large.name) == ("mine", "Mine", "small", "level 2")
    sums, words = small.primitives
    assert (sums.problems, sums.counted, words.problems) == (5050, True, 300)
    assert 0.25 < sums.heldout / sums.problems < 0.35
    (big, none) = large.primitives
    assert (big.counted, none.problems) == (False, 0)
    assert abs(big.problems - 10_000 * 19_999) < 1000
    assert [p.difficulty for p in skill.primitives()] == [3, 1]
    with pytest.raises(NotFoundError, match="mine has no level 3"):
        skill.level(3)


def test_answers_are_right_by_another_computation(skill: Skill) -> None:
    for problem in skill.drills(1, 400, weights={}, seed=3):
        asked = problem.messages[-1].content
        assert problem.messages[0].content == "Be brief."
        if problem.primitive == "sums":
            a, b = (int(word.strip("?")) for word in asked.split() if word.strip("?").isdigit())
            assert a >= b
            assert problem.expected == str(a + b)
            assert skill.grade(problem, f" +0{a + b}.0\n") == 1.0
        else:
            word, times = asked.removeprefix("Write ").removesuffix(" times.").split(" backwards ")
            assert problem.expected == word[::-1] * int(times)
            assert skill.grade(problem, problem.expected.upper()) == 0.0


def test_training_and_heldout_never_meet_and_draws_depend_on_seed_and_index_only(skill: Skill) -> None:
    for level in (1, 2):
        drawn = list(skill.drills(level, 2000, weights={}, seed=1))
        asked = skill.heldout(level, 300)
        probed = skill.probe(level, 100, seed=4)
        assert {p.key for p in asked}.isdisjoint({p.key for p in (*drawn, *probed)})
        assert {skill.split_of(p.key) for p in asked} == {"heldout"}
        assert {skill.split_of(p.key) for p in (*drawn, *probed)} == {"train"}
        assert drawn[:50] == list(skill.drills(level, 50, weights={}, seed=1))
        assert drawn[:50] != list(skill.drills(level, 50, weights={}, seed=2))
        assert set(skill.heldout(level, 20)) <= set(asked)
        assert len({p.key for p in asked}) == len(asked)
    assert {p.primitive for p in skill.drills(1, 99, weights={"words": 1.0}, seed=0)} == {"words"}
    for weights in ({"word": 1.0}, {"sums": -1.0}, {"sums": 0.0}):
        with pytest.raises(UsageError):
            list(skill.drills(1, 1, weights=weights, seed=0))
    with pytest.raises(UsageError):
        skill.split_of("add 3 5")


def test_a_question_is_read_back_as_its_problem(skill: Skill) -> None:
    for level in (1, 2):
        for problem in (*skill.heldout(level, 30), *skill.drills(level, 60, weights={}, seed=8)):
            assert skill.recall(f" {problem.messages[-1].content}\n") == problem
    foreign = (
        "",
        "What is 1 + 2?",
        "What is 200 + 2?",
        "What is 1 + 1 + 1?",
        "Write gold backwards 0 times.",
    )
    hostile = ("What is " + "1" * 30_000, "Write gold " * 5_000)
    assert [skill.recall(text) for text in (*foreign, *hostile)] == [None] * 7


def test_rows_inline_and_beside_the_file_are_the_same_problems(tmp_path: Path) -> None:
    base = {"id": "squares", "grading": "number"}
    inline = build(tmp_path, {**base, "rows": rows(400)})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(400)))
    beside = build(tmp_path, {**base, "rows": "rows.jsonl"})
    assert inline.levels() == beside.levels()
    assert inline.heldout(1, 500) == beside.heldout(1, 500)
    (info,) = inline.level(1).primitives
    assert (info.name, info.problems, info.testable, inline.level(1).testable) == ("squares", 400, True, True)
    trained = {p.key for p in inline.drills(1, 1000, weights={}, seed=0)}
    held = {p.key for p in inline.heldout(1, 400)}
    assert {inline.split_of(key) for key in trained} == {"train"}
    assert {inline.split_of(key) for key in held} == {"heldout"}
    assert (len(trained | held), len(trained & held), len(held)) == (400, 0, info.heldout)
    assert key_of("squares", "  WHAT is the square of 7? ") in trained | held


def test_another_content_is_another_version(tmp_path: Path) -> None:
    first = build(tmp_path, {"id": "x", "rows": rows(3)}).version
    assert build(tmp_path, {"id": "x", "rows": rows(3)}).version == first
    assert build(tmp_path, {"id": "x", "rows": rows(4)}).version != first
    (tmp_path / "r.jsonl").write_text(json.dumps(rows(1)[0]))
    second = build(tmp_path, {"id": "x", "rows": "r.jsonl"}).version
    (tmp_path / "r.jsonl").write_text(json.dumps(rows(2)[1]))
    assert build(tmp_path, {"id": "x", "rows": "r.jsonl"}).version != second


def test_a_level_without_training_problems_yields_none(tmp_path: Path) -> None:
    skill = build(tmp_path, {"id": "x", "max_level": 2, "rows": rows(5)})
    assert list(skill.drills(2, 10, weights={}, seed=0)) == []
    assert skill.heldout(1, 10) == ()
    assert not skill.level(1).testable


def test_fields_of_other_tools_are_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = {
        "display": {"icon": "🧮", "color": "#fff", "short_name": "SQ"},
        "eval": {"samples_per_level": 5},
        "accuracy_thresholds": {1: 0.8},
        "primitives": [{"name": "sq", "track": "math", "version": 1, "prerequisites": [], "tags": []}],
    }
    skill = build(tmp_path, {"id": "sq", **wild, "category": "math", "tags": ["a"], "rows": rows(9)})
    assert skill.primitives()[0].track == "math"
    assert "not used here: accuracy_thresholds, display, eval, primitives.prerequisites" in caplog.text


def test_a_hero_drills_a_skill_of_its_realm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Realm.create(tmp_path / "lab", template="dio") as realm:
        config = realm.home.config
    text = config.read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("bin:"))
    own = line[: len(line) - len(line.lstrip())] + "mine: {kind: file, path: skills/mine.yaml}"
    config.write_text(text.replace(line, f"{line}\n{own}"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab" / "skills").mkdir()
    write(tmp_path / "lab" / "skills", MINE)
    with Realm(tmp_path / "lab") as lab:
        skill = lab.lab.skill("mine")
    assert skill.config.model_dump(mode="json")["path"] == str(tmp_path / "lab" / "skills" / "mine.yaml")
    assert skill.levels()


def test_a_skill_without_primitives_is_drilled_trained_and_evaluated(tmp_path: Path) -> None:
    home = make_lab(tmp_path / "lab", drills=True, rows=64)
    plain = {name: value for name, value in SUMS.items() if name != "primitive"}
    write(home, {"id": "plain", "templates": [plain]})
    config = home / "realm.yaml"
    line = next(line for line in config.read_text().splitlines() if line.strip().startswith("bin:"))
    text = config.read_text().replace(line.strip(), "sums: {kind: file, path: mine.yaml}")
    config.write_text(text.replace("curriculum:\n", "curriculum:\n  probe_per_primitive: 4\n", 1))
    with Realm(home) as realm:
        lab = realm.lab
        (job,) = queue_drills(lab)
        assert carry_out_here(lab, job.id).state is JobState.DONE
        (first, *_) = lab.ledger.evaluations.list()
        assert (first.problems, set(first.primitives)) == (100, {"plain"})
        state = skill_state(lab, "sums")
        assert state.evaluations > 0
        assert state.examined > 0
        assert set(state.weakness) == {"plain"}
        assert any("right" in line for line in realm.curriculum().skills[0].missing)


BAD = [
    ("id: x\ntemplates: [", "mine.yaml:2: not readable as YAML"),
    ("- 1", "a mapping was expected at the top"),
    ("a: &a [1]\nid: *a", "mine.yaml:2: not readable as YAML: aliases"),
    ("id: !!python/object/apply:os.system ['true']", "mine.yaml:1: not readable as YAML"),
    ({"id": "x"}, "rows or templates, or else an api"),
    ({"id": "a/b", "rows": rows(2)}, "mine.yaml: id"),
    ({"id": "x", "systemprompt": "y", "rows": rows(2)}, r"systemprompt \(did you mean system_prompt\?\)"),
    ({"id": "x", "templates": [{**SUMS, "promt": 1}]}, r"templates.0.promt \(did you mean prompt\?\)"),
    ({"id": "x", "rows": [{"prompt": "a"}]}, "answer is missing"),
    ({"id": "x", "rows": [*rows(2), *rows(1)]}, "rows.2: the prompt of .*rows.0 again"),
    ({"id": "x", "rows": "../rows.jsonl"}, "is not beside the file"),
    ({"id": "x", "rows": "/etc/passwd"}, "is not beside the file"),
    ({"id": "x", "rows": "none.jsonl"}, "no such file"),
    ({"id": "x", "grading": "number", "rows": [{"prompt": "a", "answer": "b"}]}, "'b' is no number"),
    ({"id": "x", "max_level": 1, "rows": rows(2, level=2)}, "max_level is 1, but"),
    ({"id": "x", "primitives": [{"name": "sums"}], "rows": rows(2, primitive="sum")}, "did you mean sums"),
    ({**MINE, "templates": [{**SUMS, "answer": "{a + c}"}]}, "templates.0: answer: there is no operand 'c'"),
    ({**MINE, "templates": [{**SUMS, "answer": "{a // b}"}]}, "{a // b}: division by zero, with a="),
    ({**MINE, "templates": [{**SUMS, "prompt": "{a} and"}]}, "{b} is missing, so one question"),
    ({**MINE, "templates": [{**SUMS, "prompt": "{a}{b}"}]}, "could not be told apart"),
    ({**MINE, "templates": [{**SUMS, "prompt": "{a} {b"}]}, "a single {"),
    ({**MINE, "templates": [{**SUMS, "where": "a > 100"}]}, "where leaves no problems"),
    ({**MINE, "templates": [{**SUMS, "where": "a + b"}]}, "neither true nor false"),
    (
        {**MINE, "templates": [{**SUMS, "operands": {"a": {"low": 3, "high": 1}, "b": [1]}}]},
        "high is below low",
    ),
    ({**MINE, "templates": [{**SUMS, "operands": {"a": ["1", 1], "b": [1]}}]}, "a lists a value twice"),
    ({"id": "x", "api": {"url": "https://example.org"}}, "allow_host: example.org"),
    ({"id": "x", "api": {"url": "http://10.0.0.1"}}, "https://, or with http:// on this machine"),
]


@pytest.mark.parametrize(("content", "told"), BAD)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(RealmError, match=told.replace("{", r"\{").replace("+", r"\+")) as caught:
        build(tmp_path, content)
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"rows": [{"prompt": "Code of A1?", "answer": "x"}, {"prompt": "code  of a1?", "answer": "x"}]},
            "again",
        ),
        (
            {"rows": [{"prompt": "½?", "answer": "x"}, {"prompt": "1⁄2?", "answer": "y"}]},
            "rows.1: .*rows.0 again",
        ),
        (
            {"templates": [{"prompt": "Code of {x}?", "answer": "{x}", "operands": {"x": ["A1", "a1"]}}]},
            "x lists a value twice; case",
        ),
        (
            {"templates": [SUMS, {**SUMS, "answer": "{a - b}", "level": 2}]},
            "templates.1: 'What is 1 . 1.' stands in .*templates.0 too, and .* differently: '2' and '0'",
        ),
        ({"templates": [SUMS, SUMS]}, "templates.1: .*templates.0 too, and this counts it again"),
        (
            {"templates": [SUMS, {**SUMS, "grading": "exact", "level": 2}]},
            "templates.1: .*grades it differently",
        ),
        (
            {"rows": [{"prompt": "WHAT is 50 + 49?", "answer": "12", "level": 7}], "templates": [SUMS]},
            "templates.0: 'What is 50 . 49.' stands in .*rows.0 too, and .* differently: '12' and '99'",
        ),
        (
            {
                "templates": [
                    BIG,
                    {**BIG, "operands": {"a": {"low": 0, "high": 9999}, "b": [7]}, "answer": "{a}"},
                ]
            },
            "answers it differently",
        ),
        (
            {
                "templates": [
                    {"prompt": "{x} {y}", "answer": "{x}", "operands": {"x": ["a", "a b"], "y": ["b c", "c"]}}
                ]
            },
            "templates.0: 'a b c' stands in .*templates.0 too, and this answers it differently: 'a",
        ),
        (
            {"templates": [{**SUMS, "where": "100 // (a - 77) < 200"}]},
            "templates.0: answer|templates.0: where|by zero",
        ),
    ],
)
def test_one_question_has_one_answer_and_counts_once(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(RealmError, match=told):
        build(tmp_path, {"id": "x", **content})


def test_the_same_question_may_be_asked_again_at_another_level(tmp_path: Path) -> None:
    skill = build(
        tmp_path, {"id": "x", "grading": "number", "templates": [SUMS, {**SUMS, "grading": None, "level": 2}]}
    )
    assert [level.primitives[0].problems for level in skill.levels()] == [5050, 5050]


def test_as_many_are_asked_as_the_table_says(tmp_path: Path) -> None:
    prompts = [f"Code of {chr(65 + n % 26)}{n}?" for n in range(140)]
    skill = build(tmp_path, {"id": "x", "rows": [{"prompt": p, "answer": "y"} for p in prompts]})
    assert len(skill.heldout(1, 500)) == skill.level(1).primitives[0].heldout


def test_odd_paths_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for name, told in (("pipe", "not a regular file"), ("loop", "not readable"), ("x" * 300, "not readable")):
        with pytest.raises(DataError, match=told):
            SKILLS.build({"kind": "file", "path": str(tmp_path / f"{name}.yaml")})
    with pytest.raises(NotFoundError):
        SKILLS.build({"kind": "file", "path": str(tmp_path / "pipe.yaml" / "x.yaml")})
    for name in ("loop.yaml", "pipe.yaml", "漢" * 150):
        with pytest.raises(NotFoundError, match="no such file"):
            build(tmp_path, {"id": "x", "rows": name})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", "not readable as JSON"),
        (b'{"prompt": "a"}', "answer is missing"),
        (b'{"prompt": "a", "answer": "b", "anser": "c"}', "did you mean answer"),
        (b'{"prompt": "a", "answer": "b", "level": NaN}', "NaN is no JSON number"),
        (b"[" * 50_000, "not readable as JSON"),
        (b'"\xff"', "not readable as JSON"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, line: bytes, told: str) -> None:
    (tmp_path / "r.jsonl").write_bytes(b'{"prompt": "p", "answer": "q"}\n' + line + b"\n")
    with pytest.raises(DataError, match=f"r.jsonl:2: .*{told}"):
        build(tmp_path, {"id": "x", "rows": "r.jsonl"})


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text(json.dumps(rows(1)[0]))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "r.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(ConfigError, match="not beside the file"):
        build(tmp_path / "in", {"id": "x", "rows": "r.jsonl"})


VALUES = {"a": 7, "b": 3, "w": "stone"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + b * 2", 13),
        ("-a // 2", -4),
        ("a % b == 1 and not b > 3", True),
        ("'even' if a % 2 == 0 else 'odd'", "odd"),
        ("reverse(w)[0:2] + upper(w[0])", "enS"),
        ("len(w) ** b", 125),
        ("max(a, b) - min(a, b) + abs(-2) + gcd(12, 8)", 10),
        ("int(str(a) * 2)", 77),
        ("sort(replace(w, 'o', 'a'))", "aenst"),
        ("'on' in w or 1 < a < 3", True),
        ("count(w, 'o') + w[-1:]", None),
    ],
)
def test_expressions_have_their_value(text: str, value: object) -> None:
    expression = Expression(text, VALUES)
    if value is None:
        with pytest.raises(ConfigError, match="is no number"):
            expression.value(VALUES)
    else:
        assert expression.value(VALUES) == value


@pytest.mark.parametrize(
    "text",
    [
        *("__import__('os')", "a.real", "w.upper()", "().__class__", "[a]", "{a: b}", "lambda: a", "a := 3"),
        *(
            "open(w)",
            "eval(w)",
            "str(a, b)",
            "str(*w)",
            "upper(text=w)",
            "f'{a}'",
            "b'x'",
            "1.5",
            "None",
            "...",
        ),
        *("a if", "", "a & b", "~a", "a / b", "a is b", "w[::2]", "(yield a)", "c", "'\\x41'", "a" * 301),
        *("[a for a in w]", "upper(upper)", "(" * 150 + "a" + ")" * 150, "-" * 200 + "a", "await a", "1j"),
    ],
)
def test_what_is_no_part_of_the_language_is_refused_unread(text: str) -> None:
    with pytest.raises(ConfigError):
        Expression(text, VALUES)


@pytest.mark.parametrize(
    "text",
    [
        *("9 ** 9 ** 9", "2 ** -1", "(10 ** 1000) ** 99", "10 ** 1200 * 10 ** 1200", "w * 10 ** 9", "a // 0"),
        *(
            "a % 0",
            "w * 3000",
            "replace(w * 2000, '', w)",
            "w[99]",
            "int(w)",
            "w < a",
            "not a",
            "w - w",
            "-w",
        ),
        *("len(a)", "a if w else b", "True + 1", "int('9' * 2000)", "'x' in a"),
    ],
)
def test_what_has_no_bounded_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="with a=7, b=3, w='stone'"):
        Expression(text, VALUES).value(VALUES)


@settings(max_examples=300, deadline=None)
@given(st.text("abw+-*/%()[]'\"<=!:, 0123456789upernotifls\n", max_size=60))
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    try:
        value = Expression(text, VALUES).value(VALUES)
    except ConfigError:
        return
    assert isinstance(value, int | str)


@pytest.mark.parametrize(
    ("grading", "expected", "right", "wrong"),
    [
        ("exact", "Rome", ["Rome", " Rome\n"], ["rome", "Rome.", "It is Rome", "Rome Rome", ""]),
        ("case", "Gold Tree", ["gold  TREE", "Gold\nTree"], ["goldtree", "gold tree!", "a gold tree"]),
        (
            "number",
            "7",
            ["7", "+7", "07", "7.00"],
            ["77", "7 or 8", "seven", "7e0", "7,0", "--7", "٧", "7" * 99],
        ),
        ("number", "-0.5", ["-0.50", "-0.5"], ["0.5", "-.5", "-5"]),
        ("list", "a, b, c", ["A,b;c", "a\nb\nc"], ["a, c, b", "a, b", "a, b, c, d", "[a, b, c]", ""]),
        ("set", "a, b, c", ["c, b, a", "B\na\nC"], ["a, b", "a, b, c, d", "a, a, b, c", "abc", ""]),
    ],
)
def test_each_grading_forgives_only_what_it_says(
    grading: Any, expected: str, right: list[str], wrong: list[str]
) -> None:
    assert [grade(grading, expected, answer) for answer in right] == [1.0] * len(right)
    assert all(0.0 <= grade(grading, expected, answer) < 1.0 for answer in wrong)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["exact", "case", "number", "list", "set"]), st.text(max_size=40), st.text(max_size=40)
)
def test_only_the_whole_answer_counts(grading: Any, expected: str, more: str) -> None:
    listing = f"{expected}\n{more}x\n{expected}1"
    assert grade(grading, expected, listing) < 1.0
    assert grade(grading, expected, (expected + ",") * 100_000 + "x") < 1.0
