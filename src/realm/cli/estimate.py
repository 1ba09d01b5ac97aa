"""`realm estimate`: memory and time of a run, before it runs. Needs no realm and records nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table
from realm.core.records import ArtifactKind

if TYPE_CHECKING:
    from realm.flows.estimate import Answer
    from realm.training.estimate import Estimate
    from realm.training.estimate_memory import Moment

_GB = 1e9
_MB = 1e6


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate")(estimate)


def estimate(
    ctx: typer.Context,
    file: Path | None = typer.Argument(None, help="A .jsonl file of rows; without one, rows of full length."),
    recipe: str | None = typer.Option(
        None, help="A recipe's name, or its .yaml file; without one the hero's for files, else study."
    ),
    model: str | None = typer.Option(
        None, help="A model's folder or name; without one the recipe's shape, else in a realm the hero's."
    ),
    device: str | None = typer.Option(
        None, help="Other hardware: h100, 8xh100, rtx4090; cpu and cuda with --memory-gb."
    ),
    memory_gb: float | None = typer.Option(None, min=0.1, max=1e6, help="Memory of each device, 10⁹ bytes."),
    measure: bool | None = typer.Option(None, help="Take a real step here; else only where it is quick."),
) -> None:
    """Tell what a run takes in memory and time, and what would make it fit.

    Leaves with 1 where it does not fit, and where training would find no row to train on. In a realm
    it asks about the run that `realm train` would start, and says what it assumed. --set tries another
    setting of the recipe, as a recipe that extends it would.

    Example: realm estimate mine.jsonl --recipe 4b-full-24gb --device rtx4090
    """
    from realm.flows.estimate import Asked, answer, recipes_home

    options: Options = ctx.obj
    asked = Asked(
        recipe=recipe,
        rows=file,
        model=None if model is None else _folder(model, options),
        device=device,
        memory_gb=memory_gb,
        overrides=tuple(options.sets),
        measure=measure,
    )
    found = answer(asked, recipes_home(options.home))
    if options.json:
        print_json(found)
    else:
        _show(found)
    if not found.fits:
        raise typer.Exit(1)


def _folder(name: str, options: Options) -> Path:
    """Return the folder of a model by its path, or by a name that only a realm knows."""
    if Path(name).is_dir():
        return Path(name)
    from realm.lab import Realm

    # --set is about the recipe here.
    with Realm(options.home) as realm:
        return realm.lab.store.path(ArtifactKind.CHECKPOINT, realm.checkpoint(name).hash)


def _show(found: Answer) -> None:
    told = found.estimate
    trained = "" if told.trained_parameters == told.parameters else f", {told.trained_parameters:,} trained"
    print_line(
        f"{found.recipe} on {told.hardware.where}: {found.model}, {told.parameters:,} parameters{trained}"
    )
    for override in found.overrides:
        print_line(f"  overrides {override}")
    print_table(
        ["part", "memory", "of what"],
        [(part.name, _size(part.bytes), part.why) for part in told.parts]
        + [("peak", _size(told.peak_bytes), f"when: {MOMENTS[told.moment]}")],
        empty="",
    )
    if told.host_parts:
        listed = ", ".join(f"{part.name} {_size(part.bytes)}" for part in told.host_parts)
        print_line(f"in the machine's memory {_size(told.host_bytes)}: {listed}")
    print_line(_time(told))
    print_line(_verdict(found))
    for remedy in found.remedies:
        print_line(
            f"  fits with {' and '.join(remedy.changes)}: {_size(remedy.peak_bytes)}, "
            f"{1 / remedy.token_seconds:,.0f} tokens/s"
        )
    for line in found.basis:
        print_line(f"  ({line})")


MOMENTS: dict[Moment, str] = {
    "prepare": "the masking is proven, before the first step",
    "head": "the loss is computed, all activations are held",
    "embedding": "the backward pass ends, all gradients are there",
    "update": "the optimizer steps",
    "save": "a checkpoint is copied",
    "generate": "answers are generated",
}


def _time(told: Estimate) -> str:
    speed = told.step_tokens / told.step_seconds
    line = f"a step {_seconds(told.step_seconds)}, {told.step_tokens:,} tokens, {speed:,.0f} tokens/s"
    if told.steps is None or told.total_seconds is None:
        return f"{line}; give a file to know the steps"
    return f"{line}; {told.steps:,} steps, done in {_duration(told.total_seconds)}"


def _verdict(found: Answer) -> str:
    told = found.estimate
    if found.fits:
        return f"fits: {told.peak_bytes / max(1, told.hardware.memory_bytes):.0%} of {told.hardware.where}"
    if not found.remedies:
        return "does not fit, and no setting makes it fit: take a smaller model or more memory"
    return "does not fit"


def _size(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{size / _MB:.0f} MB"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
