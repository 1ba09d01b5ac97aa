"""The peers' side: TRL's own SFTTrainer, one segment at a time.

    python -I peer.py SPEC    in the benchmark environment; realm is not there and never imported

All runs inside `SFTTrainer.train()`: a callback waits between segments, so that TRL's own loop is
measured as its users run it. Told to score only trained positions, TRL's head takes the way it goes
on GPUs: it selects the hidden states whose label is not -100 before it projects them.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

IGNORED = -100
_LIBRARIES = ("transformers", "datasets", "peft", "trl.trainer.sft_trainer")


def main() -> None:
    """Train the spec's rows, segment by segment, until told to stop."""
    spec = json.loads(Path(sys.argv[1]).read_bytes())
    pipe = _beside("pipe.py")["Pipe"]()
    device = _beside("turns.py")["Device"](spec["device"])
    import torch

    for library in _LIBRARIES:  # loaded here, so that memory counts from here on
        import_module(library)
    torch.set_num_threads(spec["threads"])
    pipe.tell({"imported": True})
    if spec["trained_positions_only"]:
        _score_trained_positions_only()
    trainer = _trainer(spec)
    parameters = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    pipe.tell({"ready": {"first_loss": _loss_before(trainer), "parameters": parameters}})
    trainer.add_callback(_segments(trainer, spec["steps"], pipe, device))
    trainer.train()


def _beside(name: str) -> dict[str, Any]:
    """Return what a file of this folder defines, which imports nothing of realm."""
    return runpy.run_path(str(Path(__file__).with_name(name)))


def _segments(trainer: Any, steps: int, pipe: Any, device: Any) -> Any:
    """Return the callback that waits between segments and answers for each."""
    from transformers import TrainerCallback

    asked = {
        "wake": lambda: device.wake(trainer.model, trainer.optimizer),
        "rest": lambda: device.rest(trainer.model, trainer.optimizer),
    }

    def begin(control: Any) -> None:
        trainer.counts = {"tokens": 0, "trained_tokens": 0}
        if not pipe.told_to_go(asked):
            control.should_training_stop = True

    class Segments(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
            begin(control)

        def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % steps == 0:
                counts = {name: int(count) for name, count in trainer.counts.items()}
                pipe.tell({**counts, **device.memory()})
                begin(control)

    return Segments()


def _trainer(spec: dict[str, Any]) -> Any:
    """Build TRL's trainer; it counts the tokens that it is given."""
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerFast

    # Untyped here, since the product's own environment need not have them.
    dataset: Any = import_module("datasets").Dataset
    sft: Any = import_module("trl")

    class Counting(sft.SFTTrainer):  # type: ignore[misc]
        counts: dict[str, Any]

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            mask = inputs.get("attention_mask")
            # Added up where they are: a number of the GPU would be waited for.
            self.counts["tokens"] += inputs["input_ids"].numel() if mask is None else mask.sum()
            self.counts["trained_tokens"] += (inputs["labels"] != IGNORED).sum()
            return super().compute_loss(model, inputs, *args, **kwargs)

    config = sft.SFTConfig(
        output_dir=spec["scratch"],
        learning_rate=spec["learning_rate"],
        adam_beta1=spec["betas"][0],
        adam_beta2=spec["betas"][1],
        adam_epsilon=spec["eps"],
        weight_decay=spec["weight_decay"],
        max_grad_norm=spec["clip_norm"],
        lr_scheduler_type="constant",
        num_train_epochs=1_000_000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=spec["device"] == "cpu",
        **spec["settings"],
    )
    trainer = Counting(
        model=spec["model"],
        args=config,
        train_dataset=dataset.from_dict(json.loads(Path(spec["rows"]).read_bytes())),
        processing_class=PreTrainedTokenizerFast.from_pretrained(spec["model"]),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **spec["lora"]) if spec["lora"] else None,
    )
    trainer.counts = {"tokens": 0, "trained_tokens": 0}
    if trainer.args.use_liger_kernel:
        # `train` does so again, which changes nothing; done here, the first loss is computed with it too.
        liger = import_module("transformers.integrations.liger")
        liger.apply_liger_kernel(trainer.model, trainer.args.liger_kernel_config)
    return trainer


def _loss_before(trainer: Any) -> float:
    """Return the mean loss of all trained tokens before the first step, by TRL's own loss."""
    import torch

    trainer.model.train()

    def loss(batch: Any) -> float:
        with trainer.compute_loss_context_manager():
            return float(trainer.compute_loss(trainer.model, batch, num_items_in_batch=1))

    scored: Callable[[Any], float] = torch.no_grad()(loss)
    total = sum(scored(trainer._prepare_inputs(batch)) for batch in trainer.get_train_dataloader())
    return total / int(trainer.counts["trained_tokens"])


def _score_trained_positions_only() -> None:
    """Let TRL's head leave out the positions that it would mask afterwards."""
    # Asked by the head alone; the kernels below it ask a function of their own, which stays.
    utils: Any = import_module("trl.trainer.utils")
    utils._use_triton = lambda device: True


if __name__ == "__main__":
    main()
