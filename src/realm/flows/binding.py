"""What a campaign is bound to: the hero's base, its context and its tokenizer.

Whatever a recipe says of them is laid beside the hero first: a name or a hash that is none of the
hero's would otherwise bind every later run to something that does not exist.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from realm.core.errors import RefusedError, StateError
from realm.core.hashing import hash_file, hash_json
from realm.core.paths import expanded
from realm.core.records import ArtifactKind, Record
from realm.flows.context import Lab
from realm.training import shapes
from realm.training.recipe import ModelRules
from realm.training.rules import Locked
from realm.training.shapes import Shape

_OF_THE_WEIGHTS = ("base", "tokenizer")
_OF_THE_SHAPE = (
    "model_type",
    "vocabulary",
    "hidden",
    "layers",
    "heads",
    "kv_heads",
    "head_dim",
    "mlp",
    "experts",
)
"""What a model cannot have otherwise; its context may be changed."""
_NAMES = {"model_type": "kind", "vocabulary": "vocabulary_size", **shapes.OF_BLANK}
"""What a recipe calls it."""


class Binding(Record):
    """What a run is bound to, and how that differs from what its campaign was bound to."""

    locked: Locked
    """By the recipe where it says something, else as the campaign was bound, else the hero's own."""
    own: Locked
    """What the hero is, whatever a recipe calls it."""
    changes: tuple[str, ...] = ()
    """As `context_tokens 1024 → 2048`."""
    begins_anew: bool = False
    """Whether the hero itself has other weights or tokens, so that it has to be born again."""


def bind(lab: Lab, said: ModelRules, before: Binding | None) -> Binding:
    """Return what a run is bound to after one that was bound `before`.

    Raises StateError where the recipe was made for another model than the hero is.
    """
    own = _own(lab)
    begins_anew = before is not None and any(
        getattr(before.own, field) != getattr(own, field) for field in _OF_THE_WEIGHTS
    )
    _refuse_other_base(lab, said)
    _refuse_other_shape(lab, said)
    _refuse_other_tokenizer(lab, said, begins_anew=begins_anew)
    locked = Locked(
        **{
            field: getattr(said, field) or _unsaid(field, own, None if begins_anew else before)
            for field in Locked.model_fields
        }
    )
    changes = (*_renewed(before, locked, own), *_changes(before, locked, own)) if before else ()
    return Binding(locked=locked, own=own, changes=changes, begins_anew=begins_anew)


def _own(lab: Lab) -> Locked:
    hero = lab.hero
    blank = hero.blank.model_dump(mode="json", exclude={"context_tokens"}) if hero.blank else None
    base = f"blank {hash_json(blank)}" if blank else f"folder {hero.base}"
    return Locked(
        base=base,
        context_tokens=getattr(hero.blank, "context_tokens", None),
        tokenizer=f"vocabulary of {hero.vocabulary_size}" if blank else base,
    )


def _unsaid(field: str, own: Locked, before: Binding | None) -> str | int | None:
    """Return what holds where a recipe is silent: what did before, as long as the hero is the same."""
    same = before is not None and getattr(before.own, field) == getattr(own, field)
    value: str | int | None = getattr(before.locked if before and same else own, field)
    return value


def _renewed(before: Binding, locked: Locked, own: Locked) -> tuple[str, ...]:
    """Return the change of a base that goes on under its old name: a name is no evidence of weights."""
    if locked.base != before.locked.base or own.base == before.own.base:
        return ()
    return (f"base {before.own.base} → {own.base}",)


def _changes(before: Binding, locked: Locked, own: Locked) -> tuple[str, ...]:
    return tuple(
        f"{field} {getattr(before.locked, field)} → {getattr(locked, field)}"
        for field in Locked.model_fields
        if getattr(before.locked, field) != getattr(locked, field) and not _named(field, before, own)
    )


def _named(field: str, before: Binding, own: Locked) -> bool:
    """Say whether a recipe only gives a name to what the hero is, and was without one."""
    is_so = getattr(before.locked, field) == getattr(before.own, field) == getattr(own, field)
    return is_so and field in _OF_THE_WEIGHTS


# --- whether the hero is what the recipe says ---------------------------------------------------


def _refuse_other_base(lab: Lab, said: ModelRules) -> None:
    hero = lab.hero
    if said.base is None:
        return
    if hero.base is None:
        raise StateError(
            f"the recipe is for {said.base} (model.base), and {lab.hero_name} began from random weights",
            hint="leave model.base out, or give a hero of a new campaign that model as its base",
        )
    _refuse_other_folder(lab, said.base, _base_folder(lab, hero.base))


def _refuse_other_shape(lab: Lab, said: ModelRules) -> None:
    """Raise StateError where a recipe says another shape than the hero has."""
    found = _shape(lab) if said.shape is not None else None
    if said.shape is None or found is None:
        return
    # A blank's tokenizer decides how large its vocabulary is: it has as many tokens as its texts give.
    vocabulary = said.vocabulary_size if lab.hero.base is not None else None
    wanted = shapes.of_blank(said.shape, vocabulary or found.vocabulary)
    other = [
        (_NAMES[field], getattr(wanted, field), getattr(found, field))
        for field in _OF_THE_SHAPE
        if getattr(wanted, field) != getattr(found, field)
    ]
    if other:
        theirs = ", ".join(f"{name} {value}" for name, value, _ in other)
        own = ", ".join(f"{name} {value}" for name, _, value in other)
        model = said.base or "a model"
        raise StateError(
            f"the recipe is for {model} of {theirs} (model.shape); {lab.hero_name} has {own}",
            hint="take a recipe for this model, leave model.shape out, or give a hero of a new campaign "
            f"that {'model as its base' if said.base else 'shape as its blank'}",
        )


def _shape(lab: Lab) -> Shape | None:
    """Return the hero's shape; none where its folder is not there to be read."""
    if lab.hero.blank is not None:
        return shapes.of_blank(lab.hero.blank, lab.hero.vocabulary_size)
    path = _base_folder(lab, lab.hero.base) / "config.json" if lab.hero.base is not None else None
    if path is None or not path.is_file():
        return None
    return shapes.of_config(json.loads(path.read_bytes()), str(path))


def _refuse_other_folder(lab: Lab, said: str, own: Path) -> None:
    """Raise StateError where a recipe names a model's folder, and the hero began from another one."""
    named = _base_folder(lab, Path(said))
    # What is said may be a name too long for a path, at which Path.is_file raises.
    if os.path.isfile(named / "config.json") and not (own.exists() and named.samefile(own)):
        raise StateError(
            f"the recipe is for the model in {named} (model.base), and {lab.hero_name} began from {own}",
            hint="leave model.base out, or give a hero of a new campaign that folder as its base",
        )


def _refuse_other_tokenizer(lab: Lab, said: ModelRules, *, begins_anew: bool) -> None:
    if said.tokenizer is None:
        return
    hero, latest = lab.hero, lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    folders = [_base_folder(lab, hero.base)] if hero.base is not None else []
    if latest is not None and not begins_anew:
        folders.append(lab.store.path(ArtifactKind.CHECKPOINT, latest.hash))
    found = [hash_file(path) for folder in folders if (path := folder / "tokenizer.json").is_file()]
    if not found:
        raise RefusedError(
            f"model.tokenizer: {lab.hero_name} has no tokenizer yet to compare with",
            hint="leave it out until the hero is born",
        )
    if said.tokenizer not in found:
        raise StateError(
            f"the recipe is for the tokenizer {said.tokenizer}; that of {lab.hero_name} is {found[-1]}",
            hint="model.tokenizer is the hash of tokenizer.json, as sha256:…; leave it out to take any",
        )


def _base_folder(lab: Lab, base: Path) -> Path:
    return lab.home.root / expanded(base)
