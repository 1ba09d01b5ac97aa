"""Prove the masking of a run, then set its model up for packs, or for none where packs would leak."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from realm.models.adapters import text_config
from realm.training import fast
from realm.training.attention import use_packed
from realm.training.batching import Unit
from realm.training.compiled import compile_layers
from realm.training.isolation import Leak, cut, prove_isolation, sample, single_losses
from realm.training.masking import prove_rows
from realm.training.memory import recompute_layers
from realm.training.method import Method
from realm.training.recipe import Rules
from realm.training.rows import Rows
from realm.training.trainee import Trainee
from realm.training.trimming import trim_last_layer
from realm.training.unpacked import set_apart, window_of_frequencies
from realm.training.world import World


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven."""

    checks: tuple[str, ...]
    """Each check that passed, with its figure."""
    packed: bool
    """Whether sequences may share a pack."""


def prove(trainee: Trainee, method: Method, rows: Rows, rules: Rules, world: World) -> Proof:
    """Run all six checks; afterwards the model is set up for training. Raises MaskingError.

    The model has entered the world: all processes compute the same, with its weights as they lie there.
    """
    vocabulary = text_config(trainee.model).vocab_size
    checks: tuple[str, ...] = ()
    if not method.generates:
        checks = prove_rows(rows.flat(), trainee.tokenizer, vocabulary, rules.masking)
    chosen = _sampled(trainee, method, rows, world)
    sequences = [cut(sequence) for unit in chosen for sequence in unit.sequences]
    numbers = [rows.numbers[unit.row] for unit in chosen for _ in unit.sequences]
    alone = world.run(lambda: single_losses(trainee.model, sequences))
    use_packed(trainee.model)
    # The fast decoder takes no layer's own way, which is what these two rules change.
    if rules.compile or rules.memory.recompute_layers or not fast.fit(trainee.model):
        trim_last_layer(trainee.model)
    found = _turned_together(trainee, method, rows, rules) or prove_isolation(
        trainee.model, sequences, alone, numbers, world
    )
    packed = not isinstance(found, Leak)
    if isinstance(found, Leak):
        set_apart(trainee.model)
        apart = prove_isolation(trainee.model, sequences, alone, numbers, world)
        if isinstance(apart, Leak):
            raise apart.error()
        found = (f"packing: none, because {found.what}", *apart)
    if rules.compile:
        compile_layers(trainee.model)
    if rules.memory.recompute_layers:
        recompute_layers(trainee.model, rules.memory.recompute_layers)
    return Proof((*checks, *found), packed)


def _turned_together(trainee: Trainee, method: Method, rows: Rows, rules: Rules) -> Leak | None:
    """Tell of rows so long that they would change the positions of others; none are computed to see it."""
    config = text_config(trainee.model)
    window = window_of_frequencies(config)
    if window is None or rules.max_tokens <= window:
        return None
    if not method.generates and all(len(each.ids) <= window for row in rows.sequences for each in row):
        return None
    what = f"rows of more than {window} tokens change how the positions of all rows beside them are turned"
    return Leak(what, config.model_type)


def _sampled(trainee: Trainee, method: Method, rows: Rows, world: World) -> list[Unit]:
    """Return the units that are compared; of a method that generates, some it generates now."""
    if not method.generates:
        lengths = [row[0] for row in rows.sequences]
        return [Unit(rows.sequences[i], i) for i in sample(lengths)]
    few = [rows.row(i) for i in range(min(2, len(rows)))]
    made = world.pooled(partial(method.units, trainee, 0), few)
    return [unit for unit in made if unit.trained_tokens]
