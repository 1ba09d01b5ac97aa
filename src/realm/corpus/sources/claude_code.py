"""Sessions of Claude Code: one chat a conversation, with the way it ended.

Items are session files; a live one grows, its fingerprint changes, and reading it again gives the same
document, longer. The main conversation's id is the session's, a subagent's `<session>/agent-<id>` with the
session as `fields.session.parent`. `fields`:

    outcome   {result, mode, evidence}, see `outcome`
    session   {id, parent, agent, role, worker, cwd, branch, version, models, tools, abandoned, ended}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from realm.core.hashing import hash_json, short
from realm.core.paths import expanded
from realm.corpus.agents import sessions
from realm.corpus.agents.blocks import Bounds
from realm.corpus.agents.evidence import closes
from realm.corpus.agents.issues import read_items
from realm.corpus.agents.outcome import infer
from realm.corpus.agents.town import Place, place_of
from realm.corpus.agents.transcript import Chain, Transcript, chains, read_transcript
from realm.corpus.agents.turns import Conversation, converse
from realm.corpus.agents.workitem import WorkItem
from realm.corpus.document import Document, Origin
from realm.corpus.files import folders
from realm.corpus.files.objects import read_objects
from realm.corpus.source import Item, SourceConfig
from realm.corpus.tally import Tally


class ClaudeCode:
    """Read sessions of Claude Code."""

    version = "1"

    class Config(SourceConfig):
        """Where the sessions lie and how much of them is kept."""

        kind: Literal["claude_code"] = "claude_code"
        path: Path | None = None
        """Projects folder, one project's folder, or one session file; None: where the tool keeps them."""
        handed_in: bool = False
        """Take only sessions that are handed in, by an agent's hook or by a work item that was closed."""
        work_items: Path | None = None
        """A `beads` export, so that outcomes know the linked work items; a new one reads sessions anew."""
        towns: tuple[str, ...] = ("gt",)
        """Names of folders that are towns: roles and rigs are told from the folders in them."""
        thinking: bool = False
        """Keep the model's thoughts, as `<think>` in its turns."""
        max_result_chars: Annotated[int, Field(ge=100)] = 8_000
        """Longest result of a tool; more is cut in the middle, with a mark."""
        max_call_chars: Annotated[int, Field(ge=100)] = 20_000
        """Longest call of a tool; a longer one is cut, and its turn is not trained."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._links: _Links | None = None

    def items(self, tally: Tally) -> Iterator[Item]:
        """List session files; none where they are handed in. Raises NotFoundError without such a folder."""
        if not self.config.handed_in:
            yield from self._items(tally)

    def sessions(self, wanted: Collection[str], tally: Tally) -> Iterator[Item]:
        """List the files of these sessions and of their subagents, as `items` would."""
        return (item for item in self._items(tally) if sessions.belongs_to(item.key, wanted))

    def _items(self, tally: Tally) -> Iterator[Item]:
        self._links = self._load_links()
        linked = self._links.fingerprint()
        for found in sessions.session_files(self.root, tally):
            yield found.item(more=linked)

    def read(self, item: Item, tally: Tally) -> Iterator[Document]:
        """Yield the main conversation, then those of subagents."""
        path = folders.at(self.root, item.key)
        bounds = Bounds(result=self.config.max_result_chars, call=self.config.max_call_chars)
        transcript = read_transcript(read_objects(path, tally, item.key), bounds, tally, item.key)
        if not transcript.entries:
            tally.add("a file without a session", item.key)
            return
        for chain in chains(transcript, tally, item.key):
            document = self._document(item.key, transcript, chain, tally)
            if document:
                yield document

    def folders(self) -> tuple[Path, ...]:
        """Return where to listen for new lines."""
        return () if self.config.handed_in else (self.root if not self.root.is_file() else self.root.parent,)

    @property
    def root(self) -> Path:
        """Where the sessions lie."""
        return expanded(self.config.path) if self.config.path else sessions.default_projects()

    def _document(self, key: str, transcript: Transcript, chain: Chain, tally: Tally) -> Document | None:
        talk = converse(chain, thinking=self.config.thinking, tally=tally, where=key)
        where = f"{key}:{chain.entries[0].line}"
        if not any(message.role == "assistant" for message in talk.messages):
            tally.add("a conversation without an answer", where)
            return None
        place = place_of(transcript.cwd, transcript.branch, self.config.towns)
        agent = chain.agent and (sessions.agent_of(key) or chain.agent)
        own = sessions.name_of(key) if not sessions.agent_of(key) else sessions.parent_of(key)
        session = own or transcript.session or sessions.name_of(key)
        item = self._item(session, place, talk, subagent=bool(agent))
        outcome = infer(talk.events, session="" if agent else session, role=place.role, item=item)
        facts = _facts(session, agent, transcript, chain, talk, place)
        return Document(
            id=f"{session}/agent-{agent}" if agent else session,
            form="chat",
            messages=tuple(talk.messages),
            fields={"outcome": outcome.model_dump(mode="json"), "session": facts},
            tags=self._tags(place, outcome.result),
            group=session,
            origin=self._origin(key, session, transcript, chain, talk, place, item, agent),
        )

    def _tags(self, place: Place, result: str) -> dict[str, str | int]:
        tags: dict[str, str | int] = {"task": "session", "outcome": result}
        if place.role:
            tags["role"] = place.role
        return {**tags, **self.config.tags}

    def _origin(
        self,
        key: str,
        session: str,
        transcript: Transcript,
        chain: Chain,
        talk: Conversation,
        place: Place,
        item: WorkItem | None,
        agent: str,
    ) -> Origin:
        lines = [entry.line for entry in chain.entries]
        program = f"claude_code@{transcript.version or 'unknown'}"
        return Origin(
            source=self.config.name,
            kind=self.config.kind,
            path=key,
            first_line=min(lines),
            last_line=max(lines),
            session=session,
            work_item=item.id if item else place.work_item or _closed_in(talk),
            rig=self.config.rig or place.rig,
            contributor=self.config.contributor,
            licence=self.config.licence or "unknown",
            made_by="model" if agent else "mixed",
            generator=f"{program} {', '.join(talk.models)}".strip(),
            at=next((entry.at for entry in chain.entries if entry.at), None),
        )

    def _item(self, session: str, place: Place, talk: Conversation, *, subagent: bool) -> WorkItem | None:
        """Return the linked work item: the one that names the session, the branch's, the one closed here."""
        if self._links is None:
            self._links = self._load_links()
        item = self._links.by_session.get(session) or self._links.by_id.get(place.work_item or "")
        if item or subagent:
            return item
        return self._links.by_id.get(_closed_in(talk) or "")

    def _load_links(self) -> _Links:
        links = _Links({}, {})
        if self.config.work_items is None:
            return links
        for item in read_items(self.config.work_items, Tally()):
            slim = WorkItem.model_validate(item.model_dump(include=_NEEDED))
            links.by_id[item.id] = slim
            # A branch may name an item without its prefix.
            links.by_id.setdefault(item.id.partition("-")[2], slim)
            if sessions.session_of(item):
                links.by_session[item.closed_by_session] = slim
        return links


class _Links(NamedTuple):
    """Work items by the session that closed them and by their id, with only what outcomes need."""

    by_session: dict[str, WorkItem]
    by_id: dict[str, WorkItem]

    def fingerprint(self) -> str:
        if not self.by_id:
            return ""
        facts = [[key, item.status, item.close_reason] for key, item in sorted(self.by_id.items())]
        return short(hash_json([facts, sorted(self.by_session)]))


_NEEDED = {"id", "title", "status", "close_reason", "closed_by_session"}


def _closed_in(talk: Conversation) -> str | None:
    """Return the one work item that a session closed itself; None for several."""
    closed = {id_ for event in talk.events for id_ in closes(event)}
    return closed.pop() if len(closed) == 1 else None


def _facts(
    session: str, agent: str, transcript: Transcript, chain: Chain, talk: Conversation, place: Place
) -> dict[str, Any]:
    ended = next((entry.at for entry in reversed(chain.entries) if entry.at), None)
    return {
        "id": f"{session}/agent-{agent}" if agent else session,
        "parent": session if agent else None,
        "agent": agent or None,
        "role": place.role,
        "worker": place.worker,
        "cwd": transcript.cwd,
        "branch": transcript.branch,
        "version": transcript.version,
        "models": talk.models,
        "tools": dict(sorted(talk.tools.items())),
        "abandoned": chain.abandoned,
        "ended": ended.isoformat() if ended else None,
    }
