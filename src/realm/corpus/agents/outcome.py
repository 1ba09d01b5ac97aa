"""How a session ended, inferred from what it did and from the work item it belongs to.

Deny by default: without evidence the result is `unknown`. A broken rule (a skipped hook, a push to the
wrong branch, a command that the role may not give) is a failure, whatever was reached by it. Failing tests
count where they failed last, after an edit, and had not failed before the first edit. A timeout, exhausted
memory or a rebuke of the person counts unless a success comes later. Success is: the work item was closed
by the session or merged, handed in (`gt done`, `bd close`), confirmed by the person's last words, or
committed with tests that passed after the last edit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from realm.core.records import Record
from realm.core.text import printable
from realm.corpus.agents import evidence
from realm.corpus.agents.evidence import Mode, Sign
from realm.corpus.agents.turns import Did, Event, Said, Trouble
from realm.corpus.agents.workitem import WorkItem

_LAST_CALLS = 5
"""A timeout further from the end was survived."""
_UNDONE = re.compile(r"\b(?:reverted|rejected|failed)\b", re.IGNORECASE)
_MERGED = re.compile(r"\W{0,3}merged\b", re.IGNORECASE)
_SHOWN = 10


class Outcome(Record):
    """What became of a session, and why it is thought so."""

    result: Literal["success", "failure", "unknown"] = "unknown"
    mode: Mode | None = None
    """Of a failure, where it has a name."""
    evidence: tuple[str, ...] = ()
    """`line 12: git push origin main`, the first ten; also what did not suffice."""


def infer(events: Sequence[Event], *, session: str, role: str | None, item: WorkItem | None) -> Outcome:
    """Infer the outcome. `item` is the work item of the session as exported, where there is one."""
    runs = [evidence.tests(event) for event in events]
    good = _successes(events, runs)
    verdicts = _of_item(item, session) if item else []
    merged = any(sign.mode is None and sign.what.startswith("merged") for sign in verdicts)
    bad = [*evidence.broken_rules(events, role), *evidence.wrong_directions(events)]
    if not merged:
        bad.extend(_failing_tests(events, runs))
    since = max((sign.line for sign in good), default=0)
    closed = any(sign.mode is None for sign in verdicts)
    if not closed:
        bad.extend(sign for sign in _last_lapses(events) if sign.line > since)
        bad.extend(sign for sign in evidence.rebukes(events) if sign.line > since)
    if item and (undone := _undone(item)):
        return _outcome("failure", undone[0], [*undone[1], *map(_told, bad)])
    if bad:
        return _outcome("failure", bad[0].mode, [_told(sign) for sign in bad])
    if good or closed:
        return _outcome("success", None, [_told(sign) for sign in [*verdicts, *good]])
    return _outcome("unknown", None, [*_inconclusive(events), *_open_item(item)])


def _outcome(
    result: Literal["success", "failure", "unknown"], mode: Mode | None, seen: Sequence[str]
) -> Outcome:
    return Outcome(result=result, mode=mode, evidence=tuple(dict.fromkeys(seen))[:_SHOWN])


def _told(sign: Sign) -> str:
    return f"line {sign.line}: {sign.what}" if sign.line else f"work item: {sign.what}"


def _successes(events: Sequence[Event], runs: Sequence[bool | None]) -> list[Sign]:
    signs = [sign for event in events if (sign := evidence.handed_in(event))]
    last = events[-1] if events else None
    if isinstance(last, Said) and len(events) > 1 and evidence.confirms(last.text):
        signs.append(Sign(last.line, None, "the person's last words confirm it"))
    passed = _passing_commit(events, runs)
    return [*signs, passed] if passed else signs


def _passing_commit(events: Sequence[Event], runs: Sequence[bool | None]) -> Sign | None:
    """Return the commit after tests that passed after the last edit."""
    edited, passed, sign = False, False, None
    for event, run in zip(events, runs, strict=True):
        if evidence.edits(event):
            edited, passed, sign = True, False, None
            continue
        passed = passed if run is None else run
        if evidence.committed(event) and edited and passed:
            sign = Sign(event.line, None, "committed after tests that passed")
        elif run is False:
            sign = None
    return sign


def _failing_tests(events: Sequence[Event], runs: Sequence[bool | None]) -> list[Sign]:
    edited, failed_before = False, False
    last: Sign | None = None
    for event, run in zip(events, runs, strict=True):
        edited = edited or evidence.edits(event)
        if run is False and not edited:
            failed_before = True
        elif run is False:
            last = Sign(event.line, Mode.BROKE_TESTS, "the last run of tests failed")
        elif run is True:
            last = None
    return [last] if last and not failed_before else []


def _last_lapses(events: Sequence[Event]) -> list[Sign]:
    calls = [event for event in events if isinstance(event, Did)][-_LAST_CALLS:]
    signs = [sign for call in calls for sign in evidence.lapses(call)]
    last = events[-1] if events else None
    mode = evidence.trouble_mode(last.text) if isinstance(last, Trouble) else None
    if last and mode:
        signs.append(Sign(last.line, mode, "the session's last word is that error"))
    return signs


def _of_item(item: WorkItem, session: str) -> list[Sign]:
    if not item.closed or evidence.refuses(item.close_reason) or _undone(item):
        return []
    if _MERGED.match(item.close_reason):
        return [Sign(0, None, f"merged: {printable(item.id)}")]
    if session and item.closed_by_session == session:
        return [Sign(0, None, f"closed by this session: {printable(item.id)}")]
    return []


def _undone(item: WorkItem) -> tuple[Mode | None, list[str]] | None:
    if not item.closed or not _UNDONE.search(item.close_reason[:2000]):
        return None
    told = f"work item: {printable(item.id)} was closed for: {printable(item.close_reason)}"
    return evidence.mode_named(item.close_reason[:2000]), [told]


def _inconclusive(events: Sequence[Event]) -> list[str]:
    last = events[-1] if events else None
    if isinstance(last, Trouble):
        what = "interrupted by the person" if last.text == "interrupted" else "ended in an error of the tool"
        return [f"line {last.line}: {what}"]
    return []


def _open_item(item: WorkItem | None) -> list[str]:
    if item is None:
        return []
    if not item.closed:
        return [f"work item: {printable(item.id)} is {printable(item.status, 20)}"]
    return [f"work item: {printable(item.id)} was closed by another, or without the work"]
