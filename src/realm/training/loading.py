"""The model of a run, loaded from its last good state and made ready to be trained."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.core.errors import RefusedError
from realm.models import files
from realm.models.adapters import base_of, text_config
from realm.training.job import TrainJob
from realm.training.parameter import Parameters
from realm.training.precision import Chosen
from realm.training.rules import Device
from realm.training.state import read_progress
from realm.training.trainee import Trainee


def device_of(wanted: Device) -> torch.device:
    """Return the device that is wanted; `auto` is a GPU where there is one. Raises RefusedError."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise RefusedError(
            f"device cuda: torch {torch.__version__} finds no GPU here",
            hint="set rules.device to auto or cpu",
        )
    return torch.device("cuda" if found and wanted != "cpu" else "cpu")


def load_trainee(
    job: TrainJob, good: Path, parameters: Parameters, device: torch.device, precision: Chosen
) -> Trainee:
    """Load the state in `good`, choose what of it is trained, and put it on the device."""
    rules, context = job.recipe.rules, job.recipe.model.context_tokens
    model, tokenizer = _load(job, good, parameters)
    applied = parameters.apply(model, job.seed).to(device)
    if context:
        text_config(applied).max_position_embeddings = context
    _hold(applied, precision)
    return Trainee(
        model=applied,
        tokenizer=tokenizer,
        device=device,
        seed=job.seed,
        origin=Path(job.origin),
        max_tokens=min(rules.max_tokens, text_config(applied).max_position_embeddings),
    )


def _load(job: TrainJob, good: Path, parameters: Parameters) -> files.LoadedApart:
    """Load a state; a new run merges an adapter that it does not go on with."""
    found, vault = read_progress(good), Path(job.start).parent
    resumed = found is not None and found.run == job.run
    if resumed or parameters.continues(good):
        return files.load(good, merge=False, vault=vault)
    return files.LoadedApart(*files.load(good, vault=vault))


def _hold(model: PreTrainedModel | PeftModel, precision: Chosen) -> None:
    """Bring weights to the format that training holds them in.

    In fp32 all of them. In bf16 those beside which an adapter is trained, which no checkpoint repeats;
    other weights stay as their files have them, since a checkpoint of the whole model holds the frozen
    ones too.
    """
    whole = base_of(model) is model
    for parameter in model.parameters():
        if precision.dtype is torch.float32:
            if parameter.dtype in (torch.bfloat16, torch.float16):
                parameter.data = parameter.data.float()
        elif not whole and not parameter.requires_grad and parameter.dtype is torch.float32:
            parameter.data = parameter.data.to(torch.bfloat16)
