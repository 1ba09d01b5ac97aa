"""`realm.yaml`: what the lab is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, SerializeAsAny, model_validator

from realm.core.config import Config, load, rooted, validate
from realm.core.errors import ConfigError, NotFoundError
from realm.core.hashing import hash_json
from realm.core.records import Name
from realm.core.text import there_are
from realm.evaluation.drift import DriftConfig
from realm.evaluation.gate import GateConfig
from realm.evaluation.ranking import RegressionConfig
from realm.evaluation.suitefile import load_suite
from realm.evaluation.task import TASKS
from realm.flows.corpus import CorpusConfig
from realm.flows.home import Home, find_home
from realm.growth.rituals import HealthConfig
from realm.models.blank import BLANKS
from realm.models.profile import PROFILES
from realm.skills.curriculum.config import CurriculumConfig
from realm.skills.skill import SKILLS
from realm.training.launcher import LAUNCHERS
from realm.training.method import METHODS
from realm.training.optimizer import OPTIMIZERS
from realm.training.parameter import PARAMETERS
from realm.training.recipe import Recipe, Resolved, resolve, shipped_names, shipped_text
from realm.training.reward import REWARDS
from realm.training.sink import SINKS
from realm.training.teacher import TEACHERS

Blank = Annotated[SerializeAsAny[Config], BLANKS.part()]
SkillKind = Annotated[SerializeAsAny[Config], SKILLS.part()]


class HeroConfig(Config):
    """One model that is raised."""

    blank: Blank | None = None
    """The architecture it is born with, with random weights."""
    base: Path | None = None
    """A folder with a model (safetensors) that it begins from instead."""
    vocabulary_size: Annotated[int, Field(ge=300, le=200_000)] = 512
    """Most entries its own tokenizer may have; 256 bytes and the turn tokens are always in."""
    seed: int = 0
    """Decides its first weights and the order of everything drawn for it."""
    recipe: Name = "spark"
    """How it is trained: `recipes/<name>.yaml` here, else a shipped one."""
    file_recipe: Name = "study"
    """How it is trained on files from the inbox."""
    sparring_recipe: Name | None = None
    """How it is trained on its own mistakes and the drills beside them; none means as on drills."""
    remembers: bool = True
    """Whether a chat shows it the earlier turns."""
    skills: dict[Name, SkillKind] = Field(default_factory=dict)
    """Drills it practises, by name."""

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if (self.blank is None) == (self.base is None):
            raise ValueError("a hero begins either blank or from a base")
        return self


class DrillConfig(Config):
    """How drills are made when there is nothing else to train on."""

    rows: Annotated[int, Field(ge=1)] = 3200
    """Rows in one generated dataset."""
    automatic: bool = True
    """Generate the next drills when the queue holds too few jobs."""
    below: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many jobs are too few; 1 means that drills are made when nothing runs or waits."""


class SparringConfig(Config):
    """How mistakes are looked for and turned into rows."""

    problems: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Training problems asked of each skill."""
    targeted: bool = True
    """Ask only primitives under the threshold, where weakness has been measured."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of right answers from which a primitive is not weak."""
    drills_per_row: Annotated[float, Field(ge=0, le=100)] = 6.0
    """Drills trained beside each row: a model that only judges and corrects forgets how to answer."""
    automatic: bool = False
    """Spar after every run on drills or files."""


class EvaluationConfig(Config):
    """What checkpoints are asked beside the curriculum's own levels."""

    suites: tuple[Name, ...] = ()
    """Suites that every checkpoint answers once after its run: `suites/<name>.yaml` here, else shipped."""


class WorkerConfig(Config):
    """The process that does the work."""

    settle_s: Annotated[float, Field(ge=0)] = 0.5
    """How long a file in the inbox must stay unchanged before it is taken."""
    poll_s: Annotated[float, Field(gt=0, le=5)] = 0.05
    """How often a child's events and requests are looked at."""
    child_deaths: Annotated[int, Field(ge=1)] = 3
    """A job fails when its child was killed so often in a row without saving anything."""
    stop_grace_s: Annotated[float, Field(gt=0)] = 60.0
    """How long a child may take to save when it is asked to stop; then it is killed."""


class RealmConfig(Config):
    """A whole lab."""

    format: Literal[1] = 1
    name: Name
    campaign: Name = "first"
    """The story that runs now; checkpoints and models belong to one."""
    heroes: Annotated[dict[Name, HeroConfig], Field(min_length=1)]
    curriculum: CurriculumConfig = CurriculumConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    regression: RegressionConfig = RegressionConfig()
    drills: DrillConfig = DrillConfig()
    corpus: CorpusConfig = CorpusConfig()
    sparring: SparringConfig = SparringConfig()
    drift: DriftConfig = DriftConfig()
    health: HealthConfig = HealthConfig()
    worker: WorkerConfig = WorkerConfig()

    @model_validator(mode="after")
    def _known_skills(self) -> Self:
        known = {skill for hero in self.heroes.values() for skill in hero.skills}
        if unknown := sorted(set(self.curriculum.skills) - known):
            raise ValueError(
                f"curriculum.skills: no hero has {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
            )
        return self

    def hero(self, name: str | None = None) -> tuple[str, HeroConfig]:
        """Return a hero and its name; without a name the first one."""
        chosen = name or next(iter(self.heroes))
        if chosen not in self.heroes:
            raise NotFoundError(f"no hero is called {chosen!r}", hint=f"there are: {', '.join(self.heroes)}")
        return chosen, self.heroes[chosen]

    @property
    def digest(self) -> str:
        """Hash of the resolved config."""
        return hash_json(self.model_dump(mode="json"))


def load_config(home: Home, overrides: Iterable[str] = ()) -> RealmConfig:
    """Read and validate a home's `realm.yaml`."""
    return load(RealmConfig, home.config, overrides)


def load_recipe(home: Home | None, name: str, sets: Iterable[str] = ()) -> Resolved:
    """Return a recipe with what it extends: a file, else the home's own of that name, else a shipped one.

    `sets` are settings of it to try, such as `rules.batch_rows=8`.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else None
    if file is not None and not file.is_file():
        raise NotFoundError(f"{file}: no such file")

    def text_of(wanted: str) -> str:
        own = home.recipes / f"{wanted}.yaml" if home is not None else None
        if file is not None and wanted == file.stem:
            own = file
        # A recipe may extend the shipped one whose name it bears.
        if own is not None and own.is_file() and wanted not in read:
            read.add(wanted)
            return own.read_text(encoding="utf-8")
        if wanted not in shipped_names():
            known = sorted({*own_names, *shipped_names()} - read)
            raise NotFoundError(f"no recipe is called {wanted!r}", hint=there_are(known, wanted))
        return shipped_text(wanted)

    own_names = [path.stem for path in home.recipes.glob("*.yaml")] if home is not None else []
    read: set[str] = set()
    return resolve(file.stem if file else name, text_of, sets)


def file_recipe(home: Home | None, overrides: Iterable[str] = ()) -> Name:
    """Return the recipe that `realm train FILE` takes: the hero's for files.

    Outside of a realm that is the one that heroes have unless told otherwise.
    """
    if home is None or not home.config.is_file():
        default: Name = HeroConfig.model_fields["file_recipe"].default
        return default
    _, hero = load_config(home, overrides).hero()
    return hero.file_recipe


def known_recipe(home: Path | None, name: str) -> Resolved:
    """Return a recipe as `load_recipe` does, with the realm's own ones where there is a realm."""
    try:
        return load_recipe(find_home(home), name)
    except NotFoundError:
        if home is not None:
            raise
    return load_recipe(None, name)


def check_home(home: Home, overrides: Iterable[str] = ()) -> str:
    """Validate a home's config, its recipes and its skills. Return the config's hash."""
    config = load_config(home, overrides)
    for hero in config.heroes.values():
        load_recipe(home, hero.recipe)
        load_recipe(home, hero.file_recipe)
        if hero.sparring_recipe is not None:
            load_recipe(home, hero.sparring_recipe)
        for skill in hero.skills.values():
            SKILLS.build(rooted(skill, home.root))
    for suite in config.evaluation.suites:
        load_suite(home.suites, suite)
    return config.digest


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `realm.yaml`, of recipes, and of the kinds of each family."""
    kinds = (
        BLANKS,
        SKILLS,
        METHODS,
        PARAMETERS,
        OPTIMIZERS,
        LAUNCHERS,
        SINKS,
        PROFILES,
        REWARDS,
        TEACHERS,
        TASKS,
    )
    families = {family.name: family.schema() for family in kinds}
    return {**RealmConfig.model_json_schema(), "recipe": Recipe.model_json_schema(), "families": families}


def template_names() -> list[str]:
    """Return the campaign templates that ship."""
    return sorted(
        f.name.removesuffix(".yaml")
        for f in files("realm.flows.templates").iterdir()
        if f.name.endswith(".yaml")
    )


DEFAULTS = {"name": "my-realm", "seed": "0", "threshold": "0.80", "preset": "balanced"}
"""What a template's places hold when nobody says otherwise."""


def template_text(template: str, settings: Mapping[str, str]) -> str:
    """Return a template's YAML with its places (`$name` … `$preset`) filled, validated."""
    if template not in template_names():
        raise ConfigError(
            f"no template is called {template!r}", hint=f"there are: {', '.join(template_names())}"
        )
    source = files("realm.flows.templates").joinpath(f"{template}.yaml").read_text(encoding="utf-8")
    text = Template(source).substitute({**DEFAULTS, **settings})
    validate(RealmConfig, yaml.safe_load(text), where=f"template {template}")
    return text
