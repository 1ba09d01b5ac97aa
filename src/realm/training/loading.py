"""The model of a run, loaded from its last good state and made ready to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from realm.core.errors import RefusedError
from realm.models import files
from realm.models.adapters import base_of, read_base, text_config
from realm.training import fast
from realm.training.job import TrainJob
from realm.training.lengths import limit_of
from realm.training.parameter import Parameters
from realm.training.precision import Chosen, choose
from realm.training.recipe import Rules
from realm.training.rules import Device
from realm.training.state import read_progress
from realm.training.trainee import Trainee
from realm.training.world import World


class Ready(NamedTuple):
    """A model that is ready to be trained."""

    trainee: Trainee
    precision: Chosen
    """What its products are to be computed in."""
    merged: bool
    """An adapter that this run does not go on with was added to the weights: what is trained is new."""


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
    job: TrainJob, good: Path, parameters: Parameters, device: torch.device, world: World
) -> Ready:
    """Load the state in `good`, choose what of it is trained, and let the world take it to the device."""
    rules, context = job.recipe.rules, job.recipe.model.context_tokens
    with world.loading():
        merged = _merges(job, good, parameters)
        model, tokenizer = _load(good, Path(job.start).parent, merge=merged)
        applied = parameters.apply(model, job.seed)
        if context:
            text_config(applied).max_position_embeddings = context
        precision = _precision(rules, applied, device, world)
        _hold(applied, precision, device)
        applied = world.enter(applied)
    trainee = Trainee(
        model=applied,
        tokenizer=tokenizer,
        device=device,
        seed=job.seed,
        origin=Path(job.origin),
        max_tokens=limit_of(job.recipe, text_config(applied).max_position_embeddings),
    )
    return Ready(trainee, precision, merged)


def _precision(
    rules: Rules, model: PreTrainedModel | PeftModel, device: torch.device, world: World
) -> Chosen:
    """Return what products are computed in; on a CPU `auto` takes bf16 only where the fast way computes them.

    Anything else would have the CPU's library make machine code for the rows of each pack.
    """
    chosen = choose(rules.precision, device)
    if rules.precision != "auto" or device.type == "cuda" or chosen.dtype is torch.float32:
        return chosen
    layers = rules.compile or rules.memory.recompute_layers
    if world.whole and not layers and fast.computes(model):
        return chosen
    return Chosen(torch.float32, f"{chosen.reason}, which only the fast way uses well")


def _merges(job: TrainJob, good: Path, parameters: Parameters) -> bool:
    """Say whether a state holds an adapter that the run does not go on with; an interrupted run goes on."""
    found = read_progress(good)
    if read_base(good) is None or (found is not None and found.run == job.run):
        return False
    return not parameters.continues(good)


def _load(folder: Path, vault: Path, *, merge: bool) -> files.LoadedApart:
    if merge:
        return files.LoadedApart(*files.load(folder, vault=vault))
    return files.load(folder, merge=False, vault=vault)


def _hold(model: PreTrainedModel | PeftModel, precision: Chosen, device: torch.device) -> None:
    """Bring weights to the format that training holds them in.

    bf16 for those beside which an adapter is trained, where products are: no checkpoint repeats them. fp32
    for others on a CPU, and for all where products are computed in it; else they stay as their files have
    them.
    """
    whole = base_of(model) is model
    exact = precision.dtype is torch.float32 or (whole and device.type == "cpu")
    for parameter in model.parameters():
        if exact:
            if parameter.dtype in (torch.bfloat16, torch.float16):
                parameter.data = parameter.data.float()
        elif not whole and not parameter.requires_grad and parameter.dtype is torch.float32:
            parameter.data = parameter.data.to(torch.bfloat16)
