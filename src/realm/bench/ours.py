"""Our side: the training engine as a run uses it, one segment at a time.

python -m realm.bench.ours SPEC
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from realm.bench.pipe import Pipe
from realm.bench.spec import Spec
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import Recipe


def main() -> None:
    """Train the spec's chats, segment by segment, until told to stop."""
    spec = Spec.model_validate_json(Path(sys.argv[1]).read_bytes())
    pipe = Pipe()
    import realm.models  # noqa: F401 - first: it sets the environment of torch's threads

    import torch  # isort: skip

    from realm.core.events import Event, StepTaken
    from realm.training.engine import Trainer

    torch.set_num_threads(spec.threads)
    pipe.tell({"imported": True})
    taken: list[StepTaken] = []

    def emit(event: Event) -> None:
        if isinstance(event, StepTaken):
            taken.append(event)

    trainer = Trainer(job_of(spec), emit)
    trainer.prepare()
    parameters = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    pipe.tell({"ready": {"first_loss": _loss_before(trainer), "parameters": parameters}})

    def segment() -> dict[str, Any]:
        taken.clear()
        for _ in range(spec.steps):
            trainer.take_step()
        return {
            "tokens": sum(step.tokens for step in taken),
            "trained_tokens": sum(step.trained_tokens for step in taken),
        }

    pipe.serve(segment)


def job_of(spec: Spec) -> TrainJob:
    """Return the run that the engine is told to train."""
    rules: dict[str, Any] = {
        "optimizer": {
            "kind": "adamw",
            "learning_rate": spec.learning_rate,
            "betas": list(spec.betas),
            "eps": spec.eps,
            "weight_decay": 0.0,
        },
        "schedule": {"kind": "constant"},
        "precision": "fp32",
        "batch_rows": spec.batch_rows,
        "max_tokens": spec.max_tokens,
        "steps": 1_000_000,
        "order": "given",
        "clip_norm": spec.clip_norm,
        "device": "cpu",
        "threads": spec.threads,
    }
    if spec.lora is not None:
        lora = spec.lora
        rules["parameters"] = {
            "kind": "lora",
            "rank": lora.r,
            "alpha": lora.lora_alpha,
            "dropout": lora.lora_dropout,
            "targets": list(lora.target_modules),
        }
    return TrainJob(
        run="bench",
        seed=0,
        start=spec.model,
        origin=spec.model,
        rows=(RowsFile(path=spec.examples),),
        recipe=Recipe.model_validate({"rules": rules}),
        stages=spec.scratch,
        events=f"{spec.scratch}/events.jsonl",
    )


def _loss_before(trainer: Any) -> float:
    """Return the mean loss of all trained tokens before the first step, by the engine's own forward pass."""
    import torch

    from realm.training.batching import pack

    sequences = [sequence for row in trainer.rows.sequences for sequence in row]
    rows = trainer.rules.batch_rows
    total, trained = 0.0, 0
    with torch.no_grad():
        for begin in range(0, len(sequences), rows):
            batch = pack(sequences[begin : begin + rows])
            total += float(trainer.trainee.cross_entropy(batch, batch.weights_M))
            trained += batch.trained_tokens
    return total / trained


if __name__ == "__main__":
    main()
