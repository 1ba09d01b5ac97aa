"""A hero of the template `dio` that a benchmark raises: drills in, held-out scores out.

Trained by the engine a run uses, in the calling process, with the threads that torch has.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

import realm.models  # noqa: F401  first: it sets the environment of torch's threads
from realm.core.events import CheckpointStaged, Event, StepTaken
from realm.core.records import Example
from realm.core.seeds import rng, seed
from realm.flows.birth import BASIC_TEXTS, BirthJob, build
from realm.flows.config import RealmConfig, template_text
from realm.models.engines.transformers import Transformers
from realm.models.files import load
from realm.skills.curriculum import CurriculumConfig, LevelScore, SkillState, drill_weights
from realm.skills.skill import SKILLS, Problem, Skill
from realm.training.engine import train
from realm.training.job import RowsFile, TrainJob
from realm.training.recipe import resolve, shipped_text

STEP_ROWS = 64
CONFIG = RealmConfig.model_validate(yaml.safe_load(template_text("dio", {"threshold": "0.95"})))
CURRICULUM = CurriculumConfig()
_HERO = CONFIG.heroes["dio"]


class Hero:
    """One small model with its files, trained by the engine a run uses."""

    def __init__(self, folder: Path, number: int) -> None:
        self.skill: Skill = SKILLS.build(_HERO.skills["bin"])
        self.tokens = 0
        self.steps = 0
        self._folder = folder
        self._number = number
        texts, alphabet = self.skill.vocabulary()
        stage = folder / "birth"
        stage.mkdir(parents=True)
        assert _HERO.blank is not None
        build(
            BirthJob(
                run="birth",
                blank=_HERO.blank.model_dump(mode="json"),
                base=None,
                vocabulary_size=_HERO.vocabulary_size,
                seed=seed("worth/birth", number),
                texts=(*BASIC_TEXTS, *texts),
                alphabet=tuple(dict.fromkeys([*"0123456789", *alphabet])),
                stage=str(stage),
                events=str(folder / "events.jsonl"),
            ),
            lambda _: None,
        )
        self.files = stage

    def fork(self, name: str) -> Hero:
        """Return a hero that goes on from here by itself."""
        other = copy.copy(self)
        other._folder = self._folder / name
        other._folder.mkdir()
        return other

    def train(self, made: Sequence[Example], recipe: str = "spark") -> None:
        """Train one pass over rows, and keep what it leaves."""
        run = f"run{self.steps}"
        path = self._folder / f"{run}.jsonl"
        path.write_text("".join(row.model_dump_json(exclude_defaults=True) + "\n" for row in made))
        found = resolve(recipe, shipped_text).recipe
        saving = found.rules.saving.model_copy(update={"every_steps": 1_000_000})
        rules = found.rules.model_copy(update={"saving": saving, "threads": 1, "batch_rows": STEP_ROWS})
        staged: list[CheckpointStaged] = []

        def emit(event: Event) -> None:
            if isinstance(event, StepTaken):
                self.tokens += event.tokens
                self.steps += 1
            elif isinstance(event, CheckpointStaged):
                staged.append(event)

        job = TrainJob(
            run=run,
            seed=seed("worth/run", self._number, self.steps),
            start=str(self.files),
            origin=str(self.files),
            rows=(RowsFile(path=str(path)),),
            recipe=found.model_copy(update={"rules": rules}),
            stages=str(self._folder / "stages"),
            events=str(self._folder / "events.jsonl"),
        )
        train(job, emit, lambda: False)
        self.files = Path(staged[-1].stage)

    def answers(self, problems: Sequence[Problem]) -> list[str]:
        """Return the greedy answers."""
        generator = Transformers(load(self.files))
        return generator.generate([problem.messages for problem in problems], max_tokens=64)

    def right(self, problems: Sequence[Problem]) -> list[bool]:
        """Say of each problem whether the hero answers it rightly."""
        found = self.answers(problems)
        return [self.skill.grade(p, answer) == 1.0 for p, answer in zip(problems, found, strict=True)]

    def share(self, problems: Sequence[Problem]) -> float:
        """Return the share of right answers."""
        return statistics.fmean(self.right(problems))

    def score(self, level: int) -> LevelScore:
        """Ask the held-out problems that decide whether a level is passed."""
        problems = self.skill.heldout(level, CURRICULUM.problems_per_primitive)
        counts: dict[str, tuple[int, int]] = {}
        for problem, right in zip(problems, self.right(problems), strict=True):
            correct, total = counts.get(problem.primitive, (0, 0))
            counts[problem.primitive] = (correct + right, total + 1)
        return LevelScore(primitives=counts)

    def weakness(self, level: int, draws: int) -> dict[str, float]:
        """Return each primitive's share of wrong answers to training problems."""
        problems = self.skill.probe(level, 24, seed=draws)
        found: dict[str, list[bool]] = {}
        for problem, right in zip(problems, self.right(problems), strict=True):
            found.setdefault(problem.primitive, []).append(right)
        return {name: 1 - statistics.fmean(rights) for name, rights in found.items()}

    def drills(self, shares: Mapping[int, int], state: SkillState, draws: int) -> list[Example]:
        """Return drills of several levels, by the curriculum's weights."""
        made = [
            problem.example("bin")
            for level, count in shares.items()
            for problem in self.skill.drills(
                level, count, weights=drill_weights(CURRICULUM, self.skill, state, level), seed=draws
            )
        ]
        rng("worth/order", draws).shuffle(made)
        return made

    def equal_drills(self, level: int, weights: Mapping[str, float], draws: int) -> Iterator[Example]:
        """Yield drills of one level without end."""
        for problem in self.skill.drills(level, 1_000_000, weights=weights, seed=draws):
            yield problem.example("bin")
