"""What a checkpoint holds besides the model: optimizer moments and where training stands.

`training.json` says how far; `optimizer.safetensors` holds flat tensors named
`<moment>/<parameter>`, never pickles. The caller has verified the files' hashes; names, shapes
and dtypes are checked here against the model. There is no random state to keep: everything
drawn at a step comes from the run's seed and the step's number, data order included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from realm.core.errors import CorruptError
from realm.core.records import Name, Record
from realm.training.guard import GuardState

if TYPE_CHECKING:
    import torch

PROGRESS = "training.json"
OPTIMIZER = "optimizer.safetensors"
_OTHER_OPTIMIZER = "with optimizer.carry: false a run begins without the moments of another one"


class Progress(Record):
    """Where training stood when a checkpoint was saved."""

    run: Name
    seed: int
    step: int
    """Steps this run has taken; also its place on its clock."""
    position: int = -1
    """Batches drawn from its data; more than `step` where some were skipped. -1: as many."""
    hero_step: int
    """Steps over the hero's whole life."""
    tokens: int
    """Real tokens this run has seen."""
    trained_tokens: int
    discarded: int = 0
    """Steps that were left out because they would have done harm."""
    guard: GuardState = GuardState()
    """What the guard knows of the steps before."""

    @property
    def batch(self) -> int:
        """The next batch to draw, from 0."""
        return self.step if self.position < 0 else self.position


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


def moments(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return what the optimizer remembers, by `<moment>/<parameter>`; a count is a whole number."""
    import torch

    return {
        f"{moment}/{name}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def write_moments(found: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write an optimizer's moments into a stage."""
    from safetensors.torch import save_file

    # Some optimizers share one table between parameters, which the format does not allow.
    save_file({name: value.detach().cpu().clone() for name, value in found.items()}, folder / OPTIMIZER)


def read_optimizer(optimizer: torch.optim.Optimizer, model: torch.nn.Module, folder: Path) -> bool:
    """Load the moments of a checkpoint, where it has some; return whether it had.

    Raises CorruptError where they do not belong to this model and this optimizer.
    """
    from safetensors.torch import load_file

    path = folder / OPTIMIZER
    if not path.is_file():
        return False
    found = load_file(path)
    _make_empty(optimizer)
    expected = moments(optimizer, model)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            which = "is missing" if name in expected else "is not one of this optimizer's"
            raise CorruptError(f"{path}: {name} {which}", hint=_OTHER_OPTIMIZER)
        if found[name].shape != expected[name].shape or found[name].dtype != expected[name].dtype:
            raise CorruptError(
                f"{path}: {name} is {_described(found[name])}, expected {_described(expected[name])}",
                hint=_OTHER_OPTIMIZER,
            )
    _fill(optimizer, model, found)
    return True


def _make_empty(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimizer make its own moments, by a step at rate 0 along gradients of 0."""
    import torch

    members = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    rates = [group["lr"] for group in optimizer.param_groups]
    for parameter in members:
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)


def _fill(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, found: Mapping[str, torch.Tensor]
) -> None:
    """Write the values into the tensors that are there, which may lie where the optimizer wants them."""
    import torch

    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter, {})
        for moment, value in state.items():
            read = found[f"{moment}/{name}"]
            if isinstance(value, torch.Tensor):
                value.copy_(read)
            else:
                state[moment] = read.item()


def _described(value: torch.Tensor) -> str:
    return f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
