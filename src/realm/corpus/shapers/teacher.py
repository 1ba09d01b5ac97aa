"""Let a served model write what is missing: requests for units, answers to requests, and both of two fields.

Any OpenAI-compatible endpoint will do. Answers are kept by the hash of the whole request, so a run that
was cut off goes on where it stood, and one that changes nothing asks nothing. When the budget is spent
the rest is counted and left for the next run; rows whose answers are kept still come.
Not covered: whether an answer is true. What is believed is only what parses, see `teaching.verifying`.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from realm.core.config import Config as BaseConfig
from realm.core.records import Example, Message, Name
from realm.core.seeds import seed
from realm.corpus.document import Document, Origin
from realm.corpus.shaper import Row
from realm.corpus.shaping.joined import joined
from realm.corpus.tally import Tally
from realm.corpus.teaching import tasks
from realm.corpus.teaching.asking import Asker, Missing, in_order
from realm.corpus.teaching.budget import Budget, Left
from realm.corpus.teaching.cutting import cut
from realm.corpus.teaching.store import AnswerStore
from realm.corpus.teaching.tasks import Domain, Pair, Task
from realm.corpus.teaching.verifying import Fault, Gate, syntax_gate, without_thoughts
from realm.http import completions
from realm.http.client import Client, KeyVariable, Limits, SafeUrl

_log = logging.getLogger(__name__)
_SHORTEST_UNIT = 20


class _Cross(BaseConfig):
    """Rows that need two domains."""

    domains: tuple[Name, Name]
    pairs: Annotated[int, Field(ge=1, le=10_000)] = 200
    """At most; each takes one unit of either domain, chosen by the seed."""
    system: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"\S")]
    """System prompt of these rows."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.domains[0] == self.domains[1]:
            raise ValueError("cross names two different domains")
        return self


class _Job(NamedTuple):
    """One row to be."""

    task: Task
    document: Document
    origin: Origin
    system: str | None
    tags: dict[str, str | int]
    also: tuple[str, ...] = ()
    """Groups of further documents that are shown."""


class Teacher:
    """Make rows with a served model."""

    version = "2"

    class Config(BaseConfig):
        """Which model, what it is asked for, and how much at most."""

        kind: Literal["teacher"] = "teacher"
        url: SafeUrl
        """Up to `/chat/completions`, such as `https://host/v1`."""
        model: Annotated[str, Field(min_length=1, max_length=200)]
        key_variable: KeyVariable | None = None
        """Environment variable that holds the key; none sends no key."""
        answers_file: Path
        """SQLite file in which answers are kept; made if need be, readable by its owner only. Where it is
        relative it begins at the realm's folder."""
        tasks: frozenset[Literal["reverse", "answer"]] = frozenset({"reverse"})
        """`reverse` asks for the request behind every text, of code behind every function, and `answer`
        answers every chat anew."""
        domains: dict[Name, Domain] = Field(default_factory=dict)
        """By the documents' tag `domain`. Where there are any, documents of others are left out."""
        cross: tuple[_Cross, ...] = ()
        temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
        max_answer_tokens: Annotated[int, Field(ge=1)] = 2048
        """Longer answers are cut off by the endpoint, and then not used."""
        max_unit_chars: Annotated[int, Field(ge=_SHORTEST_UNIT)] = 12_000
        """Longer texts are not shown to the model."""
        max_requests: Annotated[int, Field(ge=1)] = 10_000
        """Budget of one run, repeated requests included."""
        max_tokens: Annotated[int, Field(ge=1)] = 20_000_000
        """Budget of one run, prompts included, as the endpoint counts them or else by length."""
        at_once: Annotated[int, Field(ge=1, le=64)] = 4
        attempts: Annotated[int, Field(ge=1, le=10)] = 4
        """For one request, where the endpoint is busy or out of reach."""
        timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
        seed: int = 0

    def __init__(self, config: Config, gate: Gate = syntax_gate, limits: Limits | None = None) -> None:
        """`gate` says in several threads whether code parses, `limits` bound the connection."""
        self.config = config
        self._gate = gate
        self._limits = limits or Limits(config.timeout_s, config.attempts)
        self._budget = Budget(config.max_requests, config.max_tokens)

    @property
    def left(self) -> Left:
        """Return what of the budget is not spent."""
        return self._budget.left

    def shape(self, documents: Iterable[Document], tally: Tally) -> Iterator[Row]:
        """Yield rows in the documents' order, those of two domains last.

        Raises RefusedError or UnavailableError where the endpoint refuses or fails every request.
        """
        self._budget = Budget(self.config.max_requests, self.config.max_tokens)
        store = AnswerStore(self.config.answers_file)
        try:
            asker = self._asker(store)
            jobs = self._jobs(documents, tally)
            runs = (partial(_run, asker, job) for job in jobs)
            with closing(in_order(runs, self.config.at_once)) as results:
                for job, made in results:
                    if isinstance(made, Pair):
                        yield self._row(job, made)
                    else:
                        tally.add(made, job.document.place)
        finally:
            store.close()
            left = self._budget.left
            _log.info("teacher: %d requests and %d tokens of the budget are left", left.requests, left.tokens)

    def _asker(self, store: AnswerStore) -> Asker:
        c = self.config
        client = Client("the endpoint", c.url, c.key_variable, self._limits)

        def request(chat: Iterable[Message]) -> dict[str, object]:
            turns = [(message.role, message.content) for message in chat]
            return completions.request(c.model, turns, c.temperature, c.max_answer_tokens)

        return Asker(client, store, self._budget, {"url": c.url}, request, c.max_answer_tokens)

    def _jobs(self, documents: Iterable[Document], tally: Tally) -> Iterator[_Job]:
        chosen = [_Chosen(cross, index, self.config.seed) for index, cross in enumerate(self.config.cross)]
        for document in documents:
            for part in self._parts(document):
                if isinstance(part, str):
                    tally.add(part, document.place)
                    continue
                for choice in chosen:
                    choice.offer(part)
                yield from self._own_job(part)
        for choice in chosen:
            yield from choice.jobs(self._gate, tally)

    def _own_job(self, document: Document) -> Iterator[_Job]:
        domain = self.config.domains.get(str(document.tags.get("domain", "")))
        system = domain.system if domain else None
        if document.form == "text" and "reverse" in self.config.tasks:
            yield _Job(tasks.reverse(document), document, document.origin, system, {})
        elif document.form == "chat" and "answer" in self.config.tasks:
            task = tasks.answer(_asked(document), domain, self._gate)
            yield _Job(task, document, document.origin, system, {})

    def _parts(self, document: Document) -> Iterator[Document | str]:
        """Yield what the teacher is asked about, or why it is not."""
        c = self.config
        if c.domains and document.tags.get("domain") not in c.domains:
            yield "a domain that the teacher's config does not name"
        elif document.form == "text" and ("reverse" in c.tasks or c.cross):
            for part in cut(document, self._gate):
                fits = isinstance(part, str) or (
                    _SHORTEST_UNIT <= len((part.text or "").strip()) <= c.max_unit_chars
                )
                yield part if fits else "a text too short or too long to be shown to the teacher"
        elif document.form == "chat" and "answer" in c.tasks:
            yield document if _asked(document) else "a chat that asks nothing"
        else:
            yield "a document of a form that the teacher is not asked about"

    def _row(self, job: _Job, made: Pair) -> Row:
        c = self.config
        system = () if job.system is None else (Message(role="system", content=job.system),)
        turns = (*system, *made.prompt, Message(role="assistant", content=made.answer))
        language = {} if job.document.language is None else {"language": job.document.language}
        is_mixed = job.task.keeps_answer and job.origin.made_by != "model"
        return Row(
            example=Example(
                messages=turns, tags={**language, **job.document.tags, **job.tags, "task": job.task.name}
            ),
            origin=job.origin.model_copy(
                update={
                    "made_by": "mixed" if is_mixed else "model",
                    "generator": f"{c.model}@{c.url}",
                }
            ),
            document=job.document.id,
            shaper=f"{c.kind}@{self.version}",
            group=job.document.split_group,
            also=job.also,
        )


class _Chosen:
    """The units of two domains that will be paired: those with the lowest seeded numbers, in any order."""

    def __init__(self, cross: _Cross, index: int, seed_: int) -> None:
        self._cross = cross
        self._parts = (index, seed_)
        self._held: dict[str, list[tuple[int, int, Document]]] = {domain: [] for domain in cross.domains}
        self._offered = 0

    def offer(self, document: Document) -> None:
        """Hold a unit while it is among those with the lowest numbers."""
        held = self._held.get(str(document.tags.get("domain", "")))
        if held is None or document.form != "text":
            return
        name = f"{document.place}:{document.origin.first_line}"
        # The count decides between equal numbers, so that documents themselves are never compared.
        self._offered += 1
        entry = (-seed("teacher/cross", *self._parts, name), -self._offered, document)
        if len(held) < self._cross.pairs:
            heapq.heappush(held, entry)
        elif entry[:2] > held[0][:2]:
            heapq.heapreplace(held, entry)

    def jobs(self, gate: Gate, tally: Tally) -> Iterator[_Job]:
        """Yield one job a pair."""
        first, second = (
            [document for *_, document in sorted(self._held[domain], key=lambda entry: entry[:2])]
            for domain in self._cross.domains
        )
        missing = self._cross.pairs - min(len(first), len(second))
        name = "+".join(self._cross.domains)
        if missing:
            tally.add("too few units for a row of two domains", name, missing)
        for one, other in zip(first, second, strict=False):
            yield _Job(
                tasks.cross(one, other, self._cross.system, gate),
                one,
                joined(one.origin, other.origin),
                self._cross.system,
                {"domain": name, "with": f"{other.origin.source}/{other.id}:{other.origin.first_line or 1}"},
                (other.split_group,),
            )


def _run(asker: Asker, job: _Job) -> tuple[_Job, Pair | str]:
    """Ask, and once more with what was wrong; return the pair or the reason why there is none."""
    chat, reason = job.task.chat, ""
    for _ in range(2):
        answer = asker.ask(chat)
        if isinstance(answer, Missing):
            return job, answer.reason
        said = without_thoughts(answer.text)
        found: Pair | Fault = Fault("the answer was cut off", "it was too long and was cut off; be shorter")
        if answer.complete:
            found = job.task.read(said)
        if isinstance(found, Pair):
            return job, found
        chat, reason = tasks.again(job.task, said, found), found.reason
    return job, reason


def _asked(document: Document) -> tuple[Message, ...]:
    """Return a chat up to its last question, empty where it has none."""
    turns = document.messages
    if turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    return turns if turns and turns[-1].role in ("user", "tool") else ()
