"""The Python API of a realm: the same flows as the command line, typed.

    from realm import Realm

    lab = Realm.create("my-realm", template="dio")
    lab.play()
    print(lab.ask("Compute: add(①①⓪⓪⓪⓪, ①⓪⓪⓪⓪⓪)", model="dio@champion"))

Opening a realm loads no torch; the calls that need a model load it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realm.core.events import Emit, Event, TrialDecided
from realm.core.records import Priority
from realm.corpus.scrubbing.decisions import Decision
from realm.evaluation.mining import MiningConfig
from realm.evaluation.task import Size
from realm.flows import (
    build,
    carrying,
    chat,
    checking,
    control,
    create,
    curriculum,
    drift,
    export,
    intake,
    live,
    mining,
    play,
    publishing,
    report,
    sources,
    sparring,
    stats,
    status,
    suites,
    train,
    trial,
    worker,
)
from realm.flows.build import BuildPlan, BuildProgress, BuildReport
from realm.flows.chat import Conversation
from realm.flows.checkpoints import resolve
from realm.flows.collect import Collected, CollectProgress
from realm.flows.config import RealmConfig
from realm.flows.context import Lab
from realm.flows.curriculum import Curriculum
from realm.flows.drift import Staleness
from realm.flows.export import Exported, ExportPlan
from realm.flows.holding import Sampled, samples
from realm.flows.home import Home, find_home
from realm.flows.play import PlaySummary
from realm.flows.preview import Preview, preview
from realm.flows.publishing import Publishing
from realm.flows.reconcile import Reconciled
from realm.flows.report import SkillReport
from realm.flows.review import Review, Reviewed, answer
from realm.flows.sources import OnError
from realm.flows.stats import DatasetStats, LabStats, ModelStats, RowsProgress
from realm.flows.status import Status
from realm.flows.suites import Evaluated
from realm.flows.trial import TrialPlan
from realm.growth.rules import HeroSheet
from realm.jobs.queue import Job
from realm.ledger.records import CheckpointRecord, EvaluationRecord, ModelRecord, RunRecord
from realm.skills.skill import Skill


def _ignore(told: object) -> None:
    """Take what is told and say nothing."""


class Realm:
    """One lab in one folder."""

    def __init__(
        self,
        home: Path | str | None = None,
        *,
        hero: str | None = None,
        overrides: Iterable[str] = (),
    ) -> None:
        """Open a realm: the folder given, else $REALM_HOME, else the nearest parent that is one."""
        self.home: Home = find_home(Path(home) if home is not None else None)
        self._hero = hero
        self._overrides = tuple(overrides)

    @classmethod
    def create(
        cls, path: Path | str, template: str = "dio", *, settings: Mapping[str, str] | None = None
    ) -> Self:
        """Create a realm from a template and open it. Refuses a folder that is one already."""
        return cls(create.create_home(Path(path), template, settings or {}).root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the databases."""
        if "lab" in self.__dict__:
            self.lab.close()

    @cached_property
    def lab(self) -> Lab:
        """The opened rooms, for flows."""
        return Lab.open(self.home, hero=self._hero, overrides=self._overrides)

    def attach(self, watcher: Emit) -> None:
        """Have every event of the work that this process does told to a function."""
        self.lab.watchers.append(watcher)

    @property
    def config(self) -> RealmConfig:
        """The resolved configuration."""
        return self.lab.config

    # --- work -----------------------------------------------------------------------------

    def up(self, until: Callable[[], bool], on_ready: Callable[[Reconciled], None] = _ignore) -> None:
        """Watch the inbox and work the queue until `until` is true. HeldError when it runs already."""
        worker.up(self.lab, until, on_ready)

    def play(self, levels: int = 2, max_steps: int = play.MAX_STEPS) -> PlaySummary:
        """Turn the wheel until so many levels are mastered and their champion is promoted."""
        return play.play(self.lab, levels=levels, max_steps=max_steps)

    def add(self, path: Path | str) -> Job:
        """Validate a file, register it and queue a run on it. The file itself stays where it is."""
        return intake.add_file(self.lab, Path(path))

    def collect(
        self,
        path: Path | str | None = None,
        *,
        kind: str | None = None,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        progress: Callable[[CollectProgress], None] = _ignore,
        on_error: OnError | None = None,
    ) -> list[Collected]:
        """Collect what is new in the source at a path or git URL, or without one in all known sources.

        Of all sources, one that fails keeps no other from being collected: `on_error` is told of it, or an
        error is raised in the end.
        """
        if path is None:
            return live.collect_known(self.lab, progress, on_error)
        config = sources.source_config(self.lab, str(path), kind, name, settings or {})
        return live.collect_from(self.lab, [config], progress)

    def preview(
        self,
        path: Path | str,
        *,
        kind: str | None = None,
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
        limit: int = 3,
    ) -> Preview:
        """Show what the source at a path would bring, with its first documents; nothing is written."""
        config = sources.source_config(self.lab, str(path), kind, name, settings or {})
        return preview(self.lab, config, limit)

    def review(self) -> Review:
        """Return what the scrubber is not sure of, for questions and answers; `end` releases it."""
        return Review(self.lab)

    def decide(self, answers: Mapping[str, Decision]) -> Reviewed:
        """Decide about held rows by their ids, and release what is in doubt no more."""
        return answer(self.review(), answers)

    def samples(self) -> Iterator[Sampled]:
        """Yield the documents that passed the scrubber and are kept for inspection."""
        return samples(self.lab)

    def build(self, plan: BuildPlan, progress: Callable[[BuildProgress], None] = _ignore) -> BuildReport:
        """Build datasets of what was collected, and publish them."""
        return build.build(self.lab, plan, checking.context_of(self.lab), progress)

    def train(self, rows: Path | str, *, recipe: str | None = None, migrate: bool = False) -> Job:
        """Train on a file or a dataset in this process and return the ended job."""
        job = train.plan_training(self.lab, str(rows), recipe=recipe, migrate=migrate)
        return carrying.carry_out(self.lab, job.id)

    # --- datasets -------------------------------------------------------------------------

    def dataset_stats(self, dataset: str, progress: Callable[[RowsProgress], None] = _ignore) -> DatasetStats:
        """Return what a dataset holds, counted over its rows; by name, hash or prefix."""
        return stats.dataset_stats(self.lab, dataset, progress)

    def lab_stats(self, progress: Callable[[RowsProgress], None] = _ignore) -> LabStats:
        """Return what every shaper and check came to over all builds, and what contributors gave."""
        return stats.lab_stats(self.lab, progress)

    def model_stats(self, model: str, progress: Callable[[RowsProgress], None] = _ignore) -> ModelStats:
        """Return what a model was trained on, and who may use it for what they gave."""
        return stats.model_stats(self.lab, model, progress)

    def publishable(self, reference: str) -> Publishing:
        """Say whether a dataset or a model may leave the lab, and what stands against it."""
        return publishing.publishable(self.lab, reference)

    def export(self, plan: ExportPlan, progress: Callable[[RowsProgress], None] = _ignore) -> Exported:
        """Write a dataset into a folder. Raises RefusedError where it may not leave."""
        return export.export(self.lab, plan, progress)

    # --- queue and runs -------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """Return all jobs: running, then queued in their order, then ended ones, newest first."""
        return self.lab.queue.list()

    def move(self, job: str, priority: Priority) -> Job:
        """Give a queued job another priority."""
        return control.move(self.lab, job, priority)

    def retry(self, job: str, *, processes: int | None = None) -> Job:
        """Queue a failed or dropped job again; the reason it ended with is kept.

        A run that trains in ranks may go on in another number of `processes`, here as in `resume`.
        """
        return control.retry(self.lab, job, processes=processes)

    def drop(self, job: str, reason: str = "dropped by hand") -> Job:
        """Take a job out of the queue for good."""
        return control.drop(self.lab, job, reason)

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """Return runs, newest first."""
        return self.lab.ledger.runs.list(limit)

    def pause(self, run: str | None = None) -> Job:
        """Ask a run to save within one step and free the device."""
        return control.pause(self.lab, run)

    def save(self, run: str | None = None) -> Job:
        """Ask a running run for a checkpoint now."""
        return control.save(self.lab, run)

    def resume(self, run: str | None = None, *, processes: int | None = None) -> Job:
        """Go on with a paused run."""
        return control.resume(self.lab, run, processes=processes)

    def stop(self, run: str | None = None) -> Job:
        """End a run for good, with a valid checkpoint."""
        return control.stop(self.lab, run)

    def watch(self, run: str | None = None, *, follow: bool = True) -> Iterator[Event | None]:
        """Yield a run's events as they come; without a name, of the running or newest run."""
        return control.watch(self.lab, control.run_to_watch(self.lab, run), follow=follow)

    # --- what it can do, and what it gets wrong ---------------------------------------------

    def evaluate(
        self, model: str | None = None, suite: str = "lite", *, size: Size | None = None
    ) -> Evaluated:
        """Let a model answer a suite, unless it has; without a name the champion, else the latest.

        In this process, or in the lab that is up. Raises StateError where it did not end well.
        """
        asked = suites.ask(self.lab, model, suite, size=size)
        job = suites.begin(self.lab, asked)
        if job is not None:
            suites.finish(self.lab, job)
        return suites.evaluated(self.lab, asked)

    def report(self, skill: str | None = None) -> list[SkillReport]:
        """Return the shares of right answers by primitive, the weakest first."""
        return report.report(self.lab, skill)

    def spar(
        self, skill: str | None = None, *, problems: int | None = None, targeted: bool | None = None
    ) -> Job:
        """Look for mistakes in this process and queue a run on them. HeldError while the lab is up."""
        job = sparring.queue_sparring(self.lab, skill, problems=problems, targeted=targeted)
        return carrying.carry_out(self.lab, job.id)

    def mine(self, dataset: str, model: str | None = None, config: MiningConfig | None = None) -> Job:
        """Make a dataset of a dataset's hard rows in this process. Raises HeldError while the lab is up."""
        job = mining.queue_mining(self.lab, dataset, model, config or MiningConfig())
        return carrying.carry_out(self.lab, job.id)

    def drift(self, dataset: str | None = None) -> Staleness:
        """Compare the conventions of a build with those that hold now."""
        return drift.staleness(self.lab, dataset)

    def curriculum(self) -> Curriculum:
        """Return where each skill stands and what the next drills will be."""
        return curriculum.curriculum(self.lab)

    def trial(self, plan: TrialPlan) -> TrialDecided:
        """Compare two ways to drill by campaigns from one checkpoint; goes on where it was interrupted."""
        return trial.run_trial(self.lab, plan)

    # --- what is known --------------------------------------------------------------------

    def status(self) -> Status:
        """Return what the lab does now and where its hero stands."""
        return status.status(self.lab)

    def sheet(self) -> HeroSheet:
        """Return the hero's measured facts."""
        return status.sheet(self.lab)

    def skill(self, name: str) -> Skill:
        """Return one of the hero's skills."""
        return self.lab.skill(name)

    def checkpoints(self, limit: int | None = None) -> list[CheckpointRecord]:
        """Return the hero's checkpoints in the order of their sequence."""
        return self.lab.ledger.checkpoints.list(self.lab.campaign, self.lab.hero_name, limit)

    def checkpoint(self, reference: str) -> CheckpointRecord:
        """Return the checkpoint that a name means, never another. NotFoundError lists what exists."""
        return resolve(self.lab, reference)

    def evaluations(self, checkpoint: str | None = None) -> list[EvaluationRecord]:
        """Return evaluations, newest first."""
        return self.lab.ledger.evaluations.list(checkpoint=checkpoint)

    def models(self) -> list[ModelRecord]:
        """Return the registered models."""
        return self.lab.ledger.models.list()

    def champion(self) -> str | None:
        """Return the name of the hero's champion."""
        champion = self.lab.ledger.models.champion(self.lab.campaign, self.lab.hero_name)
        return champion.model.name if champion else None

    # --- talk -----------------------------------------------------------------------------

    def chat(self, model: str | None = None) -> Conversation:
        """Load a model into this process and begin a conversation."""
        return chat.Conversation.begin(self.lab, model)

    def ask(self, question: str, model: str | None = None, *, temperature: float = 0.0, seed: int = 0) -> str:
        """Return one answer to one question; the model is loaded for it."""
        return self.chat(model).ask(question, temperature=temperature, seed=seed)
