"""One measured step: the real engine over rows of the right lengths, in a process of its own.

The model is loaded from its folder, or born with random weights of the recipe's shape. The rows are
made up, as long as the data's; three steps of usual rows give the time, one step of long rows the
peak. Nothing is saved. What is measured on the CPU is the process's peak above what it held after
its imports; on a GPU it is what torch reserved there.

Not covered: methods that generate, and methods that need a teacher.
"""

from __future__ import annotations

import gc
import statistics
import string
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SerializeAsAny

from realm.core.config import Config
from realm.core.errors import DataError, RefusedError
from realm.core.events import ignore
from realm.core.records import Example, Message, Record
from realm.core.seeds import rng
from realm.jobs.edge import run_told
from realm.training.child import PRELOAD
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import BlankConfig, Recipe
from realm.training.rules import Masking, Saving, Validation

ENTRY = "realm.training.dryrun:main"
_USUAL_STEPS = 3
"""The first of them warms up and is not timed."""
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class DryRun(Config):
    """What to measure."""

    recipe: SerializeAsAny[Recipe]
    model: str | None = None
    """Folder of the model; none builds one of the recipe's shape."""
    shape: BlankConfig | None = None
    vocabulary_size: Annotated[int, Field(ge=300)] = 512
    """Of that shape."""
    usual_tokens: Annotated[tuple[int, ...], Field(min_length=1)]
    """Lengths of the rows of a usual step."""
    long_tokens: Annotated[tuple[int, ...], Field(min_length=1)]
    """Lengths of the rows of the longest step."""
    trained_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    folder: str
    """An empty folder of its own; `result.json` and `events.jsonl` are written there."""


class Measured(Record):
    """What a dry step took."""

    peak_bytes: int
    """The most held at a time, above `resident_bytes` on the CPU."""
    prepare_peak_bytes: int
    """The same, before the first step: loading and proving the masking."""
    resident_bytes: int
    """Held after the imports; 0 on a GPU."""
    step_seconds: float
    """Median of the usual steps."""
    step_tokens: int
    """Of a usual step."""
    long_tokens: int
    """Of the longest step."""
    trained_tokens: int
    """Of the longest step."""


def main(spec_path: Path) -> int:
    """Measure what a spec file says; return the process's exit code."""
    spec = DryRun.model_validate_json(spec_path.read_bytes())
    folder = Path(spec.folder)

    def work(_: object) -> None:
        (folder / "result.json").write_text(measure(spec).model_dump_json(), encoding="utf-8")

    return run_told("dry-run", folder / "events.jsonl", work)


def measure(spec: DryRun) -> Measured:
    """Take the steps in this process. Raises RefusedError for a method that cannot be tried dry."""
    for module in PRELOAD:  # so that imports are not measured
        import_module(module)
    import torch

    from realm.training.method import METHODS
    from realm.training.trainer import Trainer

    torch.set_num_threads(spec.recipe.rules.threads)
    method = METHODS.build(spec.recipe.method)
    if method.generates:
        raise RefusedError("a method that generates is not tried dry", hint="give --no-measure")
    start = Path(spec.model) if spec.model else _born(spec)
    rows = _rows(spec, start, method)
    job = _job(spec, start, rows)
    gc.collect()
    meter = _Meter(torch.cuda.is_available() and spec.recipe.rules.device != "cpu")
    trainer = Trainer(job, ignore)
    trainer.prepare()
    prepared = meter.peak()
    taken = _Steps(trainer)
    usual = [taken.step() for _ in range(_USUAL_STEPS)]
    longest = taken.step()
    peak = meter.peak()
    trainer.flush()
    return Measured(
        peak_bytes=max(peak, prepared),
        prepare_peak_bytes=prepared,
        resident_bytes=meter.resident,
        step_seconds=statistics.median(step.seconds for step in usual[1:]),
        step_tokens=usual[-1].tokens,
        long_tokens=longest.tokens,
        trained_tokens=longest.trained_tokens,
    )


class _Steps:
    """Takes steps and returns what the trainer tells of each."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._events: list[Any] = []
        trainer.emit = self._events.append

    def step(self) -> Any:
        self._events.clear()
        self._trainer.take_step()
        return next(event for event in self._events if event.kind == "step_taken")


class _Meter:
    """Measures peaks from the moment it is made."""

    def __init__(self, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self.resident = 0 if on_gpu else _status("VmRSS")
        if on_gpu:
            import torch

            torch.cuda.reset_peak_memory_stats()
        else:
            _CLEAR_REFS.write_text("5", encoding="ascii")  # resets VmHWM, see proc(5)

    def peak(self) -> int:
        """Return the most bytes held since then, above what was held then."""
        if self._on_gpu:
            import torch

            return torch.cuda.max_memory_reserved()
        return _status("VmHWM") - self.resident


def _status(name: str) -> int:
    """Return a memory figure of this process, bytes. Linux alone tells it."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RefusedError(f"{_STATUS} does not tell {name}", hint="give --no-measure")


def _born(spec: DryRun) -> Path:
    """Save a model of the shape with random weights and a tokenizer of bytes."""
    from realm.models.blank import BLANKS, SpecialIds
    from realm.models.files import save
    from realm.models.tokenizer import train_tokenizer

    folder = Path(spec.folder) / "start"
    folder.mkdir()
    tokenizer = train_tokenizer(_pool(), spec.vocabulary_size)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    model = BLANKS.build(spec.shape).build(spec.vocabulary_size, SpecialIds(end=end, pad=pad), 0)
    save(model, tokenizer, folder)
    return folder


def _pool() -> list[str]:
    return [f" {letter}" for letter in string.ascii_letters]


def _rows(spec: DryRun, start: Path, method: Any) -> Path:
    """Write rows of the lengths that were asked for, in the form that the method takes."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(start, local_files_only=True)
    said = _Sayer(tokenizer)
    batches = [*[spec.usual_tokens] * _USUAL_STEPS, spec.long_tokens]
    size = spec.recipe.rules.batch_rows
    rows = [row for lengths in batches for row in _batch(lengths, size, spec.trained_share, said)]
    try:
        method.sequences(rows[0])
    except DataError:
        rows = [row.model_copy(update={"rejected": row.messages}) for row in rows]
        method.sequences(rows[0])
    path = Path(spec.folder) / "rows.jsonl"
    path.write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    return path


def _batch(lengths: Sequence[int], rows: int, share: float, said: _Sayer) -> list[Example]:
    return [said.row(lengths[i % len(lengths)], share) for i in range(rows)]


class _Sayer:
    """Makes up text of a wanted number of tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._draw = rng("dry run")
        text = self._text(400)
        self._tokens_a_word = len(tokenizer.encode(text, add_special_tokens=False)) / 400

    def row(self, tokens: int, share: float) -> Example:
        """Return a text, or a chat with such a share of its tokens trained."""
        if share >= 1:
            return Example(text=self._say(tokens - 1))
        answer = max(2, round(tokens * share))
        return Example(
            messages=(
                Message(role="user", content=self._say(tokens - answer - 3)),
                Message(role="assistant", content=self._say(answer - 1)),
            )
        )

    def _say(self, tokens: int) -> str:
        return self._text(max(1, round(tokens / self._tokens_a_word)))

    def _text(self, words: int) -> str:
        return "".join(self._draw.choices(_pool(), k=words))


def _job(spec: DryRun, start: Path, rows: Path) -> TrainJob:
    """Return the job of a run that takes these steps and neither saves nor validates."""
    recipe = spec.recipe
    steps = _USUAL_STEPS + 1
    rules = recipe.rules.model_copy(
        update={
            "epochs": None,
            "steps": steps,
            "order": "given",
            "saving": Saving(every_steps=steps + 1, asynchronous=recipe.rules.saving.asynchronous),
            "masking": Masking(min_trained_share=0, min_masked_share=0),
        }
    )
    where = recipe.where.model_copy(update={"validation": Validation(), "datasets": ()})
    return TrainJob(
        run="dry-run",
        seed=0,
        start=str(start),
        origin=str(start),
        rows=(RowsFile(path=str(rows), name="made up"),),
        recipe=recipe.model_copy(update={"rules": rules, "where": where}),
        stages=str(Path(spec.folder) / "stages"),
        events=str(Path(spec.folder) / "events.jsonl"),
    )
