"""A batch of rows as a run trains it: units shared out to ranks, packs, and what the method makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch

from realm.training.batching import Unit, best_fit, pack, with_groups
from realm.training.job import TrainJob
from realm.training.method import Loss, Method
from realm.training.precision import Chosen, autocast
from realm.training.rows import Rows
from realm.training.trainee import Trainee
from realm.training.unpacked import is_apart
from realm.training.world import Round, World


class Gradient(NamedTuple):
    """What came of a batch whose gradient now lies in the parameters; of all ranks together."""

    loss: float
    figures: dict[str, float]
    """The method's own, means over the units."""
    tokens: int
    trained_tokens: int


class Batches:
    """The batches of one run, by their number."""

    def __init__(
        self, job: TrainJob, method: Method, trainee: Trainee, rows: Rows, world: World, precision: Chosen
    ) -> None:
        self._job, self._rules = job, job.recipe.rules
        self._method, self._trainee, self._rows = method, trainee, rows
        self._world, self._precision = world, precision

    def units(self, batch: int) -> list[Unit]:
        """Return what a batch of rows trains on, the same on every rank."""
        rules = self._rules
        chosen = self._rows.of_batch(batch, rules.batch_rows, order=rules.order, seed=self._job.seed)
        rows = [self._rows.row(i) for i in chosen]
        make = partial(self._method.units, self._trainee, batch)
        if self._method.generates:
            return self._world.pooled(make, rows)
        return self._world.run(partial(make, rows))

    def gradient(self, units: Sequence[Unit]) -> Gradient:
        """Add a step's gradient to the parameters' own; return its loss, figures and tokens."""
        mine = self._world.share(units)
        (whole,) = self._world.total(self._weight(mine))
        total, figures = 0.0, dict[str, float]()
        for members, factor in self._packs(mine, units):
            part = self._loss(members)
            (part.total * factor / whole).backward()  # type: ignore[no-untyped-call]
            total += factor * float(part.total.detach())
            for name, value in part.figures.items():
                figures[name] = figures.get(name, 0.0) + factor * value
        self._world.reduce_gradients(self._trainee.model)
        names = sorted(figures)
        loss, count, tokens, trained, *sums = self._world.total(
            total / whole,
            len(mine),
            sum(unit.tokens for unit in mine),
            sum(unit.learnt_tokens for unit in mine),
            *(figures[name] for name in names),
        )
        means = {name: value / count for name, value in zip(names, sums, strict=True)}
        return Gradient(loss, means, int(tokens), int(trained))

    def loss(self, batch: int) -> float:
        """Return the loss of a batch under the present weights, without gradients."""
        units = self.units(batch)
        mine = self._world.share(units)
        with torch.no_grad():
            parts = [factor * float(self._loss(pack).total) for pack, factor in self._packs(mine, units)]
        total, whole = self._world.total(sum(parts), self._weight(mine))
        return total / whole

    def _weight(self, units: Sequence[Unit]) -> float:
        return self._method.normaliser(units) if units else 0.0

    def _packs(self, mine: Sequence[Unit], units: Sequence[Unit]) -> list[Round]:
        at_once = self._job.tokens_at_once or self._rules.memory.tokens_at_once
        return self._world.rounds(best_fit(mine, at_once), units)

    def _loss(self, members: Sequence[Unit]) -> Loss:
        """Return one pack's part of the loss."""
        batch = pack(members, self._trainee.device)
        if is_apart(self._trainee.model):
            batch = with_groups(batch, self._world.passes(len(batch.groups)))
        with autocast(self._precision, self._trainee.device):
            return self._world.run(partial(self._method.loss, self._trainee, batch))
