"""The child that starts the ranks of a run with torchrun's agent, and speaks for them.

Ranks are processes of `realm.training.rank`. Rank 0 writes the run's events and stages. When one
ends in any other way than well, the agent ends the others within seconds, and what began it
becomes the run's one `Failed`. Nothing is restarted here: the supervisor does, from the last
checkpoint. Ranks meet through a file in a folder of their own, so that no port is opened for that.

Ranks lead sessions of their own and die with this process, also when it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from realm.core import errors
from realm.core.events import Failed
from realm.jobs.memory import allocation_limit, how_it_ended, kernel_kills, killed_for_memory
from realm.jobs.tail import EventLog, EventTail
from realm.training.job import TrainJob
from realm.training.optimizers.adamw import AdamW
from realm.training.rank import SPEC, STOP, settings, told_by

_LET_GO_S = 5
"""What a rank has to end after SIGTERM, before SIGKILL."""


def main(spec_path: Path) -> int:
    """Train the run of a spec file in several ranks; return the process's exit code."""
    job = TrainJob.model_validate_json(spec_path.read_bytes())
    failed = _refused(job) or _failed(job)
    if failed is None:
        return 0
    # Opened only now: a line that a killed rank left torn is closed first.
    log = EventLog(Path(job.events))
    log.emit(failed)
    log.close()
    return 1


def _refused(job: TrainJob) -> Failed | None:
    """Return why the job cannot be trained by these ranks, where that is known beforehand."""
    rules = job.recipe.rules
    fits = isinstance(rules.optimizer, AdamW.Config) and not rules.optimizer.offload
    if settings(job).strategy != "fsdp2" or fits:
        return None
    return Failed(
        run=job.run,
        error=errors.ConfigError.__name__,
        what=f"strategy fsdp2: the moments of {rules.optimizer.model_dump()['kind']} cannot be shared out",
        hint="take optimizer: {kind: adamw} without offload, or strategy: ddp",
    )


def _failed(job: TrainJob) -> Failed | None:
    """Train; return what went wrong, if anything did."""
    with TemporaryDirectory(prefix="ranks-") as name:
        folder = Path(name)
        (folder / SPEC).write_text(job.model_dump_json(), encoding="utf-8")
        _pass_on_stop(folder)
        before = kernel_kills()
        codes = _launched(job, folder)
        if not codes:
            return None
        starved = any(killed_for_memory(code, before, kernel_kills()) for code in codes.values())
        return cause(job.run, settings(job).processes, _told(folder), codes, starved=starved)


def cause(
    run: str, ranks: int, told: Mapping[int, Failed], codes: Mapping[int, int], *, starved: bool = False
) -> Failed:
    """Return what made a run fail: by rank, what some told and the exit codes of those that failed.

    When one rank ends, the others fail for want of it. So what somebody raised on purpose counts
    first, then a death without a word, then the earliest of the other errors. Ranks that the agent
    ended (SIGTERM) count last. `starved`: the system killed processes because memory ran out.
    """
    meant = [rank for rank in sorted(told) if hasattr(errors, told[rank].error)]
    silent = sorted(codes.keys() - told.keys(), key=lambda rank: (codes[rank] == -signal.SIGTERM, rank))
    others = sorted(told, key=lambda rank: (told[rank].at, rank))
    ended_by_us = bool(silent) and codes[silent[0]] == -signal.SIGTERM and bool(others)
    if silent and not meant and not ended_by_us:
        code = codes[silent[0]]
        how, advice = how_it_ended(code, allocation_limit())
        why = " because memory ran out" if starved else ""
        return Failed(
            run=run,
            error=(errors.OutOfMemoryError if starved else errors.ChildDiedError).__name__,
            what=f"rank {silent[0]} of {ranks} (the first is 0) of {run} {how}{why}",
            hint=advice
            + f"`realm queue retry {run} --processes N` goes on from its last checkpoint, in N ranks",
        )
    first = (meant or others)[0]
    where = f"rank {first} of {ranks}: " if first else ""
    return told[first].model_copy(update={"what": where + told[first].what})


def _launched(job: TrainJob, folder: Path) -> dict[int, int]:
    """Run the ranks until all have ended; return the exit codes of those that failed."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Else the agent opens a port on all interfaces for a store that no rank asks.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    arguments = ("-P", "-m", "realm.jobs.childmain", str(os.getpid()), "realm.training.rank:main")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=settings(job).processes,
        run_id=job.run,
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "agent"),
        rdzv_configs={"store_type": "file"},
        local_addr="127.0.0.1",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
        # SIGTERM is ours, and means something else.
        signals_to_handle="SIGINT",
        shutdown_timeout=_LET_GO_S,
    )
    try:
        elastic_launch(config, sys.executable)(*arguments, str(folder / SPEC))
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    return {}


def _pass_on_stop(folder: Path) -> None:
    """Let SIGTERM tell the ranks to save and leave."""

    def ask(number: int, frame: FrameType | None) -> None:
        (folder / STOP).touch()

    signal.signal(signal.SIGTERM, ask)


def _told(folder: Path) -> dict[int, Failed]:
    """Return what ranks said of their failures."""
    found = {rank: EventTail(path).read() for rank, path in told_by(folder).items()}
    return {rank: event for rank, events in found.items() for event in events if isinstance(event, Failed)}
