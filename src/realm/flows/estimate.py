"""What a run will take: asked for by hand, and asked of every queued run before it starts.

Shape, row lengths and hardware come together here; the formula is in `training/estimate.py`. It is
corrected by what past runs of the realm took on the machine that is asked about. By hand, a step is
measured where that machine is this one and the formula says that it fits and will not take long; what
was measured stands in place of what past runs took. In a realm the hero's model and its recipe for files
are asked about unless others are named, as `realm train` takes them.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from realm.core.errors import DataError, NotFoundError, RealmError
from realm.core.records import Example, Record
from realm.corpus.dataset import INFO, read_examples
from realm.corpus.intake import normalise
from realm.flows.asked_model import AskedModel, model_of, shape_of, whole_folder
from realm.flows.config import file_recipe, load_recipe
from realm.flows.context import Lab
from realm.flows.drystep import corrected, measure
from realm.flows.home import Home, find_home
from realm.flows.learnt import learnt, taught
from realm.flows.teaching import served
from realm.training import calibration, hardware, lengths, remedies
from realm.training.calibration import Factors, Prediction
from realm.training.dropping import NO_ROW_LEFT, Account, none_left
from realm.training.dryrun import Measured
from realm.training.estimate import Estimate, Plan, estimate
from realm.training.hardware import Gpu, Hardware
from realm.training.job import TrainJob
from realm.training.launcher import LAUNCHERS
from realm.training.lengths import Lengths, context_of, limit_of
from realm.training.method import METHODS
from realm.training.recipe import Recipe
from realm.training.remedies import Remedy, RowsOf
from realm.training.settings import Settings

_SAMPLED_ROWS = 2000
_LONGEST_ROWS = 20
_DRY_LIMIT_S = 120.0
"""A step is measured unless the four of a dry run are predicted to take longer."""


class Asked(Record):
    """What an estimate is asked for."""

    recipe: str | None = None
    """A recipe's name, or a file; none takes the hero's for files, which is `study` unless told otherwise."""
    rows: Path | None = None
    """A file of rows, or a dataset's folder; none takes the longest rows that the recipe allows."""
    model: Path | None = None
    """A model's folder; none takes the hero's in a realm, else the recipe's shape."""
    device: str | None = None
    """Hardware by name, such as `8xh100`; none asks about this machine."""
    memory_gb: float | None = None
    """Of each device, in place of what it has."""
    overrides: tuple[str, ...] = ()
    """Settings of the recipe to try, as `rules.batch_rows=8`."""
    measure: bool | None = None
    """Take a dry step; none decides by what can be measured."""


class Answer(Record):
    """What a run will take, and what would make it fit."""

    recipe: str
    overrides: tuple[str, ...]
    model: str
    estimate: Estimate
    fits: bool
    measured: Measured | None
    learnt: Factors
    """What past runs on that machine corrected the figures by; of no runs where a step was measured."""
    remedies: tuple[Remedy, ...]
    basis: tuple[str, ...]
    """How the figures were found."""


def answer(asked: Asked, home: Home) -> Answer:
    """Estimate a recipe on rows, a model and hardware. Loads no torch in this process."""
    resolved = load_recipe(home, asked.recipe or file_recipe(home), asked.overrides)
    model = model_of(resolved.recipe, asked.model, home)
    recipe, shape = model.recipe, model.shape
    assumed = "" if asked.recipe else f"no --recipe was given: {resolved.name}, as `realm train` takes"
    notes = [*filter(None, [assumed]), *model.notes]
    figures = _figures(asked.rows, recipe, model)
    found, here, more = _hardware(asked, recipe)
    notes += more
    factors = learnt(home, found)
    plan = Plan(
        recipe=recipe,
        shape=shape,
        lengths=figures,
        hardware=found,
        weight_bytes=model.weight_bytes,
        teacher_bytes=_teacher_bytes(recipe),
        memory_factor=factors.memory,
        seconds_factor=factors.seconds,
    )
    told = estimate(plan)
    measured = None
    why_not = _unmeasurable(plan, told, asked, here=here)
    if not why_not:
        try:
            measured = measure(plan, model.folder)
        except RealmError as error:
            if asked.measure:
                raise
            why_not = error.what
    if measured is None:
        notes.append(f"no step was measured: {why_not}")
    else:
        plan, factors = corrected(plan, measured), Factors()
        told = estimate(plan)
        cause = f"corrected by a step of {measured.long_tokens:,} tokens, measured on this machine"
        notes.append(f"{cause}: {_by(plan)}")
    if factors.runs:
        runs = f"{factors.runs} {'run' if factors.runs == 1 else 'runs'} of this realm"
        notes.append(f"corrected by {runs}: {_by(plan)}")
    return Answer(
        recipe=resolved.name,
        overrides=resolved.overrides,
        model=model.name,
        estimate=told,
        fits=told.fits,
        measured=measured,
        learnt=factors,
        remedies=tuple(remedies.remedies(plan, _shorter(asked.rows, model))),
        basis=(*notes, *told.basis),
    )


def _by(plan: Plan) -> str:
    return f"memory × {plan.memory_factor:.2f}, time × {plan.seconds_factor:.2f}"


def check_run(lab: Lab, job: TrainJob) -> Prediction:
    """Return what a queued run is predicted to take here. Raises RefusedError where it cannot fit.

    The message names the change that would make it fit. The prediction belongs into the run's spec,
    from where later estimates learn. A run that asks for more GPUs than there are is refused.
    """
    recipe = job.recipe
    if job.tokens_at_once is not None:
        memory = recipe.rules.memory.model_copy(update={"tokens_at_once": job.tokens_at_once})
        recipe = recipe.model_copy(update={"rules": recipe.rules.model_copy(update={"memory": memory})})
    folder = whole_folder(Path(job.start))
    shape, weight_bytes = shape_of(folder)
    built_for, files = shape.context_tokens, [Path(rows.path) for rows in job.rows]
    rows_of = _remembered(
        lambda each: _of_files(
            files, folder / "tokenizer.json", Settings.of_recipe(each, limit_of(each, built_for))
        )
    )
    gpus = refuse_missing_gpus(recipe)
    found = hardware.this_machine(recipe.rules.device, _processes(recipe), gpus)
    assert found is not None, "a run that asks for a GPU where there is none was refused"
    machine = calibration.machine_key(found.kind, found.name)
    factors = taught(lab.home, lab.ledger, machine)
    plan = Plan(
        recipe=recipe,
        shape=shape,
        lengths=rows_of(recipe) or lengths.equal(limit_of(recipe, built_for)),
        hardware=found,
        weight_bytes=weight_bytes,
        teacher_bytes=_teacher_bytes(recipe),
        memory_factor=factors.memory,
        seconds_factor=factors.seconds,
    )
    told = estimate(plan)
    remedies.refuse(plan, told, rows_of)
    return calibration.prediction(told, machine=machine, factors=factors)


def refuse_missing_gpus(recipe: Recipe) -> tuple[Gpu, ...]:
    """Return this machine's GPUs. Raises RefusedError where the recipe's ranks ask for more of them."""
    found = _gpus(recipe)
    hardware.refuse_missing(recipe.rules.device, _processes(recipe), found)
    return found


def recipes_home(given: Path | None) -> Home:
    """Return the folder whose own recipes are looked at: the realm's where there is one, else this one."""
    try:
        return find_home(given)
    except NotFoundError:
        if given is not None:
            raise
        return Home(Path.cwd())


def _teacher_bytes(recipe: Recipe) -> int:
    teacher = recipe.method.model_dump().get("teacher") or {}
    folder = teacher.get("folder")
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) if folder else 0


# --- the rows -----------------------------------------------------------------------------


def _figures(rows: Path | None, recipe: Recipe, model: AskedModel) -> Lengths:
    settings = _settings(recipe, model)
    if rows is None:
        return lengths.equal(settings.max_tokens)
    found, account = _of_given(rows, model, settings)
    if found is None:
        reasons, hint = none_left(account, settings, context_of(recipe, model.shape.context_tokens))
        raise DataError(f"{NO_ROW_LEFT}: {reasons}", file=str(rows), hint=hint)
    return found


def _shorter(rows: Path | None, model: AskedModel) -> RowsOf | None:
    """Return what tells the figures of given rows by another recipe; None where none are given."""
    if rows is None:
        return None
    return _remembered(lambda recipe: _of_given(rows, model, _settings(recipe, model))[0])


def _remembered(measure: RowsOf) -> RowsOf:
    """Measure rows once for each length that they may have: remedies change nothing else of them."""
    found = dict[int, Lengths | None]()

    def rows_of(recipe: Recipe) -> Lengths | None:
        tokens = recipe.rules.max_tokens
        if tokens not in found:
            found[tokens] = measure(recipe)
        return found[tokens]

    return rows_of


def _settings(recipe: Recipe, model: AskedModel) -> Settings:
    settings = Settings.of_recipe(recipe, limit_of(recipe, model.shape.context_tokens))
    # A served teacher's answers come before the run, so rows may be without any yet.
    return settings if served(recipe) is None else settings.model_copy(update={"generates": True})


def _of_given(path: Path, model: AskedModel, settings: Settings) -> tuple[Lengths | None, Account]:
    tokenizer = None if model.folder is None else whole_folder(model.folder) / "tokenizer.json"
    if path.is_dir() or (path.parent / INFO).is_file():
        return lengths.measure(read_examples(path), tokenizer, settings)
    with tempfile.TemporaryDirectory(prefix="realm-estimate-") as scratch:
        folder = Path(scratch) / "dataset"
        folder.mkdir()
        normalise(path, folder, name=path.name, source="estimate")
        return lengths.measure(read_examples(folder), tokenizer, settings)


def _of_files(paths: list[Path], tokenizer: Path, settings: Settings) -> Lengths | None:
    """Return the figures of datasets from a sample of their rows and from their longest ones."""
    counted, sample, longest = 0, list[Example](), list[Example]()
    for path in paths:
        with path.open("rb") as file:
            rows = sum(1 for _ in file)
        counted += rows
        stride = max(1, rows // _SAMPLED_ROWS)
        sample += [Example.model_validate_json(line) for line in _every(path, stride)]
        with path.open("rb") as file:
            longest += [
                Example.model_validate_json(line) for line in heapq.nlargest(_LONGEST_ROWS, file, key=len)
            ]
    found, _ = lengths.measure(sample, tokenizer, settings)
    if found is None:
        return None
    most, _ = lengths.measure(longest, tokenizer, settings)
    kept = found.rows * counted // max(1, len(sample))
    at_most = max(found.longest_tokens, most.longest_tokens if most else 0)
    return found.model_copy(update={"rows": max(1, kept), "longest_tokens": at_most})


def _every(path: Path, stride: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from islice(file, 0, None, stride)


# --- the hardware -------------------------------------------------------------------------


def _hardware(asked: Asked, recipe: Recipe) -> tuple[Hardware, bool, list[str]]:
    """Return the hardware that is asked about, whether it is this machine, and what was assumed."""
    if asked.device is not None:
        return hardware.named(asked.device, asked.memory_gb), False, []
    device, ranks = recipe.rules.device, _processes(recipe)
    gpus = _gpus(recipe)
    found = hardware.this_machine(device, ranks, gpus)
    if asked.memory_gb is not None:
        kind = "cpu" if found is not None and found.kind == "cpu" else "cuda"
        return hardware.named(kind, asked.memory_gb), False, []
    if found is not None:
        hardware.refuse_missing(device, ranks, gpus)
        return found, True, []
    usual = f"{ranks}x{hardware.USUAL}"
    note = f"no GPU is here: answered for {usual}; name yours with --device or --memory-gb"
    return hardware.named(usual), False, [note]


def _gpus(recipe: Recipe) -> tuple[Gpu, ...]:
    """Return this machine's GPUs; none for a recipe that wants none."""
    return () if recipe.rules.device == "cpu" else hardware.gpus()


def _processes(recipe: Recipe) -> int:
    return LAUNCHERS.build(recipe.rules.launcher).processes


# --- the dry step -------------------------------------------------------------------------


def _unmeasurable(plan: Plan, told: Estimate, asked: Asked, *, here: bool) -> str:
    """Return why no step is measured; nothing where one is."""
    if asked.measure is False:
        return "--no-measure"
    if not here:
        return "the hardware is not this machine"
    if not told.fits:
        return "it does not fit"
    if _processes(plan.recipe) > 1:
        return "several processes are not tried dry"
    if METHODS.load(plan.recipe.method.model_dump()["kind"]).generates:
        return "the method generates its rows"
    if asked.measure is None and 4 * told.step_seconds > _DRY_LIMIT_S:
        return f"a step is predicted to take {told.step_seconds:.0f} s; say --measure to wait for it"
    return ""
