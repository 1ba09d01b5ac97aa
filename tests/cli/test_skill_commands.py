"""`realm skill`: list, show, sample and grade as a person uses them; skills of other packages."""

from __future__ import annotations

import io
import json
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from realm.cli.main import run as run_command
from realm.flows.samples import grade_file, rows, sample, skill_of
from realm.skills.skill import LevelPrimitive
from tiny_lab import REALM


class Done(NamedTuple):
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def realm(*words: str) -> Done:
    """Run one command in this process, which spares the start of Python."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command(list(words))
    return Done(code, out.getvalue(), err.getvalue())


def realm_json(*words: str) -> Any:
    """Run one command with --json and return its document."""
    done = realm("--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


KEYS = ["id", "prompt", "messages", "expected", "primitive", "level", "split"]
SQUARES = {
    "id": "squares",
    "description": "Squares of numbers.",
    "grading": "number",
    "rows": [{"prompt": f"Square of {n}?", "answer": str(n * n)} for n in range(300)],
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SQUARES), encoding="utf-8")
    return path


def write(path: Path, answers: list[Any]) -> Path:
    lines = (a if isinstance(a, str) else json.dumps(a, ensure_ascii=False) for a in answers)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_sample_prints_rows_of_one_shape_and_the_same_ones_again() -> None:
    words = ["skill", "sample", "bin", "--level", "3", "--count", "5", "--seed", "7"]
    found = realm_json(*words)
    assert [list(row) for row in found] == [KEYS] * 5
    assert [list(turn) for turn in found[0]["messages"]] == [["role", "content"]] * 2
    assert {(row["split"], row["level"]) for row in found} == {("train", 3)}
    assert all(row["prompt"] == row["messages"][-1]["content"] for row in found)
    assert len({row["id"] for row in found}) == 5
    lines = realm(*words).stdout.splitlines()
    assert [json.loads(line) for line in lines] == found
    held = realm_json(*words, "--split", "eval")
    assert {row["split"] for row in held} == {"eval"}
    skill = skill_of("bin")
    sides = {row["id"]: skill.recall(row["prompt"]) for row in (*found, *held)}
    assert [skill.split_of(sides[row["id"]].key) for row in held] == ["heldout"] * 5  # type: ignore[union-attr]
    assert [skill.split_of(sides[row["id"]].key) for row in found] == ["train"] * 5  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["bin", "logic", "sy"])
def test_smaller_counts_are_the_first_and_sides_never_meet(name: str) -> None:
    skill = skill_of(name)
    for level in (skill.levels()[2].level, skill.levels()[-1].level):
        for split in ("train", "eval"):
            many = sample(skill, level, 60, seed=3, split=split)
            assert sample(skill, level, 7, seed=3, split=split) == many[:7]
            assert len({each.problem.messages[-1].content for each in many}) == len(many)
        trained = {each.problem.key for each in sample(skill, level, 300, seed=1, split="train")}
        asked = {each.problem.key for each in sample(skill, level, 300, seed=2, split="eval")}
        assert trained.isdisjoint(asked)


def test_an_exhausted_level_gives_fewer_rows_and_a_warning(mine: Path) -> None:
    none = realm("--json", "skill", "sample", "bin", "--level", "1", "--split", "eval")
    assert (none.returncode, json.loads(none.stdout)) == (0, [])
    assert "gave 0 different held-out problems, not 5" in none.stderr
    all_ = {split: sample(skill_of(str(mine)), 1, 1000, seed=0, split=split) for split in ("train", "eval")}
    assert sorted(len(found) for found in all_.values()) == sorted(
        [len(all_["eval"]), 300 - len(all_["eval"])]
    )
    some = realm("skill", "sample", str(mine), "--count", "1000")
    assert (some.returncode, len(some.stdout.splitlines())) == (0, len(all_["train"]))
    assert f"gave {len(all_['train'])} different training questions, not 1000" in some.stderr


def test_wrong_use_of_sample() -> None:
    assert realm("skill", "sample", "bin", "--level", "77").returncode == 3
    wrong = realm("skill", "sample", "bin", "--split", "test")
    assert (wrong.returncode, "train or eval" in wrong.stderr) == (2, True)
    assert realm("skill", "sample", "file").returncode == 2
    near = realm("skill", "sample", "binn")
    assert (near.returncode, "did you mean bin" in near.stderr) == (3, True)
    assert realm("skill", "sample", "none.yaml").returncode == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sample", "bin", "--option", "digit_order"], "--option digit_order: expected KEY=VALUE"),
        (["sample", "bin", "--option", "=lsb"], "--option =lsb: expected KEY=VALUE"),
        (["show", "http"], "such as --option url="),
        (["sample", "bin", "--seed", str(2**63)], f"{2**63 - 1} is the largest"),
        (["grade", "bin", "."], ". is a folder"),
    ],
)
def test_wrong_use_says_what_to_do(words: list[str], told: str) -> None:
    done = realm("skill", *words)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("seed", [-(2**63) + 1, 2**63 - 1])
def test_ids_of_the_largest_seeds_lead_back(seed: int, tmp_path: Path) -> None:
    [row] = realm_json("skill", "sample", "bin", "--seed", str(seed), "--count", "1")
    graded = grade_file(
        skill_of("bin"), write(tmp_path / "a.jsonl", [{"id": row["id"], "answer": row["expected"]}])
    )
    assert [each.correct for each in graded.rows] == [True]


def test_sizes_are_short_for_a_person_and_readable_for_every_program() -> None:
    text = realm("skill", "show", "memory").stdout
    assert "about 7.2e41 problems" in text
    assert max(map(len, text.splitlines())) <= 100
    found = [p for level in realm_json("skill", "show", "memory")["levels"] for p in level["primitives"]]
    sizes = [size for p in found for size in (p["problems"], p["heldout"])]
    assert max(sizes) == pytest.approx(7.2e41, rel=0.01)
    assert all(isinstance(size, float) == (size > 2**53) for size in sizes)
    exact = [LevelPrimitive(name="p", problems=n, heldout=0, testable=False) for n in (2**53, 10**400)]
    assert [each.problems for each in exact] == [2**53, 10**400]
    assert [each.model_dump(mode="json")["problems"] for each in exact] == [2**53, 1e308]


def test_answers_are_graded_by_id_and_by_prompt(tmp_path: Path) -> None:
    option = ("--option", "digit_order=lsb")
    found = [
        *realm_json("skill", "sample", "bin", "--level", "4", "--count", "12", "--seed", "-3", *option),
        *realm_json("skill", "sample", "bin", "--level", "5", "--count", "12", "--split", "eval", *option),
    ]
    answers = [{"id": row["id"], "answer": row["expected"]} for row in found]
    answers += [{"prompt": row["prompt"], "answer": row["expected"]} for row in found]
    answers += [{**row, "answer": row["expected"] + "①"} for row in found]
    file = write(tmp_path / "answers.jsonl", answers)
    report = realm_json("skill", "grade", "bin", str(file), *option)
    right, wrong = report["rows"][:48], report["rows"][48:]
    assert [(row["correct"], row["score"]) for row in right] == [(True, 1.0)] * 48
    assert not any(row["correct"] or row["score"] == 1.0 for row in wrong)
    assert [row["line"] for row in report["rows"]] == list(range(1, 73))
    assert [row["primitive"] for row in wrong] == [row["primitive"] for row in found]
    assert [row["expected"] for row in right[:24]] == [row["expected"] for row in found]
    assert (report["overall"]["correct"], report["overall"]["total"], report["bad"]) == (48, 72, [])
    assert 0.54 < report["overall"]["low"] < 2 / 3 < report["overall"]["high"] < 0.77
    assert sum(part["total"] for part in report["primitives"].values()) == 72
    told = realm("skill", "grade", "bin", str(file), *option)
    assert (told.returncode, "67%" in told.stdout) == (0, True)
    other = realm("--json", "skill", "grade", "bin", str(file), "--option", "digit_order=msb")
    assert (other.returncode, "that it was sampled with" in other.stderr) == (1, True)


def test_rows_that_cannot_be_graded_are_told_with_their_line(mine: Path, tmp_path: Path) -> None:
    good = {"prompt": "Square of 12?", "answer": " 144\n"}
    bad = [
        "{",
        "[1]",
        {"prompt": "Square of 12?"},
        {"answer": "144"},
        {"prompt": 3, "answer": "144"},
        {"prompt": "Cube of 12?", "answer": "144"},
        {"id": "squares/1/train/0/99999999", "answer": "1"},
        {"id": "squares/9/train/0/1", "answer": "1"},
        {"id": "squares/1/eval/0/cubes/1", "answer": "1"},
        {"id": "bin/1/train/0/1", "answer": "1"},
        {"id": "../../etc/passwd", "answer": "1"},
        '{"prompt": "Square of 12?", "answer": "1", "answer": "144"}',
    ]
    file = write(tmp_path / "answers.jsonl", [good, *bad, "", good])
    done = realm("--json", "skill", "grade", str(mine), str(file))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert [row["line"] for row in report["rows"]] == [1, 15]
    assert [row["line"] for row in report["bad"]] == list(range(2, 14))
    assert f"{file}:2: not JSON" in done.stderr
    assert f"{file}:7: no problem of squares asks this" in done.stderr
    assert "Traceback" not in done.stderr
    for content, code in (("", 1), (None, 3)):
        other = tmp_path / "other.jsonl"
        if content is not None:
            other.write_text(content)
        else:
            other.unlink()
        assert realm("skill", "grade", str(mine), str(other)).returncode == code


def test_every_id_leads_to_its_problem(mine: Path, tmp_path: Path) -> None:
    for name in (str(mine), "arithmetic"):
        skill = skill_of(name)
        found = [
            *rows(sample(skill, 1, 40, seed=9, split="train"), "train"),
            *rows(sample(skill, 1, 40, seed=9, split="eval"), "eval"),
        ]
        answers = [{"id": row.id, "prompt": row.prompt, "answer": row.expected} for row in found]
        report = grade_file(skill_of(name), write(tmp_path / "a.jsonl", answers))
        assert (report.bad, report.overall.correct, report.overall.total) == ((), 80, 80)


def test_a_far_id_is_told_and_its_prompt_is_enough(tmp_path: Path) -> None:
    far = "bin/5/train/1/2000000"
    [row] = realm_json("skill", "sample", "bin", "--level", "5", "--count", "1")
    answers = [{"id": far, "answer": "x"}, {"id": far, "prompt": "3 pears?", "answer": "x"}]
    answers += [{**row, "id": far, "answer": row["expected"]}, {"id": row["id"], "answer": row["expected"]}]
    done = realm("--json", "skill", "grade", "bin", str(write(tmp_path / "a.jsonl", answers)))
    report = json.loads(done.stdout)
    assert [(each["line"], each["correct"]) for each in report["rows"]] == [(3, True), (4, True)]
    assert ["lies too far on" in each["reason"] for each in report["bad"]] == [True, True]
    assert realm("skill", "grade", "bin", "x" * 300 + ".jsonl").returncode == 1


def test_list_and_show_tell_of_every_kind(mine: Path) -> None:
    found = {skill["name"]: skill for skill in realm_json("skill", "list")}
    assert (found["bin"]["needs"], found["file"]["needs"], found["http"]["needs"]) == ([], ["path"], ["url"])
    assert found["bin"]["levels"] == len(skill_of("bin").levels())
    text = realm("skill", "list").stdout
    assert "http: a kind of skill that needs url" in text
    shown = realm_json("skill", "show", str(mine))
    assert (shown["name"], shown["description"]) == ("squares", "Squares of numbers.")
    assert shown["levels"][0]["primitives"][0]["problems"] == 300
    assert "300 problems" in realm("skill", "show", str(mine)).stdout


def test_looking_needs_no_realm_and_writes_nothing(mine: Path) -> None:
    folder = mine.parent
    write(folder / "a.jsonl", [{"prompt": "Square of 2?", "answer": "4"}])
    before = sorted(folder.rglob("*"))
    for words in (["show", "mine.yaml"], ["sample", "mine.yaml"], ["grade", "mine.yaml", "a.jsonl"]):
        done = subprocess.run(
            [*REALM, "skill", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    assert sorted(folder.rglob("*")) == before


TINY = '''
from typing import Literal

from realm.core.config import Config as Base
from realm.skills.own.schema import SkillFile
from realm.skills.own.skill import OwnSkill
from realm.skills.own.written import Written


class Tiny(OwnSkill):
    """Drill doubling."""

    class Config(Base):
        kind: Literal["tiny"] = "tiny"
        top: int = 400

    def __init__(self, config):
        numbers = {"n": {"low": 0, "high": config.top}}
        template = {"prompt": "Twice {n}?", "answer": "{n * 2}", "operands": numbers}
        super().__init__(config, Written("tiny", SkillFile(id="tiny", templates=[template]), ()))
'''


def test_a_skill_of_an_installed_package_is_one_of_ours(tmp_path: Path) -> None:
    info = tmp_path / "tiny_skill-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-skill\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[realm.skill]\ntiny = tiny_skill:Tiny\n")
    (info / "RECORD").write_text("")
    (tmp_path / "tiny_skill.py").write_text(TINY)

    def run(*words: str) -> Any:
        done = subprocess.run(
            [*REALM, "--json", "skill", *words],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert "tiny" in {skill["name"] for skill in run("list")}
    assert run("show", "tiny", "--option", "top=99")["levels"][0]["primitives"][0]["problems"] == 100
    (row,) = run("sample", "tiny", "--count", "1", "--split", "eval")
    number = int(row["prompt"].split()[1].rstrip("?"))
    assert row["expected"] == str(2 * number)
    answers = write(tmp_path / "a.jsonl", [{"id": row["id"], "answer": row["expected"]}])
    assert run("grade", "tiny", str(answers))["overall"]["correct"] == 1
    assert realm("skill", "show", "tiny").returncode == 3
