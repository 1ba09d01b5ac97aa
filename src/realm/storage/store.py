"""The vault: content-named folders that are published whole, checked, moved aside, deleted.

    vault/<kind>/<64 hex>/   published: files, `.ledger.json` (sidecar), `manifest.json`
    vault/.stage/            unfinished work, private to the process that does it
    vault/quarantine/        what nobody could account for, each with its `reason.json`
    vault/trash/             on its way out

Covered: a crash at any system call, a full disk, several processes at once on one machine.
Not covered: network filesystems without working locks, and other writers inside the vault.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from realm.core.clock import iso, stamp, utc_now
from realm.core.errors import CorruptError, NotFoundError, StorageError
from realm.core.hashing import PREFIX, canonical_json
from realm.core.records import ArtifactKind, ArtifactRef, Record
from realm.storage import manifest as manifests
from realm.storage.durable import explained, fsync_dir, fsync_file, make_dir, rename_dir, write_file
from realm.storage.lock import exclusive
from realm.storage.manifest import MANIFEST_NAME, SIDECAR_NAME, Manifest
from realm.storage.stages import Stages, remove

R = TypeVar("R")
_HEX = re.compile(r"[0-9a-f]{64}")
_LISTED = 10


class Reconciliation(Record):
    """What a reconciliation of the vault had to put right."""

    quarantined: tuple[Path, ...]
    """Where the artifacts went that the ledger does not know, or that have no valid manifest."""
    stages_removed: tuple[str, ...]
    trash_removed: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (self.quarantined or self.stages_removed or self.trash_removed)


class Store:
    """Publish, find, verify, quarantine and delete artifacts in one vault."""

    def __init__(self, vault: Path) -> None:
        self.vault = vault
        self._stages = Stages(vault / ".stage", vault / ".lock")
        self._flushed: set[ArtifactKind] = set()

    # --- publish --------------------------------------------------------------------------

    def stage(self, kind: ArtifactKind) -> Path:
        """Make an empty folder on the vault's filesystem to write a new artifact into."""
        return self._stages.new(kind)

    def discard(self, stage: Path) -> None:
        """Remove a stage that will not be published. Does nothing when it is gone already."""
        remove(stage)

    def publish(
        self,
        stage: Path,
        kind: ArtifactKind,
        commit: Callable[[ArtifactRef], R],
        *,
        sidecar: Mapping[str, Any] | None = None,
    ) -> R:
        """Make a stage durable and visible under its content's name, then write its ledger row.

        `commit` is the ledger write; it may not publish or delete. When it raises, the bytes stay
        and count as unknown. The same content published again keeps the folder that is there and
        commits again. `manifest.json` and `.ledger.json` are this method's own names.
        """
        if not stage.is_dir():
            raise NotFoundError(f"{stage}: no such stage", hint="it was published or removed; stage it anew")
        manifest = self._seal(stage, kind, sidecar)
        with self._exclusive():
            self._place(stage, manifest)
            return commit(manifest.ref)

    def _seal(self, stage: Path, kind: ArtifactKind, sidecar: Mapping[str, Any] | None) -> Manifest:
        """Flush every file, then write and flush the sidecar, and the manifest last."""
        with explained(stage):
            for name in (MANIFEST_NAME, SIDECAR_NAME):
                (stage / name).unlink(missing_ok=True)  # of an attempt that failed
        self._flush(stage)
        if sidecar is not None:
            write_file(stage / SIDECAR_NAME, (canonical_json(dict(sidecar)) + "\n").encode())
        manifest = manifests.describe(stage, kind)
        write_file(stage / MANIFEST_NAME, manifest.to_bytes())
        fsync_dir(stage)
        return manifest

    def _flush(self, stage: Path) -> None:
        names = manifests.list_files(stage)
        try:
            for name in names:
                fsync_file(stage / name)
            for folder in {(stage / name).parent for name in names} - {stage}:
                fsync_dir(folder)
        except StorageError:
            shutil.rmtree(stage, ignore_errors=True)  # nobody may flush these files a second time
            raise

    def _place(self, stage: Path, manifest: Manifest) -> None:
        """Rename the stage to its content's name; keep what is there already when it is sound."""
        target = self.folder(manifest.kind, manifest.hash)
        self._make_kind(manifest.kind)
        if target.exists() or target.is_symlink():
            try:
                manifests.verify(target, manifest.kind, manifest.hash)
            except CorruptError as error:
                self.quarantine(target, error.what)
            else:
                fsync_dir(target.parent)  # whoever renamed it may have died before this
                remove(stage)
                return
        rename_dir(stage, target)

    def _make_kind(self, kind: ArtifactKind) -> None:
        if kind not in self._flushed:
            make_dir(self.vault)
            make_dir(self.vault / kind.value)
            self._flushed.add(kind)

    # --- find -----------------------------------------------------------------------------

    def folder(self, kind: ArtifactKind, content_hash: str) -> Path:
        """Return where an artifact lies, or would. Raises NotFoundError for what is no content hash."""
        name = content_hash.removeprefix(PREFIX)
        if not _HEX.fullmatch(name):
            raise NotFoundError(
                f"{content_hash!r} is no content hash", hint="expected sha256: and 64 hex digits"
            )
        return self.vault / kind.value / name

    def path(self, kind: ArtifactKind, content_hash: str) -> Path:
        """Return the folder of a published artifact, unchecked. Raises NotFoundError."""
        folder = self.folder(kind, content_hash)
        if not folder.is_dir():
            present = self.hashes(kind)
            listed = ", ".join(present[:_LISTED]) or "none"
            more = f" and {len(present) - _LISTED} more" if len(present) > _LISTED else ""
            raise NotFoundError(
                f"no {kind.value}/{content_hash} in {self.vault}", hint=f"there are: {listed}{more}"
            )
        return folder

    def verified(self, kind: ArtifactKind, content_hash: str) -> Path:
        """Return the folder of an artifact after re-hashing every byte of it.

        Raises CorruptError naming the bad file; nothing is moved.
        """
        folder = self.path(kind, content_hash)
        manifests.verify(folder, kind, _prefixed(content_hash))
        return folder

    def described(self, kind: ArtifactKind, content_hash: str) -> Path:
        """Return the folder of an artifact after checking its manifest, without reading the files it names.

        Raises CorruptError, NotFoundError.
        """
        folder = self.path(kind, content_hash)
        manifests.read(folder, kind, _prefixed(content_hash))
        return folder

    def hashes(self, kind: ArtifactKind) -> list[str]:
        """Return the content hashes of everything published of one kind, sorted."""
        return [PREFIX + path.name for path in self._published(kind) if _HEX.fullmatch(path.name)]

    def missing(self, known: Iterable[tuple[ArtifactKind, str]]) -> list[tuple[ArtifactKind, str]]:
        """Return those artifacts that the ledger names and the vault does not hold."""
        return [(kind, content) for kind, content in known if not self.folder(kind, content).is_dir()]

    # --- move aside, delete, put right ----------------------------------------------------

    def delete(
        self,
        kind: ArtifactKind,
        content_hash: str,
        tombstone: Callable[[], None],
        done: Callable[[], None],
    ) -> None:
        """Delete an artifact once `tombstone` has allowed it; call `done` when its bytes are gone.

        `tombstone` checks references and marks the deletion in one ledger transaction, and refuses
        by raising: then nothing has changed. An interrupted deletion is finished by calling this
        again; bytes that are gone already are no error.
        """
        folder = self.folder(kind, content_hash)
        trash = self.vault / "trash"
        with self._exclusive():
            tombstone()
            if folder.exists():
                make_dir(trash)
                rename_dir(folder, trash / f"{kind.value}-{folder.name}-{secrets.token_hex(4)}")
        for path in trash.glob(f"{kind.value}-{folder.name}-*"):
            remove(path)
        done()

    def set_aside(
        self, kind: ArtifactKind, content_hash: str, reason: str, commit: Callable[[], None]
    ) -> Path | None:
        """Write down by `commit` that an artifact is damaged, then move what is there of it aside.

        Returns the folder in the quarantine, as `quarantine` does; None where nothing was there.
        """
        folder = self.folder(kind, content_hash)
        with self._exclusive():
            commit()
            return self.quarantine(folder, reason) if os.path.lexists(folder) else None

    def quarantine(self, path: Path, reason: str) -> Path:
        """Move a file or folder aside and say why. Returns the folder that holds both.

        The folder holds `content/<name>` and `reason.json`; nothing is ever overwritten.
        """
        now = utc_now()
        legible = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)[:80]
        folder = self.vault / "quarantine" / f"{stamp(now)}-{secrets.token_hex(6)}-{legible}"
        make_dir(folder / "content")
        facts = {"reason": reason, "from": str(path), "at": iso(now)}
        write_file(folder / "reason.json", (canonical_json(facts) + "\n").encode())
        fsync_dir(folder)
        _move(path, folder / "content" / path.name)
        return folder

    def reconcile(self, known: Callable[[ArtifactKind, str], bool]) -> Reconciliation:
        """Put right what a crash left behind. A second call finds nothing to do.

        Only the holder of the home's lock may call this, after the children of a former holder
        have ended: their stages are removed. Stages of other living processes are left alone.
        Published folders without a valid manifest or a ledger row go to the quarantine, and
        deletions that had begun are finished.
        """
        with self._exclusive():
            strangers = list(self._strangers(known))
            return Reconciliation(
                quarantined=tuple(self.quarantine(path, reason) for path, reason in strangers),
                trash_removed=tuple(self._empty_trash()),
                stages_removed=tuple(self._stages.remove_left_over()),
            )

    def clear_stages(self, kind: ArtifactKind) -> list[str]:
        """Remove what dead processes left unfinished of a kind that no child of theirs writes."""
        with self._exclusive():
            return self._stages.remove_left_over(kind)

    def _strangers(self, known: Callable[[ArtifactKind, str], bool]) -> Iterator[tuple[Path, str]]:
        for kind in ArtifactKind:
            for path in self._published(kind, every=True):
                content = PREFIX + path.name
                if not _HEX.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
                    yield path, "no artifact is named like this"
                    continue
                try:
                    manifests.read(path, kind, content)
                except CorruptError as error:
                    yield path, error.what
                    continue
                if not known(kind, content):
                    yield path, "the ledger does not know it"

    def _empty_trash(self) -> list[str]:
        trash = self.vault / "trash"
        paths = sorted(trash.iterdir()) if trash.is_dir() else []
        for path in paths:
            remove(path)
        return [path.name for path in paths]

    # --- places ---------------------------------------------------------------------------

    def _exclusive(self) -> AbstractContextManager[None]:
        """Keep publishing, deleting and reconciling apart, in all processes."""
        return exclusive(self.vault / ".lock")

    def _published(self, kind: ArtifactKind, *, every: bool = False) -> list[Path]:
        folder = self.vault / kind.value
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path for path in paths if every or (path.is_dir() and not path.is_symlink())]


def _prefixed(content_hash: str) -> str:
    return PREFIX + content_hash.removeprefix(PREFIX)


def _move(source: Path, target: Path) -> None:
    """Rename, or copy and remove where the two lie on different filesystems."""
    try:
        rename_dir(source, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    with explained(target):
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    for folder, _, names in os.walk(target):
        for name in names:
            if not (Path(folder) / name).is_symlink():
                fsync_file(Path(folder) / name)
        fsync_dir(Path(folder))
    if target.is_file() and not target.is_symlink():
        fsync_file(target)
    fsync_dir(target.parent)
    remove(source)
