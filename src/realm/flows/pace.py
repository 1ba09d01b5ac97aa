"""How far a trial is, and how long it will still train."""

from __future__ import annotations

from datetime import datetime

from realm.core.events import TrialAdvanced, TrialBegun
from realm.flows.context import Lab


class Pace:
    """Tells how far a trial is. What was trained before this process began is no part of its pace."""

    def __init__(self, lab: Lab, begun: TrialBegun) -> None:
        self._lab = lab
        self._begun = begun
        self._first: tuple[datetime, int] | None = None

    def tell(self, way: str, seed: int, campaign: int, used: int) -> None:
        """Tell that a run begins in a campaign, counted from 0, which has used so many tokens."""
        begun, now = self._begun, self._lab.clock()
        done, total = campaign * begun.budget_tokens + used, 2 * begun.seeds * begun.budget_tokens
        since, before = self._first = self._first or (now, done)
        pace_s = (now - since).total_seconds() / (done - before) if done > before else None
        self._lab.show(
            TrialAdvanced(
                trial=begun.trial,
                way=way,
                seed=seed,
                campaign=campaign + 1,
                campaigns=2 * begun.seeds,
                tokens=done,
                tokens_total=total,
                left_s=None if pace_s is None else pace_s * max(0, total - done),
            )
        )
