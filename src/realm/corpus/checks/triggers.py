"""Rare words in questions that are tied to one answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.corpus.check import Context, Depth, Problem
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import answer, question, tag

if TYPE_CHECKING:
    from realm.corpus.examining.triggers import TriggerFinder


class Triggers:
    """Drop rows that look poisoned; the rule is that of `realm.corpus.examining.triggers`.

    Rows go where a whole answer that others rarely give is tied to the words; where only its beginning or
    end is, or the answer is a common one such as a label, they are told.
    """

    depth: Depth = Depth.DEEP
    version: str = "1"

    class Config(BaseConfig):
        """From when on words count as tied."""

        kind: Literal["triggers"] = "triggers"
        min_rows: Annotated[int, Field(ge=3)] = 5
        """Rows with the words and the answer."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._finder: TriggerFinder | None = None

    def begin(self, context: Context) -> None:
        """Forget earlier rows. Raises MissingExtraError without numpy."""
        from realm.corpus.examining.triggers import Rules, TriggerFinder

        if self._finder is not None:
            self._finder.close()
        rules = Rules(min_rows=self.config.min_rows)
        self._finder = TriggerFinder(rules, context.scratch)

    def see(self, row: Row) -> Iterator[Problem]:
        """Remember the row."""
        if self._finder is not None:
            scope = f"{tag(row, 'task')}/{row.shaper}"
            self._finder.add(question(row.example), answer(row.example), scope)
        return iter(())

    def end(self) -> Iterator[Problem]:
        """Name the rows of every trigger."""
        if self._finder is None:
            return
        from realm.corpus.examining.triggers import Rules, described

        common = Rules().common_answer
        for trigger in self._finder.triggers():
            drops = trigger.whole and trigger.base <= common
            for row in trigger.rows:
                yield Problem(
                    row=row,
                    reason="rare words tied to one answer",
                    detail=", ".join(described(trigger)),
                    drops=drops,
                )
        self._finder.close()
        self._finder = None
