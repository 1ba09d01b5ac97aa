"""What a skill is: problems by primitive and level, with their right answers and a grader.

Training rows and evaluation problems come from one definition and are disjoint: which side a
problem falls on is decided by a hash of its canonical key, which names neither level nor wording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Protocol

from pydantic import Field, PlainSerializer

from realm.core.config import Config
from realm.core.kinds import Family
from realm.core.records import Example, Message, Record

Side = Literal["train", "heldout"]

HELDOUT_PER_PRIMITIVE = 30
"""A primitive with fewer held-out problems at a level is drilled there, but not tested."""
HELDOUT_PER_LEVEL = 100
"""A level with fewer held-out problems in its testable primitives cannot be mastered."""
LARGEST_EXACT = 2**53
"""Integers up to this are the same in every reader of JSON."""
LARGEST_COUNT = 10**308
"""Larger counts are written as this one, because a float holds no larger number."""


class Problem(Record):
    """One question with its right answer."""

    key: str
    """Canonical name such as `add 3 5`: the same for every wording of the same problem."""
    primitive: str
    level: int
    messages: tuple[Message, ...]
    """System and user turn."""
    expected: str
    """The whole right answer."""
    form: str = ""
    """How it is asked, where the grader must know, such as the format that the answer has to have."""

    def solved(self) -> tuple[Message, ...]:
        """Return the chat in which the assistant answers rightly."""
        return *self.messages, Message(role="assistant", content=self.expected)

    def example(self, skill: str) -> Example:
        """Return the row that trains it, tagged with the skill and with all that `of` needs."""
        tags = {"skill": skill, "primitive": self.primitive, "level": self.level, "key": self.key}
        if self.form:
            tags["form"] = self.form
        return Example(messages=self.solved(), tags=tags)

    @classmethod
    def of(cls, tags: Mapping[str, str | int], prompt: Sequence[Message], expected: str) -> Problem:
        """Return the problem that a row's tags tell of. Raises ValidationError where they do not."""
        named = {name: tags.get(name) for name in ("key", "primitive", "level")}
        given = {"messages": prompt, "expected": expected, "form": tags.get("form", "")}
        return cls.model_validate({**named, **given})


class PrimitiveInfo(Record):
    """One thing that can be got right or wrong."""

    name: str
    display_name: str
    description: str
    difficulty: Annotated[int, Field(ge=1, le=10)]
    track: str = ""
    """Track of the primitive catalogue that it belongs to; empty outside it."""


def _readable(count: int) -> int | float:
    return count if count <= LARGEST_EXACT else float(min(count, LARGEST_COUNT))


Count = Annotated[int, Field(ge=0), PlainSerializer(_readable, return_type=int | float, when_used="json")]
"""How many there are. In JSON a number above 2^53 is written as a float, such as 1.2e+41, because many
readers hold no larger integers exactly, and some refuse them."""


class LevelPrimitive(Record):
    """One primitive at one level, in canonical problems."""

    name: str
    problems: Count
    """All problems of the level's space, held-out ones included."""
    heldout: Count
    testable: bool
    """There are enough held-out problems for its share of right answers to mean something."""
    counted: bool = True
    """Problems were counted one by one; otherwise the space is too large, and its size and share are used."""


class LevelInfo(Record):
    """One level and its table of primitives."""

    level: int
    name: str
    description: str
    primitives: tuple[LevelPrimitive, ...]
    testable: bool
    """Enough can be tested for the level to be mastered."""

    def testable_primitives(self) -> tuple[LevelPrimitive, ...]:
        """Return the primitives that an evaluation of this level asks for."""
        return tuple(p for p in self.primitives if p.testable)


class Skill(Protocol):
    """Generate drills, hold problems back, and grade answers."""

    name: str
    title: str
    version: str

    @property
    def config(self) -> Config: ...

    @property
    def system(self) -> tuple[Message, ...]:
        """Return the turns that every problem begins with; empty where there are none."""

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return every primitive of the skill."""

    def level_numbers(self) -> Sequence[int]:
        """Return the numbers of the levels, lowest first, at once: no problem is counted for them."""

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return every level, lowest first."""

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate problems to train on, of one level.

        Weights are relative shares per primitive; one that is not named gets no rows, and no
        weights at all means equal shares. Problem i depends on the seed and i, not on the count.
        A level without training problems yields none.
        """

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return up to so many held-out problems of each testable primitive.

        The order is fixed, and fewer are a part of more; another seed chooses others where there are more.
        """

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return training problems of every primitive, to measure weakness without held-out data."""

    def recall(self, prompt: str) -> Problem | None:
        """Return the problem that a user turn asks, None where it is none of this skill's."""

    def grade(self, problem: Problem, answer: str) -> float:
        """Return 1.0 for a right answer, less for one that is wrong or right in part, 0 at least.

        Takes bounded time for any answer. What is forgiven is up to the skill; an answer that merely
        contains the right one never counts.
        """

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return texts to train a tokenizer on, and characters that must be single tokens."""

    def split_of(self, key: str) -> Side:
        """Return the side a canonical problem falls on."""


SKILLS: Family[Skill] = Family("skill", "realm.skills.catalogue")


def needs(kind: str) -> tuple[str, ...]:
    """Return the settings without which a kind of skill is none yet."""
    fields = SKILLS.load(kind).Config.model_fields  # type: ignore[attr-defined]
    return tuple(name for name, field in fields.items() if field.is_required())


Counted = tuple[int, int, bool]
"""Problems, held-out ones, whether they were counted one by one."""


def level_info(level: int, name: str, description: str, counts: Mapping[str, Sequence[Counted]]) -> LevelInfo:
    """Build a level from the counts of the parts that each of its primitives has."""
    primitives = tuple(_pooled(primitive, parts) for primitive, parts in counts.items())
    testable = sum(p.heldout for p in primitives if p.testable) >= HELDOUT_PER_LEVEL
    return LevelInfo(
        level=level, name=name, description=description, primitives=primitives, testable=testable
    )


def _pooled(primitive: str, parts: Sequence[Counted]) -> LevelPrimitive:
    heldout = sum(part[1] for part in parts)
    return LevelPrimitive(
        name=primitive,
        problems=sum(part[0] for part in parts),
        heldout=heldout,
        testable=heldout >= HELDOUT_PER_PRIMITIVE,
        counted=all(part[2] for part in parts),
    )
