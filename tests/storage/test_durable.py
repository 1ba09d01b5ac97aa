from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from realm.core.errors import StorageError
from realm.storage.durable import explained, fsync_file, make_dir, rename_dir, write_file


def test_write_file_writes_everything_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"x" * 300_000)
    assert path.read_bytes() == b"x" * 300_000
    with pytest.raises(FileExistsError):
        write_file(path, b"other")
    assert path.stat().st_size == 300_000


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_what_the_disk_refuses_names_the_path_and_the_next_step(code: int) -> None:
    with pytest.raises(StorageError) as caught, explained(Path("/vault/x")):
        raise OSError(code, os.strerror(code))
    assert "/vault/x" in caught.value.what
    assert os.strerror(code) in caught.value.what
    assert caught.value.hint


def test_other_errors_are_not_the_disks_fault() -> None:
    with pytest.raises(IsADirectoryError), explained(Path("/vault/x")):
        raise IsADirectoryError(errno.EISDIR, "is a directory")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_storage_error() -> None:
    refused = pytest.raises(StorageError, match="No space left")
    with open("/dev/full", "wb", buffering=0) as full, refused, explained(Path("/dev/full")):
        full.write(b"x")


def test_fsync_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError, match="symbolic links"):
        fsync_file(tmp_path / "link")


def test_rename_and_make_dir(tmp_path: Path) -> None:
    make_dir(tmp_path / "a" / "b")
    make_dir(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "file").write_text("1")
    make_dir(tmp_path / "c")
    rename_dir(tmp_path / "a" / "b", tmp_path / "c" / "d")
    assert (tmp_path / "c" / "d" / "file").read_text() == "1"
    assert not (tmp_path / "a" / "b").exists()
