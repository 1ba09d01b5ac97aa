"""Decision cases: files of every shape, strict answers, exact actions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.core.errors import DataError, NotFoundError, StateError
from realm.evaluation.agents.decisions import decided, read_cases
from realm.evaluation.task import TASKS

CASES: list[dict[str, Any]] = [
    {"situation": "It sleeps.", "allowed_actions": ["no-op", "nudge"], "expected": "nudge"},
    {
        "situation": "It works.",
        "allowed_actions": ["no-op", "nudge"],
        "expected": ["no-op"],
        "role": "witness",
    },
    {
        "situation": "It is gone.",
        "allowed_actions": ["no-op", "escalate"],
        "expected": {"action": "escalate", "reason": "nobody is there", "target": "nux"},
    },
]
YAML = """\
# A comment
cases:
- situation: It sleeps.
  allowed_actions: [no-op, nudge]
  expected: nudge
- situation: It works.
  allowed_actions: [no-op, nudge]
  expected: [no-op]
  role: witness
- {situation: It is gone., allowed_actions: [no-op, escalate], expected: {action: escalate, reason: x}}
"""
PUBLISHED = """\
- description: A worker sleeps
  vars:
    role: witness
    allowed_actions: '["no-op", "nudge"]'
    shell_output: |
      idle 20m
    context: It has work.
  assert:
    - type: javascript
      value: |
        const d = JSON.parse(output);
        return d.action === "nudge";
    - type: javascript
      value: return d.urgency === "high" || process.exit(1);
"""


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".yaml"])
def test_all_formats_give_the_same_cases(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cases{suffix}"
    texts = {".json": json.dumps(CASES, indent=1), ".jsonl": "\n".join(map(json.dumps, CASES)), ".yaml": YAML}
    path.write_text(texts[suffix])
    found = read_cases(path)
    assert [case.expected for case in found] == [("nudge",), ("no-op",), ("escalate",)]
    assert [case.role for case in found] == ["decision", "witness", "decision"]
    assert len({case.key for case in found}) == 3


def test_published_cases_are_read_without_running_anything(tmp_path: Path) -> None:
    path = tmp_path / "witness.yaml"
    path.write_text(PUBLISHED)
    (case,) = read_cases(path)
    assert case.expected == ("nudge",)
    assert case.allowed_actions == ("no-op", "nudge")
    assert "idle 20m" in case.situation
    assert case.role == "witness"


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("a.yaml", YAML.replace("expected: [no-op]", "expected: [sleep]"), 6, "sleep"),
        ("a.yaml", YAML.replace("expected: nudge", "expcted: nudge"), 3, "expcted"),
        ("a.yaml", "- a\n- b\n", 1, "mapping"),
        ("a.yaml", "- {a: 1}\n- [\n", 3, "YAML"),
        ("a.yaml", "- &a {x: 1}\n- *a\n", 2, "alias"),
        ("a.yaml", "- " + "[" * 100 + "]" * 100, 1, "levels"),
        ("a.yaml", "[" * 100_000, 1, "levels"),
        ("a.yaml", "hello", 1, "list"),
        ("a.yaml", "- !!python/object/apply:os.system [ls]\n", 1, "YAML"),
        ("a.json", '[\n{"situation": 1},\n', 2, "situation"),
        ("a.json", '[\n{"situation": "x"\n', 2, "JSON"),
        ("a.json", "[" * 100_000, 1, "JSON"),
        ("a.json", '[\n\n{"a": 1, "a": 2}]', 3, "twice"),
        ("a.jsonl", "\n{}\n", 2, "missing"),
        ("a.json", "[]", None, "no cases"),
        ("a.yaml", "", 1, "list"),
        ("a.json", json.dumps([CASES[0], CASES[0]], indent=0), 10, "twice"),
    ],
)
def test_a_faulty_file_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, line: int | None, message: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        read_cases(path)
    assert raised.value.line == line


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_cases(tmp_path / "missing.yaml")
    (tmp_path / "a.yaml").write_bytes(b"- a\n- \xff\n")
    with pytest.raises(DataError, match="UTF-8") as raised:
        read_cases(tmp_path / "a.yaml")
    assert raised.value.line == 2
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    with pytest.raises(DataError, match="symlink"):
        read_cases(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("nudge", "nudge"),
        ("  nudge\n", "nudge"),
        ('{"action": "nudge", "reason": "it sleeps"}', "nudge"),
        ('{"action": "nudge", "reason": "", "target": "nux", "urgency": "high", "preserve": true}', "nudge"),
        ('```json\n{"action": "nudge"}\n```', "nudge"),
        ('```json\n{"action": "nudge"}\n```\n```json\n{"action": "no-op"}\n```', None),
        ("```", None),
        ("I nudge", "I nudge"),
        ("nudge\nno-op", None),
        ('{"action": "nudge"} {"action": "no-op"}', None),
        ('{"action": "no-op", "action": "nudge"}', None),
        ('{"action": ["nudge", "no-op"]}', None),
        ('{"action": "nudge", "other": 1}', None),
        ('Well: {"action": "nudge"}', 'Well: {"action": "nudge"}'),
        ("", None),
        ("[" * 10_000, "[" * 10_000),
        ('{"a":' * 3_000, None),
        ("x" * 20_000, None),
    ],
)
def test_answers_are_read_strictly(answer: str, action: str | None) -> None:
    assert decided(answer) == action


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_answer_is_graded(answer: str) -> None:
    assert decided(answer) in (None, answer.strip()) or "{" in answer or "```" in answer


def test_the_kind_asks_and_grades(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(CASES))
    task = TASKS.build({"kind": "decisions", "path": str(path)})
    problems = task.problems("full")
    assert [problem.primitive for problem in problems] == ["decision", "witness", "decision"]
    for problem in problems:
        for answer, score in (
            (problem.expected, 1),
            ("sleep", 0),
            ("no-op, nudge, escalate", 0),
            (problem.messages[-1].content, 0),
        ):
            episode = task.begin(problem)
            assert episode.asks() == problem.messages
            with pytest.raises(StateError):
                episode.result()
            episode.take(answer)
            assert episode.asks() is None
            assert episode.result().score == score
            assert bool(episode.result().notes) == (score == 0)
            with pytest.raises(StateError):
                episode.take(answer)
            episode.close()


def test_lite_asks_five_of_each_role_and_the_version_follows_the_cases(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    many = [{**CASES[i % 2], "situation": f"Case {i}"} for i in range(20)]
    path.write_text(json.dumps(many))
    task = TASKS.build({"kind": "decisions", "path": str(path)})
    assert len(task.problems("lite")) == 10
    assert len(task.problems("full")) == 20
    path.write_text(json.dumps(many[:19]))
    assert TASKS.build({"kind": "decisions", "path": str(path)}).version != task.version


@pytest.mark.parametrize(
    ("after", "line"), [("[]", 1), ("\n\n[{}]", 3), ("\n]", 2), (" x", 1), ('{"cases": []}', 1)]
)
def test_what_follows_a_list_of_cases_is_refused(tmp_path: Path, after: str, line: int) -> None:
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(CASES) + " \n")
    assert len(tuple(read_cases(path))) == len(CASES)
    path.write_text(json.dumps(CASES) + after)
    with pytest.raises(DataError, match="follows the end") as caught:
        tuple(read_cases(path))
    assert caught.value.line == line
