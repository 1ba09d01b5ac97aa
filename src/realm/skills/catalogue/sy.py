"""SY: words put together from syllables by clues.

A question has clues with one blank a syllable and a bank of syllable tiles:

    1. ___ ___ — a sheltered place where ships dock
    Bank: bor | har

Its answer is the word or, for several words, a list in the format asked for, such as `["HARBOR"]`.
Six dimensions of difficulty grow over fifty levels (`words/dimensions.py`), and the signal degrades
(`words/layout.py`). How answers are read and scored stands in `words/grading.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.records import Message
from realm.skills.skill import LevelInfo, PrimitiveInfo, Problem, Side
from realm.skills.words import grading, keys
from realm.skills.words.course import Course
from realm.skills.words.dimensions import table
from realm.skills.words.formats import FormatName
from realm.skills.words.lexicon import lexicon
from realm.skills.words.primitives import INFOS
from realm.skills.words.puzzles import PuzzleWriter
from realm.skills.words.spaces import Spaces


class Sy:
    """Drill and grade syllable puzzles."""

    class Config(BaseConfig):
        """Which words are asked, in which formats, and how many are held back."""

        kind: Literal["sy"] = "sy"
        lexicon: Path | None = None
        """A lexicon of your own, in the format of the shipped one; none means the shipped one."""
        formats: Annotated[tuple[FormatName, ...], Field(min_length=1)] = get_args(FormatName)
        """Answer formats of puzzles with several words; `json_output_format` keeps its three."""
        heldout_fraction: Annotated[float, Field(ge=0.25, le=0.35)] = 0.30
        """Share of all problems that is never trained on."""
        system_prompt: Annotated[str, Field(min_length=1)] = "Syllable puzzles."
        """What the system turn says. Shorter trains faster."""

    name = "sy"
    title = "Syllable puzzles"
    version = "1"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.system = (Message(role="system", content=config.system_prompt),)
        spaces = Spaces(lexicon(config.lexicon), config.heldout_fraction)
        self._course = Course(
            self.name,
            self.version,
            levels=table(),
            primitives=tuple(keys.PRIMITIVES),
            system=self.system,
            spaces=spaces,
            writer=PuzzleWriter(spaces, config.formats),
        )

    def primitives(self) -> tuple[PrimitiveInfo, ...]:
        """Return the seven primitives."""
        return tuple(INFOS.values())

    def level_numbers(self) -> Sequence[int]:
        """Return the numbers of the levels."""
        return self._course.level_numbers()

    def levels(self) -> tuple[LevelInfo, ...]:
        """Return the fifty levels."""
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
        """Read a question back, in any layout; its level is the lowest that asks for these words."""
        return self._course.recall(prompt)

    def grade(self, problem: Problem, answer: str) -> float:
        """Score an answer in any of the formats; see `words/grading.py` for what is right in part."""
        return grading.grade(problem, answer)

    def vocabulary(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the texts of some drills of every fifth level, and all printable ASCII."""
        return self._course.vocabulary(step=5)

    def split_of(self, key: str) -> Side:
        """Return a problem's side, which follows from what is asked of which words."""
        return self._course.split_of(key)
