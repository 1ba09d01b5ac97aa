"""Better and worse: sessions that succeeded and failed, lessons, and duels.

- Sessions of one work item in one source, told apart by `fields.outcome` (`{"result", "mode"}`): each
  failed one is paired with the successful one that it shares the longest beginning with.
- Lessons: `original_prompt`, `suboptimal_response`, `gold_standard` of a record, or a preference
  document; those whose `utility_score` is too low are left out.
- Duels: records with `prompt`, `a`, `b` and `winner` (`a`, `b` or `tie`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from realm.core.config import Config as BaseConfig
from realm.core.errors import DataError
from realm.core.records import Example, Message
from realm.corpus import specs
from realm.corpus.agents.evidence import Mode
from realm.corpus.document import Document
from realm.corpus.shaper import Row
from realm.corpus.shaping import pairs
from realm.corpus.shaping.joined import joined
from realm.corpus.shaping.spool import Place, Spool
from realm.corpus.tally import Tally

_MODES = frozenset(mode.value for mode in Mode)
_OTHER_MODE = "other"
_UNLABELLED = "unlabelled"
_LESSON = ("original_prompt", "gold_standard", "suboptimal_response")
_DUEL = frozenset({"prompt", "a", "b", "winner"})
_SESSIONS_A_SIDE = 16
_RESULTS = ("success", "failure")
_CHAT = TypeAdapter(tuple[Message, ...])


class _Session(NamedTuple):
    """A session that waits for its counterpart."""

    id: str
    place: Place
    mode: str


class Preference:
    """Make rows with a better and a worse ending."""

    version = "1"

    class Config(BaseConfig):
        """What is good enough."""

        kind: Literal["preference"] = "preference"
        min_utility: Annotated[float, Field(allow_inf_nan=False)] = 0.0
        """Lessons with a lower `utility_score` are left out; those without one are taken."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def shape(self, documents: Iterable[Document], tally: Tally) -> Iterator[Row]:
        """Yield lessons and duels in their order, then the pairs of sessions by work item.

        Sessions wait on the disk; the memory holds those of one work item at a time.
        """
        with Spool() as spool:
            waiting: dict[tuple[str, str], dict[str, list[_Session]]] = {}
            for document in documents:
                if document.form == "chat":
                    self._wait(document, spool, waiting, tally)
                else:
                    yield from self._own_row(document, tally)
            for (source, item), sides in waiting.items():
                yield from self._sessions(sides, spool, f"{source}/{item}", tally)

    def _wait(
        self,
        document: Document,
        spool: Spool,
        waiting: dict[tuple[str, str], dict[str, list[_Session]]],
        tally: Tally,
    ) -> None:
        item, (result, mode) = document.origin.work_item, _outcome(document.fields)
        place = document.place
        if item is None:
            tally.add("no pair: a chat without a work item", place)
        elif result not in _RESULTS:
            tally.add("unknown outcome", place)
        else:
            key = (document.origin.source, item)
            sides = waiting.setdefault(key, {side: [] for side in _RESULTS})
            if len(sides[result]) >= _SESSIONS_A_SIDE:
                tally.add("more sessions of a work item than are compared", place)
            else:
                sides[result].append(_Session(document.id, spool.add(document), mode))

    def _sessions(
        self, sides: dict[str, list[_Session]], spool: Spool, where: str, tally: Tally
    ) -> Iterator[Row]:
        good, bad = (sides[side] for side in _RESULTS)
        if not good or not bad:
            tally.add("no pair: every session of the work item ended alike", where, len(good) + len(bad))
            return
        successes = [spool.get(session.place) for session in good]
        for session in bad:
            failure = spool.get(session.place)
            success = max(successes, key=lambda one: (pairs.shared(one.messages, failure.messages), one.id))
            tags = {"task": "session_outcome", "failure_mode": session.mode, "rejected_document": failure.id}
            yield from self._row(success, success.messages, failure.messages, tags, tally, failure)

    def _own_row(self, document: Document, tally: Tally) -> Iterator[Row]:
        fields, place = document.fields, document.place
        if document.form == "preference":
            tags = {"task": "correction"} if "utility_score" in fields else {}
            if self._useful(fields, place, tally):
                yield from self._row(document, document.messages, document.rejected, tags, tally)
        elif document.form == "record" and all(isinstance(fields.get(key), str) for key in _LESSON):
            prompt, *endings = (fields[key] for key in _LESSON)
            if self._useful(fields, place, tally):
                chats = [_chat(prompt, ending) for ending in endings]
                yield from self._row(document, chats[0], chats[1], {"task": "correction"}, tally)
        elif document.form == "record" and fields.keys() >= _DUEL:
            yield from self._duel(document, tally)
        else:
            tally.add("no pair: not a session, a lesson or a duel", place)

    def _useful(self, fields: dict[str, Any], place: str, tally: Tally) -> bool:
        utility = fields.get("utility_score")
        if isinstance(utility, bool) or not isinstance(utility, int | float):
            return True
        # Written this way round, a utility that is no number at all is not enough.
        if not utility >= self.config.min_utility:
            tally.add("a lesson of too little utility", place)
            return False
        return True

    def _duel(self, document: Document, tally: Tally) -> Iterator[Row]:
        fields, place = document.fields, document.place
        winner = fields["winner"]
        if winner in ("tie", "draw", None):
            tally.add("tie", place)
        elif winner not in ("a", "b"):
            tally.add("a duel without a known winner", place)
        elif not (isinstance(fields["a"], str) and isinstance(fields["b"], str)):
            tally.add("a duel whose answers are not text", place)
        else:
            better, worse = (
                _chat(fields["prompt"], fields[side]) for side in sorted("ab", key=winner.__ne__)
            )
            yield from self._row(document, better, worse, {"task": "duel"}, tally)

    def _row(
        self,
        document: Document,
        better: pairs.Chat,
        worse: pairs.Chat,
        tags: dict[str, str],
        tally: Tally,
        other: Document | None = None,
    ) -> Iterator[Row]:
        """Yield the row of two endings, where it is one; the worse may be of another document."""
        found = pairs.pair(better, worse) if better and worse else "a prompt that is neither text nor a chat"
        if isinstance(found, str):
            tally.add(found, document.place)
            return
        example = Example(messages=found.chosen, rejected=found.rejected, tags={**document.tags, **tags})
        try:
            specs.verify("preference_v1", example)
        except DataError:
            tally.add("the pair breaks the rules of preference_v1", document.place)
            return
        yield Row(
            example=example,
            origin=joined(document.origin, other.origin) if other else document.origin,
            document=document.id,
            shaper=f"{self.config.kind}@{self.version}",
            group=document.split_group,
            also=(other.split_group,) if other else (),
        )


def _outcome(fields: dict[str, Any]) -> tuple[str, str]:
    """Return how a session ended (`unknown` where nobody said) and the label of its failure."""
    outcome = fields.get("outcome")
    if not isinstance(outcome, dict):
        return "unknown", _UNLABELLED
    mode = outcome.get("mode") or fields.get("failure_mode")
    result = outcome.get("result")
    return result if isinstance(result, str) else "unknown", _label(mode)


def _label(mode: Any) -> str:
    if not isinstance(mode, str) or not mode.strip():
        return _UNLABELLED
    label = re.sub(r"[\s-]+", "_", mode[:100].strip().lower())
    return label if label in _MODES else _OTHER_MODE


def _chat(prompt: Any, ending: str) -> tuple[Message, ...]:
    """Return the chat of a prompt (text or messages) and its ending; empty where it is neither."""
    if isinstance(prompt, str):
        asked: tuple[Message, ...] = (Message(role="user", content=prompt),)
    else:
        try:
            asked = _CHAT.validate_python(prompt)
        except ValidationError:
            return ()
    return (*asked, Message(role="assistant", content=ending)) if asked else ()
