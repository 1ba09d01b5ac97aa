"""One run in memory: load, prove the masking, step, stage checkpoints, stop when asked.

What a step must not do to the weights is the guard's to say (see `guard`); where they turn out to be
broken the trainer says so and stops: to go back is the engine's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from realm.core.errors import CorruptError, DivergedError
from realm.core.events import (
    Emit,
    MaskingProven,
    RolledBack,
    RunStarted,
    StepTaken,
    ValidationMeasured,
    ignore,
)
from realm.core.hashing import PREFIX
from realm.core.seeds import seed as seed_of
from realm.models.adapters import Base, base_of, read_base
from realm.training import guard
from realm.training.batches import Batches
from realm.training.batching import Unit, steps_in_all
from realm.training.compiled import prove_compiled
from realm.training.job import TrainJob
from realm.training.loading import device_of, load_trainee
from realm.training.method import METHODS, Method
from realm.training.optimizer import OPTIMIZERS
from realm.training.parameter import PARAMETERS
from realm.training.proof import prove
from realm.training.recipe import Recipe
from realm.training.rows import read
from realm.training.saving import Stages
from realm.training.servability import ModelFacts, servable
from realm.training.state import Progress, read_optimizer, read_progress
from realm.training.statistics import Statistics
from realm.training.updates import in_all, updates_of
from realm.training.validation import measure
from realm.training.watching import Watcher, peak_memory
from realm.training.world import Alone, World

log = logging.getLogger(__name__)

LOWER_RATE = "nothing was saved after the last checkpoint; go on from it with a lower learning rate"


class Back(NamedTuple):
    """Where a run goes on from."""

    start: Path
    after: Progress | None = None
    """How far it had come when its weights broke; none for the first attempt."""
    cause: str = ""
    """Why they are taken to be broken."""


class Trainer:
    """One run in memory: the model, its optimizer, its rows and how far it has come."""

    def __init__(
        self,
        job: TrainJob,
        emit: Emit,
        world: World | None = None,
        begin: Back | None = None,
    ) -> None:
        """Load what the job names, or what a run whose weights broke goes back to."""
        self.job = job
        self.recipe: Recipe = job.recipe
        self.rules = job.recipe.rules
        self.broken: str | None = None
        """Why the weights are no good, where they are: the run has to go back to `good`."""
        self.stopped = False
        """It was asked to stop, and has saved."""
        self._after = begin.after if begin else None
        device = device_of(self.rules.device)
        self._world = world or Alone(device)
        self.emit: Emit = emit if self._world.rank == 0 else ignore
        self._start = begin.start if begin else Path(job.start)
        good = self._start if self._after or not job.back else Path(job.back)
        self._stages = Stages(job, good, self.emit, writes=self._world.rank == 0)
        self._method: Method = METHODS.build(job.recipe.method)
        self._parameters = PARAMETERS.build(self.rules.parameters)
        ready = load_trainee(job, self._start, self._parameters, device, self._world)
        self.trainee, self._precision, self._merged = ready
        self._statistics = Statistics()
        self._watcher = Watcher(job, self.emit)

    @property
    def good(self) -> Path:
        """Folder of the last state that was saved regularly."""
        return self._stages.good

    @property
    def model(self) -> Any:
        """The model in training."""
        return self.trainee.model

    def prepare(self) -> None:
        """Read the rows, prove the masking and tell that the run has started."""
        job, rules = self.job, self.rules
        self.rows, self._validation = read(
            job, self._method, self.trainee, encoding=rules.encoding, mixture=job.recipe.where.mixture
        )
        self.steps_total = steps_in_all(
            len(self.rows), rules.batch_rows, epochs=rules.epochs, steps=rules.steps
        )
        proof = prove(self.trainee, self._method, self.rows, rules, self._world)
        self._batches = Batches(job, self._method, self.trainee, self.rows, self._world, self._precision)
        self._optimizer = OPTIMIZERS.build(rules.optimizer).build(self.trainee.model)
        with self._world.mixing():
            self.progress = self._begin()
        self._method.begin(self.trainee)
        self.trainee.model.train()
        self._watcher.begin(self.trainee)
        self.emit(
            RunStarted(
                run=job.run,
                steps_total=self.steps_total,
                step=self.progress.step,
                parameters=sum(p.numel() for p in self.model.parameters()),
                trained_parameters=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
                device=str(self.trainee.device),
                precision=str(self._precision.dtype).removeprefix("torch."),
                servable=self._servable(),
            )
        )
        compiled = self._compiled()
        self.emit(
            MaskingProven(
                run=job.run,
                rows=len(self.rows),
                tokens=self.rows.tokens,
                trained_tokens=self.rows.trained_tokens,
                checks=(*proof.checks, *compiled),
                dropped=self.rows.dropped,
                sources=self.rows.sources,
                packed=proof.packed,
            )
        )

    def _compiled(self) -> tuple[str, ...]:
        """Compile the layers where the recipe asks for it; return what was found of them."""
        if not self.rules.compile:
            return ()
        log.info("run %s: the layers are compiled, which takes about a minute", self.job.run)
        folder = Path(self.job.cache) if self.job.cache else None
        return (prove_compiled(self.trainee, self._world, self._precision, folder),)

    def _servable(self) -> tuple[str, ...]:
        """Say which engines can serve what the run will leave."""
        facts = ModelFacts(model_type=base_of(self.model).config.model_type)
        base, rules = self._base(), self.rules
        below = Path(self.job.start).parent / base.base.removeprefix(PREFIX) if base else None
        stacked = below is not None and read_base(below) is not None
        found = servable(rules.parameters, facts, rules.saving, on_adapter=stacked)
        return tuple(f"{each.engine}: {each.how} ({each.reason})" for each in found)

    def _begin(self) -> Progress:
        """Go on where the state it starts from stands if it is of this run, else begin the run."""
        found = read_progress(self._start)
        if found is not None and found.run == self.job.run:
            read_optimizer(self._optimizer, self.model, self._start)
        else:
            self._carry_moments()
        begun = self._begun(found)
        if self._after is None:
            return begun
        # The batches that were discarded are left out, what the guard knew of them is forgotten.
        return begun.model_copy(update={"position": self._after.position, "discarded": self._after.discarded})

    def _carry_moments(self) -> None:
        """Take over the moments of the run before, where they are of the same parameters."""
        settings = OPTIMIZERS.build(self.rules.optimizer)
        if settings.carry and not self._merged:  # a fresh adapter may have the names of the merged one
            try:
                read_optimizer(self._optimizer, self.model, self._start)
            except CorruptError as error:  # its bytes were verified, so it is of another kind
                log.info("the moments before are not carried on: %s", error.what)
                self._optimizer = settings.build(self.trainee.model)

    def _begun(self, found: Progress | None) -> Progress:
        if found is not None and found.run == self.job.run:
            return found
        hero_step = found.hero_step if found else 0
        return Progress(
            run=self.job.run, seed=self.job.seed, step=0, hero_step=hero_step, tokens=0, trained_tokens=0
        )

    # --- steps ----------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool]) -> None:
        """Take steps and save until the run has ended, is asked to stop, or its weights are broken."""
        every = self.rules.saving.every_steps
        while self.progress.step < self.steps_total:
            if self._world.agree(stop()):
                self.stopped = True
                self.save(final=False)
                return
            self.take_step()
            if self.broken is not None:
                return
            if self.progress.step % every == 0 or self._asked_to_save():
                self.save(final=self.progress.step == self.steps_total)
        self.save(final=True)

    def _asked_to_save(self) -> bool:
        """Say whether somebody wants a checkpoint now, once for each time it is asked for."""
        if self.job.save_now is None:
            return False
        asked = Path(self.job.save_now)
        if not self._world.agree(asked.exists()):
            return False
        if self._world.rank == 0:
            asked.unlink(missing_ok=True)
        return True

    def take_step(self) -> None:
        """Take one step: the updates that the method takes on a batch, but those that would do harm.

        Nothing is saved between them, so what they share is never needed again. Raises DivergedError
        when nothing sound is left to go back to.
        """
        began = time.monotonic()
        batch = self.progress.batch
        torch.manual_seed(seed_of("step", self.job.seed, batch))
        units = self._batches.units(batch)
        updates: list[StepTaken] = []
        while len(updates) < updates_of(self._method):
            update = self._update(batch, units, began, first=not updates)
            if update is None:
                break
            updates.append(update)
        if updates and self.broken is None:
            self._advance(in_all(updates, time.monotonic() - began))

    def _update(self, batch: int, units: Sequence[Unit], began: float, *, first: bool) -> StepTaken | None:
        """Change the weights once, or not at all where that would do harm."""
        rate = self._set_rate()
        self._optimizer.zero_grad(set_to_none=True)
        found = self._batches.gradient(units)
        norm = self._world.clip(self.model, self.rules.clip_norm or float("inf"))
        # A batch that is generated anew is another one.
        again = None if self._method.generates else self._batches.loss
        verdict = guard.judge(
            self.rules.guard, self.progress.guard, found.loss, norm, batch=batch, again=again
        )
        taken = StepTaken(
            run=self.job.run,
            step=self.progress.step + 1,
            steps_total=self.steps_total,
            hero_step=self.progress.hero_step + 1,
            loss=found.loss,
            gradient_norm=norm,
            learning_rate=rate,
            tokens=found.tokens,
            trained_tokens=found.trained_tokens,
            seconds=time.monotonic() - began,
            figures=found.figures,
            memory_bytes=peak_memory(),
        )
        self.progress = self.progress.model_copy(update={"position": batch + 1, "guard": verdict.state})
        if verdict.cause:
            self._discard(taken.step, verdict, first=first)
            return None
        if first:
            self._watcher.before_update(taken)
        self._optimizer.step()
        return taken

    def _set_rate(self) -> float:
        """Set every group's learning rate for this step; return the first one's."""
        schedule = self.rules.schedule
        position = self.progress.hero_step if schedule.clock == "hero" else self.progress.step
        factor = schedule.factor(position, self.steps_total)
        for group in self._optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        return float(self._optimizer.param_groups[0]["lr"])

    def _discard(self, step: int, verdict: guard.Verdict, *, first: bool) -> None:
        """Leave out an update whose loss or gradient is broken; the weights before it may be, too."""
        self.progress = self.progress.model_copy(update={"discarded": self.progress.discarded + 1})
        if self.progress.discarded > self.rules.guard.max_discarded:
            raise DivergedError(
                f"run {self.job.run}: at step {step} {verdict.cause}; "
                f"{self.rules.guard.max_discarded} steps were discarded before",
                hint=LOWER_RATE,
            )
        cause = verdict.cause or ""
        if verdict.back:
            self.broken = cause
            self.flush()
        stays_at = step - 1 if first else step
        to_step = self._stages.step if verdict.back else stays_at
        self.emit(RolledBack(run=self.job.run, step=step, to_step=to_step, cause=cause))

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
        self.emit(taken)
        self._watcher.after_update(self.trainee, taken)
        if self._validation and taken.step % self.recipe.where.validation.every_steps == 0:
            self._validate()

    def _validate(self) -> None:
        """Measure every validation set, leaving weights, mode and random state as they are."""
        losses = measure(self.trainee, self._validation, self.rules, self._world)
        rows = {name: len(units) for name, units in self._validation.items()}
        self.emit(ValidationMeasured(run=self.job.run, step=self.progress.step, losses=losses, rows=rows))

    # --- saving ---------------------------------------------------------------------------

    def save(self, *, final: bool) -> None:
        """Stage a checkpoint of the steps since the last one; without any there is nothing to save."""
        if self._statistics.steps == 0:
            return
        self._refuse_broken_weights()
        snapshot = self._world.gathered(self.model, self._optimizer)
        stats = self._statistics.summary()
        self._statistics = Statistics()
        if snapshot is not None:
            self._stages.put(self.trainee, self._base(), snapshot, self.progress, stats, final=final)

    def flush(self) -> None:
        """Wait until everything is written."""
        self._stages.flush()

    def forget(self) -> None:
        """Drop what was kept to go back to."""
        self._stages.forget()

    def _base(self) -> Base | None:
        """Return what lies under the adapter in training."""
        return Base(base=self.job.base, frozen=self._parameters.frozen) if self.job.base else None

    def _refuse_broken_weights(self) -> None:
        """Raise DivergedError if the last step, whose loss was still a number, broke a weight."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and not torch.isfinite(parameter).all():
                step = self.progress.step
                raise DivergedError(
                    f"run {self.job.run}: after step {step} {name} holds values that are no numbers",
                    hint=LOWER_RATE,
                )
