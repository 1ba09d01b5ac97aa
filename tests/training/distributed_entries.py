"""What the children of the distributed tests do: be a rank, started without torchrun's agent."""

from __future__ import annotations

import json
import os
from pathlib import Path

from realm.models.files import load
from realm.training import rank
from realm.training.job import TrainJob


def be_rank(spec: Path) -> int:
    be_numbered(spec)
    return rank.main(spec.parent / rank.SPEC)


def hold(spec: Path) -> int:
    """Shard the model that the run begins with; tell how many values this rank holds."""
    be_numbered(spec)
    job = TrainJob.model_validate_json((spec.parent / rank.SPEC).read_bytes())
    world = rank.join(job, spec.parent)
    model = world.enter(load(Path(job.start)).model)
    parts = [parameter.to_local().numel() for parameter in model.parameters()]
    spec.write_text(json.dumps({"held": sum(parts), "whole": sum(p.numel() for p in model.parameters())}))
    return 0


def be_numbered(spec: Path) -> None:
    """Give this process the place among ranks that torchrun would give it."""
    facts = json.loads(spec.read_bytes())
    os.environ.update(RANK=str(facts["rank"]), LOCAL_RANK=str(facts["rank"]), WORLD_SIZE=str(facts["ranks"]))
