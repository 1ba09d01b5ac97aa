"""Show whether curriculum, sparring and replay are worth what they cost; print one JSON document.

    .venv/bin/python benchmarks/worth.py --seeds 5 [--proof curriculum --proof sparring --proof replay]

Every arm raises the hero of the template `dio` (1.2 million parameters) from random weights, in processes of
one thread, and sees as many tokens as the arm beside it. Scores are shares of right answers to held-out
problems that every arm is asked alike. An arm's seeds differ in first weights and drills; the two arms of a
seed begin alike, so differences are paired: mean with the 95 % interval of Student's t over seeds, and the
difference that as many seeds would have shown with 80 % probability.

curriculum   the default curriculum (mastery, replay, levels above, weak primitives), against four levels
             at once, primitives alike; scored over those four levels, and by how many of them are passed as
             mastery asks (enough right over all, and in each primitive)
sparring     rounds of targeted sparring with the drills that a lab trains beside it, against untargeted
             drills; beside them targeted drills alone; all from one half-trained hero, scored on the
             primitives that were weak at the beginning
replay       a mastered first level, then a much higher one with and without replay; scored at the first level
gate         what `benchmarks/gate.py` prints: candidates of known truth, harmed, lucky and better ones

Not covered: larger models, other skills, budgets other than these.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from heroes import CONFIG, CURRICULUM, STEP_ROWS, Hero  # first: it sets the environment of torch's threads

import torch  # isort: skip

from realm.core.seeds import rng, seed
from realm.evaluation.repeated import student_975
from realm.skills.curriculum import SkillState, after_evaluation, begin, mix
from realm.skills.curriculum.rules import passed
from realm.skills.sparring import Mistake, draw, rows

LEVELS = (3, 4, 5, 6)
"""What the curriculum's proof is scored over."""
GATE = "gate"
WEAK = 0.2
"""Share of wrong training problems above which a primitive is weak."""
ROUNDS = 6
SPARRING_TOKENS, DRILL_TOKENS = 95, 30
"""About what a row has in this hero's tokens; only how many rows are taken depends on it."""
POWER_80 = (
    *(5.65, 4.26, 3.76, 3.51, 3.37, 3.27, 3.20, 3.15, 3.11),
    *(3.08, 3.05, 3.03, 3.01, 3.00, 2.98, 2.97, 2.96, 2.95, 2.95),
    *(2.94, 2.93, 2.93, 2.92, 2.92, 2.91, 2.91, 2.90, 2.90, 2.90),
)
"""Standard errors that a difference needs to be found with 80 % probability, for 2 to 30 degrees of freedom.

Where the noncentral t is above Student's 97.5 % quantile in 80 % of cases. Above 30, the last is enough.
"""

# --- the proofs: each returns its arms' scores for one seed -------------------------------------


def curriculum(hero: Hero, number: int, steps: int) -> dict[str, float]:
    """The default curriculum against all levels at once, until both have seen as many tokens."""
    size = 10 * STEP_ROWS
    staged, flat = hero.fork("staged"), hero.fork("flat")
    everywhere = {level: size // len(LEVELS) for level in LEVELS}
    alike = SkillState(skill="bin", start_level=3, mastered_level=0, training_level=99)
    for index in range(steps // 10):
        flat.train(flat.drills(everywhere, alike, seed("worth/curriculum", number, index)))
    state, index = begin(hero.skill, CURRICULUM), 0
    while staged.tokens < flat.tokens:
        draws = seed("worth/curriculum", number, index)
        staged.train(staged.drills(mix(CURRICULUM, hero.skill, state, size), state, draws))
        state, index = _examined(staged, state, index), index + 1
    return {
        **_outcome("curriculum", staged),
        **_outcome("all levels at once", flat),
        "levels mastered on the way": float(max(0, state.mastered_level - state.start_level + 1)),
    }


def _outcome(arm: str, hero: Hero) -> dict[str, float]:
    """Return the share of right answers over all levels, the levels passed, and the tokens seen."""
    scores = {level: hero.score(level) for level in LEVELS}
    counts = [each for score in scores.values() for each in score.primitives.values()]
    won = sum(passed(CURRICULUM, hero.skill.level(level), score) for level, score in scores.items())
    return {
        arm: sum(right for right, _ in counts) / sum(total for _, total in counts),
        f"levels passed, {arm}": float(won),
        f"tokens, {arm}": float(hero.tokens),
    }


def _examined(hero: Hero, state: SkillState, index: int) -> SkillState:
    """Return the state after an evaluation at the training level and a look at what is weak."""
    state, _ = after_evaluation(
        CURRICULUM,
        hero.skill,
        state,
        level=state.training_level,
        checkpoint=f"round {index}",
        score=hero.score(state.training_level),
    )
    weakness = hero.weakness(state.training_level, seed("worth/weakness", index))
    return state.model_copy(update={"weakness": weakness})


def sparring(hero: Hero, number: int, steps: int) -> dict[str, float]:
    """Rounds of targeted sparring as a lab does it, of drills, and of targeted drills."""
    level, half = 4, steps // 2
    made = islice(hero.equal_drills(level, {}, seed("worth/half", number)), half * STEP_ROWS)
    hero.train(list(made))
    weak = {name: wrong for name, wrong in hero.weakness(level, number).items() if wrong > WEAK}
    heldout = [p for p in hero.skill.heldout(level, 60) if p.primitive in weak]
    if not heldout:
        return {}
    names = ("sparring", "drills", "targeted drills")
    arms, began = {name: hero.fork(name.replace(" ", "_")) for name in names}, hero.tokens
    scores = {"before": hero.share(heldout), "weak primitives": float(len(weak))}
    for index in range(ROUNDS):
        draws = seed("worth/spar", number, index)
        until = began + (index + 1) * half * STEP_ROWS * DRILL_TOKENS // ROUNDS
        _spar(arms["sparring"], level, until, draws)
        _drill_to(arms["drills"], level, {}, until, draws)
        _drill_to(
            arms["targeted drills"], level, _weights(arms["targeted drills"], level, draws), until, draws
        )
    scores |= {name: arm.share(heldout) for name, arm in arms.items()}
    return {**scores, **{f"tokens, {name}": float(arm.tokens - began) for name, arm in arms.items()}}


def _weights(hero: Hero, level: int, draws: int) -> dict[str, float]:
    """Return the weights of primitives that the curriculum gives drills."""
    found = hero.weakness(level, draws)
    return {name: CURRICULUM.base_weight + CURRICULUM.error_weight * wrong for name, wrong in found.items()}


def _spar(hero: Hero, level: int, tokens: int, draws: int) -> None:
    """Train three rows for each mistake in weak primitives, and drills beside them, up to so many tokens."""
    weakness = {name: wrong for name, wrong in hero.weakness(level, draws).items() if wrong > WEAK}
    problems = draw(hero.skill, level, 600, weights=weakness, draws=draws)
    wrong = [
        Mistake(problem=problem, answer=answer)
        for problem, answer in zip(problems, hero.answers(problems), strict=True)
        if hero.skill.grade(problem, answer) < 1.0
    ]
    beside = CONFIG.sparring.drills_per_row
    count = max(0, int((tokens - hero.tokens) / (SPARRING_TOKENS + beside * DRILL_TOKENS)))
    made = list(islice(rows(hero.skill, wrong, draws=draws), count))
    left = tokens - hero.tokens - len(made) * SPARRING_TOKENS
    drills = islice(
        hero.equal_drills(level, _weights(hero, level, draws), draws), max(0, left // DRILL_TOKENS)
    )
    both = [*made, *drills]
    rng("worth/mixed", draws).shuffle(both)
    if both:
        hero.train(both)


def _drill_to(hero: Hero, level: int, weights: Mapping[str, float], tokens: int, draws: int) -> None:
    """Train drills until a hero has seen so many tokens, a step's worth more or less."""
    per_row = hero.tokens / (hero.steps * STEP_ROWS)
    count = round((tokens - hero.tokens) / per_row / STEP_ROWS) * STEP_ROWS
    if count > 0:
        hero.train(list(islice(hero.equal_drills(level, weights, draws), count)))


def replay(hero: Hero, number: int, steps: int) -> dict[str, float]:
    """A first level learnt, then a far higher one, with the default share of replay and without."""
    first, then = 3, 8
    heldout = list(hero.skill.heldout(first, 60))
    made = islice(hero.equal_drills(first, {}, seed("worth/first", number)), steps // 2 * STEP_ROWS)
    hero.train(list(made))
    before, scores = hero.share(heldout), {}
    for name, share in (("replay", CURRICULUM.replay_share), ("no replay", 0.0)):
        arm = hero.fork(name.replace(" ", "_"))
        count = steps // 2 * STEP_ROWS
        draws = seed("worth/then", number)
        again = round(count * share)
        both = [
            *islice(arm.equal_drills(then, {}, draws), count - again),
            *islice(arm.equal_drills(first, {}, draws + 1), again),
        ]
        rng("worth/replay", draws).shuffle(both)
        arm.train(both)
        scores[name] = arm.share(heldout)
        scores[f"higher level, {name}"] = arm.share(list(arm.skill.heldout(then, 30)))
    return {**scores, "before": before}


@dataclass(frozen=True)
class Proof:
    """Two arms, and what decides between them."""

    run: Callable[[Hero, int, int], dict[str, float]]
    claim: str
    better: str
    worse: str
    steps: int
    """Of 64 rows, in each arm."""
    also: str = ""
    """A second figure that both arms have, under this and their name."""


PROOFS = {
    "curriculum": Proof(
        curriculum,
        "beats all levels at once at equal tokens",
        "curriculum",
        "all levels at once",
        500,
        also="levels passed",
    ),
    "sparring": Proof(
        sparring,
        "beats untargeted drills on the weak primitives at equal tokens",
        "sparring",
        "drills",
        320,
    ),
    "replay": Proof(replay, "prevents forgetting of the first level", "replay", "no replay", 320),
}


def one(name: str, number: int, steps: int | None) -> dict[str, float]:
    """Run one seed of a proof; in a process of its own."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="realm-worth-") as folder:
        proof = PROOFS[name]
        return proof.run(Hero(Path(folder) / "hero", number), number, steps or proof.steps)


def verdict(proof: Proof, found: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """Return means, paired differences with their intervals, and what could have been seen."""
    found = [each for each in found if each]
    arms = {name: round(statistics.fmean(e[name] for e in found), 4) for name in found[0]} if found else {}
    if len(found) < 3:
        return {"claim": proof.claim, "seeds": len(found), "means": arms, "holds": None}
    difference = _difference(found, proof.better, proof.worse)
    also = [f"{proof.also}, {arm}" for arm in (proof.better, proof.worse)]
    return {
        "claim": proof.claim,
        "seeds": len(found),
        "means": arms,
        **difference,
        "holds": difference["interval_95"][0] > 0,
        **({proof.also: _difference(found, *also)} if proof.also else {}),
        "by_seed": [{name: round(value, 4) for name, value in each.items()} for each in found],
    }


def _difference(found: Sequence[Mapping[str, float]], better: str, worse: str) -> dict[str, Any]:
    differences = [each[better] - each[worse] for each in found]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    degrees = len(differences) - 1
    mean, half = statistics.fmean(differences), student_975(degrees) * error
    return {
        "difference": round(mean, 4),
        "interval_95": [round(mean - half, 4), round(mean + half, 4)],
        "detectable_with_power_80": round(POWER_80[min(degrees, 30) - 2] * error, 4),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--proof", choices=[*PROOFS, GATE], action="append")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--first-seed", type=int, default=0)
    arguments.add_argument("--steps", type=int, help="of each arm, instead of the proof's own")
    arguments.add_argument("--processes", type=int, default=2)
    asked = arguments.parse_args()
    began, found = time.monotonic(), {}
    numbers = range(asked.first_seed, asked.first_seed + asked.seeds)
    wanted = asked.proof or [*PROOFS, GATE]
    names = [name for name in wanted if name != GATE]
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        waiting = {(name, n): pool.submit(one, name, n, asked.steps) for name in names for n in numbers}
        for (name, number), future in waiting.items():
            found[name, number] = future.result()
            print(
                f"{time.monotonic() - began:6.0f} s  {name} {number}: {found[name, number]}", file=sys.stderr
            )
    told = {name: verdict(PROOFS[name], [found[name, n] for n in numbers]) for name in names}
    if GATE in wanted:
        command = [sys.executable, str(Path(__file__).with_name("gate.py")), "--seeds", "1000"]
        told[GATE] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(json.dumps({"proofs": told, "seconds": round(time.monotonic() - began)}, indent=2))


if __name__ == "__main__":
    main()
