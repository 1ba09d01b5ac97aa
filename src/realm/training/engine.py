"""Train one run: load, prove the masking, step, stage checkpoints, stop when asked.

On the CPU a run that is stopped or killed at any step and gone on with from its last stage ends
with the very bytes of an undisturbed one: the data order is a function of (seed, epoch), every
step seeds what it draws, and a stage holds weights, moments and step exactly. On a GPU it goes on
the same way, but not bit by bit.

Not covered: several devices, gradient accumulation, mixed precision, adapters.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from realm.core.errors import DataError, DivergedError, StorageError
from realm.core.events import (
    CheckpointStaged,
    Emit,
    MaskingProven,
    RunFinished,
    RunInterrupted,
    RunStarted,
    StepTaken,
)
from realm.core.records import Example
from realm.core.seeds import seed as seed_of
from realm.models import files
from realm.models.chat import encode_many
from realm.storage.durable import explained, fsync_dir, fsync_file
from realm.training.attention import use_packed
from realm.training.batching import pack, rows_of_step, steps_in_all
from realm.training.isolation import prove_isolation, sample, single_losses
from realm.training.job import TrainJob
from realm.training.masking import Rows, prove_rows, select
from realm.training.method import METHODS
from realm.training.recipe import Recipe
from realm.training.state import (
    Progress,
    read_optimizer,
    read_progress,
    write_optimizer,
    write_progress,
)
from realm.training.statistics import Statistics
from realm.training.trimming import trim_last_layer

LOWER_RATE = "nothing was saved after the last checkpoint; go on from it with a lower learning rate"


def train(job: TrainJob, emit: Emit, stop: Callable[[], bool]) -> None:
    """Carry a run from its start checkpoint to its end, or to the step at which `stop` says so.

    Raises MaskingError before the first step and DivergedError at the step that is no number.
    """
    began = time.monotonic()
    trainer = Trainer(job, emit)
    trainer.prepare()
    while trainer.progress.step < trainer.steps_total:
        if stop():
            trainer.save(final=False)
            emit(RunInterrupted(run=job.run, step=trainer.progress.step))
            return
        trainer.take_step()
        if trainer.progress.step % job.recipe.save_every_steps == 0:
            trainer.save(final=trainer.progress.step == trainer.steps_total)
    trainer.save(final=True)
    emit(RunFinished(run=job.run, step=trainer.progress.step, seconds=time.monotonic() - began))


class Trainer:
    """One run in memory: the model, its optimizer, its rows and how far it has come."""

    def __init__(self, job: TrainJob, emit: Emit) -> None:
        self.job = job
        self.recipe: Recipe = job.recipe
        self._emit = emit
        self._device = _device(job.recipe.device)
        self.model, self.tokenizer = files.load(Path(job.start))
        self.model.to(self._device)
        self._method = METHODS.build(job.recipe.method)
        self._optimizer = job.recipe.optimizer.build(self.model)
        self.progress = self._begin(read_progress(Path(job.start)))
        self._statistics = Statistics()

    def _begin(self, found: Progress | None) -> Progress:
        """Go on where the start checkpoint stands if it is of this run, else begin the run."""
        resumed = found is not None and found.run == self.job.run
        if resumed or self.recipe.optimizer.carry:
            read_optimizer(self._optimizer, self.model, Path(self.job.start))
        if found is not None and resumed:
            return found
        hero_step = found.hero_step if found else 0
        return Progress(
            run=self.job.run, seed=self.job.seed, step=0, hero_step=hero_step, tokens=0, trained_tokens=0
        )

    def prepare(self) -> None:
        """Read the rows, prove the masking and tell that the run has started."""
        examples = read_rows(Path(self.job.rows))
        limit = min(self.recipe.max_tokens, self.model.config.max_position_embeddings)
        self.rows = select(examples, encode_many(self.tokenizer, examples, limit), limit)
        self.steps_total = steps_in_all(
            len(self.rows.encoded),
            self.recipe.batch_rows,
            epochs=self.recipe.epochs,
            steps=self.recipe.steps,
        )
        checks = self._prove(self.rows)
        self.model.train()
        self._emit(
            RunStarted(
                run=self.job.run,
                steps_total=self.steps_total,
                step=self.progress.step,
                parameters=self.model.num_parameters(),
                device=str(self._device),
            )
        )
        self._emit(
            MaskingProven(
                run=self.job.run,
                rows=len(self.rows.encoded),
                tokens=self.rows.tokens,
                trained_tokens=self.rows.trained_tokens,
                checks=checks,
                dropped=self.rows.dropped,
            )
        )

    def _prove(self, rows: Rows) -> tuple[str, ...]:
        """Prove the masking; afterwards the model is set up for packs."""
        checks = prove_rows(rows, self.tokenizer, self.model.config.vocab_size, self.recipe.masking)
        chosen = sample(rows.encoded)
        sampled = [rows.encoded[i] for i in chosen]
        alone = single_losses(self.model, sampled)
        use_packed(self.model)
        trim_last_layer(self.model)
        return (*checks, *prove_isolation(self.model, sampled, alone, [rows.numbers[i] for i in chosen]))

    def take_step(self) -> None:
        """Take one optimizer step. Raises DivergedError before weights could become no number."""
        began = time.monotonic()
        step, recipe = self.progress.step, self.recipe
        torch.manual_seed(seed_of("step", self.job.seed, step))
        chosen = rows_of_step(
            step, len(self.rows.encoded), recipe.batch_rows, order=recipe.order, seed=self.job.seed
        )
        batch = pack([self.rows.encoded[i] for i in chosen], self._device)
        position = self.progress.hero_step if recipe.schedule.clock == "hero" else step
        rate = recipe.optimizer.learning_rate * recipe.schedule.factor(position, self.steps_total)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._method.loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm or math.inf)
        taken = StepTaken(
            run=self.job.run,
            step=step + 1,
            steps_total=self.steps_total,
            hero_step=self.progress.hero_step + 1,
            loss=float(loss.detach()),
            gradient_norm=float(norm),
            learning_rate=rate,
            tokens=batch.tokens,
            trained_tokens=batch.trained_tokens,
            seconds=0.0,
        )
        if not (math.isfinite(taken.loss) and math.isfinite(taken.gradient_norm)):
            raise DivergedError(
                f"run {self.job.run}: at step {taken.step} the loss is {taken.loss} and the gradient's "
                f"norm {taken.gradient_norm}",
                hint=LOWER_RATE,
            )
        self._optimizer.step()
        self._advance(taken.model_copy(update={"seconds": time.monotonic() - began}))

    def _advance(self, taken: StepTaken) -> None:
        self.progress = self.progress.model_copy(
            update={
                "step": taken.step,
                "hero_step": taken.hero_step,
                "tokens": self.progress.tokens + taken.tokens,
                "trained_tokens": self.progress.trained_tokens + taken.trained_tokens,
            }
        )
        self._statistics.add(taken)
        self._emit(taken)

    def save(self, *, final: bool) -> None:
        """Stage a checkpoint of the steps since the last one; without any there is nothing to save."""
        if self._statistics.steps == 0:
            return
        self._refuse_broken_weights()
        name = f"{self.job.run}-{self.progress.step}-{secrets.token_hex(4)}"
        stage = Path(self.job.stages) / name
        self._write(stage)
        self._emit(
            CheckpointStaged(
                run=self.job.run,
                stage=str(stage),
                step=self.progress.step,
                hero_step=self.progress.hero_step,
                stats=self._statistics.summary(),
                final=final,
            )
        )
        self._statistics = Statistics()

    def _refuse_broken_weights(self) -> None:
        """Raise DivergedError if the last step, whose loss was still a number, broke a weight."""
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                step = self.progress.step
                raise DivergedError(
                    f"run {self.job.run}: after step {step} {name} holds values that are no numbers",
                    hint=LOWER_RATE,
                )

    def _write(self, stage: Path) -> None:
        """Write all files of a checkpoint and flush them. Raises StorageError."""
        with explained(stage):
            stage.mkdir(parents=True)
            try:
                files.save(self.model, self.tokenizer, stage)
                write_optimizer(self._optimizer, self.model, stage)
            except SafetensorError as error:
                raise StorageError(
                    f"{stage}: {error}", hint="free some space; nothing that was saved before is harmed"
                ) from error
            write_progress(self.progress, stage)
        for path in sorted(stage.iterdir()):
            fsync_file(path)
        fsync_dir(stage)


def read_rows(path: Path) -> list[Example]:
    """Read a dataset's rows. Raises DataError naming the first bad line."""
    examples = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                examples.append(Example.model_validate_json(line))
            except ValidationError as error:
                raise DataError(str(error.errors()[0]["msg"]), file=str(path), line=number) from None
    if not examples:
        raise DataError("there are no rows", file=str(path))
    return examples


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
