"""Find rows by what a person types, and say what there is when nothing fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from realm.core.errors import NotFoundError
from realm.core.hashing import PREFIX
from realm.core.records import ArtifactKind
from realm.ledger.tables import Tombstone

LISTED = 10
_PREFIX = re.compile(r"(sha256:)?[0-9a-f]{1,64}")


def not_found(what: str, present: Iterable[str]) -> NotFoundError:
    """Return the error for a missing thing; it lists at most 10 of those that exist."""
    names = list(present)
    listed = ", ".join(names[:LISTED]) or "none yet"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return NotFoundError(what, hint=f"there are: {listed}{more}")


def full_hash(
    session: Session, column: InstrumentedAttribute[str], text: str, *, alive: ColumnElement[bool]
) -> str:
    """Return the one content hash that a text names: in full, or by a prefix that fits no other.

    Raises NotFoundError when none or several fit.
    """
    found: Sequence[str] = ()
    if _PREFIX.fullmatch(text):
        start = PREFIX + text.removeprefix(PREFIX)
        query = select(column).where(column.startswith(start), alive).distinct().order_by(column)
        found = session.scalars(query.limit(LISTED + 1)).all()
    if len(found) == 1:
        return found[0]
    table = column.class_.__tablename__
    if found:
        raise not_found(f"{text!r} is the beginning of several {table}: write more of it", found)
    present = session.scalars(select(column).where(alive).distinct().order_by(column)).all()
    raise not_found(f"no {table} entry has the hash {text!r}", present)


def alive(kind: ArtifactKind, column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Return the condition that no deletion of this artifact has begun."""
    gone = select(Tombstone.hash).where(Tombstone.kind == kind.value)
    return column.not_in(gone)
