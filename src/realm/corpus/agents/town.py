"""What a folder and a branch say about who works there, by a town's conventions.

A town is a folder (by default named `gt`) with `mayor/` and `deacon/` (its dogs in `dogs/<name>`) and one
folder a rig: `<rig>/polecats/<name>`, `<rig>/crew/<name>`, `<rig>/witness`, `<rig>/refinery`. A polecat's
branch is `polecat/<name>`, `polecat/<name>-<time>` or `polecat/<name>/<work item>@<time>`.
"""

from __future__ import annotations

import re

from realm.core.records import Record

_BRANCH = re.compile(
    r"polecat/(?P<name>[A-Za-z0-9_.-]{1,64})(?:/(?P<item>[A-Za-z0-9_.-]{1,64}))?(?:[@+]\w{1,32})?"
)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_RIG_ROLES = {"polecats": "polecat", "crew": "crew", "witness": "witness", "refinery": "refinery"}
_NAMED = {"polecats", "crew"}


class Place(Record):
    """Who worked where. None where nothing says so."""

    role: str | None = None
    """mayor, deacon, boot, dog, witness, refinery, polecat or crew."""
    rig: str | None = None
    worker: str | None = None
    work_item: str | None = None
    """From a polecat's branch."""


def place_of(cwd: str, branch: str, towns: tuple[str, ...]) -> Place:
    """Read a working folder and a branch. A folder counts only within one of the `towns`, named exactly."""
    place = _in_town(cwd, towns)
    found = _BRANCH.fullmatch(branch[:200])
    if not found:
        return place
    return Place(
        role=place.role or "polecat",
        rig=place.rig,
        worker=place.worker or found["name"],
        work_item=found["item"],
    )


def _in_town(cwd: str, towns: tuple[str, ...]) -> Place:
    parts = [part for part in cwd[:4096].replace("\\", "/").split("/") if part]
    start = next((index for index, part in enumerate(parts) if part in towns), None)
    inside = parts[start + 1 :] if start is not None else []
    if not inside or not all(_NAME.fullmatch(part) for part in inside[:3]):
        return Place()
    head, *rest = inside
    if head == "mayor":
        return Place(role="mayor")
    if head == "deacon":
        if rest[:1] == ["dogs"] and len(rest) > 1:
            return Place(role="boot" if rest[1] == "boot" else "dog", worker=rest[1])
        return Place(role="deacon")
    if rest[:1] == ["mayor"]:
        return Place(role="mayor", rig=head)
    role = _RIG_ROLES.get(rest[0]) if rest else None
    if role is None or (rest[0] in _NAMED and len(rest) < 2):
        return Place(rig=head)
    return Place(role=role, rig=head, worker=rest[1] if rest[0] in _NAMED else None)
