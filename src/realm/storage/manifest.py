"""The manifest: the name, size and hash of every file of an artifact, written last.

Covered: a flipped bit, a cut, swapped, added or missing file, a folder or link that does not belong,
and any change of the manifest itself. Not covered: modes, owners and times, which no artifact needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from realm.core.errors import CorruptError, StateError, UnsafeFileError
from realm.core.hashing import hash_file, hash_json
from realm.core.records import ArtifactKind, ArtifactRef, Record, Sha256
from realm.storage.durable import explained

MANIFEST_NAME = "manifest.json"
SIDECAR_NAME = ".ledger.json"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class FileEntry(Record):
    """Size and hash of one file."""

    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Manifest(Record):
    """What a published folder holds; the folder's name is `hash`."""

    version: Literal[1] = 1
    kind: ArtifactKind
    hash: Sha256
    files: dict[str, FileEntry]
    """By name, with `/` for the one folder level allowed; sidecars included."""
    sidecars: tuple[str, ...] = ()
    """Files that the content hash leaves out: copies of ledger facts, for people and recovery."""

    @property
    def ref(self) -> ArtifactRef:
        """Return the reference to these bytes; its size counts the content alone."""
        size_bytes = sum(entry.size_bytes for name, entry in self.files.items() if name not in self.sidecars)
        return ArtifactRef(kind=self.kind, hash=self.hash, size_bytes=size_bytes)

    def to_bytes(self) -> bytes:
        """Write the manifest in the only form that `read` takes."""
        return (self.model_dump_json(indent=2) + "\n").encode()


def content_hash(files: dict[str, FileEntry], sidecars: Iterable[str] = ()) -> str:
    """Return the hash of names, sizes and hashes, independent of their order."""
    left_out = set(sidecars)
    return hash_json(
        sorted([name, e.size_bytes, e.sha256] for name, e in files.items() if name not in left_out)
    )


def describe(folder: Path, kind: ArtifactKind) -> Manifest:
    """Hash every file of a folder into a manifest. Raises UnsafeFileError, StateError when empty."""
    names = list_files(folder)
    sidecars = tuple(name for name in names if name == SIDECAR_NAME)
    files = {name: _entry(folder / name) for name in names}
    if len(files) == len(sidecars):
        raise StateError(f"{folder}: nothing was staged here", hint="write the files before publishing")
    return Manifest(kind=kind, hash=content_hash(files, sidecars), files=files, sidecars=sidecars)


def list_files(folder: Path) -> list[str]:
    """Return the names of all files but the manifest, sorted.

    Raises UnsafeFileError for a link, a special file, a name with other characters than
    `A-Za-z0-9._-`, a hidden file, an empty folder, and a folder in a folder.
    """
    names = []
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            _check_name(entry)
            inner = _entries(Path(entry.path))
            if not inner:
                raise UnsafeFileError(f"{entry.path}: an empty folder cannot be published")
            for file in inner:
                _check_name(file)
                _check_file(file)
            names += [f"{entry.name}/{file.name}" for file in inner]
            continue
        _check_file(entry)
        if entry.name != SIDECAR_NAME:
            _check_name(entry)
        names.append(entry.name)
    return sorted(name for name in names if name != MANIFEST_NAME)


def read(folder: Path, kind: ArtifactKind, content: str) -> Manifest:
    """Read and check the manifest of a published folder, without reading the files it names."""
    path = folder / MANIFEST_NAME
    try:
        if path.is_symlink():
            raise _corrupt(path, "it is a link")
        with explained(path):
            data = path.read_bytes()
        manifest = Manifest.model_validate_json(data)
    except FileNotFoundError:
        raise _corrupt(path, "it is missing") from None
    except (ValidationError, IsADirectoryError, NotADirectoryError):
        raise _corrupt(path, "it is not a manifest") from None
    if manifest.to_bytes() != data:
        raise _corrupt(path, "it was changed after it was written")
    if manifest.kind is not kind or manifest.hash != content:
        raise _corrupt(path, f"it describes {manifest.kind.value}/{manifest.hash}")
    if manifest.sidecars not in ((), (SIDECAR_NAME,)):
        raise _corrupt(path, "it leaves files out of the content hash")
    if content_hash(manifest.files, manifest.sidecars) != content:
        raise _corrupt(path, "its files do not add up to its content hash")
    return manifest


def verify(folder: Path, kind: ArtifactKind, content: str) -> Manifest:
    """Re-hash every file of a published folder. Raises CorruptError naming the first bad file."""
    manifest = read(folder, kind, content)
    try:
        present = set(list_files(folder))
    except UnsafeFileError as error:
        raise CorruptError(error.what, hint=_hint(folder)) from None
    for name in sorted(present | set(manifest.files)):
        if name not in present:
            raise _corrupt(folder / name, "it is missing")
        if name not in manifest.files:
            raise _corrupt(folder / name, "the manifest does not name it")
        expected, found = manifest.files[name], _entry(folder / name)
        if found.size_bytes != expected.size_bytes:
            raise _corrupt(
                folder / name, f"it holds {found.size_bytes} bytes instead of {expected.size_bytes}"
            )
        if found.sha256 != expected.sha256:
            raise _corrupt(folder / name, "its bytes do not match the manifest")
    return manifest


def _entry(path: Path) -> FileEntry:
    with explained(path):
        return FileEntry(size_bytes=path.stat(follow_symlinks=False).st_size, sha256=hash_file(path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with explained(folder), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _check_name(entry: os.DirEntry[str]) -> None:
    if not _NAME.fullmatch(entry.name):
        raise UnsafeFileError(
            f"{entry.path!r}: this name may not be published", hint="use A-Z a-z 0-9 . _ - and no leading dot"
        )


def _check_file(entry: os.DirEntry[str]) -> None:
    if not entry.is_file(follow_symlinks=False):
        raise UnsafeFileError(
            f"{entry.path}: not a regular file", hint="links, devices and deeper folders are refused"
        )


def _corrupt(path: Path, reason: str) -> CorruptError:
    return CorruptError(f"{path}: {reason}", hint=_hint(path.parent))


def _hint(folder: Path) -> str:
    return f"restore {folder} from a copy, if there is one"
