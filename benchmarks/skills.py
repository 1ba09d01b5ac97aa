"""Measure how many problems a skill generates in a second of one core's time.

    .venv/bin/python benchmarks/skills.py --skill bin --level 30

Draws training problems of one level, all primitives equally, single-threaded, after a warm-up that fills
the skill's tables; several rounds with another seed each, in CPU time. Options of the skill are given by
`--option a=b`. Prints one JSON document: the median of the rounds, and the slowest one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from realm.core.config import override
from realm.skills.skill import SKILLS, Skill

WARM_UP = 200


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--skill", default="bin")
    arguments.add_argument("--level", type=int, default=3)
    arguments.add_argument("--count", type=int, default=20_000, help="problems a round")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--option", action="append", default=[], help="such as digit_order=lsb")
    given = arguments.parse_args()
    skill = SKILLS.build(override({"kind": given.skill}, given.option))
    sum(1 for _ in skill.drills(given.level, WARM_UP, weights={}, seed=0))
    rates = [per_second(skill, given.level, given.count, seed) for seed in range(1, given.rounds + 1)]
    print(
        json.dumps(
            {
                "skill": given.skill,
                "version": skill.version,
                "level": given.level,
                "options": given.option,
                "problems": given.count,
                "rounds": given.rounds,
                "problems_per_cpu_second": round(statistics.median(rates)),
                "slowest_round": round(min(rates)),
            },
            indent=2,
        )
    )


def per_second(skill: Skill, level: int, count: int, seed: int) -> float:
    """Return problems a CPU second; a level with fewer problems than asked counts what there is."""
    begin = time.process_time()
    drawn = sum(1 for _ in skill.drills(level, count, weights={}, seed=seed))
    return drawn / (time.process_time() - begin)


if __name__ == "__main__":
    main()
