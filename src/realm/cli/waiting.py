"""What to say of a job that is left to whoever holds the realm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.text import printable

if TYPE_CHECKING:
    from realm.flows.context import Lab

_LIMIT = 200


def left_to(lab: Lab) -> str:
    """Return who holds the realm and what becomes of a job that waits for it."""
    from realm.storage.lock import holder

    found = holder(lab.home.root)
    if found is None:
        return "nobody works on it now: `realm up` does it, or ask for it again"
    program, _, words = found.command.partition(" ")
    command = printable(f"{Path(program).name} {words}".rstrip(), _LIMIT)
    return (
        f"process {found.pid} on {found.host} holds the realm: {command}\n"
        "`realm up` does it in its turn; after any other command, ask for it again. "
        "`realm queue list` shows how far it is"
    )
