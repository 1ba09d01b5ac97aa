"""What every event has."""

from __future__ import annotations

from realm.core.records import Record


class Interval(Record):
    """Right answers out of a total, with the 95 % Wilson interval of the share."""

    correct: int
    total: int
    low: float
    high: float


class Told(Record):
    """Base of all events."""

    at: str = ""
    """When it was written, ISO 8601 UTC; empty until a writer stamps it."""
