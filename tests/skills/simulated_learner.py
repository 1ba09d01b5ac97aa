"""A learner with seeded curves in place of a model, raised by the real rules of the curriculum.

Right answers to a primitive of a level grow with the rows that it got, each row worth less than the one
before; what gets none is forgotten. It says what the rules do with such a learner, not how models learn.
"""

from __future__ import annotations

from functools import cache
from math import exp

from realm.core.seeds import rng
from realm.skills.catalogue.bin import Bin
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.curriculum.mixing import drill_weights, mix, standing
from realm.skills.curriculum.rules import (
    LevelScore,
    SkillState,
    after_evaluation,
    after_review,
    begin,
    examined,
)
from realm.skills.curriculum.strategies import spread

SKILL = Bin(Bin.Config())
SLOWER = {"easy": 1.0, "hard": 1.6}
"""Two skills, and how many more rows the second one takes."""
ROWS = 2560
CHECKPOINTS = 2
"""Saved by each run."""


@cache
def _own_pace(seed: int, level: int, primitive: str) -> float:
    return rng("own pace", seed, level, primitive).uniform(0.6, 1.4)


class Learner:
    """What is known of every primitive of every level, in rows that are not forgotten."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[tuple[str, int, str], float] = {}
        self._draw = rng("simulated answers", seed)
        self.forgets = rng("simulated forgetting", seed).uniform(0.06, 0.12)
        """Share of what is known that one round takes away."""

    def share(self, skill: str, level: int, primitive: str) -> float:
        """Return the expected share of right answers."""
        slow = SLOWER[skill] * (1 + 0.05 * level) * _own_pace(self._seed, level, primitive)
        return 0.985 * (1 - exp(-self._known.get((skill, level, primitive), 0.0) / (50 * slow)))

    def study(self, skill: str, rows: dict[int, float], weights: dict[int, dict[str, float]]) -> None:
        """Take rows in, spread over the primitives of each level by their weights."""
        for level, count in rows.items():
            total = sum(weights[level].values())
            for primitive, weight in weights[level].items():
                key = (skill, level, primitive)
                self._known[key] = self._known.get(key, 0.0) + count * weight / total

    def forget(self, share: float) -> None:
        """Lose a share of everything."""
        self._known = {key: rows * (1 - share) for key, rows in self._known.items()}

    def answer(self, config: CurriculumConfig, skill: str, level: int) -> LevelScore:
        """Answer the held-out problems of a level."""
        primitives = {}
        for found in examined(config, SKILL.level(level)):
            asked, share = (
                min(found.heldout, config.problems_per_primitive),
                self.share(skill, level, found.name),
            )
            right = round(self._draw.gauss(asked * share, (asked * share * (1 - share)) ** 0.5))
            primitives[found.name] = (min(max(right, 0), asked), asked)
        return LevelScore(primitives=primitives)


class School:
    """Raises a learner by a curriculum, one round of drills after the other."""

    def __init__(self, config: CurriculumConfig, seed: int) -> None:
        self.config = config
        self.learner = Learner(seed)
        self.states: dict[str, SkillState] = {name: begin(SKILL, config) for name in SLOWER}
        self.needed: dict[str, dict[int, int]] = {name: {} for name in SLOWER}
        """Evaluations that had counted when a level was mastered, by skill and level."""
        self.runs = 0

    def round(self) -> None:
        """Drill every skill once, evaluate what was saved, ask mastered levels again when they are due."""
        standings = [standing(self.config, SKILL, name, state) for name, state in self.states.items()]
        for name, count in spread(self.config.strategy, standings, ROWS * len(standings)).items():
            rows = mix(self.config, SKILL, self.states[name], count)
            weights = {level: drill_weights(self.config, SKILL, self.states[name], level) for level in rows}
            self.runs += 1
            for number in range(CHECKPOINTS):
                part = {level: each / CHECKPOINTS for level, each in rows.items()}
                self.learner.study(name, part, weights)
                self.learner.forget(self.learner.forgets / CHECKPOINTS / len(standings))
                for skill in self.states:
                    self._evaluate(skill, f"{self.runs}-{number}")
            self._review(f"{self.runs}-{CHECKPOINTS - 1}")
        for skill, state in self.states.items():
            names = [primitive.name for primitive in SKILL.level(state.training_level).primitives]
            level = state.training_level
            weakness = {each: 1 - self.learner.share(skill, level, each) for each in names}
            self.states[skill] = state.model_copy(update={"weakness": weakness})

    def _evaluate(self, skill: str, checkpoint: str) -> None:
        before = self.states[skill]
        level = before.training_level
        score = self.learner.answer(self.config, skill, level)
        self.states[skill], verdict = after_evaluation(
            self.config, SKILL, before, level=level, checkpoint=checkpoint, score=score
        )
        if verdict.mastered:
            self.needed[skill][level] = self.states[skill].evaluations

    def _review(self, checkpoint: str) -> None:
        if self.config.recheck_runs == 0 or self.runs % self.config.recheck_runs:
            return
        for skill, state in self.states.items():
            for level in range(state.start_level, state.mastered_level + 1):
                score = self.learner.answer(self.config, skill, level)
                self.states[skill], _ = after_review(
                    self.config, SKILL, self.states[skill], level=level, checkpoint=checkpoint, score=score
                )

    def kept(self, levels: int = 3) -> float:
        """Return the mean share of right answers at the lowest levels of both skills."""
        shares = [
            self.learner.share(skill, level, primitive.name)
            for skill, state in self.states.items()
            for level in range(state.start_level, state.start_level + levels)
            for primitive in SKILL.level(level).primitives
        ]
        return sum(shares) / len(shares)
