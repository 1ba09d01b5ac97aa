"""Provenance of a row that was made of two documents."""

from __future__ import annotations

from realm.corpus.document import Origin

_UNKNOWN = "unknown"


def joined(first: Origin, second: Origin) -> Origin:
    """Return the first origin, with only what is true of both where it binds the row.

    A licence of both is an SPDX expression, unknown where either is; what was not made by the same
    kind of maker is `mixed`; a contributor, rig or generator that differs is left out.
    """
    return first.model_copy(
        update={
            "licence": _licence(first.licence, second.licence),
            "made_by": first.made_by if first.made_by == second.made_by else "mixed",
            "contributor": first.contributor if first.contributor == second.contributor else None,
            "rig": first.rig if first.rig == second.rig else None,
            "generator": first.generator if first.generator == second.generator else None,
        }
    )


def _licence(first: str, second: str) -> str:
    if _UNKNOWN in (first, second):
        return _UNKNOWN
    if first == second:
        return first
    return " AND ".join(f"({part})" if " " in part else part for part in (first, second))
