from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import ConfigError, NotFoundError, StateError
from realm.core.events import Graded
from realm.evaluation.score import comparable, score, share
from realm.evaluation.suite import Suite, build_suite
from realm.evaluation.suitefile import (
    ResolvedSuite,
    expanded,
    load_suite,
    resolve,
    shipped_names,
    suite_names,
    suite_score,
)
from realm.evaluation.task import PER_PRIMITIVE, TASKS
from realm.skills.catalogue.bin import Bin
from realm.skills.skill import SKILLS

LSB = {"kind": "bin", "digit_order": "lsb", "pad_digits": 6, "answer": "result"}
DRILLED = {"counting": SKILLS.config(LSB)}
SUITE: dict[str, Any] = {
    "name": "mine",
    "threshold": 0.6,
    "tasks": [
        {
            "name": "bits",
            "category": "sums",
            "weight": 3,
            "task": {"kind": "skill", "skill": "bin", "levels": [3, 4]},
        },
        {
            "name": "facts",
            "category": "facts",
            "scoring": "graded",
            "task": {"kind": "file", "path": "facts.jsonl"},
        },
    ],
}
FACTS = [{"prompt": f"{n}?", "expected": n, "primitive": "ab"[n % 2]} for n in range(60)]


def write(folder: Path, suite: dict[str, Any] = SUITE, facts: list[dict[str, Any]] = FACTS) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{suite['name']}.yaml").write_text(yaml.safe_dump(suite))
    (folder / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in facts))
    return folder


def mine(folder: Path, **changes: Any) -> ResolvedSuite:
    return resolve(load_suite(write(folder, {**SUITE, **changes}), "mine"))


def answered(part: Suite, right: int) -> list[Graded]:
    return [
        Graded(key=p.key, primitive=p.primitive, score=float(i < right), answer="")
        for i, p in enumerate(part.problems)
    ]


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_suite_loads_and_holds_problems(name: str, tmp_path: Path) -> None:
    suite = resolve(expanded(load_suite(tmp_path, name), DRILLED))
    assert suite.config.title
    assert len({part.id for part in suite.parts}) == len(suite.parts) > 0
    for part in suite.parts:
        keys = [problem.key for problem in part.problems]
        assert len(set(keys)) == len(keys) > 0
        names = [problem.primitive for problem in part.problems]
        assert max(names.count(name) for name in names) <= PER_PRIMITIVE[suite.size]
        task = TASKS.build(part.task)
        for problem in part.problems[:3]:
            episode = task.begin(problem)
            assert episode.asks() == problem.messages
            episode.take(problem.expected)
            assert (episode.asks(), episode.result().score) == (None, 1.0)


def test_what_the_hero_drills_is_asked_in_its_own_form(tmp_path: Path) -> None:
    suite = resolve(expanded(load_suite(tmp_path, "lite"), DRILLED))
    assert [task.entry.name for task in suite.tasks] == ["counting"]
    assert suite.parts[0].level == 3
    assert len(suite.parts) == 4
    assert {part.task["skill"]["digit_order"] for part in suite.parts} == {"lsb"}
    with pytest.raises(ConfigError, match="drills nothing"):
        expanded(load_suite(tmp_path, "lite"), {})


def test_an_id_says_what_is_asked_and_how(tmp_path: Path) -> None:
    first = mine(tmp_path / "a")
    assert [part.id for part in mine(tmp_path / "b").parts] == [part.id for part in first.parts]
    bits3, bits4, facts = first.parts
    assert bits3.id.startswith("bits-skill-1-l3-")
    assert facts.id.startswith("facts-file-1-10-")
    assert (bits3.level, bits4.level, facts.level) == (3, 4, 0)
    others = [
        mine(tmp_path / "c", size="full"),
        mine(tmp_path / "d", sampling={"temperature": 0.5}),
        resolve(
            load_suite(write(tmp_path / "e", facts=[*FACTS[:-1], {**FACTS[-1], "expected": 7}]), "mine"),
            "full",
        ),
        first.ended_early(),
        first.ended_early(0.05),
    ]
    ids = [part.id for suite in [first, *others] for part in suite.parts]
    assert len(set(ids)) == len(ids) - 2  # another fact leaves the two parts about bits as they are in full
    assert build_suite(Bin(Bin.Config()), 3, 5).id not in ids


def test_where_the_files_of_a_skill_lie_says_nothing(tmp_path: Path) -> None:
    ids = []
    for place in ("a", "b"):
        folder = write(tmp_path / place)
        rows = [{"prompt": f"{n}?", "answer": str(n), "primitive": "p"} for n in range(400)]
        (folder / "words.yaml").write_text(yaml.safe_dump({"id": "words", "rows": rows}))
        skill = {"kind": "file", "path": "words.yaml"}
        suite = mine(folder, tasks=[{"name": "own", "task": {"kind": "skill", "skill": skill}}])
        assert {part.task["skill"]["path"] for part in suite.parts} == {str(folder / "words.yaml")}
        ids.append([part.id for part in suite.parts])
    assert ids[0] == ids[1]


def test_no_right_answer_is_cut(tmp_path: Path) -> None:
    facts = [{"prompt": "?", "expected": "ö" * 500}]
    suite = resolve(load_suite(write(tmp_path, facts=facts), "mine"))
    for part in suite.parts:
        longest = max(len(problem.expected.encode()) for problem in part.problems)
        assert part.max_tokens == max(64, longest)
    assert suite.parts[-1].max_tokens == 1000
    tasks = [{**entry, "max_tokens": 9} for entry in SUITE["tasks"]]
    assert {part.max_tokens for part in mine(tmp_path, tasks=tasks).parts} == {9}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"treshold": 0.5}, "treshold.*did you mean threshold"),
        ({"tasks": []}, "tasks"),
        ({"tasks": [{**SUITE["tasks"][0], "wieght": 2}]}, "wieght.*did you mean weight"),
        ({"tasks": [SUITE["tasks"][0]] * 2}, "two tasks are called bits"),
        ({"tasks": [{"name": "x"}]}, "either task or drilled"),
        ({"tasks": [{"name": "x", "task": {"kind": "skill", "skill": "bin", "levls": [3]}}]}, "levls"),
        ({"size": "huge"}, "size"),
        ({"threshold": 2}, "threshold"),
        ({"name": "other"}, "its name is other"),
    ],
)
def test_a_suite_file_is_closed(tmp_path: Path, change: dict[str, Any], error: str) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**SUITE, **change}))
    with pytest.raises(ConfigError, match=error):
        load_suite(tmp_path, "mine")


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    write(tmp_path)
    assert suite_names(tmp_path) == sorted(["mine", *shipped_names()])
    with pytest.raises(NotFoundError, match="nope") as caught:
        load_suite(tmp_path, "nope")
    assert "mine" in caught.value.hint
    with pytest.raises(NotFoundError):
        load_suite(tmp_path, "../mine")
    unknown = {"name": "x", "task": {"kind": "quiz"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**SUITE, "tasks": [unknown]}))
    with pytest.raises(ConfigError, match=r"tasks\.0\.task: no kind is called 'quiz': there are: "):
        load_suite(tmp_path, "mine")


@pytest.mark.parametrize("special", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_suite(tmp_path: Path, special: Callable[[Path], None]) -> None:
    for name in ("mine", "lite"):
        special(tmp_path / f"{name}.yaml")
    assert suite_names(tmp_path) == shipped_names()
    assert load_suite(tmp_path, "lite").name == "lite"
    with pytest.raises(NotFoundError, match="no suite is called 'mine'"):
        load_suite(tmp_path, "mine")


def test_a_suite_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("[" * 1500)
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_suite(tmp_path, "mine")


HARNESS = {
    "kind": "harness",
    "url": "http://127.0.0.1:8000/v1",
    "model": "dio@11",
    "benchmarks": ["sums", "facts"],
}


def test_where_and_under_which_name_a_benchmark_is_asked_is_no_part_of_its_id(tmp_path: Path) -> None:
    def part(sampling: dict[str, Any] | None = None, **changes: Any) -> Suite:
        tasks = [{"name": "known", "task": {**HARNESS, **changes}}]
        [found] = mine(tmp_path, tasks=tasks, sampling=sampling or {}).parts
        return found

    first = part()
    key = tmp_path / "key"
    for same in (
        {"model": "dio@12"},
        {"url": "http://127.0.0.1:9000/v1"},
        {"timeout_s": 5},
        {"key_file": str(key)},
        {"sampling": {"temperature": 0.7, "max_tokens": 3, "seed": 5}},
    ):
        assert part(**same).id == first.id, same
    for other in (
        {"benchmarks": ["sums"]},
        {"everything": True},
        {"metric": "f1"},
        {"task_folder": str(tmp_path)},
    ):
        assert part(**other).id != first.id, other
    assert part(model="dio@12").task["model"] == "dio@12"  # it is asked there all the same
    assert part({"max_tokens": 3}).sampling.max_tokens is None


def test_a_benchmarks_figure_is_graded(tmp_path: Path) -> None:
    suite = mine(tmp_path, tasks=[{"name": "known", "task": HARNESS}])
    [part] = suite.parts
    answers = [Graded(key=p.key, primitive=p.primitive, score=0.8, answer="") for p in part.problems]
    found = suite_score(suite, {part.id: ("", answers)})
    assert (found.composite.mean, found.tasks[0].scoring) == (pytest.approx(0.8), "graded")
    assert [task.entry.scoring for task in mine(tmp_path).tasks] == ["binary", "graded"]
    for wrong, told in (({"scoring": "binary"}, "never right or wrong"), ({"max_tokens": 9}, "max_tokens")):
        with pytest.raises(ConfigError, match=told):
            mine(tmp_path, tasks=[{"name": "known", "task": HARNESS, **wrong}])


def test_a_suite_of_its_own_comes_before_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, {**SUITE, "name": "lite"})
    assert [entry.name for entry in load_suite(tmp_path, "lite").tasks] == ["bits", "facts"]


def test_domains_are_asked_the_same_questions_under_their_own_prompts(tmp_path: Path) -> None:
    write(tmp_path)
    task = {
        "kind": "domain_switch",
        "path": "facts.jsonl",
        "domains": {"law": "You know law.", "sea": "You sail."},
    }
    suite = mine(tmp_path, tasks=[{"name": "switch", "task": task}])
    [part] = suite.parts
    asked: dict[str, list[str]] = {"law": [], "sea": []}
    for problem in part.problems:
        assert problem.messages[0].content == {"law": "You know law.", "sea": "You sail."}[problem.primitive]
        asked[problem.primitive].append(problem.messages[1].content)
    assert asked["law"] == asked["sea"]
    assert len(part.problems) == 20


def test_the_composite_is_weighted_and_every_named_threshold_counts(tmp_path: Path) -> None:
    suite = mine(tmp_path)
    bits3, bits4, facts = suite.parts
    bits = len(bits3.problems) + len(bits4.problems)
    assert len(facts.problems) == 10

    def scored(suite: ResolvedSuite, right: int, known: int) -> Any:
        given = {bits3.id: right, bits4.id: len(bits4.problems), facts.id: known}
        return suite_score(suite, {part.id: ("", answered(part, given[part.id])) for part in suite.parts})

    found = scored(suite, 0, 8)
    share_of_bits = len(bits4.problems) / bits
    assert found.composite.mean == pytest.approx((3 * share_of_bits + 1 * 0.8) / 4)
    assert found.categories == {"sums": pytest.approx(share_of_bits), "facts": pytest.approx(0.8)}
    assert found.composite.low < found.composite.mean < found.composite.high
    assert found.passed is (found.composite.mean >= 0.6)
    assert scored(suite, len(bits3.problems), 4).passed is True
    strict = [{**SUITE["tasks"][0]}, {**SUITE["tasks"][1], "threshold": 0.5}]
    assert scored(mine(tmp_path, tasks=strict), len(bits3.problems), 4).passed is False
    assert scored(mine(tmp_path, tasks=strict), len(bits3.problems), 5).passed is True


def test_binary_scoring_gives_nothing_for_parts_and_graded_does() -> None:
    half = [Graded(key=str(i), primitive="p", score=0.5, answer="") for i in range(10)]
    assert share(half, "binary", 10).mean == 0.0
    assert share(half, "graded", 10).mean == 0.5


def test_a_suite_that_ended_early_says_only_what_is_certain(tmp_path: Path) -> None:
    suite = mine(tmp_path).ended_early()
    bits3, bits4, facts = suite.parts

    def verdict(*each: tuple[Suite, str, int, int]) -> Any:
        return suite_score(
            suite, {p.id: (text, answered(p, right)[:asked]) for p, text, right, asked in each}
        )

    passes, fails = "passes for certain", "fails for certain"
    three, four, ten = len(bits3.problems), len(bits4.problems), len(facts.problems)
    good = verdict((bits3, passes, three, three - 1), (bits4, passes, four, four - 1), (facts, passes, 6, 6))
    bad = verdict((bits3, fails, 0, three - 1), (bits4, fails, 0, four - 1), (facts, fails, 0, 6))
    mixed = verdict((bits3, passes, three, three), (bits4, fails, 0, four // 2), (facts, "", 6, ten))
    assert (good.passed, bad.passed, mixed.passed) == (True, False, None)
    assert good.early
    assert good.tasks[0].score.asked == three + four - 2
    assert len(good.tasks[0].verdicts) == 2


def test_part_of_an_evaluation_is_a_score_only_where_it_may_end_early(tmp_path: Path) -> None:
    suite = mine(tmp_path)
    whole, cut = suite.parts[0], suite.ended_early().parts[0]
    with pytest.raises(StateError):
        score(whole, answered(whole, 3)[:9])
    assert score(cut, answered(cut, 3)[:9]).pooled.total == 9
    strange = Graded(key="no such", primitive="p", score=1.0, answer="")
    for answers in ([], [strange], answered(cut, 3)[:2] * 2):
        with pytest.raises(StateError):
            score(cut, answers)


SERVED = {"backend": "endpoint lm_eval 0.4.9", "url": "http://127.0.0.1:8000/v1", "server": "vllm"}


def test_another_server_is_kept_apart_and_another_served_name_is_said() -> None:
    one, other = {**SERVED, "model": "dio@11"}, {**SERVED, "model": "dio@12"}
    found = comparable(one, other, ("s", "s"))
    assert (found.against, found.labels) == ((), ("model: dio@11 and dio@12",))
    for change in (
        {"url": "http://127.0.0.1:9000/v1"},
        {"server": "llamacpp"},
        {"backend": "transformers 5"},
    ):
        [name] = change
        assert [
            line.partition(":")[0] for line in comparable(one, {**one, **change}, ("s", "s")).against
        ] == [name]


CONTEXT = {
    "backend": "transformers 5.3.0",
    "template": "t1",
    "sampling": "greedy",
    "dtype": "float32",
    "code_version": "1",
}


@pytest.mark.parametrize("name", ["template", "sampling", "dtype", "max_tokens", "seed", "profile"])
def test_scores_that_were_measured_otherwise_are_kept_apart(name: str) -> None:
    found = comparable(CONTEXT, {**CONTEXT, name: "other"}, ("s", "s"))
    assert len(found.against) == 1
    assert found.against[0].startswith(name)
    assert "other" in found.against[0]


def test_another_backend_is_kept_apart_and_another_version_of_it_is_said() -> None:
    assert comparable(CONTEXT, CONTEXT, ("s", "s")) == comparable({}, {}, ("s", "s"))
    newer = comparable(CONTEXT, {**CONTEXT, "backend": "transformers 5.4.0", "code_version": "2"}, ("s", "s"))
    assert newer.against == ()
    assert newer.labels == ("backend: transformers 5.3.0 and transformers 5.4.0", "code_version: 1 and 2")
    assert comparable(CONTEXT, {**CONTEXT, "backend": "vllm 0.32"}, ("s", "s")).against
    assert comparable(CONTEXT, CONTEXT, ("s", "s2")).against == ("other problems: s and s2",)
    before = {**CONTEXT, "max_tokens": "64", "seed": "0", "profile": "none"}
    assert comparable(CONTEXT, before, ("s", "s")).against == ()


@given(
    st.dictionaries(st.sampled_from(["backend", "template", "sampling", "seed", "x"]), st.text(max_size=5))
)
def test_comparing_is_the_same_both_ways(other: dict[str, str]) -> None:
    one, two = comparable(CONTEXT, other, ("s", "s")), comparable(other, CONTEXT, ("s", "s"))
    assert bool(one.against) == bool(two.against)
    assert comparable(other, other, ("s", "s")).against == ()
