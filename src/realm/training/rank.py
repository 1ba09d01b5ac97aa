"""One rank of a run: the part of its agent's ranks that torchrun numbers by `RANK`.

All state that ranks share on their way in is the folder of the spec: the file where they meet, the
agent's wish to stop, and what each has to say of its failure. Beyond the loopback interface
nothing is listened on. SIGTERM ends a rank at once; saving and leaving is asked for by the file.

The path over NCCL, for CUDA devices, has not been run yet.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.errors import ConfigError, RefusedError
from realm.core.events import ignore
from realm.jobs.edge import run_told
from realm.jobs.tail import EventLog
from realm.training.job import TrainJob
from realm.training.launchers.torchrun import Torchrun

if TYPE_CHECKING:
    import torch

    from realm.training.world import World

SPEC = "spec.json"
STOP = "stop"
_MEETING = "ranks"
_TOLD = "rank-{}.jsonl"
_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


def told_by(folder: Path) -> dict[int, Path]:
    """Return the files in which ranks said why they failed."""
    return {int(path.stem.removeprefix("rank-")): path for path in folder.glob(_TOLD.format("*"))}


def main(spec_path: Path) -> int:
    """Train this rank's part of the job; return the process's exit code."""
    job = TrainJob.model_validate_json(spec_path.read_bytes())
    told = spec_path.parent / _TOLD.format(os.environ["RANK"])
    return run_told(job.run, told, lambda _: _train(job, spec_path.parent))


def settings(job: TrainJob) -> Torchrun.Config:
    """Return what the job says of its ranks. Raises ConfigError where it has none."""
    launcher = job.recipe.rules.launcher
    if not isinstance(launcher, Torchrun.Config):
        raise ConfigError(
            f"run {job.run} is not trained by ranks", hint="set rules.launcher: {kind: torchrun}"
        )
    return launcher


def join(job: TrainJob, folder: Path) -> World:
    """Set this process up as the rank that its environment says, and return what it shares."""
    import torch

    from realm.training.distributed import WORLDS

    launcher, ranks = settings(job), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(max(1, job.recipe.rules.threads // ranks))
    device = _device(job, ranks)
    _meet(device, ranks, folder, timedelta(seconds=launcher.timeout_s))
    return WORLDS[launcher.strategy](device)


def _train(job: TrainJob, folder: Path) -> None:
    from torch import distributed

    from realm.training.engine import train

    world = join(job, folder)
    log = EventLog(Path(job.events)) if world.rank == 0 else None
    train(job, log.emit if log else ignore, (folder / STOP).exists, world)
    distributed.destroy_process_group()


def _device(job: TrainJob, ranks: int) -> torch.device:
    """Return this rank's device, and make it the one that is meant by its kind."""
    import torch

    wanted = job.recipe.rules.device
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if torch.cuda.device_count() < ranks:
        raise RefusedError(
            f"{ranks} ranks were asked for, and there are {torch.cuda.device_count()} GPUs",
            hint="lower rules.launcher.processes; a GPU is not shared",
        )
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def _meet(device: torch.device, ranks: int, folder: Path, timeout: timedelta) -> None:
    """Join the other ranks, over the loopback interface alone."""
    from torch import distributed

    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = _LOOPBACK
    on_gpu = device.type == "cuda"
    distributed.init_process_group(
        # Single numbers always go by gloo: they need not wait for the GPU.
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=distributed.FileStore(str(folder / _MEETING), ranks),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=ranks,
        timeout=timeout,
        device_id=device if on_gpu else None,
    )
