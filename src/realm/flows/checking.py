"""What checks may know of the lab: held-out problems, the hero's tokens, and how code parses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from realm.core.errors import MissingExtraError
from realm.core.paths import expanded
from realm.core.records import ArtifactKind
from realm.corpus.check import Context
from realm.flows.checkpoints import damage, none_intact
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.skills.curriculum.rules import asked_each

_PER_PRIMITIVE = 100
"""Least number of held-out problems of each primitive that rows are held against."""


def context_of(lab: Lab) -> Context:
    """Return the context of checks in this lab; tokens are counted from the hero's birth on."""
    from realm.corpus.examining.leakage import eval_hashes

    return Context(
        eval_hashes=eval_hashes(_problems(lab)),
        syntax=_fault,
        count_tokens=_counter(lab),
        max_tokens=load_recipe(lab.home, lab.hero.file_recipe).recipe.rules.max_tokens,
    )


def bare_context() -> Context:
    """Return what checks may know without a lab: how code parses."""
    return Context(syntax=_fault)


def _problems(lab: Lab) -> Iterator[str]:
    for name in lab.hero.skills:
        skill = lab.skill(name)
        for level in skill.levels():
            count = max(_PER_PRIMITIVE, asked_each(lab.config.curriculum, level))
            for problem in skill.heldout(level.level, count):
                yield problem.messages[-1].content


def _fault(language: str, code: str) -> str | None:
    from realm.corpus.code.syntax import GRAMMARS, parses

    return "a syntax error" if language in GRAMMARS and not parses(code, language) else None


def _counter(lab: Lab) -> Callable[[str], int] | None:
    from realm.models.counting import TokenCounter

    folder = _tokenizer_folder(lab)
    if folder is None:
        return None
    try:
        return TokenCounter.of(folder)
    except MissingExtraError:
        return None


def _tokenizer_folder(lab: Lab) -> Path | None:
    """Return where the hero's tokenizer lies; None for a blank hero that is not born yet."""
    saved = lab.ledger.checkpoints.list(lab.campaign, lab.hero_name)
    for checkpoint in reversed(saved):
        # A damaged one is set aside by whoever trains next, which a look at data must not do.
        if not checkpoint.damage and not damage(lab, checkpoint):
            return lab.store.path(ArtifactKind.CHECKPOINT, checkpoint.hash)
    if saved:
        raise none_intact(lab)
    return lab.home.root / expanded(lab.hero.base) if lab.hero.base else None
