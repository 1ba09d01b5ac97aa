"""What a check is: it looks at the evidence of an episode and passes, or says what is wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record
from realm.evaluation.agents.evidence import Evidence


class Verdict(Record):
    """What a check found."""

    name: str
    passed: bool
    text: str
    weight: float
    hard: bool


Weight = Annotated[float, Field(gt=0, le=100)]


class Check(Config):
    """Base of all checks; each sets `check` to its name."""

    weight: Weight = 1.0
    hard: bool = False
    """Failing it makes the whole score 0."""

    @property
    def name(self) -> str:
        """The name in YAML."""
        return str(getattr(self, "check"))  # noqa: B009 - every kind has its own literal

    def probes(self, heads: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
        """Return commands to run at the end, in the work folder; `heads` are the remote's at the beginning.

        Those of `python` run last, after the scenario's own tests were put back.
        """
        return ()

    @abstractmethod
    def fault(self, evidence: Evidence) -> str | None:
        """Return what is wrong, None where the check passes."""

    def judge(self, evidence: Evidence) -> Verdict:
        """Return the verdict."""
        fault = self.fault(evidence)
        return Verdict(
            name=self.name, passed=fault is None, text=fault or "", weight=self.weight, hard=self.hard
        )


class Prohibition(Check):
    """Base of checks that whoever does nothing passes; they weigh little."""

    weight: Weight = 0.2
