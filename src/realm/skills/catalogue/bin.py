"""BIN: arithmetic and logic on binary numbers written in circled digits.

Level n has operands of up to n+1 bits. A question is `Compute: add(①①, ①)`; its answer echoes the
call (`add(①①, ①) = ①⓪⓪`) or, in the short form, is the result alone (`①⓪⓪`). Comparisons answer
① for true and ⓪ for false, never padded. Quotients are rounded down and their remainder is left out.

Forms. `digit_order: lsb` writes every number, decimals included, with its least significant digit
first. `pad_digits: P` gives every number a fixed width that follows from the question alone:
operands are w = P digits (longer only if one does not fit, then both are); sums, increments and
doublings are w+1, products 2w, other results w, of `tobinary` P; decimals are as wide as the largest
number of that many bits. `[verify]`, `[show-work]` and `[trace]` add lines below the answer, auxiliary
questions ask something else about the same problem, and from level 8 a symbol key tells other signs and
names. No form changes which problem it is.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from realm.core import seeds
from realm.core.config import Config as BaseConfig
from realm.core.errors import NotFoundError
from realm.core.records import Message
from realm.skills.bits import auxiliary, keys, questions
from realm.skills.bits.drawing import Asked, Deck
from realm.skills.bits.grading import grade
from realm.skills.bits.operations import MAX_BITS, OPERATIONS, key, parse_key
from realm.skills.bits.primitives import DRILL_WAYS, INFOS, WAYS, Operations, primitive_of
from realm.skills.bits.questions import Question, Variants
from realm.skills.bits.writing import Script, call
from realm.skills.drilling import drill_texts
from realm.skills.skill import LevelInfo, PrimitiveInfo, Problem, Side

LEVELS = MAX_BITS - 1
KEY_LEVEL = 8
"""Lowest level with symbol keys."""

VOCABULARY_LEVELS = 8
"""A tokenizer is trained on these levels; above them numbers only get longer."""
VOCABULARY_ROWS = 150
"""Drills of each of those levels that it is trained on."""

_SHORT: dict[str, object] = {
    "operations": "core",
    "variants": {"plain": 1},
    "auxiliary": 0.0,
    "symbol_keys": 0.0,
}


@cache
def _deck(share: float, operations: Operations) -> Deck:
    return Deck("bin", Bin.version, share, WAYS[operations], DRILL_WAYS[operations])


@cache
def _levels(share: float, operations: Operations) -> tuple[LevelInfo, ...]:
    deck = _deck(share, operations)
    return tuple(deck.level(n, n + 1, f"{n + 1}-bit numbers") for n in range(1, LEVELS + 1))


class Bin:
    """Drill and grade binary arithmetic."""

    class Config(BaseConfig):
        """How problems are written, and how many are held back."""

        kind: Literal["bin"] = "bin"
        digit_order: Literal["msb", "lsb"] = "msb"
        """Most or least significant digit first; the latter is far easier to learn."""
        pad_digits: Annotated[int, Field(ge=1, le=16)] | None = None
        """Digits every operand has at least, filled with zeros; none means no filling."""
        answer: Literal["echo", "result"] = "echo"
        """Repeat the call before the result, or answer with the result alone.

        `result` is the form for small heroes: unless the config says otherwise, it asks plain
        questions of the core operations, and neither auxiliary questions nor symbol keys.
        """
        operations: Operations = "all"
        """The ten operations that primitives are named after (`core`), or all of them."""
        variants: Variants = Variants(plain=5, verify=2, show_work=2, trace=1)
        """How often an answer is asked for alone, with a check, with its key steps or with a trace."""
        auxiliary: Annotated[float, Field(ge=0, le=1)] = 0.15
        """Share of questions that ask something else about a problem, such as where an error is."""
        symbol_keys: Annotated[float, Field(ge=0, le=1)] = 0.75
        """Share of questions from level 8 up that tell other signs for the digits and other names."""
        heldout_fraction: Annotated[float, Field(ge=0.25, le=0.35)] = 0.30
        """Share of all problems that is never trained on; acts in steps of 1/256."""
        system_prompt: Annotated[str, Field(min_length=1)] = "Binary arithmetic."
        """What the system turn says. Shorter trains faster."""

        @model_validator(mode="before")
        @classmethod
        def _short(cls, data: Any) -> Any:
            """Fill in what `answer: result` leaves out."""
            if isinstance(data, dict) and data.get("answer") == "result":
                return {**_SHORT, **data}
            return data

    name = "bin"
    title = "Binary arithmetic"
    version = "1"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.system = (Message(role="system", content=config.system_prompt),)
        self._deck = _deck(config.heldout_fraction, config.operations)
        self._script = Script(lsb=config.digit_order == "lsb", pad=config.pad_digits or 0)
        self._echo = config.answer == "echo"
        shares = {form: share for form, share in config.variants.shares().items() if share}
        self._forms, self._form_shares = list(shares), list(accumulate(shares.values()))
        ways = [way for some in WAYS[config.operations].values() for way in some]
        self._operations = tuple(dict.fromkeys(operation for operation, _ in ways))

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the ten primitives."""
        return INFOS

    def level_numbers(self) -> range:
        """Return the numbers of the levels."""
        return range(1, LEVELS + 1)

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return the thirty levels."""
        return _levels(self.config.heldout_fraction, self.config.operations)

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""
        if not 1 <= n <= LEVELS:
            raise NotFoundError(f"bin has no level {n}", hint=f"there are levels 1 to {LEVELS}")
        return self.levels()[n - 1]

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate training problems; a primitive without training problems here gets none."""
        bits = self.level(level).level + 1
        for asked, rng in self._deck.drills(level, bits, count, weights=weights, seed=seed):
            yield self._problem(level, asked, rng)

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return the first held-out problems of each testable primitive, operations in turn."""
        names = [p.name for p in self.level(level).testable_primitives()]
        return self._sample(level, names, per_primitive, "heldout", seed)

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return distinct training problems of each primitive."""
        names = [p.name for p in self.level(level).primitives]
        return self._sample(level, names, per_primitive, "train", seed)

    def recall(self, prompt: str) -> Problem | None:
        """Return the problem that a user turn asks, at the lowest level that can ask it."""
        question = questions.read(prompt, self._script, frozenset(self._operations))
        if question is None or not self._allows(question):
            return None
        asked = question.call
        primitive = primitive_of(WAYS[self.config.operations], asked.operation, asked.operands)
        if primitive is None:
            return None
        return self._written(self._lowest(question), primitive, question)

    def grade(self, problem: Problem, answer: str) -> float:
        """Return 1.0 for the whole right answer; see `bits.grading` for answers of several lines."""
        return grade(problem.expected, answer)

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of the lower levels, and the digits and signs."""
        texts = drill_texts(self, range(1, VOCABULARY_LEVELS + 1), VOCABULARY_ROWS)
        alphabet = "⓪①0123456789"
        if self._forms != [questions.PLAIN] or self.config.auxiliary:
            alphabet += questions.MARKS
        if self.config.symbol_keys:
            alphabet += keys.SIGNS
            texts.append(" ".join(self._operations + keys.ALIASES))
        return texts, tuple(alphabet)

    def split_of(self, key: str) -> Side:
        """Return a problem's side; commuted and mirrored keys mean the same problem."""
        return self._deck.side(*parse_key(key))

    # --- choosing a form ------------------------------------------------------------------

    def _sample(
        self, level: int, names: list[str], per_primitive: int, side: Side, seed: int
    ) -> tuple[Problem, ...]:
        """Return problems in the form that level and key decide."""
        return tuple(
            self._problem(
                level,
                asked,
                seeds.rng("bin/form", self.version, level, key(asked.operation, asked.operands)),
            )
            for name in names
            for asked in self._deck.sample(name, level + 1, per_primitive, side, seed)
        )

    def _problem(self, level: int, asked: Asked, rng: random.Random) -> Problem:
        form = self._form(asked.operation, rng)
        keyed = level >= KEY_LEVEL and rng.random() < self.config.symbol_keys
        told = keys.draw(rng, asked.operation, self._operations) if keyed else None
        script, name = self._script, asked.operation
        if told:
            script, name = Script(script.lsb, script.pad, told.signs), told.alias(asked.operation)
        width = max(level + 1, script.pad) if OPERATIONS[asked.operation].signed else 0
        written = call(script, asked.operation, asked.operands, width=width, name=name)
        detail = auxiliary.TASKS[form].detail(written, rng) if form in auxiliary.TASKS else ""
        return self._written(level, asked.primitive, Question(form, written, detail, told))

    def _form(self, operation: str, rng: random.Random) -> str:
        if self.config.auxiliary and rng.random() < self.config.auxiliary:
            return rng.choice(auxiliary.tasks_of(operation))
        drawn = rng.random() * self._form_shares[-1]
        return self._forms[bisect(self._form_shares, drawn, hi=len(self._forms) - 1)]

    def _written(self, level: int, primitive: str, question: Question) -> Problem:
        user, expected = questions.write(question, echo=self._echo)
        asked = question.call
        return Problem(
            key=key(asked.operation, asked.operands),
            primitive=primitive,
            level=level,
            messages=(*self.system, Message(role="user", content=user)),
            expected=expected,
            form=question.form,
        )

    # --- reading back ---------------------------------------------------------------------

    def _allows(self, question: Question) -> bool:
        """Say whether this config asks such questions."""
        if question.key is not None and not self.config.symbol_keys:
            return False
        return (
            bool(self.config.auxiliary) if question.form in auxiliary.TASKS else question.form in self._forms
        )

    def _lowest(self, question: Question) -> int:
        """Return the lowest level that asks a question."""
        asked = question.call
        numbers = (*asked.operands, asked.value) if asked.known.signed else asked.operands
        bits = max((n if n >= 0 else ~n).bit_length() for n in numbers) + asked.known.signed
        if asked.known.signed and asked.width > self._script.pad:
            bits = asked.width
        return max(bits - 1, KEY_LEVEL if question.key else 1)
