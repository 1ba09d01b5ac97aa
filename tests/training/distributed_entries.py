"""What the children of the distributed tests do: be a rank, started without torchrun's agent."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tiny_runs import drills, make_recipe, tokenizer, trainee
from transformers import PreTrainedModel

from realm.models.adapters import decoder
from realm.models.chat import encode_many
from realm.models.files import load
from realm.training import rank
from realm.training.batches import Batches, Gradient
from realm.training.batching import Batch, Unit
from realm.training.job import TrainJob
from realm.training.method import Loss
from realm.training.methods.supervised import Supervised
from realm.training.trainee import Trainee
from realm.training.validation import measure
from realm.training.world import World


def be_rank(spec: Path) -> int:
    be_numbered(spec)
    return rank.main(spec.parent / rank.SPEC)


def be_spoilt_rank(spec: Path) -> int:
    """Be a rank whose losses and gradients are no numbers from the third batch on."""
    spoil(setattr)
    return be_rank(spec)


def spoil(replace: Callable[[type, str, object], None]) -> None:
    """Have the losses of steps be no numbers from the third batch on; what proves the masking is sound."""
    units, gradient, loss = Batches.units, Batches.gradient, Supervised.loss
    bad = {"drawn": False, "now": False}

    def draw(self: Batches, batch: int) -> list[Unit]:
        bad["drawn"] = batch >= 2
        return units(self, batch)

    def of_step(self: Batches, found: Sequence[Unit]) -> Gradient:
        bad["now"] = bad["drawn"]
        try:
            return gradient(self, found)
        finally:
            bad["now"] = False

    def spoilt(self: Supervised, trainee: Trainee, batch: Batch) -> Loss:
        sound = loss(self, trainee, batch)
        return Loss(sound.total * math.nan) if bad["now"] else sound

    replace(Batches, "units", draw)
    replace(Batches, "gradient", of_step)
    replace(Supervised, "loss", spoilt)


def hold(spec: Path) -> int:
    """Shard the model that the run begins with; tell how many values this rank holds."""
    be_numbered(spec)
    job = TrainJob.model_validate_json((spec.parent / rank.SPEC).read_bytes())
    world = rank.join(job, spec.parent)
    model = world.enter(load(Path(job.start)).model)
    parts = [parameter.to_local().numel() for parameter in model.parameters()]
    spec.write_text(json.dumps({"held": sum(parts), "whole": sum(p.numel() for p in model.parameters())}))
    return 0


def load_slowly(spec: Path) -> int:
    """Load the model that the run begins with, in this rank's turn; tell when that was."""
    be_numbered(spec)
    job = TrainJob.model_validate_json((spec.parent / rank.SPEC).read_bytes())
    world = rank.join(job, spec.parent)
    with world.loading():
        began = time.monotonic()
        world.enter(load(Path(job.start)).model)
        time.sleep(0.3)
        ended = time.monotonic()
    spec.write_text(json.dumps({"began": began, "ended": ended}))
    return 0


def validate(spec: Path) -> int:
    """Measure sets of 7 rows and of one; tell the losses and what this rank read for them."""
    be_numbered(spec)
    job = TrainJob.model_validate_json((spec.parent / rank.SPEC).read_bytes())
    world = rank.join(job, spec.parent)
    spec.write_text(json.dumps(validated(world.enter(load(Path(job.start)).model), world)))
    return 0


def validated(model: PreTrainedModel, world: World) -> dict[str, Any]:
    """Return the losses of sets of 7 rows and of one, and the input tokens of every pass for them."""
    sizes = list[int]()
    decoder(model).register_forward_pre_hook(
        lambda _, __, given: sizes.append(given["input_ids"].numel()), with_kwargs=True
    )
    units = [Unit((row,)) for row in encode_many(tokenizer(), drills(8), 256)]
    sets = {"seven": units[:7], "one": units[7:]}
    return {"losses": measure(trainee(model), sets, make_recipe().rules, world), "sizes": sizes}


def be_numbered(spec: Path) -> None:
    """Give this process the place among ranks that torchrun would give it."""
    facts = json.loads(spec.read_bytes())
    os.environ.update(RANK=str(facts["rank"]), LOCAL_RANK=str(facts["rank"]), WORLD_SIZE=str(facts["ranks"]))
