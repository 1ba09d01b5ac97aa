"""Word puzzles: the first five primitives of SY in plain words, answered with one word or number.

Problems have SY's keys and fall on SY's sides, so what one of the two holds back the other never trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Message
from realm.skills.skill import LevelInfo, PrimitiveInfo, Problem, Side
from realm.skills.words import grading
from realm.skills.words.course import Course
from realm.skills.words.dimensions import Dimensions
from realm.skills.words.lexicon import lexicon
from realm.skills.words.plain import QUESTIONS, PlainWriter
from realm.skills.words.primitives import INFOS
from realm.skills.words.spaces import Spaces

LEVELS = tuple(
    Dimensions(
        level=level, words=words, syllables=syllables, rarity=rarity, shared=0.0, herrings=0, hints=hints
    )
    for level, words, syllables, rarity, hints in (
        (1, 4, (2, 3), (1, 1), 1),
        (2, 5, (2, 3), (1, 2), 1),
        (3, 6, (2, 4), (1, 3), 2),
        (4, 8, (3, 5), (1, 4), 2),
        (5, 10, (4, 6), (1, 5), 2),
    )
)


class WordPuzzles:
    """Ask and grade word puzzles in plain words."""

    class Config(BaseConfig):
        """Which words are asked, and how many are held back."""

        kind: Literal["word_puzzles"] = "word_puzzles"
        lexicon: Path | None = None
        """A lexicon of your own, in the format of the shipped one; none means the shipped one."""
        heldout_fraction: Annotated[float, Field(ge=0.25, le=0.35)] = 0.30
        """Share of all problems that is never trained on; SY has to have the same one to share the split."""
        system_prompt: Annotated[str, Field(min_length=1)] = "You solve word puzzles."
        """What the system turn says."""

    name = "word_puzzles"
    title = "Word puzzles"
    version = "1"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.system = (Message(role="system", content=config.system_prompt),)
        spaces = Spaces(lexicon(config.lexicon), config.heldout_fraction)
        self._course = Course(
            self.name,
            self.version,
            levels=LEVELS,
            primitives=tuple(QUESTIONS),
            system=self.system,
            spaces=spaces,
            writer=PlainWriter(spaces),
        )

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the five primitives."""
        return tuple(INFOS[name] for name in QUESTIONS)

    def level_numbers(self) -> Sequence[int]:
        """Return the numbers of the levels."""
        return self._course.level_numbers()

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return the five levels."""
        return self._course.levels()

    def level(self, n: int) -> LevelInfo:
        """Return one level. Raises NotFoundError."""
        return self._course.level(n)

    def drills(self, level: int, count: int, *, weights: Mapping[str, float], seed: int) -> Iterator[Problem]:
        """Generate training problems; a primitive without training problems here gets none."""
        return self._course.drills(level, count, weights=weights, seed=seed)

    def heldout(self, level: int, per_primitive: int, *, seed: int = 0) -> tuple[Problem, ...]:
        """Return the first held-out problems of each testable primitive."""
        return self._course.heldout(level, per_primitive, seed=seed)

    def probe(self, level: int, per_primitive: int, *, seed: int) -> tuple[Problem, ...]:
        """Return distinct training problems of each primitive."""
        return self._course.probe(level, per_primitive, seed=seed)

    def recall(self, prompt: str) -> Problem | None:
        """Read a question back; its level is the lowest that asks for this word."""
        return self._course.recall(prompt)

    def grade(self, problem: Problem, answer: str) -> float:
        """Score an answer: the word in any case and any of SY's formats, or the number alone."""
        return grading.grade(problem, answer)

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of every level, and all printable ASCII."""
        return self._course.vocabulary(step=1)

    def split_of(self, key: str) -> Side:
        """Return a problem's side, which follows from what is asked of which word."""
        return self._course.split_of(key)
