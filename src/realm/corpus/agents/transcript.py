"""One agent session's file: its lines as entries of a tree, and the one path that was lived to the end.

Lines point to their parent (`parentUuid`; after a compaction `logicalParentUuid`). A person who goes back
and asks again makes a branch: the path to the newest entry is taken, the others are abandoned. Lines
without words of their own (attachments, progress, system notes) carry the chain too, so they stay in the
tree. Answers are written block by block, so the lines of one answer share a message id; the results of
parallel calls hang on different lines of it. Both are gathered whole, wherever the path passes. What a
person typed while the model worked is only in the queue's lines, beside the tree; it is put in its place.

Survived and counted: lines that are no JSON, given twice, without a parent that exists, in a cycle (a
compaction that keeps the last turns writes one), a session that names no parents at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any

from realm.core.errors import DataError
from realm.corpus.agents.blocks import Bounds, Content, Result, read_content
from realm.corpus.files.objects import text_of, utc
from realm.corpus.tally import Tally

MAX_ENTRIES = 500_000
MAX_KEPT_CHARS = 200_000_000
_QUIET = {
    "summary": "a summary line",
    "file-history-snapshot": "a file snapshot line",
    "queue-operation": "a queue line",
    "system": "a system line",
    "progress": "a progress line",
    "attachment": "an attachment line",
}
"""Types without a turn, and what they are counted as."""
_COMMAND = ("<command-name>", "<command-message>")
_LOCAL = ("<local-command-", "<bash-input>", "<bash-stdout>", "<bash-stderr>")
_CAVEAT = ("Caveat:", "<local-command-caveat>")
_INTERRUPTED = "[Request interrupted by user"
_SYNTHETIC = "<synthetic>"


@dataclass(slots=True)
class Entry:
    """One line with a place in the tree."""

    line: int
    uuid: str
    parent: str
    role: str
    """user or assistant; empty for a line that only carries the chain."""
    sidechain: bool
    agent: str
    content: Content
    reply: str = ""
    """Message id: shared by all lines of one answer."""
    at: datetime | None = None
    model: str = ""
    trouble: str = ""
    """What the tool itself said instead of the model or the person: an interruption, an API error."""

    @property
    def speaks(self) -> bool:
        """Tell whether the entry becomes (part of) a turn."""
        return bool(self.role)


@dataclass(slots=True)
class Transcript:
    """What was read of one file."""

    entries: list[Entry] = field(default_factory=list)
    asides: list[Entry] = field(default_factory=list)
    """Words of the person that stand beside the tree."""
    session: str = ""
    cwd: str = ""
    branch: str = ""
    version: str = ""
    kept_chars: int = 0

    def hold(self, entry: Entry, where: str) -> None:
        """Add to what is held. Raises DataError where it is too much."""
        self.kept_chars += entry.content.size
        if len(self.entries) + len(self.asides) > MAX_ENTRIES or self.kept_chars > MAX_KEPT_CHARS:
            raise DataError("a session too large to hold", file=where, line=entry.line)


@dataclass(slots=True)
class Chain:
    """One conversation of a session: the main one, or that of a subagent."""

    entries: list[Entry]
    """In order; every entry speaks or carries trouble."""
    results: dict[str, Result]
    """By call id, from anywhere in the file."""
    agent: str = ""
    """Empty for the main conversation."""
    abandoned: int = 0


def read_transcript(
    rows: Iterable[tuple[int, dict[str, Any]]], bounds: Bounds, tally: Tally, where: str
) -> Transcript:
    """Read the lines of a session. Raises DataError for one that is too large to hold."""
    transcript = Transcript()
    seen: set[str] = set()
    commands: set[str] = set()
    for number, row in rows:
        aside = _aside(number, row, bounds, tally, f"{where}:{number}")
        if aside is not None:
            transcript.asides.append(aside)
            transcript.hold(aside, where)
            continue
        entry = _entry(number, row, bounds, commands, tally, f"{where}:{number}")
        if entry is None:
            continue
        if entry.uuid in seen:
            tally.add("a line given twice", f"{where}:{number}")
            continue
        seen.add(entry.uuid)
        transcript.entries.append(entry)
        transcript.hold(entry, where)
        _note_place(transcript, row)
    return transcript


def chains(transcript: Transcript, tally: Tally, where: str) -> list[Chain]:
    """Return the main conversation first, then those of subagents in the order they began."""
    tree = _Tree(transcript.entries, tally, where)
    groups: dict[str, list[Entry]] = {}
    for entry in transcript.entries:
        groups.setdefault(tree.group_of(entry), []).append(entry)
    order = sorted(groups, key=lambda name: (bool(name), groups[name][0].line))
    found = [_chain(name, groups[name], tree) for name in order]
    if found and not order[0]:
        found[0].entries = _with_asides(found[0].entries, transcript)
    return [chain for chain in found if chain.entries]


def _entry(
    number: int, row: dict[str, Any], bounds: Bounds, commands: set[str], tally: Tally, place: str
) -> Entry | None:
    kind, uuid = text_of(row, "type"), text_of(row, "uuid")
    if not uuid:
        tally.add(_QUIET.get(kind, "a line without an id"), place)
        return None
    entry = Entry(
        line=number,
        uuid=uuid,
        parent=text_of(row, "parentUuid") or text_of(row, "logicalParentUuid"),
        role="",
        sidechain=row.get("isSidechain") is True,
        agent=text_of(row, "agentId")[:128],
        content=Content(),
        at=utc(row.get("timestamp")),
    )
    message = row.get("message")
    queued = _queued_prompt(row)
    if queued is not None:
        entry.role, entry.content = "user", read_content(queued, bounds, tally, place)
    elif kind in ("user", "assistant") and isinstance(message, dict):
        _fill(entry, kind, row, message, bounds, commands, tally, place)
    else:
        tally.add(_QUIET.get(kind, "a line of another type"), place)
    return entry


def _fill(
    entry: Entry,
    kind: str,
    row: dict[str, Any],
    message: dict[str, Any],
    bounds: Bounds,
    commands: set[str],
    tally: Tally,
    place: str,
) -> None:
    content = read_content(message.get("content"), bounds, tally, place)
    entry.content = content
    if kind == "assistant":
        entry.reply, entry.model = text_of(message, "id"), text_of(message, "model")
        if row.get("isApiErrorMessage") is True or entry.model == _SYNTHETIC:
            entry.trouble, entry.model = content.text[:500], ""
            tally.add("an answer of the tool itself", place)
        else:
            entry.role = "assistant"
    else:
        reason = _left_out(row, content, entry, commands)
        if reason:
            tally.add(reason, place)
        else:
            entry.role = "user"
    if not entry.role:
        entry.content = Content(results=content.results)


def _left_out(row: dict[str, Any], content: Content, entry: Entry, commands: set[str]) -> str:
    """Say why a person's line is none of their words, empty where it is."""
    text = content.text.lstrip()
    if row.get("isCompactSummary") is True:
        return "a compaction summary"
    if text.startswith(_INTERRUPTED):
        entry.trouble = "interrupted"
        return "an interruption"
    if text.startswith(_COMMAND):
        commands.add(entry.uuid)
        return "a local command"
    if text.startswith(_LOCAL):
        return "a local command"
    # What a command of one's own expands to is written as meta, and is what the model was asked.
    if row.get("isMeta") is True and (entry.parent not in commands or text.startswith(_CAVEAT)):
        return "a meta line"
    return "" if content.text or content.results else "a line without words"


def _aside(number: int, row: dict[str, Any], bounds: Bounds, tally: Tally, place: str) -> Entry | None:
    """Return what was typed ahead and handed to the model at once."""
    if row.get("type") != "queue-operation" or row.get("operation") != "remove":
        return None
    content = read_content(row.get("content"), bounds, tally, place)
    if not content.text:
        return None
    return Entry(number, f"aside {number}", "", "user", False, "", content, at=utc(row.get("timestamp")))


def _with_asides(entries: list[Entry], transcript: Transcript) -> list[Entry]:
    """Put asides behind the last entry before them, unless the tree holds the same words too."""
    said = {entry.content.text for entry in transcript.entries if entry.role == "user"}
    # The earliest line from each entry on: never falling, so that a place in it can be searched.
    earliest = list(accumulate((entry.line for entry in reversed(entries)), min))[::-1]
    behind: dict[int, list[Entry]] = {}
    for aside in transcript.asides:
        place = bisect_left(earliest, aside.line) - 1
        if place >= 0 and aside.content.text not in said:
            behind.setdefault(place, []).append(aside)
    return [one for index, entry in enumerate(entries) for one in (entry, *behind.get(index, ()))]


def _queued_prompt(row: dict[str, Any]) -> Any:
    """Return what a person typed while the model worked; it is written as an attachment."""
    attachment = row.get("attachment")
    if isinstance(attachment, dict) and attachment.get("type") == "queued_command":
        return attachment.get("prompt")
    return None


def _note_place(transcript: Transcript, row: dict[str, Any]) -> None:
    transcript.session = transcript.session or text_of(row, "sessionId")[:128]
    transcript.cwd = transcript.cwd or text_of(row, "cwd")[:4096]
    transcript.branch = text_of(row, "gitBranch")[:255] or transcript.branch
    transcript.version = text_of(row, "version")[:40] or transcript.version


class _Tree:
    """Who is whose parent, mended where the file does not say."""

    def __init__(self, entries: list[Entry], tally: Tally, where: str) -> None:
        self._tally, self._where = tally, where
        self.parents: dict[str, Entry | None] = {}
        self._before: dict[str, Entry | None] = {}
        self._groups: dict[str, str] = {}
        by_uuid = {entry.uuid: entry for entry in entries}
        last: dict[tuple[bool, str], Entry] = {}
        orphaned = _names_no_parents(entries)
        if orphaned:
            tally.add("a session that names no parents", where)
        for entry in entries:
            side = (entry.sidechain, entry.agent if entry.sidechain else "")
            parent, before = by_uuid.get(entry.parent), last.get(side)
            # The first lines of a resumed session point into the file that it went on from.
            if parent is None and before is not None and (entry.parent or orphaned):
                parent = before
                if entry.parent:
                    tally.add("a line whose parent is missing", f"{where}:{entry.line}")
            self.parents[entry.uuid] = parent
            self._before[entry.uuid] = before
            last[side] = entry

    def group_of(self, entry: Entry) -> str:
        """Return the subagent an entry belongs to, empty for the main conversation; asked in file order."""
        if not entry.sidechain:
            return ""
        parent = self.parents[entry.uuid]
        known = self._groups.get(parent.uuid, "") if parent is not None else ""
        self._groups[entry.uuid] = known or entry.agent or f"line{entry.line}"
        return self._groups[entry.uuid]

    def path_to(self, leaf: Entry) -> list[Entry]:
        """Return the entries from the root to a leaf."""
        path: list[Entry] = []
        seen: set[str] = set()
        step: Entry | None = leaf
        while step is not None:
            if step.uuid in seen:
                step = self._beyond_cycle(path[-1], seen)
                continue
            seen.add(step.uuid)
            path.append(step)
            step = self.parents[step.uuid]
        return path[::-1]

    def leads_to(self, last: Entry, newest: Entry) -> bool:
        """Tell whether the few entries behind the newest one belong to it."""
        step: Entry | None = last
        for _ in range(64):
            if step is None or step is newest:
                return step is newest
            step = self.parents[step.uuid]
        return False

    def count_abandoned(self, left: list[Entry]) -> int:
        """Count the ends of branches that were not taken."""
        above = (self.parents[entry.uuid] for entry in left)
        followed = {parent.uuid for parent in above if parent is not None}
        ends = [entry for entry in left if entry.uuid not in followed]
        for entry in ends:
            self._tally.add("an abandoned branch", f"{self._where}:{entry.line}")
        return len(ends)

    def _beyond_cycle(self, entry: Entry, seen: set[str]) -> Entry | None:
        """Go on with the line before, as the file has it."""
        self._tally.add("a cycle of parents", f"{self._where}:{entry.line}")
        before = self._before[entry.uuid]
        for _ in range(1_000):
            if before is None or before.uuid not in seen:
                return before
            before = self._before[before.uuid]
        return None


def _names_no_parents(entries: list[Entry]) -> bool:
    """Tell whether most of the main conversation has no parent, as in a copy that lost them."""
    main = [entry for entry in entries if entry.speaks and not entry.sidechain]
    return len(main) > 2 and sum(1 for entry in main if not entry.parent) * 2 > len(main)


def _chain(name: str, group: list[Entry], tree: _Tree) -> Chain:
    newest = next((entry for entry in reversed(group) if entry.speaks), None)
    if newest is None:
        return Chain([], {}, name)
    # Trouble told behind the last word (an interruption, an error) is how the conversation ended.
    last = next((entry for entry in reversed(group) if entry.speaks or entry.trouble), newest)
    path = tree.path_to(last if tree.leads_to(last, newest) else newest)
    inside = {entry.uuid for entry in path if entry.sidechain == group[0].sidechain}
    replies = {entry.reply for entry in path if entry.reply}
    inside.update(entry.uuid for entry in group if entry.reply and entry.reply in replies)
    results = {result.call: result for entry in group for result in entry.content.results}
    chosen = [entry for entry in group if entry.uuid in inside and (entry.speaks or entry.trouble)]
    calls = {call.id for entry in chosen for call in entry.content.calls}
    left = [entry for entry in group if entry.speaks and entry.uuid not in inside]
    left = [entry for entry in left if entry.content.text or not _only_results_of(entry, calls)]
    return Chain(_in_path_order(chosen, path), results, name, tree.count_abandoned(left))


def _in_path_order(chosen: list[Entry], path: list[Entry]) -> list[Entry]:
    """Order entries by the path; the other lines of an answer come with its first one."""
    place = {entry.uuid: index for index, entry in enumerate(path)}
    first: dict[str, int] = {}
    for entry in path:
        if entry.reply:
            first.setdefault(entry.reply, place[entry.uuid])
    return sorted(
        chosen,
        key=lambda entry: (first.get(entry.reply, place.get(entry.uuid, 0)), not entry.reply, entry.line),
    )


def _only_results_of(entry: Entry, calls: set[str]) -> bool:
    results = entry.content.results
    return bool(results) and all(result.call in calls for result in results)
