from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from realm.core.events import Failed, read
from realm.models.blank import BLANKS
from realm.training import dryrun, hardware, lengths, shapes
from realm.training.dryrun import DryRun, Measured
from realm.training.estimate import PROCESS_BYTES, Plan, estimate
from realm.training.hardware import GB
from realm.training.recipe import Recipe

SHAPE = {"kind": "qwen3", "hidden_size": 96, "layers": 4, "kv_heads": 2, "intermediate_size": 288}


def written(tmp_path: Path, **changes: Any) -> tuple[DryRun, Path]:
    rules = {"batch_rows": 24, "steps": 9, "device": "cpu", "precision": "fp32", "threads": 1}
    spec = DryRun(
        recipe=Recipe.model_validate({"rules": rules, **changes}),
        shape=BLANKS.config(SHAPE),
        vocabulary_size=1024,
        usual_tokens=(60, 100),
        long_tokens=(160,),
        trained_share=0.5,
        folder=str(tmp_path),
    )
    path = tmp_path / "spec.json"
    path.write_text(spec.model_dump_json())
    return spec, path


def test_a_dry_step_measures_the_real_engine_on_rows_of_the_wanted_lengths(tmp_path: Path) -> None:
    spec, path = written(tmp_path)
    code = "import sys, pathlib, realm.training.dryrun as d; sys.exit(d.main(pathlib.Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == 0, (tmp_path / "events.jsonl").read_text()
    found = Measured.model_validate_json((tmp_path / "result.json").read_bytes())
    assert abs(found.step_tokens / (24 * 80) - 1) < 0.05
    assert abs(found.long_tokens / (24 * 160) - 1) < 0.05
    assert 0.4 < found.trained_tokens / found.long_tokens < 0.6
    assert found.step_seconds > 0
    assert found.resident_bytes > 100_000_000
    plan = Plan(
        recipe=spec.recipe,
        shape=shapes.of_blank(BLANKS.config(SHAPE), 1024),
        lengths=lengths.equal(160, trained_share=0.5),
        hardware=hardware.cpu(8 * GB),
        saves=False,
    )
    predicted = estimate(plan).peak_bytes - PROCESS_BYTES
    assert 0.6 < predicted / found.peak_bytes < 1.6
    assert not (tmp_path / "stages").exists()


def test_a_method_that_generates_is_not_tried_dry(tmp_path: Path) -> None:
    reward = {"kind": "python", "function": "builtins:len"}
    _, path = written(tmp_path, method={"kind": "grpo", "rewards": [{"reward": reward}]})
    code = dryrun.main(path)  # nothing is measured: a process of its own would only import
    event = read((tmp_path / "events.jsonl").read_text().splitlines()[-1])
    assert code == 1
    assert isinstance(event, Failed)
    assert "--no-measure" in event.hint
