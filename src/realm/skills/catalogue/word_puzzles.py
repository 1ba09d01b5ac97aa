"""Word puzzles: the first five primitives of SY in plain words, answered with one word or number.

Problems have SY's keys and fall on SY's sides, so what one of the two holds back the other never trains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.skills.words.course import WordSkill
from realm.skills.words.dimensions import Dimensions
from realm.skills.words.lexicon import lexicon
from realm.skills.words.plain import QUESTIONS, PlainWriter
from realm.skills.words.spaces import Spaces

LEVELS = tuple(
    Dimensions(
        level=level, words=words, syllables=syllables, rarity=rarity, shared=0.0, herrings=0, hints=hints
    )
    for level, words, syllables, rarity, hints in (
        (1, 4, (2, 3), (1, 1), 1),
        (2, 5, (2, 3), (1, 2), 1),
        (3, 6, (2, 4), (1, 3), 1.5),
        (4, 8, (3, 5), (1, 4), 1.5),
        (5, 10, (4, 6), (1, 5), 1.5),
    )
)


class WordPuzzles(WordSkill):
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
    version = "2"

    def __init__(self, config: Config) -> None:
        self.config = config
        spaces = Spaces(lexicon(config.lexicon), config.heldout_fraction)
        super().__init__(
            config.system_prompt,
            levels=LEVELS,
            primitives=tuple(QUESTIONS),
            spaces=spaces,
            writer=PlainWriter(spaces),
        )
