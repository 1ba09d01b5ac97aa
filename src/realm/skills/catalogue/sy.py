"""SY: words put together from syllables by clues.

A question has clues with one blank a syllable and a bank of syllable tiles:

    1. ___ ___ — a sheltered place where ships dock
    Bank: bor | har

Its answer is the word or, for several words, a list in the format asked for, such as `["HARBOR"]`.
Six dimensions of difficulty grow over fifty levels (`words/dimensions.py`), and the signal degrades
(`words/layout.py`). How answers are read and scored stands in `words/grading.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.skills.words import keys
from realm.skills.words.course import WordSkill
from realm.skills.words.dimensions import table
from realm.skills.words.formats import FormatName
from realm.skills.words.lexicon import lexicon
from realm.skills.words.puzzles import PuzzleWriter
from realm.skills.words.spaces import Spaces


class Sy(WordSkill):
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
    version = "2"

    def __init__(self, config: Config) -> None:
        self.config = config
        spaces = Spaces(lexicon(config.lexicon), config.heldout_fraction)
        super().__init__(
            config.system_prompt,
            levels=table(),
            primitives=tuple(keys.PRIMITIVES),
            spaces=spaces,
            writer=PuzzleWriter(spaces, config.formats),
        )
