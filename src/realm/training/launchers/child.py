"""One process trains, with the threads that the recipe gives it."""

from __future__ import annotations

from typing import Literal

from realm.core.config import Config as BaseConfig


class Child:
    """Train in the child itself."""

    class Config(BaseConfig):
        """Nothing has to be said."""

        kind: Literal["child"] = "child"

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def entry(self) -> str:
        """Return the entry that trains alone."""
        return "realm.training.child:main"

    @property
    def processes(self) -> int:
        """Return how many ranks there are: one."""
        return 1
