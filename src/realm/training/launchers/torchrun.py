"""Several processes train one run together, started and watched by torchrun's agent.

All are on this machine and talk over its loopback interface. Not covered: several machines, and
ranks that come and go while a run goes on; one that dies ends the run, which may be gone on with,
also with another number of processes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Seconds

Strategy = Literal["ddp", "fsdp2"]


class Torchrun:
    """Train in `processes` ranks that share every step's rows."""

    class Config(BaseConfig):
        """How many ranks there are, and what each of them holds."""

        kind: Literal["torchrun"] = "torchrun"
        processes: Annotated[int, Field(ge=1, le=64)] = 2
        """Ranks; on GPUs each has one of its own, on the CPU they share the recipe's threads."""
        strategy: Strategy = "ddp"
        """`ddp`: each rank holds the whole model; `fsdp2`: its share of weights, gradients and moments."""
        timeout_s: Seconds = 600.0
        """How long a rank waits for one that is alive and does not answer. A dead one is seen at once."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def entry(self) -> str:
        """Return the entry that starts the ranks and watches them."""
        return "realm.training.agent:main"

    @property
    def processes(self) -> int:
        """Return how many ranks there are."""
        return self.config.processes
