from __future__ import annotations

from pathlib import Path

import pytest

from realm.bench import environment
from realm.bench.environment import cache_folder, folder_name, peers_python, requirements
from realm.core.errors import UnavailableError


def test_where_the_cache_is() -> None:
    both = {"REALM_CACHE": "/own", "XDG_CACHE_HOME": "/shared"}
    assert cache_folder(both) == Path("/own")
    assert cache_folder({"XDG_CACHE_HOME": "/shared"}) == Path("/shared/realm")
    assert cache_folder({}) == Path.home() / ".cache" / "realm"


def test_the_name_follows_what_is_installed() -> None:
    name = folder_name(["torch==1", "trl==2"], python="3.11")
    assert name == folder_name(["torch==1", "trl==2"], python="3.11")
    others = [
        folder_name(["torch==1", "trl==3"], python="3.11"),
        folder_name(["torch==2", "trl==2"], python="3.11"),
        folder_name(["torch==1", "trl==2"], python="3.12"),
    ]
    assert len({name, *others}) == 4


def test_torch_comes_first_and_in_our_build() -> None:
    import torch

    assert requirements()[0] == f"torch=={torch.__version__}"
    assert all("==" in package for package in requirements())


def test_a_gpu_has_an_environment_of_its_own() -> None:
    assert [package.partition("==")[0] for package in requirements()] == [
        "torch",
        "transformers",
        "trl",
        "peft",
        "datasets",
        "accelerate",
    ]
    assert requirements("cpu") == requirements()
    assert requirements("cuda")[: len(requirements())] == requirements()
    (more,) = requirements("cuda")[len(requirements()) :]
    assert more.startswith("liger-kernel==")


def test_a_complete_environment_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_CACHE", str(tmp_path))
    there = tmp_path / "bench" / folder_name(requirements())
    there.mkdir(parents=True)
    said: list[str] = []
    assert peers_python(said.append) == there / "bin" / "python"
    assert said == []


def test_an_environment_that_cannot_be_built_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    monkeypatch.setattr(environment, "PEERS", ("realm-bench-no-such-package==1",))
    said: list[str] = []
    with pytest.raises(UnavailableError, match=r"could not be installed:\n(.*\n)*.*No matching distribution"):
        peers_python(said.append)
    assert any("building" in line for line in said)
    assert list((tmp_path / "bench").iterdir()) == []


def _made(folder: Path, needed: object, say: object) -> None:
    """Make an environment whose interpreter fails at whatever it is asked."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to("/bin/false")


def test_an_environment_replaces_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_CACHE", str(tmp_path))
    old = tmp_path / "bench" / folder_name(["torch==0"])
    old.mkdir(parents=True)
    monkeypatch.setattr(environment, "build", _made)
    python = peers_python(lambda text: None)
    assert [path.name for path in (tmp_path / "bench").iterdir()] == [folder_name(requirements())]
    assert python.parent.is_dir()


def test_a_gpus_environment_leaves_the_other_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_CACHE", str(tmp_path))
    monkeypatch.setattr(environment, "build", _made)
    mine = peers_python(lambda text: None)
    said: list[str] = []
    theirs = peers_python(said.append, "cuda")
    assert mine != theirs
    assert mine.parent.is_dir()
    assert theirs.parent.is_dir()
    # What it can do without could not be installed.
    assert any(line.startswith("left out:") and "flash-attn" in line for line in said)
    assert peers_python(said.append, "cuda") == theirs
    assert peers_python(said.append) == mine
