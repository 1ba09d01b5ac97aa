"""A realm whose datasets a served model helps to make, from its manual's `realm.yaml` to published rows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from realm import Realm
from realm.core.config import validate
from realm.core.records import ArtifactKind
from realm.corpus.check import Depth
from realm.corpus.dataset import read_examples
from realm.corpus.shapers.teacher import Teacher
from realm.flows.build import BuildPlan, BuildReport
from realm.flows.corpus import CorpusConfig
from tiny_endpoint import Endpoint, served

PAGE = Path(__file__).parents[2] / "docs" / "teacher.md"
PLAN = BuildPlan(name="taught", depth=Depth.STANDARD)
FUNCTIONS = 12


def manual() -> dict[str, Any]:
    """Return the `corpus` section that the manual shows."""
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    section: dict[str, Any] = yaml.safe_load(shown)["corpus"]
    return section


def wise(asked: dict[str, Any]) -> str:
    words = asked["messages"][1]["content"]
    named = "_and_".join(re.findall(r"piece_\d+", words)[:2])
    if '"answer": "…"' in words:
        answer = f"Like this, for {named}:\n```gdscript\nfunc both_{named}():\n\tpass\n```"
        return json.dumps({"instruction": f"Join what {named} do in one go.", "answer": answer})
    if '"instruction": "…"' in words:
        return json.dumps({"instruction": f"Write a function called {named} that adds its number."})
    return "```c\nint broken( {\n```" if "broken" in words else "```c\nint whole(void) { return 1; }\n```"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with served(wise) as found:
        yield found


def home(folder: Path, url: str, **settings: Any) -> Path:
    """Make a realm as the manual shows it, with code of two domains and two questions."""
    Realm.create(folder, template="dio").close()
    section = manual()
    for domain, name, function in (
        ("flecs", "flecs", "int piece_{n}(int a)\n{{\n    int b = a + {n};\n    return b;\n}}\n"),
        ("godot", "demos", "func piece_{n}(a):\n\tvar b = a + {n}\n\treturn b\n"),
    ):
        place = folder / "repositories" / name
        place.mkdir(parents=True)
        ending, first = ("c", 100) if domain == "flecs" else ("gd", 200)
        pieces = [function.format(n=n) for n in range(first, first + FUNCTIONS // 2)]
        (place / f"a.{ending}").write_text("\n".join(pieces), encoding="utf-8")
    rows = [{"prompt": word, "completion": "?"} for word in ("How is it whole?", "How is it broken?")]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shaper = section["feeds"][1]["shaper"]
    shaper.update({"url": url, "key_variable": None, **settings})
    section["feeds"] = [section["feeds"][1]]
    whole = yaml.safe_load((folder / "realm.yaml").read_text(encoding="utf-8"))
    for hero in whole["heroes"].values():
        hero["skills"] = {}  # whose held-out problems take seconds to write
    (folder / "realm.yaml").write_text(yaml.safe_dump({**whole, "corpus": section}), encoding="utf-8")
    return folder


def built(folder: Path) -> tuple[BuildReport, list[Any]]:
    with Realm(folder) as realm:
        realm.collect()
        report = realm.build(PLAN)
        places = [realm.lab.store.verified(ArtifactKind.DATASET, each.hash) for each in report.datasets]
        return report, [row for place in places for row in read_examples(place)]


def reasons(report: BuildReport) -> dict[str, int]:
    return {each.reason: each.count for each in report.left_out}


def test_the_manuals_example_is_a_config() -> None:
    config = validate(CorpusConfig, manual(), where="docs/teacher.md")
    taught = config.feeds[1].shaper
    assert isinstance(taught, Teacher.Config)
    defaults = Teacher.Config.model_fields
    table = re.findall(r"^\| `(\w+)` \| ([\d,.]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(table) == 6
    for name, default in table:
        assert defaults[name].default == float(default.replace(",", "")), name


def test_a_build_has_rows_of_every_task_under_the_prompt_of_its_domain(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home(tmp_path / "lab", endpoint.url)
    monkeypatch.chdir(folder)
    report, rows = built(folder)
    tasks = Counter(str(row.tags["task"]) for row in rows)
    assert tasks == {"reverse": FUNCTIONS, "cross": FUNCTIONS // 2, "answer": 1}
    systems = {(str(row.tags["task"]), str(row.tags["domain"])): row.messages[0].content for row in rows}
    assert systems == {
        ("reverse", "flecs"): "You write C with the FLECS entity component system.",
        ("reverse", "godot"): "You write GDScript for Godot 4.",
        ("cross", "flecs+godot"): "You know FLECS and Godot and join the two.",
        ("answer", "flecs"): "You write C with the FLECS entity component system.",
    }
    assert reasons(report)["the answer's code does not parse"] == 1
    assert (folder / "answers" / "oracle.db").is_file()


def test_what_the_budget_leaves_is_told_and_asked_for_by_the_next_build(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home(tmp_path / "lab", endpoint.url, max_requests=8, tasks=["reverse"], cross=[])
    monkeypatch.chdir(folder)
    report, rows = built(folder)
    assert (len(rows), len(endpoint.asked)) == (8, 8)
    assert reasons(report)["budget spent: left for the next run"] == FUNCTIONS - 8
    report, rows = built(folder)
    assert (len(rows), len(endpoint.asked)) == (FUNCTIONS, FUNCTIONS)
    assert "budget spent: left for the next run" not in reasons(report)


def test_a_killed_build_asks_again_only_for_what_was_under_way(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home(tmp_path / "lab", endpoint.url, at_once=1, tasks=["reverse"], cross=[])
    monkeypatch.chdir(folder)

    def slow(asked: dict[str, Any]) -> str:
        time.sleep(0.1)
        return wise(asked)

    endpoint.answer = slow
    program = textwrap.dedent(f"""
        from pathlib import Path
        from test_teacher_flow import built
        built(Path({str(folder)!r}))
    """)
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    child = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=folder)
    deadline = time.monotonic() + 60
    while len(endpoint.asked) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = len(endpoint.asked)
    assert 4 <= before < FUNCTIONS
    endpoint.answer = wise
    _, rows = built(folder)
    assert len(rows) == FUNCTIONS
    times = Counter(json.dumps(request) for request in endpoint.requests)
    assert len(times) == FUNCTIONS
    assert sum(times.values()) <= FUNCTIONS + 1
