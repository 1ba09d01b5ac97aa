"""Events of a town of agents, from each of the files in which it leaves them.

| file | form |
|---|---|
| `.events.jsonl` | one event a line: `{ts, source, type, actor, payload?, visibility}` |
| `.feed.jsonl` | the same for people: with `summary` and `count?` |
| `*.event` | one message of a channel: `{type, channel, timestamp, payload}` |
| `town.log` | `2025-12-26 15:30:45 [spawn] gastown/crew/max spawned for gt-xyz` |
| `daemon.log` | of a convoy: `2025/12/26 15:30:45 Convoy hq-cv-abc: …`; its other lines are no events |

The two logs hold local time without a zone, which is kept as text and never taken for UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from realm.corpus.files.lines import refusal
from realm.corpus.files.objects import text_of, utc

_LONGEST = 200
_TOWN_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \[([\w-]{1,64})\] (\S{1,200})(?: (.*))?")
_DAEMON_LINE = re.compile(r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)(?:\.\d{1,9})? (.*)")
_CONVOY = re.compile(r"(?:\[[^\]]{0,40}\] )?Convoy\b[: ]")
_CONVOY_ID = re.compile(r"\b[Cc]onvoy ([a-z][a-z0-9]{0,20}-[a-z0-9][a-z0-9.-]{0,40})\b")
_FOR_ITEM = re.compile(r"(?:spawned for|completed) ([a-z][a-z0-9]{0,20}-[a-z0-9][a-z0-9.-]{0,40})")


class Event(NamedTuple):
    """One event and what it is linked to."""

    fields: Mapping[str, Any]
    """`type`, and `ts` as it was written; `actor`, `source`, `payload`, `visibility`, … where it has them."""
    session: str | None = None
    work_item: str | None = None
    rig: str | None = None
    at: datetime | None = None
    """None where the time has no zone."""


def read_object(row: dict[str, Any]) -> Event:
    """Read an event of the town's log, its feed or a channel.

    Raises DataError, with a fixed reason, for a row without a type and a time.
    """
    kind, time = text_of(row, "type"), row.get("ts", row.get("timestamp"))
    if not kind or not isinstance(time, str):
        raise refusal("a row that is no event: no type or no time")
    payload = row.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise refusal("an event whose payload is no object")
    facts = payload or {}
    return Event(
        fields={"ts": time, **{key: value for key, value in row.items() if value is not None}},
        session=_name(facts, "session_id", "session"),
        work_item=_name(facts, "bead", "issue"),
        rig=_name(facts, "rig") or _rig_of(row.get("actor")),
        at=utc(time),
    )


def read_town_line(line: str) -> Event | None:
    """Read a line of `town.log`, None where it is none."""
    found = _TOWN_LINE.fullmatch(line)
    if found is None:
        return None
    time, kind, actor, detail = found.groups()
    item = _FOR_ITEM.match(detail or "")
    fields = {"ts": time, "type": kind, "actor": actor, "source": "town.log", "summary": detail or ""}
    return Event(fields, work_item=item[1] if item else None, rig=_rig_of(actor))


def read_daemon_line(line: str) -> Event | None:
    """Read a line of `daemon.log` about convoys, None for any other."""
    found = _DAEMON_LINE.fullmatch(line)
    if found is None or not _CONVOY.match(found[2]):
        return None
    fields = {"ts": found[1], "type": "convoy", "source": "daemon.log", "summary": found[2]}
    convoy = _CONVOY_ID.search(found[2])
    if convoy is None:
        return Event(fields)
    return Event({**fields, "convoy": convoy[1]}, work_item=convoy[1])


def _name(facts: Mapping[str, Any], *keys: str) -> str | None:
    found = (facts.get(key) for key in keys)
    return next((value[:_LONGEST] for value in found if isinstance(value, str) and value), None)


def _rig_of(actor: object) -> str | None:
    """Return the rig that an address such as `gastown/polecats/Toast` begins with."""
    if not isinstance(actor, str) or "/" not in actor:
        return None
    rig = actor.partition("/")[0]
    return rig[:_LONGEST] if rig and rig not in _NO_RIGS else None


_NO_RIGS = frozenset({"mayor", "deacon", "overseer", "hq"})
