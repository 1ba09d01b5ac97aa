"""What decides over the tokens of a row and their weights. Nothing here loads numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from realm.core.records import Record
from realm.models.template import ASSISTANT
from realm.training.method import METHODS
from realm.training.rules import Encoding, OverLong

if TYPE_CHECKING:
    from realm.training.recipe import Recipe


class Settings(Record):
    """Everything beside rows and tokenizer that decides over tokens and weights."""

    max_tokens: int
    over_long: OverLong = "drop"
    roles: tuple[str, ...] = ASSISTANT
    """Whose turns are trained."""
    profile: dict[str, Any] = Field(default_factory=lambda: {"kind": "none"})
    """Config of the profile."""
    method: dict[str, Any] = Field(default_factory=lambda: {"kind": "supervised"})
    """Config of the method, which decides what is encoded of a row."""
    seed: int = 0
    """Of what the profile draws."""

    generates: bool = False
    """Rows are prompts to answer: encoded up to where the assistant speaks, nothing of them trained."""

    @classmethod
    def of(
        cls,
        encoding: Encoding,
        *,
        max_tokens: int,
        method: Mapping[str, Any] | None = None,
        generates: bool = False,
        seed: int = 0,
    ) -> Settings:
        """Take a recipe's settings; without a method rows are encoded as they are."""
        profile = encoding.profile.model_dump(mode="json")
        return cls(
            max_tokens=max_tokens,
            over_long=encoding.over_long,
            roles=encoding.train_roles,
            profile=profile,
            method=dict(method or {"kind": "supervised"}),
            generates=generates,
            # Where nothing is drawn, runs of other seeds share what is cached.
            seed=seed if profile["kind"] != "none" else 0,
        )

    @classmethod
    def of_recipe(cls, recipe: Recipe, max_tokens: int) -> Settings:
        """Take a recipe's settings and method, for rows of at most `max_tokens`; its seed is 0."""
        method = recipe.method.model_dump(mode="json")
        return cls.of(
            recipe.rules.encoding,
            max_tokens=max_tokens,
            method=method,
            generates=METHODS.load(method["kind"]).generates,
        )
