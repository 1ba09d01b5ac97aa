"""What a model in training says to fixed prompts, made beside the run or out of its way.

In the training process the model itself answers, between two steps: weights, gradients, modes and
random state are as before afterwards, so that a run with previews ends with the bytes of one
without. In a process of its own a saved checkpoint answers, and training is not held up. Anything
that is a `Generator` may answer in its place.

Not covered: models whose layers lie spread over several processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config
from realm.core.errors import ConfigError
from realm.core.events import Emit, PreviewWritten
from realm.core.records import Message
from realm.jobs.edge import run_told
from realm.training.watch import Previews

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from realm.models.generator import Generator

Samples = tuple[tuple[str, str], ...]
"""Prompt and answer."""


class PreviewJob(Config):
    """What one preview process does."""

    run: str
    step: int
    """The run's step at which the checkpoint was saved."""
    folder: str
    """The checkpoint's files, verified by the caller."""
    previews: Previews
    seed: int
    events: str
    """File that events are appended to; not the run's own, whose `failed` would end the run."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """The training process has taken the GPU."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Processor threads; training needs the others."""


def main(spec_path: Path) -> int:
    """Run the job in a spec file. Returns the exit code: 0, or 1 after a `Failed` event."""
    job = PreviewJob.model_validate_json(spec_path.read_bytes())
    return run_told(job.run, Path(job.events), lambda emit: _preview_checkpoint(job, emit))


def ask(generator: Generator, previews: Previews, seed: int) -> Samples:
    """Let any generator answer the prompts."""
    answers = generator.generate(
        [[Message(role="user", content=prompt)] for prompt in previews.prompts],
        max_tokens=previews.max_tokens,
        temperature=previews.temperature,
        seed=seed,
    )
    return tuple(zip(previews.prompts, answers, strict=True))


def source(generator: Generator) -> str:
    """Say in a line what answered."""
    return ", ".join(value for name, value in generator.description.items() if name != "template")


def preview(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerFast, previews: Previews, seed: int
) -> tuple[Samples, str]:
    """Let the model in training answer; return the samples and what made them.

    The model must be set up to attend as it was loaded, since its prompts are padded and cached.
    Mode, gradients, weights and random state are as before afterwards.
    """
    from realm.models.engines.transformers import Transformers
    from realm.models.files import Loaded

    with _undisturbed(model):
        generator = Transformers(Loaded(model, tokenizer))
        return ask(generator, previews, seed), source(generator)


def refuse_long(previews: Previews, tokenizer: PreTrainedTokenizerFast, context_tokens: int) -> None:
    """Raise ConfigError where a prompt leaves no room for an answer, before a run finds out."""
    from realm.models.chat import prompt_ids

    chats = [[Message(role="user", content=prompt)] for prompt in previews.prompts]
    for prompt, ids in zip(previews.prompts, prompt_ids(tokenizer, chats), strict=True):
        if len(ids) >= context_tokens:
            raise ConfigError(
                f"previews.prompts: {prompt[:40]!r}… has {len(ids)} tokens",
                hint=f"the model's context is {context_tokens}; leave room for an answer",
            )


def _preview_checkpoint(job: PreviewJob, emit: Emit) -> None:
    """Load a checkpoint, let it answer and tell what it said."""
    from realm.models.engines.transformers import Transformers
    from realm.models.files import load

    loaded = load(Path(job.folder))
    import torch

    torch.set_num_threads(job.threads)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    loaded.model.to(automatic if job.device == "auto" else job.device)
    generator = Transformers(loaded)
    samples = ask(generator, job.previews, job.seed)
    emit(PreviewWritten(run=job.run, step=job.step, samples=samples, source=source(generator)))


@contextmanager
def _undisturbed(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Give every module its mode back, one by one; generating draws from a source of its own."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
