"""What a checkpoint holds besides the model: optimizer moments and where training stands.

`training.json` says how far; `optimizer.safetensors` holds flat tensors named
`<moment>/<parameter>`, never pickles. The caller has verified the files' hashes; names, shapes
and dtypes are checked here against the model. There is no random state to keep: everything
drawn at a step comes from the run's seed and the step's number, data order included.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from realm.core.errors import CorruptError
from realm.core.records import Name, Record

if TYPE_CHECKING:
    import torch

PROGRESS = "training.json"
OPTIMIZER = "optimizer.safetensors"


class Progress(Record):
    """Where training stood when a checkpoint was saved."""

    run: Name
    seed: int
    step: int
    """Steps this run has taken; also the position in its data and on its clock."""
    hero_step: int
    """Steps over the hero's whole life."""
    tokens: int
    """Real tokens this run has seen."""
    trained_tokens: int


def read_progress(folder: Path) -> Progress | None:
    """Return where a checkpoint stands; none for a model that was never trained."""
    try:
        return Progress.model_validate_json((folder / PROGRESS).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise CorruptError(f"{folder / PROGRESS}: {error.error_count()} fields are wrong") from None


def write_progress(progress: Progress, folder: Path) -> None:
    """Write where training stands into a stage."""
    (folder / PROGRESS).write_text(progress.model_dump_json(indent=1) + "\n", encoding="utf-8")


def write_optimizer(optimizer: torch.optim.Optimizer, model: torch.nn.Module, folder: Path) -> None:
    """Write the optimizer's moments into a stage."""
    from safetensors.torch import save_file

    tensors = {
        f"{moment}/{name}": value.contiguous()
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }
    save_file(tensors, folder / OPTIMIZER)


def read_optimizer(optimizer: torch.optim.Optimizer, model: torch.nn.Module, folder: Path) -> bool:
    """Load the moments of a checkpoint, where it has some; return whether it had.

    Raises CorruptError where they do not belong to this model.
    """
    from safetensors.torch import load_file

    path = folder / OPTIMIZER
    if not path.is_file():
        return False
    tensors = load_file(path)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        for moment in ("exp_avg", "exp_avg_sq"):
            value = tensors.get(f"{moment}/{name}")
            if value is None or value.shape != parameter.shape or value.dtype != parameter.dtype:
                raise CorruptError(f"{path}: {moment} of {name} is missing or of another shape")
            optimizer.state[parameter][moment] = value.to(parameter.device)
        step = tensors.get(f"step/{name}")
        if step is None or step.numel() != 1:
            raise CorruptError(f"{path}: the step of {name} is missing")
        optimizer.state[parameter]["step"] = step.to(parameter.device)
    return True
