"""Which model an estimate is of: one in a folder, the hero's of a realm, or the shape that a recipe tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from realm.core.errors import NotFoundError
from realm.core.hashing import PREFIX
from realm.core.paths import expanded
from realm.core.records import ArtifactKind
from realm.flows.checkpoints import resolve, usual
from realm.flows.config import HeroConfig, load_config
from realm.flows.context import Lab
from realm.flows.drystep import BLANK
from realm.flows.home import Home
from realm.models.adapters import read_base
from realm.models.blank import BLANKS
from realm.training import shapes
from realm.training.recipe import Recipe
from realm.training.shapes import Shape

_BLANK_VOCABULARY = 512
_DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}


class AskedModel(NamedTuple):
    """A model that is asked about."""

    recipe: Recipe
    """With that model's shape, where there are no weights yet."""
    shape: Shape
    weight_bytes: int
    """Of one value."""
    name: str
    notes: tuple[str, ...] = ()
    """What was assumed."""
    folder: Path | None = None


def model_of(recipe: Recipe, folder: Path | None, home: Home) -> AskedModel:
    """Return the model in a folder; without one the hero's in a realm, unless the recipe is for another."""
    if folder is not None:
        return _in_folder(recipe, folder)
    own = _of_recipe(recipe)
    if not home.config.is_file():
        return own
    name, hero = load_config(home).hero()
    found = _saved(recipe, home) or _beginning(recipe, name, hero, home)
    if recipe.model.shape is None or _alike(found.shape, own.shape, hero):
        return found
    note = f"no --model was given: the recipe's own shape, which is not that of {name}"
    return own._replace(notes=(note, *own.notes))


def _alike(found: Shape, wanted: Shape, hero: HeroConfig) -> bool:
    """Say whether a hero has the shape that a recipe is for, by what a run may not have otherwise."""
    free = {"context_tokens": wanted.context_tokens}
    if hero.blank is not None:  # its texts decide how many tokens its tokenizer has
        free["vocabulary"] = wanted.vocabulary
    return found.model_copy(update=free) == wanted


def _of_recipe(recipe: Recipe) -> AskedModel:
    rules = recipe.model
    blank = rules.shape or BLANKS.config(BLANK)
    shape = shapes.of_blank(blank, rules.vocabulary_size or _BLANK_VOCABULARY)
    assumed = () if rules.shape else (f"the recipe tells no model's shape: a blank {BLANK} is taken",)
    if rules.base is not None:
        notes = (*assumed, "weights in bf16, as the base is published")
        return AskedModel(recipe, shape, 2, rules.base, notes)
    return AskedModel(recipe, shape, 4, f"blank {shape.model_type}", assumed)


def _in_folder(recipe: Recipe, folder: Path) -> AskedModel:
    shape, weight_bytes = shape_of(whole_folder(folder))
    return AskedModel(recipe, shape, weight_bytes, str(folder), folder=folder)


def _saved(recipe: Recipe, home: Home) -> AskedModel | None:
    """Return the hero's champion, else its latest checkpoint; None where it has none."""
    if not home.ledger.is_file():
        return None
    with closing(Lab.open(home)) as lab:
        if lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name) is None:
            return None
        reference = usual(lab)
        record = resolve(lab, reference)
        found = _in_folder(recipe, lab.store.path(ArtifactKind.CHECKPOINT, record.hash))
    return found._replace(name=record.name, notes=(f"no --model was given: {reference}",))


def _beginning(recipe: Recipe, name: str, hero: HeroConfig, home: Home) -> AskedModel:
    """Return what a hero that has no checkpoint yet begins as."""
    none_yet = f"no --model was given: {name}, which has no checkpoint yet"
    if hero.base is not None:
        found = _in_folder(recipe, home.root / expanded(hero.base))
        return found._replace(notes=(f"{none_yet}, as its base is",))
    size = hero.vocabulary_size
    born = {"base": None, "shape": hero.blank, "vocabulary_size": size}
    model = recipe.model.model_copy(update=born)
    found = _of_recipe(recipe.model_copy(update={"model": model}))
    return found._replace(notes=(f"{none_yet}, born with a vocabulary of at most {size:,}",))


def shape_of(folder: Path) -> tuple[Shape, int]:
    """Return the shape of the model in a folder and the bytes of one weight, as its `config.json` says.

    Raises NotFoundError where there is none.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise NotFoundError(f"{folder}: no config.json there", hint="name the folder of a model")
    config: Mapping[str, Any] = json.loads(path.read_bytes())
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    return shapes.of_config(config, str(path)), _DTYPES.get(dtype, 4)


def whole_folder(folder: Path) -> Path:
    """Return the folder of the whole model that lies under a checkpoint's adapters; itself where none do."""
    base = read_base(folder) if folder.is_dir() else None
    return folder if base is None else whole_folder(folder.parent / base.base.removeprefix(PREFIX))
