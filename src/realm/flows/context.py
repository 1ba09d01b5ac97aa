"""An opened lab: what every flow works with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from realm.core import events
from realm.core.clock import Clock, utc_now
from realm.core.config import rooted
from realm.core.events import Emit, Event
from realm.flows.config import HeroConfig, RealmConfig, load_config
from realm.flows.home import Home
from realm.jobs.queue import JobQueue
from realm.ledger.ledger import Ledger
from realm.skills.skill import SKILLS, Skill
from realm.storage.store import Store

KEPT = (
    events.DatasetAdded,
    events.CollectionAdded,
    events.FileRefused,
    events.Evaluated,
    events.LevelMastered,
    events.LevelReviewed,
    events.LevelSet,
    events.TrialBegun,
    events.TrialDecided,
    events.Sparred,
    events.DriftMeasured,
    events.Appraised,
    events.RegressionFound,
    events.GateDecided,
    events.Promoted,
    events.ValidationMeasured,
    events.PreviewWritten,
    events.AlertRaised,
    events.CheckpointSetAside,
    events.RolledBack,
    events.MemoryLowered,
    events.RunPredicted,
)
"""Events the ledger remembers; the others live in a run's event file or not at all."""


@dataclass(frozen=True)
class Lab:
    """One realm, opened: its rooms wired together, with one hero in focus."""

    home: Home
    config: RealmConfig
    store: Store
    ledger: Ledger
    queue: JobQueue
    hero_name: str
    watchers: list[Emit]
    """Told of every event, in this order."""
    clock: Clock = utc_now
    counts: bool = True
    """Whether checkpoints meet the gate and events are kept; those of a trial's campaigns do not count."""

    @classmethod
    def open(
        cls,
        home: Home,
        *,
        hero: str | None = None,
        overrides: Iterable[str] = (),
        clock: Clock = utc_now,
    ) -> Lab:
        """Open a home. Creates its private folders and databases when they are absent."""
        config = load_config(home, overrides)
        name, _ = config.hero(hero)
        home.make()
        return cls(
            home=home,
            config=config,
            store=Store(home.vault),
            ledger=Ledger.open(home.ledger, clock=clock),
            queue=JobQueue(home.jobs, clock=clock),
            hero_name=name,
            watchers=[],
            clock=clock,
        )

    def close(self) -> None:
        """Close the databases."""
        self.ledger.close()
        self.queue.close()

    @property
    def campaign(self) -> str:
        return self.config.campaign

    @property
    def hero(self) -> HeroConfig:
        return self.config.heroes[self.hero_name]

    def with_hero(self, name: str) -> Lab:
        """Return the same lab with another hero in focus."""
        self.config.hero(name)
        return replace(self, hero_name=name)

    def skill(self, name: str) -> Skill:
        """Return one of the hero's skills, built from its config; its paths begin at the realm."""
        return SKILLS.build(rooted(self.hero.skills[name], self.home.root))

    def emit(self, event: Event) -> None:
        """Tell everybody who watches, and keep the event if it is worth keeping."""
        stamped = event.model_copy(update={"at": self.clock().isoformat()})
        if self.counts and isinstance(stamped, KEPT):
            self.ledger.events.keep(stamped)
        self.show(stamped)

    def show(self, event: Event) -> None:
        """Tell everybody who watches."""
        for watcher in self.watchers:
            watcher(event)
