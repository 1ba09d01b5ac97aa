"""Wall clock behind one function type, so that tests can turn it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Write a moment as `20261120-1903` (UTC), the form used in checkpoint names."""
    return moment.astimezone(UTC).strftime("%Y%m%d-%H%M")


def iso(moment: datetime) -> str:
    """Write a moment as ISO 8601 in UTC with seconds."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
