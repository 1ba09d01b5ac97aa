"""What a run is planned to do, as the ledger keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from realm.core.config import Config, validate
from realm.core.errors import NotFoundError, RefusedError, StateError
from realm.core.records import Priority, Record, Sha256
from realm.corpus.assembly.partition import TAG
from realm.corpus.files.lines import SUFFIX
from realm.flows.binding import Binding, bind
from realm.flows.context import Lab
from realm.flows.teaching import with_answers
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
    """The spec of a run: fixed when it is queued, whatever happens to files of recipes later.

    Only the number of its processes may change, while nobody works on it.
    """

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
    own: Locked | None = None
    """What the hero was when this was planned; none in plans that do not tell it apart from the above."""
    migrated: tuple[str, ...] = ()
    """What the campaign is bound to otherwise, on purpose, since this run."""
    begins_anew: bool = False
    """Whether the hero begins again from its new base, since its weights or tokens changed."""
    made_with: Sha256 | None = None
    """The checkpoint whose mistakes the rows show; stale once a newer one is saved."""

    @classmethod
    def of(cls, run: RunRecord) -> RunPlan:
        """Return what a run in the ledger was planned to do."""
        return validate(cls, run.spec, where=f"the plan of {run.id}")


def make_plan(
    lab: Lab, resolved: Resolved, dataset: DatasetRecord, source: str, priority: Priority, *, migrate: bool
) -> RunPlan:
    """Plan a run of the lab's hero; a served teacher answers its rows now, once nothing else is refused.

    Raises NotFoundError for an unknown dataset, StateError for a lock, RefusedError for partitions that are
    too small, and what `with_answers` raises.
    """
    _refuse_small(dataset)
    recipe = _weighed(resolved.recipe, dataset)
    others = [
        (found, wanted.weight)
        for wanted in recipe.where.datasets
        for found in [find_dataset(lab, wanted.dataset)]
        if found.hash != dataset.hash
    ]
    for skill in recipe.where.suites:
        if skill not in lab.hero.skills:
            known = ", ".join(lab.hero.skills) or "none"
            raise NotFoundError(f"where.suites: no skill is called {skill!r}", hint=f"there are: {known}")
    measured = [find_dataset(lab, name) for name in recipe.where.validation.sets]
    binding = bind(lab, recipe.model, _bound(lab))
    if binding.changes and not migrate:
        raise StateError(
            f"campaign {lab.campaign} is bound to its model: {'; '.join(binding.changes)}",
            hint="begin a new campaign, or say --migrate to change it from this run on",
        )
    return RunPlan(
        source=source,
        recipe_name=resolved.name,
        recipe=recipe,
        overrides=resolved.overrides,
        priority=priority,
        rows=tuple(planned(lab, recipe, found, weight) for found, weight in ((dataset, 1.0), *others)),
        validation=tuple(planned(lab, recipe, found) for found in measured),
        locked=binding.locked,
        own=binding.own,
        migrated=binding.changes,
        begins_anew=binding.begins_anew,
    )


def planned(lab: Lab, recipe: Recipe, dataset: DatasetRecord, weight: float = 1.0) -> PlannedRows:
    """Return what a run takes of a dataset: its rows, or what a served teacher answered to them."""
    answered = with_answers(lab, recipe, dataset)
    return PlannedRows(dataset=answered.hash, name=answered.name, weight=weight)


def with_processes(run: RunRecord, processes: int) -> RunPlan:
    """Return a run's plan with another number of ranks. StateError where it trains in one process."""
    plan = RunPlan.of(run)
    rules = plan.recipe.rules
    settings = rules.launcher.model_dump()
    if "processes" not in settings:
        raise StateError(
            f"{run.id} trains in one process, by launcher: {settings['kind']}",
            hint="only a run whose recipe says rules.launcher: {kind: torchrun} has a number of processes",
        )
    changed = validate(type(rules.launcher), {**settings, "processes": processes}, where=f"run {run.id}")
    rules = rules.model_copy(update={"launcher": changed})
    return plan.model_copy(update={"recipe": plan.recipe.model_copy(update={"rules": rules})})


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
    if _is_path(name) and not Path(name).exists():
        raise NotFoundError(f"no such file: {name}", hint=f"check the path; datasets: {listed}")
    raise NotFoundError(f"no dataset is called {name!r}", hint=f"there are: {listed}")


def _is_path(name: str) -> bool:
    """Say whether a file was probably meant; a dataset's name may end like one."""
    return Path(name).name != name or name.endswith(SUFFIX)


def _bound(lab: Lab) -> Binding | None:
    """Return what the hero's newest run in this campaign was bound to.

    A run that ended before it began, such as a dropped migration, has bound nothing.
    """
    for run in lab.ledger.runs.list():
        never_began = run.outcome is not None and run.start is None
        if run.campaign == lab.campaign and run.hero == lab.hero_name and not never_began:
            plan = RunPlan.of(run)
            return Binding(locked=plan.locked, own=plan.own or plan.locked)
    return None
