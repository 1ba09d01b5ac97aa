"""Encoded rows on disk: plain arrays, mapped into memory, in a folder named by what they were made from.

The name is a hash of the rows' bytes, the tokenizer with its template, every setting that decides over
tokens and weights, and the code that encodes. A folder is written under a name of its own, flushed, its
manifest last, and renamed; of several processes that build the same one, the first wins. A mark beside
it stays locked while its writer lives; what a dead one left is removed by whoever comes next. Opening
reads every byte against its hash: what is broken is built anew, what is no cache of these rows is
refused. Arrays are `.npy` files read without pickle.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from realm.core.errors import CorruptError
from realm.core.hashing import PREFIX, hash_file, hash_json
from realm.core.records import Record, Sha256
from realm.storage.durable import explained, fsync_dir, fsync_file, make_dir, rename_dir, write_file
from realm.storage.lock import exclusive, is_alive, mark_alive

MANIFEST = "manifest.json"
_LOCK = ".lock"
_STAGE = ".partial"
_MARK = ".writer"
_BROKEN = ".broken"
_NAME = "[0-9a-f]" * 64 + ".*"
_HEADER_BYTES = 128
"""Of an `.npy` file of one dimension."""

Array = NDArray[np.generic]


class CacheFile(Record):
    """One array as it was written."""

    bytes: int
    sha256: Sha256


class Manifest(Record):
    """What a cache holds; written last."""

    format: Literal["realm-rows-1"] = "realm-rows-1"
    key: Sha256
    files: dict[str, CacheFile]
    facts: dict[str, Any]
    """What its maker has to remember beside the arrays."""


class Stored(NamedTuple):
    """A cache that was opened or built."""

    arrays: dict[str, Array]
    """Read-only arrays by name."""
    facts: dict[str, Any]


Made = tuple[Mapping[str, Array], Mapping[str, Any]]
"""Arrays by name, and facts as JSON values."""


def cached(folder: Path, parts: Mapping[str, Any], make: Callable[[], Made]) -> Stored:
    """Return the arrays for these parts of a key, from the cache or made and written to it.

    Raises CorruptError where the place is taken by something else, StorageError where it cannot be written.
    """
    key = hash_json(dict(parts))
    place = folder / key.removeprefix(PREFIX)
    _remove_left_over(folder)
    found = _opened(place, key)
    if found is not None:
        return found
    arrays, facts = make()
    make_dir(folder)
    for _ in range(2):
        _publish(place, key, arrays, facts)
        found = _opened(place, key)
        if found is not None:
            return found
    raise CorruptError(f"{place}: what was written is not what is read", hint="check the disk (see `dmesg`)")


def _publish(place: Path, key: str, arrays: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    """Write a cache beside its place, then rename it there, unless another process was faster."""
    with _stage(place) as stage:
        with explained(stage):
            files = {name: _written(stage / f"{name}.npy", array) for name, array in arrays.items()}
        manifest = Manifest(key=key, files=files, facts=dict(facts))
        write_file(stage / MANIFEST, manifest.model_dump_json(indent=1).encode())
        fsync_dir(stage)
        try:
            rename_dir(stage, place)
        except OSError:
            if not place.is_dir():
                raise


@contextmanager
def _stage(place: Path) -> Iterator[Path]:
    """Make a folder beside a place that nobody clears away while this process lives."""
    stage = place.with_name(f"{place.name}.{secrets.token_hex(6)}{_STAGE}")
    mark = stage.with_suffix(_MARK)
    with exclusive(place.parent / _LOCK):  # else it could be cleared away before its mark is locked
        descriptor = mark_alive(mark)
    try:
        with explained(stage):
            stage.mkdir()
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        mark.unlink(missing_ok=True)
        os.close(descriptor)


def _remove_left_over(folder: Path) -> None:
    """Remove what processes that are gone had begun to write, or to remove."""
    stages, marks, broken = (list(folder.glob(_NAME + end)) for end in (_STAGE, _MARK, _BROKEN))
    if not (stages or marks or broken):
        return
    with exclusive(folder / _LOCK):
        for path in broken + [stage for stage in stages if not _is_written(stage.with_suffix(_MARK))]:
            shutil.rmtree(path, ignore_errors=True)
        for mark in marks:
            if not _is_written(mark):
                mark.unlink(missing_ok=True)


def _is_written(mark: Path) -> bool:
    try:
        return is_alive(mark)
    except FileNotFoundError:
        return False


def _written(path: Path, array: Array) -> CacheFile:
    with path.open("xb") as file:
        np.save(file, array, allow_pickle=False)
    fsync_file(path)
    return CacheFile(bytes=path.stat().st_size, sha256=hash_file(path))


def _opened(place: Path, key: str) -> Stored | None:
    """Return a cache that is whole; set a broken one aside. Raises CorruptError for a foreign one."""
    if not os.path.lexists(place):
        return None
    if place.is_symlink() or not place.is_dir():
        raise _foreign(place)
    try:
        manifest = Manifest.model_validate_json((place / MANIFEST).read_bytes())
    except (FileNotFoundError, ValidationError):
        manifest = None
    names = {path.name for path in place.iterdir()} - {MANIFEST}
    if any(not name.endswith(".npy") for name in names) or (manifest is not None and manifest.key != key):
        raise _foreign(place)
    if manifest is None or not _whole(place, manifest, names):
        aside = place.with_name(f"{place.name}.{secrets.token_hex(4)}{_BROKEN}")
        rename_dir(place, aside)
        shutil.rmtree(aside, ignore_errors=True)
        return None
    arrays = {name: _mapped(place / f"{name}.npy", told.bytes) for name, told in manifest.files.items()}
    return Stored(arrays=arrays, facts=manifest.facts)


def _mapped(path: Path, size_bytes: int) -> Array:
    # Nothing cannot be mapped.
    mode: Literal["r"] | None = "r" if size_bytes > _HEADER_BYTES else None
    # A plain view of the map: slices of `numpy.memmap` cost several times as much.
    return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))


def _whole(place: Path, manifest: Manifest, names: set[str]) -> bool:
    if names != {f"{name}.npy" for name in manifest.files}:
        return False
    for name, told in manifest.files.items():
        path = place / f"{name}.npy"
        if path.is_symlink() or path.stat().st_size != told.bytes or hash_file(path) != told.sha256:
            return False
    return True


def _foreign(place: Path) -> CorruptError:
    return CorruptError(f"{place}: not a cache of these rows", hint="move it away, or name another folder")
