"""Have one step measured in a child process, and let the formula agree with it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from realm.core import events as event_lines
from realm.core.errors import ChildDiedError, RealmError
from realm.core.events import Failed
from realm.jobs.children import launch_cold
from realm.models.blank import BLANKS
from realm.training import dryrun
from realm.training.dryrun import DryRun, Measured
from realm.training.estimate import PROCESS_BYTES, Plan, estimate

BLANK = "qwen3"
"""What is tried where a recipe names no model."""
_POLL_S = 0.05


def measure(plan: Plan, model: Path | None) -> Measured:
    """Take a dry step in a child process. Raises what the child reported."""
    with tempfile.TemporaryDirectory(prefix="realm-estimate-") as scratch:
        folder = Path(scratch)
        spec = folder / "spec.json"
        spec.write_text(_dry_run(plan, model, folder).model_dump_json(), encoding="utf-8")
        child = launch_cold(dryrun.ENTRY, spec, folder / "log.txt")
        try:
            while (code := child.poll()) is None:
                time.sleep(_POLL_S)
        finally:
            child.kill()
        result = folder / "result.json"
        if code == 0 and result.is_file():
            return Measured.model_validate_json(result.read_bytes())
        raise _failure(folder, code)


def corrected(plan: Plan, measured: Measured) -> Plan:
    """Return the plan with factors that make the formula agree with what was measured."""
    bare = estimate(plan.model_copy(update={"saves": False, "memory_factor": 1.0, "seconds_factor": 1.0}))
    process = PROCESS_BYTES if plan.hardware.kind == "cpu" else 0
    seconds = bare.step_seconds / bare.step_tokens * measured.step_tokens
    return plan.model_copy(
        update={
            "memory_factor": measured.peak_bytes / max(1, bare.peak_bytes - process),
            "seconds_factor": measured.step_seconds / seconds,
        }
    )


def _dry_run(plan: Plan, model: Path | None, folder: Path) -> DryRun:
    rows = plan.recipe.rules.batch_rows
    usual = max(2, round(plan.lengths.mean_tokens))
    unlucky = min(plan.lengths.longest_tokens, max(2, round(plan.lengths.of_step(rows) / rows)))
    return DryRun(
        recipe=plan.recipe,
        model=str(model) if model else None,
        shape=None if model else (plan.recipe.model.shape or BLANKS.config(BLANK)),
        vocabulary_size=plan.shape.vocabulary,
        usual_tokens=(usual,),
        long_tokens=(unlucky,),
        trained_share=plan.lengths.trained_share,
        folder=str(folder),
    )


def _failure(folder: Path, code: int) -> RealmError:
    path = folder / "events.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        event = event_lines.read(line)
        if isinstance(event, Failed):
            return ChildDiedError(
                f"the measured step failed: {event.what}", hint=event.hint or "say --no-measure to do without"
            )
    return ChildDiedError(
        f"the process of the measured step ended with code {code}", hint="say --no-measure to do without"
    )
