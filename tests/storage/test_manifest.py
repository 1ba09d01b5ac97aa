from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.core.errors import StateError, UnsafeFileError
from realm.core.hashing import hash_bytes
from realm.core.records import ArtifactKind
from realm.storage.manifest import SIDECAR_NAME, FileEntry, content_hash, describe, list_files

ENTRIES = st.dictionaries(
    st.from_regex(r"[a-z0-9_-][a-z0-9._-]{0,8}(/[a-z0-9][a-z0-9.]{0,4})?", fullmatch=True),
    st.binary(max_size=4).map(lambda data: FileEntry(size_bytes=len(data), sha256=hash_bytes(data))),
    min_size=1,
    max_size=6,
)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_the_content_hash_ignores_order_and_sidecar(files: dict[str, FileEntry], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(files.items())
    random.shuffle(shuffled)
    with_sidecar = {SIDECAR_NAME: FileEntry(size_bytes=1, sha256=hash_bytes(b"!")), **dict(shuffled)}
    assert content_hash(with_sidecar, [SIDECAR_NAME]) == content_hash(files)
    assert content_hash(with_sidecar) != content_hash(files)


@given(ENTRIES, st.data())
def test_the_content_hash_depends_on_every_name_size_and_hash(
    files: dict[str, FileEntry], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    entry = files[name]
    others = {key: value for key, value in files.items() if key != name}
    for changed in (
        others,
        {**others, name + "0": entry},
        {**others, name: entry.model_copy(update={"size_bytes": entry.size_bytes + 1})},
        {**others, name: entry.model_copy(update={"sha256": hash_bytes(b"something else")})},
    ):
        assert content_hash(changed) != content_hash(files)


def test_a_manifest_counts_content_and_lists_one_folder_level(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.json").write_bytes(b"12")
    (tmp_path / "sub" / "a.bin").write_bytes(b"123")
    (tmp_path / SIDECAR_NAME).write_bytes(b"1234567")
    (tmp_path / "manifest.json").write_bytes(b"left over")
    manifest = describe(tmp_path, ArtifactKind.DATASET)
    assert list(manifest.files) == [SIDECAR_NAME, "b.json", "sub/a.bin"]
    assert manifest.ref.size_bytes == 5
    assert manifest.sidecars == (SIDECAR_NAME,)


@pytest.mark.parametrize(
    "name", [".hidden", "a b", "ä", "a\nb", "..x", "a;b", "sub/.ledger.json", "sub/deeper/x"]
)
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnsafeFileError):
        list_files(tmp_path)


def test_links_pipes_and_empty_folders_are_refused(tmp_path: Path) -> None:
    for make in (
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("/etc"),
        os.mkfifo,
        lambda path: path.mkdir(),
    ):
        path = tmp_path / "x"
        make(path)
        with pytest.raises(UnsafeFileError):
            list_files(tmp_path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_an_empty_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="nothing was staged"):
        describe(tmp_path, ArtifactKind.EXPORT)
    (tmp_path / SIDECAR_NAME).write_bytes(b"{}")
    with pytest.raises(StateError, match="nothing was staged"):
        describe(tmp_path, ArtifactKind.EXPORT)
