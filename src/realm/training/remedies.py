"""Changes of a recipe that make a run fit, the cheapest first, priced by the same formula.

Changes are of ranks: those that leave what is learnt as it is, smaller moments, an adapter instead of
the whole model, 4-bit weights under it, shorter rows. All combinations of one rank are tried before
those of the next; of those that fit, the one that trains the longest rows in the least time a token
with the fewest changes is taken. Rows that a change makes too long are cut or left out as in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import yaml

from realm.core.config import Config
from realm.core.errors import RefusedError
from realm.core.records import Record
from realm.training.estimate import Estimate, Part, Plan, estimate
from realm.training.hardware import GB
from realm.training.lengths import Lengths
from realm.training.optimizer import OPTIMIZERS
from realm.training.parameter import PARAMETERS
from realm.training.recipe import Recipe, Rules

_SHORTEST_PACK = 256
_SHORTEST_ROW = 512
_QUICKER = 0.9
"""Of a remedy's time; another one of a higher rank has to be below it to be worth naming."""


RowsOf = Callable[[Recipe], Lengths | None]
"""Returns the figures of the rows that a recipe trains on; None where none is left."""


class Remedy(Record):
    """A set of changes with which a run fits."""

    changes: tuple[str, ...]
    """Every setting that is another, as a recipe writes it: `rules.memory.tokens_at_once: 4096`."""
    recipe: Recipe
    peak_bytes: int
    token_seconds: float
    """Time of a step by its tokens."""
    rank: int
    """0 changes nothing of what is learnt; the higher, the more."""


class _Change(NamedTuple):
    """One setting at another value, with those that depend on it."""

    rank: int
    apply: Callable[[Rules], Rules]


def remedies(plan: Plan, rows_of: RowsOf | None = None, most: int = 2) -> list[Remedy]:
    """Return the cheapest change of the lowest rank with which the plan fits, and quicker ones above it.

    Empty where the plan fits as it is, and where nothing known makes it fit. Without `rows_of` all rows are
    taken to be as long as they may.
    """
    if estimate(plan).fits:
        return []
    levers = _levers(plan)
    found: list[Remedy] = []
    for rank in sorted({change.rank for lever in levers for change in lever}):
        if len(found) == most:
            break
        ways = sorted(_fitting(plan, levers, rank), key=_cost)
        best = next((kept for way in ways if (kept := _on_rows(plan, way, rows_of)) is not None), None)
        if best is not None and (not found or best.token_seconds < _QUICKER * found[-1].token_seconds):
            found.append(best)
    return found


def refuse(plan: Plan, found: Estimate, rows_of: RowsOf | None = None) -> None:
    """Raise RefusedError with the change that would make it fit, unless it fits."""
    if found.fits:
        return
    host = found.hardware.host_bytes
    if found.peak_bytes > found.hardware.memory_bytes:
        what = f"needs {found.peak_bytes / GB:.1f} GB of {found.hardware.where}{_largest(found.parts)}"
    else:
        what = (
            f"needs {found.host_bytes / GB:.1f} GB of the machine's memory, of {(host or 0) / GB:.1f} GB"
            f"{_largest(found.host_parts)}"
        )
    ways = remedies(plan, rows_of)
    if ways:
        hint = f"it fits with {said(ways[0])}"
        hint += f", or with {said(ways[1])}" if len(ways) > 1 else ""
    else:
        hint = "no setting makes it fit; take a smaller model or more memory"
    raise RefusedError(f"this run does not fit: it {what}", hint=hint)


def said(remedy: Remedy) -> str:
    """Write a remedy in a sentence."""
    speed = f"{1 / remedy.token_seconds:,.0f} tokens/s"
    return f"{' and '.join(remedy.changes)} ({remedy.peak_bytes / GB:.1f} GB, {speed})"


def _cost(remedy: Remedy) -> tuple[int, float, int]:
    return -remedy.recipe.rules.max_tokens, remedy.token_seconds, len(remedy.changes)


def _largest(parts: Sequence[Part]) -> str:
    most = sorted(parts, key=lambda part: -part.bytes)[:3]
    return ": " + ", ".join(f"{part.name} {part.bytes / GB:.1f}" for part in most) if most else ""


def _fitting(plan: Plan, levers: Sequence[Sequence[_Change]], rank: int) -> Iterator[Remedy]:
    """Yield what fits among the combinations whose highest rank is this one."""
    below = [[None, *(change for change in lever if change.rank <= rank)] for lever in levers]
    for chosen in product(*below):
        changes = [change for change in chosen if change is not None]
        if max((change.rank for change in changes), default=-1) != rank:
            continue
        rules = plan.recipe.rules
        for change in changes:
            rules = change.apply(rules)
        recipe = plan.recipe.model_copy(update={"rules": rules})
        remedy = _priced(plan.with_recipe(recipe), plan.recipe, rank)
        if remedy is not None:
            yield remedy


def _priced(changed: Plan, before: Recipe, rank: int) -> Remedy | None:
    """Return a changed plan as a remedy; None where it does not fit."""
    found = estimate(changed)
    if not found.fits:
        return None
    return Remedy(
        changes=tuple(_differences(before.rules, changed.recipe.rules, "rules")),
        recipe=changed.recipe,
        peak_bytes=found.peak_bytes,
        token_seconds=found.step_seconds / found.step_tokens,
        rank=rank,
    )


def _on_rows(plan: Plan, remedy: Remedy, rows_of: RowsOf | None) -> Remedy | None:
    """Return a remedy by the rows that it leaves; None where it leaves none, or they do not fit."""
    if rows_of is None or remedy.recipe.rules.max_tokens == plan.recipe.rules.max_tokens:
        return remedy
    rows = rows_of(remedy.recipe)
    if rows is None:
        return None
    changed = plan.model_copy(update={"recipe": remedy.recipe, "lengths": rows})
    return _priced(changed, plan.recipe, remedy.rank)


def _differences(before: Config, after: Config, path: str) -> Iterator[str]:
    """Yield the settings to write, over those of `before`, for it to become `after`.

    What nobody may have written falls to another kind's default: it is written where it shall not.
    """
    for name, value in after:
        default = _default(after, name)
        old = getattr(before, name, default)
        if isinstance(value, Config) and isinstance(old, Config):
            yield from _differences(old, value, f"{path}.{name}")
        elif value != old or (value != default and old == _default(before, name)):
            yield f"{path}.{name}: {_short(value)}"


def _default(config: Config, name: str) -> object:
    return type(config).model_fields[name].get_default(call_default_factory=True)


def _short(value: object) -> str:
    return yaml.safe_dump(value).removesuffix("...\n").strip()


def _levers(plan: Plan) -> list[list[_Change]]:
    """Return the settings that can be changed, each with its values."""
    rules, on_gpu = plan.recipe.rules, plan.hardware.kind == "cuda"
    found = [_packs(plan), _recomputing(rules), _saving(rules), _moments(rules, on_gpu)]
    return [lever for lever in [*found, _adapter(rules), _rows(plan)] if lever]


def _packs(plan: Plan) -> list[_Change]:
    """Halve packs, down to the longest row."""
    size = estimate(plan).pack_tokens
    found = []
    while (size := size // 2) >= max(_SHORTEST_PACK, plan.lengths.longest_tokens // 2):
        tokens = size

        def apply(rules: Rules, tokens: int = tokens) -> Rules:
            memory = rules.memory.model_copy(update={"tokens_at_once": tokens})
            return rules.model_copy(update={"memory": memory})

        found.append(_Change(0, apply))
    return found


def _recomputing(rules: Rules) -> list[_Change]:
    if rules.memory.recompute_layers == 1:
        return []

    def apply(rules: Rules) -> Rules:
        memory = rules.memory.model_copy(update={"recompute_layers": 1})
        return rules.model_copy(update={"memory": memory})

    return [_Change(0, apply)]


def _saving(rules: Rules) -> list[_Change]:
    if not rules.saving.asynchronous:
        return []

    def apply(rules: Rules) -> Rules:
        saving = rules.saving.model_copy(update={"asynchronous": False})
        return rules.model_copy(update={"saving": saving})

    return [_Change(0, apply)]


def _moments(rules: Rules, on_gpu: bool) -> list[_Change]:
    """Keep moments in host memory, which changes nothing learnt, or in 8 bits."""
    settings = rules.optimizer.model_dump()
    kept = {name: settings[name] for name in ("learning_rate", "betas", "weight_decay", "eps", "carry")}
    found = []
    if on_gpu and settings["kind"] == "adamw" and not settings.get("offload"):
        found.append(_other("optimizer", 0, OPTIMIZERS.config({**settings, "offload": True})))
    kinds = ("adamw8bit", "paged_adamw8bit") if on_gpu else ("adamw8bit",)
    if settings["kind"] not in ("adamw", "muon", "adamw8bit"):
        return found
    smaller = [OPTIMIZERS.config({**kept, "kind": kind}) for kind in kinds if kind != settings["kind"]]
    return [*found, *(_other("optimizer", 1, config) for config in smaller)]


def _adapter(rules: Rules) -> list[_Change]:
    """Train an adapter; hold the weights under it in 4 bits."""
    settings = rules.parameters.model_dump()
    if settings["kind"] == "full":
        return [
            _other("parameters", 2, PARAMETERS.config("lora")),
            _other("parameters", 3, PARAMETERS.config({"kind": "lora", "bits": 4})),
        ]
    if settings["kind"] == "lora" and settings["bits"] is None:
        return [_other("parameters", 3, PARAMETERS.config({**settings, "bits": 4}))]
    return []


def _rows(plan: Plan) -> list[_Change]:
    """Halve the longest row, and packs to it where they were longer."""
    found = []
    size = plan.lengths.longest_tokens
    while (size := size // 2) >= _SHORTEST_ROW:
        tokens = size

        def apply(rules: Rules, tokens: int = tokens) -> Rules:
            at_once = min(rules.memory.tokens_at_once or tokens, tokens)
            memory = rules.memory.model_copy(update={"tokens_at_once": at_once})
            return rules.model_copy(update={"max_tokens": tokens, "memory": memory})

        found.append(_Change(4, apply))
    return found


def _other(field: str, rank: int, config: Config) -> _Change:
    return _Change(rank, lambda rules: rules.model_copy(update={field: config}))
