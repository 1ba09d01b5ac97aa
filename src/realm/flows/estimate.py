"""What a run will take: asked for by hand, and asked of every queued run before it starts.

Shape, row lengths and hardware come together here; the formula is in `training/estimate.py`. It is
corrected by what past runs of the realm took on the machine that is asked about. By hand, a step is
measured where that machine is this one and the formula says that it fits and will not take long; what
was measured stands in place of what past runs took.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from realm.core.config import override, validate
from realm.core.errors import DataError, NotFoundError, RealmError
from realm.core.hashing import PREFIX
from realm.core.records import Example, Record
from realm.corpus.dataset import INFO, read_examples
from realm.corpus.intake import normalise
from realm.flows.config import load_recipe
from realm.flows.context import Lab
from realm.flows.drystep import BLANK, corrected, measure
from realm.flows.home import Home, find_home
from realm.flows.learnt import learnt, taught
from realm.flows.teaching import served
from realm.models.adapters import read_base
from realm.models.blank import BLANKS
from realm.training import calibration, hardware, lengths, remedies, shapes
from realm.training.calibration import Factors, Prediction
from realm.training.dropping import NO_ROW_LEFT, Account, none_left
from realm.training.dryrun import Measured
from realm.training.estimate import Estimate, Plan, estimate
from realm.training.hardware import Gpu, Hardware
from realm.training.job import TrainJob
from realm.training.launcher import LAUNCHERS
from realm.training.lengths import Lengths, context_of, limit_of
from realm.training.method import METHODS
from realm.training.recipe import Recipe, Resolved
from realm.training.remedies import Remedy
from realm.training.settings import Settings
from realm.training.shapes import Shape

_BLANK_VOCABULARY = 512
_SAMPLED_ROWS = 2000
_LONGEST_ROWS = 20
_DRY_LIMIT_S = 120.0
"""A step is measured unless the four of a dry run are predicted to take longer."""
_DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Asked(Record):
    """What an estimate is asked for."""

    recipe: str
    """A recipe's name, or a file."""
    rows: Path | None = None
    """A file of rows, or a dataset's folder; none takes the longest rows that the recipe allows."""
    model: Path | None = None
    """A model's folder; none takes the recipe's shape."""
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
    resolved = load_recipe(home, asked.recipe)
    recipe = _tried(resolved, asked.overrides)
    shape, weight_bytes, model, notes = _model(recipe, asked.model)
    figures = _figures(asked, recipe, shape)
    found, here, more = _hardware(asked, recipe)
    notes += more
    factors = learnt(home, found)
    plan = Plan(
        recipe=recipe,
        shape=shape,
        lengths=figures,
        hardware=found,
        weight_bytes=weight_bytes,
        teacher_bytes=_teacher_bytes(recipe),
        memory_factor=factors.memory,
        seconds_factor=factors.seconds,
    )
    told = estimate(plan)
    measured = None
    why_not = _unmeasurable(plan, told, asked, here=here)
    if not why_not:
        try:
            measured = measure(plan, asked.model)
        except RealmError as error:
            if asked.measure:
                raise
            why_not = error.what
    if measured is None:
        notes.append(f"no step was measured: {why_not}")
    else:
        plan, factors = corrected(plan, measured), Factors()
        told = estimate(plan)
        notes.append(f"measured on this machine: a step of {measured.long_tokens:,} tokens")
    if factors.runs:
        notes.append(f"corrected by {factors.runs} {'run' if factors.runs == 1 else 'runs'} of this realm")
    return Answer(
        recipe=resolved.name,
        overrides=(*resolved.overrides, *asked.overrides),
        model=model,
        estimate=told,
        fits=told.fits,
        measured=measured,
        learnt=factors,
        remedies=tuple(remedies.remedies(plan)),
        basis=(*notes, *told.basis),
    )


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
    shape, weight_bytes = _shape_of(folder)
    settings = Settings.of_recipe(recipe, limit_of(recipe, shape.context_tokens))
    gpus = refuse_missing_gpus(recipe)
    found = hardware.this_machine(recipe.rules.device, _processes(recipe), gpus)
    assert found is not None, "a run that asks for a GPU where there is none was refused"
    machine = calibration.machine_key(found.kind, found.name)
    factors = taught(lab.home, lab.ledger, machine)
    plan = Plan(
        recipe=recipe,
        shape=shape,
        lengths=_of_files([Path(rows.path) for rows in job.rows], folder / "tokenizer.json", settings)
        or lengths.equal(settings.max_tokens),
        hardware=found,
        weight_bytes=weight_bytes,
        teacher_bytes=_teacher_bytes(recipe),
        memory_factor=factors.memory,
        seconds_factor=factors.seconds,
    )
    told = estimate(plan)
    remedies.refuse(plan, told)
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


def _tried(resolved: Resolved, overrides: tuple[str, ...]) -> Recipe:
    if not overrides:
        return resolved.recipe
    data = override(resolved.recipe.model_dump(mode="json"), overrides)
    return validate(Recipe, data, where=f"recipe {resolved.name}")


# --- the model ----------------------------------------------------------------------------


def _model(recipe: Recipe, folder: Path | None) -> tuple[Shape, int, str, list[str]]:
    """Return a shape, the bytes of one weight, what to call it, and what was assumed."""
    if folder is not None:
        whole = whole_folder(folder)
        shape, weight_bytes = _shape_of(whole)
        return shape, weight_bytes, str(folder), []
    rules = recipe.model
    blank = rules.shape or BLANKS.config(BLANK)
    shape = shapes.of_blank(blank, rules.vocabulary_size or _BLANK_VOCABULARY)
    if rules.base is not None:
        return shape, 2, rules.base, ["weights in bf16, as the base is published"]
    if rules.shape is None:
        return shape, 4, f"blank {BLANK}", [f"the recipe names no model: a blank {BLANK} is taken"]
    return shape, 4, f"blank {shape.model_type}", []


def _shape_of(folder: Path) -> tuple[Shape, int]:
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


def _teacher_bytes(recipe: Recipe) -> int:
    teacher = recipe.method.model_dump().get("teacher") or {}
    folder = teacher.get("folder")
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) if folder else 0


# --- the rows -----------------------------------------------------------------------------


def _figures(asked: Asked, recipe: Recipe, shape: Shape) -> Lengths:
    context = context_of(recipe, shape.context_tokens)
    settings = Settings.of_recipe(recipe, limit_of(recipe, shape.context_tokens))
    if asked.rows is None:
        return lengths.equal(settings.max_tokens)
    if served(recipe) is not None:
        # Its answers come before the run, so rows may be without any yet.
        settings = settings.model_copy(update={"generates": True})
    tokenizer = None if asked.model is None else whole_folder(asked.model) / "tokenizer.json"
    found, account = _of_given(asked.rows, tokenizer, settings)
    if found is None:
        reasons, hint = none_left(account, settings, context)
        raise DataError(f"{NO_ROW_LEFT}: {reasons}", file=str(asked.rows), hint=hint)
    return found


def _of_given(path: Path, tokenizer: Path | None, settings: Settings) -> tuple[Lengths | None, Account]:
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
