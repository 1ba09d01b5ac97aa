"""The peers' side: TRL's own SFTTrainer, told through a pipe to train one segment at a time.

    python -I peer.py SPEC    in the benchmark environment; it never imports realm

SPEC is the JSON of `spec.Spec`. Commands come as JSON lines on standard input and answers go to
standard output, whose file descriptor is taken away from everything else in this process. All runs
inside `SFTTrainer.train()`: a callback waits between segments, so that TRL's own loop is measured as
its users run it. Told to score only trained positions, TRL's head takes its GPU path: it selects the
hidden states whose label is not -100 before it projects them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

BEGAN = time.perf_counter()
IGNORED = -100


def main() -> None:
    """Train the spec's examples, segment by segment, until told to stop."""
    spec = json.loads(Path(sys.argv[1]).read_bytes())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch
    from datasets import Dataset  # noqa: F401 - what a process of this kind holds after its imports
    from peft import LoraConfig  # noqa: F401
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    torch.set_num_threads(spec["threads"])
    resident_mb = _memory_mb("VmRSS")
    if spec["trained_positions_only"]:
        _score_trained_positions_only()
    trainer = _trainer(spec)
    link = _Link(trainer, spec["steps"], answers)
    first_loss = _loss_before(trainer)
    _reset_peak()
    link.tell(
        {
            "setup_s": time.perf_counter() - BEGAN,
            "first_loss": first_loss,
            "parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
            "resident_mb": resident_mb,
        }
    )
    trainer.add_callback(link.callback())
    with contextlib.suppress(_StopAsked):
        trainer.train()


class _StopAsked(Exception):  # noqa: N818 - not an error
    """Standard input was closed: no more segments."""


class _Link:
    """Waits for a command between segments; counts what a segment trains."""

    def __init__(self, trainer: Any, steps: int, answers: TextIO) -> None:
        self._trainer = trainer
        self._steps = steps
        self._answers = answers
        self._began = 0.0

    def tell(self, answer: dict[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()

    def wait(self) -> None:
        if not sys.stdin.readline():
            raise _StopAsked
        self._trainer.counts = {"tokens": 0, "trained_tokens": 0, "loss": 0.0}
        self._began = time.perf_counter()

    def end(self) -> None:
        seconds = time.perf_counter() - self._began
        counts = self._trainer.counts
        self.tell({"seconds": seconds, **counts, "peak_mb": _memory_mb("VmHWM")})

    def callback(self) -> Any:
        from transformers import TrainerCallback

        link = self

        class Segments(TrainerCallback):  # type: ignore[misc, unused-ignore]
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                link.wait()

            def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
                if state.global_step % link._steps == 0:
                    link.end()
                    link.wait()

        return Segments()


def _trainer(spec: dict[str, Any]) -> Any:
    """Build TRL's trainer; it counts the tokens that it is given and sums its losses."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    class Counting(SFTTrainer):  # type: ignore[misc, unused-ignore]
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            mask = inputs.get("attention_mask")
            self.counts["tokens"] += int(inputs["input_ids"].numel() if mask is None else mask.sum())
            self.counts["trained_tokens"] += int((inputs["labels"] != IGNORED).sum())
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            self.counts["loss"] = float(loss.detach())
            return loss

    rows = json.loads(Path(spec["rows"]).read_bytes())
    lora = spec["lora"]
    config = SFTConfig(
        output_dir=spec["scratch"],
        learning_rate=spec["learning_rate"],
        adam_beta1=spec["betas"][0],
        adam_beta2=spec["betas"][1],
        adam_epsilon=spec["eps"],
        weight_decay=0.0,
        max_grad_norm=spec["clip_norm"],
        lr_scheduler_type="constant",
        num_train_epochs=10_000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **spec["settings"],
    )
    trainer = Counting(
        model=spec["model"],
        args=config,
        train_dataset=Dataset.from_dict(rows),
        processing_class=PreTrainedTokenizerFast.from_pretrained(spec["model"]),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **lora) if lora else None,
    )
    trainer.counts = {"tokens": 0, "trained_tokens": 0, "loss": 0.0}
    return trainer


def _loss_before(trainer: Any) -> float:
    """Return the mean loss of all trained tokens before the first step, by TRL's own loss."""
    import torch

    trainer.model.train()
    with torch.no_grad():
        total = sum(
            float(trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch), num_items_in_batch=1))
            for batch in trainer.get_train_dataloader()
        )
    trainer._metrics["train"].clear()
    return total / int(trainer.counts["trained_tokens"])


def _score_trained_positions_only() -> None:
    """Let TRL's fused head leave out the positions that it would mask afterwards."""
    import trl.trainer.utils

    # Its own switch, asked with the head's device; the kernels ask one of their own, which stays.
    trl.trainer.utils._use_triton = lambda device: True


def _memory_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def _reset_peak() -> None:
    """Make the peak the present size."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
