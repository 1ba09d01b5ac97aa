"""Validation: the loss of rows that are never trained on.

A share of the run's rows is held out by the hash of their content, so that the same row is on the
same side in every run; sets of their own are measured as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from realm.core.hashing import hash_bytes
from realm.core.records import Example
from realm.core.seeds import fraction
from realm.training.batching import Unit, best_fit, pack
from realm.training.recipe import Rules
from realm.training.trainee import Trainee
from realm.training.world import World

HELD_OUT = "held-out"
"""The name of the set that is held out of the run's own rows."""
_TOKENS_AT_ONCE = 16_384


def is_held_out(example: Example, share: float) -> bool:
    """Say whether a row is held out; a function of what it says alone."""
    if share <= 0:
        return False
    said = example.model_dump_json(include={"messages", "rejected", "text"})
    return fraction("held-out", hash_bytes(said.encode())) < share


def measure(
    trainee: Trainee, sets: Mapping[str, Sequence[Unit]], rules: Rules, world: World
) -> dict[str, float]:
    """Return the mean cross-entropy a trained token of every set, in nats; the same in every process.

    Each process computes its share of every set. Leaves weights, mode and random state as they are.
    """
    mine = [world.share(units) for units in sets.values()]
    totals = world.total(*world.run_unevenly(lambda: _totals(trainee, mine, rules)))
    trained = [sum(unit.trained_tokens for unit in units) for units in sets.values()]
    return {name: total / tokens for name, total, tokens in zip(sets, totals, trained, strict=True)}


def _totals(trainee: Trainee, sets: Sequence[Sequence[Unit]], rules: Rules) -> list[float]:
    """Return each set's summed cross-entropy in nats."""
    training = trainee.model.training
    trainee.model.eval()
    with torch.no_grad():
        found = [_total(trainee, units, rules) for units in sets]
    trainee.model.train(training)
    return found


def _total(trainee: Trainee, units: Sequence[Unit], rules: Rules) -> float:
    total = 0.0
    for members in best_fit(units, rules.memory.tokens_at_once or _TOKENS_AT_ONCE):
        batch = pack(members, trainee.device)
        total += float(trainee.cross_entropy(batch, torch.ones_like(batch.weights_M)))
    return total
