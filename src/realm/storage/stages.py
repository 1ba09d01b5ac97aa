"""Stages: private folders of unfinished work, removed once nobody can finish it."""

from __future__ import annotations

import os
import secrets
import shutil
import weakref
from pathlib import Path

from realm.core.records import ArtifactKind
from realm.storage.durable import explained
from realm.storage.lock import exclusive, is_alive, mark_alive

_MARK = ".live-"


class Stages:
    """Hands out stages, and tells those of living processes from left-over ones.

    One mark a process, not one a stage, says that it lives: a lock that ends with the process.
    A folder that somebody else made here carries no mark and counts as left over.
    """

    def __init__(self, folder: Path, lock: Path) -> None:
        self.folder = folder
        self._lock = lock
        self._token: str | None = None

    def new(self, kind: ArtifactKind) -> Path:
        """Make an empty stage."""
        stage = self.folder / f"{kind.value}-{self._own_token()}-{secrets.token_hex(6)}"
        with explained(stage):
            stage.mkdir()
        return stage

    def remove_left_over(self, kind: ArtifactKind | None = None) -> list[str]:
        """Remove every stage (of one kind, or all) of a process that is gone, with the vault's lock held."""
        if not self.folder.is_dir():
            return []
        marks = [path for path in self.folder.iterdir() if path.name.startswith(_MARK)]
        alive = {path.name.removeprefix(_MARK) for path in marks if is_alive(path)}
        removed = []
        for path in sorted(self.folder.iterdir()):
            if path.name.removeprefix(_MARK) in alive or _token(path.name) in alive:
                continue
            if kind is not None and not path.name.startswith(f"{kind.value}-"):
                continue
            remove(path)
            if not path.name.startswith(_MARK):
                removed.append(path.name)
        return removed

    def _own_token(self) -> str:
        if self._token is None:
            token = secrets.token_hex(6)
            with explained(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive(self._lock):  # else a clean-up could take the mark before it is locked
                descriptor = mark_alive(self.folder / f"{_MARK}{token}")
            weakref.finalize(self, os.close, descriptor)
            self._token = token
        return self._token


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder. Does nothing when it is gone already."""
    with explained(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _token(name: str) -> str:
    parts = name.split("-")
    return parts[1] if len(parts) == 3 else ""
