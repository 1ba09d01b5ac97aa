"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

from realm.core.errors import UsageError


def expanded(path: Path) -> Path:
    """Return a path with `~` and `~user` replaced. Raises UsageError for a user that there is not."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: no such user, or one without a home", hint="write the path out") from None
