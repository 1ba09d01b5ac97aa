"""Our side: the training engine as a run uses it, one segment at a time.

python -m realm.bench.ours SPEC
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.bench.pipe import Pipe
from realm.bench.spec import Spec
from realm.bench.turns import Device
from realm.training.job import RowsFile, TrainJob

if TYPE_CHECKING:
    from realm.training.trainer import Trainer


def main() -> None:
    """Train the spec's chats, segment by segment, until told to stop."""
    spec = Spec.model_validate_json(Path(sys.argv[1]).read_bytes())
    pipe = Pipe()
    import realm.models  # noqa: F401 - first: it sets the environment of torch's threads

    import torch  # isort: skip

    from realm.core.events import Event, StepTaken
    from realm.training.trainer import Trainer

    torch.set_num_threads(spec.threads)
    device = Device(spec.device)
    pipe.tell({"imported": True})
    taken: list[StepTaken] = []

    def emit(event: Event) -> None:
        if isinstance(event, StepTaken):
            taken.append(event)

    trainer = Trainer(job_of(spec), emit)
    trainer.prepare()
    parameters = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    pipe.tell({"ready": {"first_loss": loss_before(trainer), "parameters": parameters}})

    def segment() -> dict[str, Any]:
        taken.clear()
        for _ in range(spec.steps):
            trainer.take_step()
        return {
            "tokens": sum(step.tokens for step in taken),
            "trained_tokens": sum(step.trained_tokens for step in taken),
            **device.memory(),
        }

    held = (trainer.model, trainer._optimizer)
    pipe.serve(segment, {"wake": lambda: device.wake(*held), "rest": lambda: device.rest(*held)})


def job_of(spec: Spec) -> TrainJob:
    """Return the run that the engine is told to train."""
    rules = spec.recipe.rules.model_copy(update={"threads": spec.threads})
    return TrainJob(
        run="bench",
        seed=0,
        start=spec.model,
        origin=spec.model,
        rows=(RowsFile(path=spec.examples),),
        recipe=spec.recipe.model_copy(update={"rules": rules}),
        stages=spec.scratch,
        events=f"{spec.scratch}/events.jsonl",
    )


def loss_before(trainer: Trainer) -> float:
    """Return the mean loss of all trained tokens before the first step, by the engine's own forward pass."""
    import torch

    from realm.training.batching import Unit, best_fit, pack
    from realm.training.precision import autocast, choose

    units = [Unit(sequences, row) for row, sequences in enumerate(trainer.rows.sequences)]
    rules, trainee = trainer.rules, trainer.trainee
    precision = choose(rules.precision, trainee.device)
    total, trained = 0.0, 0
    with torch.no_grad(), autocast(precision, trainee.device):
        for begin in range(0, len(units), rules.batch_rows):
            for members in best_fit(units[begin : begin + rules.batch_rows], rules.memory.tokens_at_once):
                batch = pack(members, trainee.device)
                total += float(trainee.cross_entropy(batch, batch.weights_M))
                trained += batch.trained_tokens
    return total / trained


if __name__ == "__main__":
    main()
