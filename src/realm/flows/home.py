"""Where things lie in a realm's folder, and how that folder is found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from realm.core.errors import NotFoundError, StorageError
from realm.core.paths import expanded

CONFIG_NAME = "realm.yaml"
PRIVATE = ".realm"


@dataclass(frozen=True)
class Home:
    """One folder, one lab."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / CONFIG_NAME

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def vault(self) -> Path:
        return self.root / "vault"

    @property
    def recipes(self) -> Path:
        return self.root / "recipes"

    @property
    def suites(self) -> Path:
        return self.root / "suites"

    @property
    def private(self) -> Path:
        return self.root / PRIVATE

    @property
    def ledger(self) -> Path:
        return self.private / "ledger.db"

    @property
    def jobs(self) -> Path:
        return self.private / "jobs.db"

    @property
    def logs(self) -> Path:
        return self.private / "logs"

    @property
    def stages(self) -> Path:
        """Where children write; the same filesystem as the vault."""
        return self.vault / ".stage"

    @property
    def tracking(self) -> Path:
        """Where trackers that write files keep them."""
        return self.private / "tracking"

    @property
    def cache(self) -> Path:
        """What can be computed again, such as encoded rows."""
        return self.private / "cache"

    def run(self, run: str) -> Path:
        """Return the folder of one run's job spec, events and log."""
        return self.private / "runs" / run

    def events(self, run: str) -> Path:
        """Return the file that a run's children append their events to."""
        return self.run(run) / "events.jsonl"

    def save_now(self, run: str) -> Path:
        """Return the file that asks a run for a checkpoint."""
        return self.run(run) / "save-now"

    def make(self) -> None:
        """Create the folders that are always there. Raises StorageError when not writable."""
        try:
            for folder in (self.inbox, self.vault, self.private / "runs", self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            self.private.chmod(0o700)
        except OSError as error:
            raise StorageError(
                f"{self.root}: not writable ({error.strerror})",
                hint="choose another place with --home, or free space and mend its permissions",
            ) from None


def find_home(explicit: Path | None = None) -> Home:
    """Return the home: the one given, else $REALM_HOME, else the nearest parent with a realm.yaml."""
    given = explicit or (Path(os.environ["REALM_HOME"]) if os.environ.get("REALM_HOME") else None)
    if given is not None:
        root = expanded(given).resolve()
        if not (root / CONFIG_NAME).is_file():
            raise NotFoundError(f"{root}: no realm here", hint=f"create one with `realm init {given}`")
        return Home(root)
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_NAME).is_file():
            return Home(folder)
    raise NotFoundError(
        f"no {CONFIG_NAME} in {here} or above it",
        hint="create a realm with `realm init lab`, or name one with --home",
    )
