"""Simulate candidates of known truth before the gate; print one JSON document with 95 % Wilson intervals.

The champion is right on a problem of primitive i with a chance that goes evenly from `low` to `high` over
the primitives; each candidate has its own chances. Whether both are right on the same problem is correlated
(Gaussian copula); 0 is the hardest case, as every other answer is a coin of its own. 30 problems of each
primitive are asked, primitives belong to five categories in turn. The real gate decides, thresholds and
all. `steps` decides with promotion_alpha / 3 after 10, 20 and 30 primitives' worth of problems, until the
candidate passes.

.venv/bin/python benchmarks/gate.py
.venv/bin/python benchmarks/gate.py --seeds 5000 --correlation 0.5
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import time
from collections import Counter
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.core.seeds import seed
from realm.evaluation.comparison import Pair
from realm.evaluation.gate import Decision, GateConfig, Part, decide
from realm.evaluation.intervals import wilson
from realm.evaluation.statistics import problems_needed

EACH = 30
CATEGORIES = 5
SIZES = (10, 20, 27, 39)
"""Primitives, or primitives times levels: one level of BIN, two, about three, the catalogue of 39."""
MAIN = 30
LOOKS = (10, 20, 30)
Shares = NDArray[np.float64]


class Setting(NamedTuple):
    """What is simulated."""

    seeds: int
    correlation: float
    low: float
    high: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=1000)
    arguments.add_argument("--correlation", type=float, action="append", help="default: 0 and 0.5")
    arguments.add_argument("--low", type=float, default=0.84)
    arguments.add_argument("--high", type=float, default=0.94)
    given = arguments.parse_args()
    began = time.process_time()
    found = {
        f"correlation {correlation:g}": simulate(Setting(given.seeds, correlation, given.low, given.high))
        for correlation in given.correlation or [0.0, 0.5]
    }
    document = {
        "seeds": given.seeds,
        "problems_per_primitive": EACH,
        "champion_accuracy": [given.low, given.high],
        "config": GateConfig().model_dump(),
        "problems_for_a_gain_of_5_points_at_80_percent": {
            f"{discordance:g} of answers differ": problems_needed(
                0.05, discordance, alpha=GateConfig().promotion_alpha, power=0.8
            )
            for discordance in (0.1, 0.15, 0.2, 0.25)
        },
        **found,
        "cpu_seconds": round(time.process_time() - began, 1),
    }
    print(json.dumps(document, indent=2))


def simulate(setting: Setting) -> dict[str, object]:
    """Return what became of each kind of candidate, and of a true gain by size."""
    kinds = candidates(setting, MAIN)
    return {
        f"{MAIN * EACH} problems": {name: outcome(name, truth, setting) for name, truth in kinds.items()},
        "by size": {
            f"{size * EACH} problems": {
                name: outcome(name, candidates(setting, size)[name], setting)
                for name in ("equal", "+5 everywhere")
            }
            for size in SIZES
        },
        "steps": {name: stepwise(name, kinds[name], setting) for name in ("equal", "+5 everywhere")},
    }


def champion(setting: Setting, primitives: int) -> Shares:
    """Return the champion's true accuracies; categories mix easy and hard ones."""
    return np.linspace(setting.low, setting.high, primitives)


def candidates(setting: Setting, primitives: int) -> dict[str, Shares]:
    """Return the true accuracies of each kind of candidate."""
    base = champion(setting, primitives)
    half = np.where(np.arange(primitives) % 2, 0.05, -0.05)
    traded, broken, third = base.copy(), base.copy(), base.copy()
    better_broken, better_dented = base + 0.05, base + 0.05
    traded[0] -= 0.30
    traded[1:7] += 0.05
    broken[primitives // 2] -= 0.5
    better_broken[primitives // 2] = base[primitives // 2] - 0.5
    better_dented[primitives // 2] = base[primitives // 2] - 0.2
    third[::3] = np.minimum(1.0, third[::3] + 0.1)
    return {
        "equal": base,
        "a point worse everywhere": base - 0.01,
        "half +5, half -5": base + half,
        "six +5, one -30": traded,
        "+5 everywhere": base + 0.05,
        "+10 in a third": third,
        "one primitive broken (-50)": broken,
        "+5 everywhere, one primitive broken (-50)": better_broken,
        "+5 everywhere, one primitive -20": better_dented,
    }


def outcome(name: str, truth: Shares, setting: Setting) -> dict[str, object]:
    """Return how often the gate lets such a candidate through, and what stopped the others."""
    table = Table(len(truth))
    passed, compared, stopped = 0, 0, Counter[str]()
    for index in range(setting.seeds):
        decision = table.judged(*answers(name, truth, setting, index), GateConfig())
        against = {reason(check.name) for check in decision.checks if not check.passed}
        passed += decision.passed
        compared += against <= {"threshold"}
        stopped.update(against)
    return {
        "accepted": share(passed, setting.seeds),
        "accepted_without_thresholds": share(compared, setting.seeds),
        "stopped_by": {name: round(count / setting.seeds, 4) for name, count in sorted(stopped.items())},
    }


def reason(check: str) -> str:
    """Return the kind of a check."""
    return "threshold" if check.startswith("part") else check.partition("/")[0]


def stepwise(name: str, truth: Shares, setting: Setting) -> dict[str, object]:
    """Ask more problems until the candidate passes; each look has its part of alpha."""
    whole = GateConfig()
    config = GateConfig(promotion_alpha=whole.promotion_alpha / len(LOOKS))
    tables = {size: Table(size) for size in LOOKS}
    order = np.random.default_rng(seed("bench/gate/order", 0)).permutation(len(truth))
    passed, asked = 0, 0
    for index in range(setting.seeds):
        before, after = answers(name, truth, setting, index)
        for size in LOOKS:
            asked_here = order[:size]
            decision = tables[size].judged(before[asked_here], after[asked_here], config)
            if decision.passed:
                break
        passed += decision.passed
        asked += size * EACH
    return {"accepted": share(passed, setting.seeds), "mean_problems": round(asked / setting.seeds)}


def answers(name: str, truth: Shares, setting: Setting, index: int) -> tuple[NDArray[np.bool_], ...]:
    """Return whether champion and candidate are right, (primitives, EACH) each."""
    draw = np.random.default_rng(seed("bench/gate", name, len(truth), setting.correlation, index))
    shared, first, second = draw.standard_normal((3, len(truth), EACH))
    root, rest = setting.correlation**0.5, (1 - setting.correlation) ** 0.5
    return (
        root * shared + rest * first < quantiles(champion(setting, len(truth))),
        root * shared + rest * second < quantiles(truth),
    )


def quantiles(shares: Shares) -> Shares:
    """Return normal quantiles, (primitives, 1)."""
    normal = NormalDist()
    return np.array([[normal.inv_cdf(min(1 - 1e-9, p))] for p in shares])


class Table:
    """The records of all four outcomes of each primitive's problems, made once."""

    def __init__(self, primitives: int) -> None:
        self._names = [f"primitive {i}" for i in range(primitives)]
        self._parts = [f"part {i % CATEGORIES}" for i in range(primitives)]
        self._pairs = [
            [Pair(part=part, primitive=name, before=code // 2, after=code % 2) for code in range(4)]
            for name, part in zip(self._names, self._parts, strict=True)
        ]

    def judged(self, before: NDArray[np.bool_], after: NDArray[np.bool_], config: GateConfig) -> Decision:
        """Put one draw before the gate."""
        codes = (2 * before + after).tolist()
        pairs = [row[code] for row, drawn in zip(self._pairs, codes, strict=True) for code in drawn]
        right = dict(zip(self._names, after.sum(axis=1).tolist(), strict=True))
        parts = []
        for part in dict.fromkeys(self._parts):
            names = [n for n, p in zip(self._names, self._parts, strict=True) if p == part]
            answered = {name: (right[name], EACH) for name in names}
            asked = dict.fromkeys(names, EACH)
            parts.append(Part(id=part, title=part, category=part, asked=asked, answered=answered))
        return decide(config, parts, pairs)


def share(count: int, total: int) -> list[float]:
    """Return a share with the ends of its interval."""
    found = wilson(count, total)
    return [round(count / total, 4), round(found.low, 4), round(found.high, 4)]


if __name__ == "__main__":
    main()
