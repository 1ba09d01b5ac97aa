"""What a run is planned to do, as the ledger keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from realm.core.config import Config
from realm.core.errors import NotFoundError, RefusedError, StateError
from realm.core.hashing import hash_json
from realm.core.records import Priority, Record, Sha256
from realm.corpus.assembly.partition import TAG
from realm.flows.context import Lab
from realm.ledger.records import CheckpointRecord, DatasetRecord, RunRecord
from realm.models.profile import PROFILES
from realm.training.recipe import Recipe, Resolved
from realm.training.rules import Locked, Mixture


class PlannedRows(Record):
    """A dataset that a run draws from or measures."""

    dataset: Sha256
    name: str
    weight: float = 1.0


class RunPlan(Config):
    """The spec of a run: fixed when it is queued, whatever happens to files of recipes later."""

    source: str
    """`drill`, `file` or `sparring`."""
    recipe_name: str
    recipe: Recipe
    overrides: tuple[str, ...] = ()
    """What the recipe sets differently from the one it extends."""
    priority: Priority
    rows: tuple[PlannedRows, ...]
    validation: tuple[PlannedRows, ...] = ()
    locked: Locked
    """What the campaign is bound to."""
    migrated: tuple[str, ...] = ()
    """What of that was changed on purpose with this run."""
    made_with: Sha256 | None = None
    """The checkpoint whose mistakes the rows show; stale once a newer one is saved."""

    @classmethod
    def of(cls, run: RunRecord) -> RunPlan:
        """Return what a run in the ledger was planned to do."""
        return cls.model_validate(run.spec)

    @property
    def begins_anew(self) -> bool:
        """Whether the hero begins again from its new base, since its weights or tokens changed."""
        return any(change.startswith(("base ", "tokenizer ")) for change in self.migrated)


def make_plan(
    lab: Lab, resolved: Resolved, dataset: DatasetRecord, source: str, priority: Priority, *, migrate: bool
) -> RunPlan:
    """Plan a run of the lab's hero.

    Raises NotFoundError for an unknown dataset, StateError for a lock, RefusedError for partitions that are
    too small.
    """
    _refuse_small(dataset)
    recipe = _weighed(resolved.recipe, dataset)
    others = [
        PlannedRows(dataset=found.hash, name=found.name, weight=wanted.weight)
        for wanted in recipe.where.datasets
        for found in [find_dataset(lab, wanted.dataset)]
        if found.hash != dataset.hash
    ]
    for skill in recipe.where.suites:
        if skill not in lab.hero.skills:
            known = ", ".join(lab.hero.skills) or "none"
            raise NotFoundError(f"where.suites: no skill is called {skill!r}", hint=f"there are: {known}")
    measured = [find_dataset(lab, name) for name in recipe.where.validation.sets]
    locked = _locked(lab, recipe)
    changes = tuple(_changes(_bound(lab), locked))
    if changes and not migrate:
        raise StateError(
            f"campaign {lab.campaign} is bound to its model: {'; '.join(changes)}",
            hint="begin a new campaign, or say --migrate to change it from this run on",
        )
    return RunPlan(
        source=source,
        recipe_name=resolved.name,
        recipe=recipe,
        overrides=resolved.overrides,
        priority=priority,
        rows=(PlannedRows(dataset=dataset.hash, name=dataset.name), *others),
        validation=tuple(PlannedRows(dataset=found.hash, name=found.name) for found in measured),
        locked=locked,
        migrated=changes,
    )


def _refuse_small(dataset: DatasetRecord) -> None:
    """Raise RefusedError for a built dataset with partitions below the size that the lab demands."""
    small = _partitions(dataset).get("too_small", ())
    if small:
        raise RefusedError(
            f"{dataset.name}: too few rows in {', '.join(small)}",
            hint="collect more of them, or lower corpus.partition.min_to_train and build again",
        )


def _weighed(recipe: Recipe, dataset: DatasetRecord) -> Recipe:
    """Return the recipe with the weights of the dataset's partitions, where it brings no mixture itself."""
    drawn = _partitions(dataset).get("drawn")
    if not drawn or recipe.where.mixture is not None:
        return recipe
    mixture = Mixture(by=TAG, weights=drawn)
    return recipe.model_copy(update={"where": recipe.where.model_copy(update={"mixture": mixture})})


def _partitions(dataset: DatasetRecord) -> dict[str, Any]:
    found: dict[str, Any] = (dataset.build or {}).get("partitions", {})
    return found


def profile_of(lab: Lab, checkpoint: CheckpointRecord) -> Config:
    """Return the manner that the run which saved a checkpoint taught it to answer in."""
    if checkpoint.run is None:
        return PROFILES.config("none")
    plan = RunPlan.of(lab.ledger.runs.get(checkpoint.run))
    return plan.recipe.rules.encoding.profile


def find_dataset(lab: Lab, name: str) -> DatasetRecord:
    """Return the newest dataset of a name, or the one with a hash or prefix. Raises NotFoundError."""
    known = lab.ledger.datasets.list()
    named = [record for record in known if record.name == name]
    if named:
        return named[0]
    if name.startswith("sha256:"):
        return lab.ledger.datasets.get(name)
    listed = ", ".join(dict.fromkeys(record.name for record in known)) or "none yet"
    raise NotFoundError(f"no dataset is called {name!r}", hint=f"there are: {listed}")


def _locked(lab: Lab, recipe: Recipe) -> Locked:
    """Return what a run of this recipe is bound to: what it says, else what the hero is."""
    hero = lab.hero
    blank = hero.blank.model_dump(mode="json", exclude={"context_tokens"}) if hero.blank else None
    own = f"blank {hash_json(blank)}" if blank else f"folder {hero.base}"
    return Locked(
        base=recipe.model.base or own,
        context_tokens=recipe.model.context_tokens or getattr(hero.blank, "context_tokens", None),
        tokenizer=recipe.model.tokenizer or (f"vocabulary of {hero.vocabulary_size}" if blank else own),
    )


def _bound(lab: Lab) -> Locked | None:
    """Return what the hero's newest run in this campaign was bound to.

    A run that ended before it began, such as a dropped migration, has bound nothing.
    """
    for run in lab.ledger.runs.list():
        never_began = run.outcome is not None and run.start is None
        if run.campaign == lab.campaign and run.hero == lab.hero_name and not never_began:
            return RunPlan.of(run).locked
    return None


def _changes(bound: Locked | None, wanted: Locked) -> Iterable[str]:
    if bound is None:
        return []
    return [
        f"{field} {getattr(bound, field)} → {getattr(wanted, field)}"
        for field in Locked.model_fields
        if getattr(bound, field) != getattr(wanted, field)
    ]
