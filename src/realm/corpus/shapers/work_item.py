"""Work items: how one is filed, how an epic is broken down, and with which reason one is closed.

- filing: title, description and what is known of its place → the item as JSON with its dependencies.
- breakdown: an epic → its children as JSON, each behind those that it needs.
- closing: an item and what was done (notes, comments, closed children, the last words of its session) →
  its close reason. An item of which nobody says what was done gives no such row.

Which items are good enough: see `items.rules`. A dependency `{issue_id: X, depends_on_id: Y}` reads
"X needs Y", as `bd dep add X Y` does; of a parent-child dependency X is the child.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError
from realm.core.records import Example, Message
from realm.corpus.agents.workitem import WorkItem, read_item
from realm.corpus.document import Document, Origin
from realm.corpus.items import order, rules, words
from realm.corpus.items.words import Link
from realm.corpus.shaper import Row
from realm.corpus.shaping.joined import joined
from realm.corpus.shaping.spool import Place, Spool
from realm.corpus.tally import Tally

_MOST_LINKS = 8
_MOST_NEEDED_BY = 3
_FEWEST_CHILDREN, _MOST_CHILDREN = 2, 30
_LONGEST_WORDS = 2000
"""Of each note, comment or last word that says what was done."""


class _Entry(NamedTuple):
    """What is held of every item while all are read."""

    place: Place
    title: str
    issue_type: str
    priority: int | None
    created: str
    """ISO time, to order by."""
    parent: str | None
    needs: frozenset[str]


@dataclass
class _Source:
    """The items of one source, by id."""

    entries: dict[str, _Entry] = field(default_factory=dict)
    titles: Counter[str] = field(default_factory=Counter)
    """By `rules.title_key`."""
    reasons: Counter[str] = field(default_factory=Counter)
    children: dict[str, list[str]] = field(default_factory=dict)
    needed_by: dict[str, list[str]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)

    def join(self) -> None:
        """Find who needs and who contains whom, once all are read."""
        for id_, entry in self.entries.items():
            if entry.parent in self.entries:
                self.parents[id_] = entry.parent
                self.children.setdefault(entry.parent, []).append(id_)
            for need in entry.needs:
                self.needed_by.setdefault(need, []).append(id_)


@dataclass
class _Read:
    """All that was read, of all sources."""

    spool: Spool
    sources: dict[str, _Source] = field(default_factory=dict)
    last_words: dict[str, Place] = field(default_factory=dict)
    """Of sessions, by session and by work item: sessions come from a source of their own."""


class _Closing(NamedTuple):
    """What a row about a close reason holds."""

    turns: tuple[str, str]
    origin: Origin


class WorkItems:
    """Make rows of an issue tracker's items."""

    version = "1"

    class Config(BaseConfig):
        """What all rows begin with."""

        kind: Literal["work_item"] = "work_item"
        system: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"\S")] | None = None
        """System prompt of every row."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def shape(self, documents: Iterable[Document], tally: Tally) -> Iterator[Row]:
        """Yield the rows of every item in the order in which they were read.

        All items are read before the first row, because one may need another that comes later. They wait
        on the disk; in memory is a line of each.
        """
        with Spool() as spool:
            read = _Read(spool)
            for document in documents:
                self._take(document, read, tally)
            for source in read.sources.values():
                source.join()
                for entry in source.entries.values():
                    yield from self._rows(spool.get(entry.place), source, read, tally)

    def _take(self, document: Document, read: _Read, tally: Tally) -> None:
        if document.form == "chat":
            _keep_last_words(document, read)
            return
        place = document.place
        try:
            item = read_item(document.fields)
        except DataError:
            tally.add("not a work item", place)
            return
        source = read.sources.setdefault(document.origin.source, _Source())
        if item.id in source.entries:
            tally.add("a work item that comes twice (the later is taken)", place)
            del source.entries[item.id]
        else:
            source.titles[rules.title_key(item.title)] += 1
            source.reasons[item.close_reason.strip()] += 1
        source.entries[item.id] = _entry(item, read.spool.add(document))

    def _rows(self, document: Document, source: _Source, read: _Read, tally: Tally) -> Iterator[Row]:
        item, where = read_item(document.fields), document.place
        fault = rules.faulty_item(item, source.titles)
        if fault is not None:
            tally.add(f"not good enough: {fault}", where)
            return
        group = f"{document.origin.source}/{order.root(item.id, source.parents)}"
        links = _links(document, item, source, tally)
        if links is not None:
            turns = words.filing(item, links, _needed_by(item, source))
            yield self._row(document, "filing", turns, group)
        if item.id in source.children:
            children = _breakdown(item, source)
            if isinstance(children, str):
                tally.add(f"no breakdown: {children}", where)
            else:
                yield self._row(document, "breakdown", words.breakdown(item, children), group)
        if item.closed:
            closing = _closing(document, item, source, read)
            if isinstance(closing, str):
                tally.add(f"no closing: {closing}", where)
            else:
                yield self._row(document, "closing", closing.turns, group, closing.origin)

    def _row(
        self,
        document: Document,
        task: str,
        turns: tuple[str, str],
        group: str,
        origin: Origin | None = None,
    ) -> Row:
        system = () if self.config.system is None else (Message(role="system", content=self.config.system),)
        asked, answered = turns
        return Row(
            example=Example(
                messages=(
                    *system,
                    Message(role="user", content=asked),
                    Message(role="assistant", content=answered),
                ),
                tags={**document.tags, "task": f"work_item_{task}"},
            ),
            origin=origin or document.origin,
            document=document.id,
            shaper=f"{self.config.kind}@{self.version}",
            group=group,
        )


def _entry(item: WorkItem, place: Place) -> _Entry:
    own = [one for one in item.dependencies if one.issue_id == item.id and one.depends_on_id != item.id]
    parents = [one.depends_on_id for one in own if one.type == order.PARENT]
    return _Entry(
        place=place,
        title=item.title,
        issue_type=item.issue_type,
        priority=item.priority,
        created=_time(item.created_at),
        parent=parents[0] if parents else None,
        needs=frozenset(one.depends_on_id for one in own if one.type in order.NEEDS),
    )


def _keep_last_words(document: Document, read: _Read) -> None:
    last = next((turn for turn in reversed(document.messages) if turn.role == "assistant"), None)
    keys = {document.origin.session, document.origin.work_item} - {None}
    if last is None or not last.content.strip() or not keys:
        return
    place = read.spool.add(document.model_copy(update={"messages": (last,), "fields": {}}))
    read.last_words.update({key: place for key in keys if key})


def _links(document: Document, item: WorkItem, source: _Source, tally: Tally) -> list[Link] | None:
    """Return an item's dependencies as they are told; None where they cannot be."""
    found: dict[tuple[str, str], Link] = {}
    where = document.place
    for one in item.dependencies:
        other = source.entries.get(one.depends_on_id)
        if one.issue_id != item.id or one.depends_on_id == item.id:
            tally.add("a dependency of another item (left out of its row)", where)
        elif one.type not in words.RELATIONS:
            tally.add("a dependency of another type (left out of its row)", where)
        elif other is None:
            tally.add("a dependency on an item that is not there (left out of its row)", where)
        elif one.type in order.NEEDS and item.id in other.needs:
            tally.add("no filing: two items that need each other", where)
            return None
        else:
            found[one.type, one.depends_on_id] = Link(one.type, one.depends_on_id, other.title)
    if len(found) > _MOST_LINKS:
        tally.add("no filing: too many dependencies", where)
        return None
    return list(found.values())


def _needed_by(item: WorkItem, source: _Source) -> list[Link]:
    others = source.needed_by.get(item.id, [])[:_MOST_NEEDED_BY]
    return [Link("blocks", other, source.entries[other].title) for other in others]


def _breakdown(epic: WorkItem, source: _Source) -> list[dict[str, object]] | str:
    """Return an epic's children in an order that they can be done in, or why there is none."""
    ids = source.children[epic.id]
    if not _FEWEST_CHILDREN <= len(ids) <= _MOST_CHILDREN:
        return "too few or too many children"
    entries = source.entries
    if any(
        entries[id_].issue_type not in rules.WORK or rules.faulty_title(entries[id_].title) for id_ in ids
    ):
        return "a child that is not good enough"
    if len({entries[id_].title for id_ in ids}) < len(ids):
        return "children of the same title"
    needs = {id_: entries[id_].needs for id_ in ids}
    ordered = order.by_needs(sorted(ids, key=lambda id_: (entries[id_].created, id_)), needs)
    if ordered is None:
        return "children that need each other in a circle"
    keys = {id_: key for key, id_ in enumerate(ordered, start=1)}
    return [
        _child(entries[id_], keys[id_], sorted(keys[n] for n in needs[id_] if n in keys)) for id_ in ordered
    ]


def _child(entry: _Entry, key: int, needs: list[int]) -> dict[str, object]:
    child: dict[str, object] = {"key": key, "title": entry.title.strip(), "issue_type": entry.issue_type}
    if entry.priority is not None:
        child["priority"] = entry.priority
    return {**child, "needs": needs}


def _closing(document: Document, item: WorkItem, source: _Source, read: _Read) -> _Closing | str:
    """Return the request to close an item and the reason, or why there is none."""
    fault = rules.faulty_reason(item.close_reason, source.reasons)
    if fault is not None:
        return fault
    done, origin = _done(item, source, read.spool), document.origin
    place = read.last_words.get(item.closed_by_session) or read.last_words.get(item.id)
    if place is not None:
        session = read.spool.get(place)
        done.append(session.messages[0].content)
        origin = joined(origin, session.origin)
    own = item.close_reason.strip()
    done = [said.strip()[:_LONGEST_WORDS] for said in done if said.strip() and own not in said]
    if not done:
        return "nobody says what was done"
    request, reason = words.closing(item, done)
    if rules.invented(reason, request):
        return "a close reason that names what nobody said"
    return _Closing((request, reason), origin)


def _done(item: WorkItem, source: _Source, spool: Spool) -> list[str]:
    """Return what the item and its closed children say of the work."""
    closed = item.closed_at
    comments = (
        one.text for one in item.comments if not (closed and one.created_at and one.created_at > closed)
    )
    said = [item.notes, *comments]
    for id_ in source.children.get(item.id, [])[:_MOST_CHILDREN]:
        child = read_item(spool.get(source.entries[id_].place).fields)
        if child.closed and rules.faulty_reason(child.close_reason, source.reasons) is None:
            said.append(f"{child.title.strip()}: {child.close_reason.strip()}")
    return said


def _time(time: datetime | None) -> str:
    return "" if time is None else time.isoformat()
