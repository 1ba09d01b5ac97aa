"""Every training method keeps the family's promises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_methods import CORRECTIONS, GRPO, PREFERENCES, assert_equal_gradients, made, step, units_of
from tiny_runs import chat, drills, make_job, make_start, qwen3, run, stages

from realm.core.errors import DataError
from realm.core.records import Example
from realm.training.method import METHODS

MIXED = [*drills(5), chat("a", "the quick brown fox").model_copy(update={"weight": 2.0})]
ROWS: dict[str, Sequence[Example]] = {
    "supervised": MIXED,
    "correction": CORRECTIONS,
    "dpo": PREFERENCES,
    "grpo": MIXED,
    "distillation": MIXED,
    "uncertainty": MIXED,
}
BAD: dict[str, Example] = {
    "correction": chat("a", "b"),
    "dpo": chat("a", "b"),
    "grpo": Example(text="a"),
}


def config_of(name: str, tmp_path: Path) -> dict[str, Any]:
    """Return settings under which a method runs on tiny models."""
    if name == "distillation":
        folder = tmp_path / "teacher"
        if not folder.exists():
            make_start(folder, qwen3(5))
        return {"kind": name, "teacher": {"kind": "local", "folder": str(folder)}}
    return GRPO if name == "grpo" else {"kind": name}


def documented() -> list[dict[str, Any]]:
    """Return the methods that docs/methods.md shows."""
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    return [yaml.safe_load(block)["method"] for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


def test_every_method_is_documented_and_what_is_shown_is_valid() -> None:
    assert {each["kind"] for each in documented()} == set(METHODS.names())
    for each in documented():
        METHODS.config(each)


def test_every_method_has_rows_here() -> None:
    assert set(ROWS) == set(METHODS.names())


@pytest.mark.parametrize("name", METHODS.names())
def test_cutting_a_step_into_packs_changes_nothing(tmp_path: Path, name: str) -> None:
    trainee = made(tmp_path)
    method, units = units_of(trainee, config_of(name, tmp_path), ROWS[name])
    assert max(unit.tokens for unit in units) < sum(unit.tokens for unit in units)
    loss, gradients, figures = step(trainee, method, units)
    again, others, same = step(trainee, method, units, max_tokens=30)
    assert again == pytest.approx(loss, rel=1e-6, abs=1e-7)
    assert same == pytest.approx(figures, rel=1e-5, abs=1e-6)
    assert_equal_gradients(others, gradients, 5e-6)


@pytest.mark.parametrize("name", METHODS.names())
def test_the_normaliser_adds_up_over_processes(tmp_path: Path, name: str) -> None:
    method, units = units_of(made(tmp_path), config_of(name, tmp_path), ROWS[name])
    parts = [method.normaliser(units[:1]), method.normaliser(units[1:])]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(method.normaliser(units), rel=1e-6)


@pytest.mark.parametrize("name", METHODS.names())
def test_units_are_the_same_every_time(tmp_path: Path, name: str) -> None:
    config = config_of(name, tmp_path)
    trainee = made(tmp_path)
    _, first = units_of(trainee, config, ROWS[name])
    _, again = units_of(trainee, config, ROWS[name])
    for one, other in zip(first, again, strict=True):
        assert [s.ids.tolist() for s in one.sequences] == [s.ids.tolist() for s in other.sequences]
        assert {n: v.tobytes() for n, v in one.facts.items()} == {
            n: v.tobytes() for n, v in other.facts.items()
        }


@pytest.mark.parametrize("name", METHODS.names())
def test_a_run_that_goes_on_ends_with_the_same_bytes(tmp_path: Path, name: str) -> None:
    settings = {"steps": 6, "batch_rows": 3, "method": config_of(name, tmp_path)}
    whole = stages(run(make_job(tmp_path, ROWS[name], **settings)))[-1].stage
    job = make_job(tmp_path, ROWS[name], **settings)
    half = stages(run(job, stop_after=3))[-1].stage
    ended = stages(run(job.model_copy(update={"start": half})))[-1]
    assert ended.step == 6
    files = sorted(path.name for path in Path(whole).iterdir())
    assert "model.safetensors" in files
    for file in files:
        assert (Path(ended.stage) / file).read_bytes() == (Path(whole) / file).read_bytes(), file


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_row_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    rows = [*ROWS[name][:2], BAD[name]]
    with pytest.raises(DataError, match=r"rows\.jsonl:3: "):
        run(make_job(tmp_path, rows, method=config_of(name, tmp_path)))


@pytest.mark.parametrize("name", METHODS.names())
def test_settings_round_trip_through_json(tmp_path: Path, name: str) -> None:
    config = METHODS.config(config_of(name, tmp_path))
    assert METHODS.config(json.loads(config.model_dump_json())) == config


def test_reading_settings_never_loads_torch(tmp_path: Path) -> None:
    settings = [config_of(name, tmp_path) for name in METHODS.names()] + documented()
    code = (
        "import json, sys; from realm.training.method import METHODS\n"
        "for each in json.loads(sys.argv[1]): METHODS.build(each)\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps(settings)], check=True)
