"""Where agents' tools keep their session files, and which session a work item was closed by."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from realm.core.errors import NotFoundError
from realm.core.text import printable
from realm.corpus.agents.workitem import WorkItem
from realm.corpus.files.folders import Found, walk
from realm.corpus.files.lines import SUFFIX
from realm.corpus.source import Item
from realm.corpus.tally import Tally

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,127}")
_AGENT = re.compile(r"agent-([A-Za-z0-9][A-Za-z0-9_-]{0,63})")
_COMPANIONS = frozenset({"tool-results", "memory", "todos"})
"""Folders beside sessions that hold none."""


@runtime_checkable
class KeepsSessions(Protocol):
    """A source of sessions, which can be handed single ones."""

    @property
    def root(self) -> Path:
        """Return where the sessions lie."""
        ...

    def sessions(self, wanted: Collection[str], tally: Tally) -> Iterator[Item]:
        """List the items of these sessions, by id, with those of their subagents."""
        ...


@runtime_checkable
class NamesSessions(Protocol):
    """A source of work items, which knows the sessions that closed them."""

    def closing_sessions(self) -> Iterator[str]:
        """Yield the ids of sessions that closed an item, as the source says now."""
        ...


def default_projects() -> Path:
    """Return where the agent's tool keeps sessions: `$CLAUDE_CONFIG_DIR/projects`, else under the home."""
    configured = os.environ.get("CLAUDE_CONFIG_DIR", "")
    return (Path(configured) if configured else Path.home() / ".claude") / "projects"


def session_files(root: Path, tally: Tally) -> Iterator[Found]:
    """Yield session files beneath a projects folder, one project's folder, or one file; sorted by key.

    Of a session that lies in several projects (a worktree moved) the longest file is taken, the others
    are counted. Raises NotFoundError where there is nothing.
    """
    chosen: dict[str, Found] = {}
    for found in walk(root, tally, enter=lambda name: name not in _COMPANIONS):
        if not found.key.endswith(SUFFIX):
            continue
        name = name_of(found.key) if _is_main(found.key) else found.key
        other = chosen.get(name)
        if other is None or _newer(found, other):
            chosen[name] = found
        if other is not None:
            shorter = other if chosen[name] is found else found
            tally.add("a shorter copy of a session", shorter.key)
    yield from sorted(chosen.values(), key=lambda found: found.key)


def name_of(key: str) -> str:
    """Return a session file's name without suffix: the session's id, or `agent-<id>`."""
    return key.rpartition("/")[2].removesuffix(SUFFIX)


def agent_of(key: str) -> str:
    """Return the subagent's id that a file's name holds, empty for a main session."""
    found = _AGENT.fullmatch(name_of(key))
    return found[1] if found else ""


def parent_of(key: str) -> str:
    """Return the session whose folder a subagent's file lies in, empty in the flat layout."""
    parts = key.split("/")
    return parts[parts.index("subagents") - 1] if "subagents" in parts[1:] else ""


def session_of(item: WorkItem) -> str | None:
    """Return the id of the session that closed a work item; None while it is open or where none is named."""
    session = item.closed_by_session
    return session if item.closed and _SESSION.fullmatch(session) else None


def find_session(root: Path, session: str) -> Path:
    """Return a session's file beneath a projects folder. Raises NotFoundError where there is none."""
    if _SESSION.fullmatch(session):
        for found in session_files(root, Tally()):
            if name_of(found.key) == session:
                return found.path
    raise NotFoundError(
        f"{printable(session)}: no such session beneath {printable(str(root), 300)}",
        hint="agents' tools delete their logs after some days: collect early",
    )


def belongs_to(key: str, sessions: Collection[str]) -> bool:
    """Tell whether a file is one of these sessions, or a subagent's in the folder of one."""
    return name_of(key) in sessions or parent_of(key) in sessions


def _is_main(key: str) -> bool:
    return not agent_of(key) and bool(_SESSION.fullmatch(name_of(key)))


def _newer(found: Found, other: Found) -> bool:
    return (found.size_bytes, found.modified_ns) > (other.size_bytes, other.modified_ns)
