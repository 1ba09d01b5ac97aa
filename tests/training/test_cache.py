from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import drills, texts, tokenizer

from realm.core.errors import CorruptError
from realm.core.kinds import Family
from realm.training import encoding
from realm.training.cache import MANIFEST, cached
from realm.training.job import RowsFile
from realm.training.rows import Rows, load_rows
from realm.training.settings import Settings

PARTS = {"rows": "a", "limit": 3}


def _made() -> tuple[dict[str, np.ndarray], dict[str, int]]:
    return {"ids": np.arange(100, dtype=np.int32), "none": np.zeros(0, np.int64)}, {"rows": 7}


def _never() -> tuple[dict[str, np.ndarray], dict[str, int]]:
    raise AssertionError("made again")


def _place(folder: Path) -> Path:
    [place] = _places(folder)
    return folder / place


def _places(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def _load(folder: Path, settings: Settings | None = None) -> Rows:
    path = folder / "rows.jsonl"
    if not path.exists():
        path.write_text(
            "".join(row.model_dump_json() + "\n" for row in [*drills(9), *texts(3)]), encoding="utf-8"
        )
    wanted = settings or Settings(max_tokens=60)
    return load_rows(
        [RowsFile(path=str(path))], tokenizer(), wanted, lambda row: (row,), cache=folder / "cache"
    )


def test_what_was_made_is_mapped_the_next_time(tmp_path: Path) -> None:
    first = cached(tmp_path, PARTS, _made)
    again = cached(tmp_path, PARTS, _never)
    for stored in (first, again):
        assert stored.arrays["ids"].tolist() == list(range(100))
        assert stored.arrays["none"].tolist() == []
        assert stored.facts == {"rows": 7}
    assert not again.arrays["ids"].flags.writeable
    assert not again.arrays["ids"].flags.owndata
    assert _places(tmp_path) == [_place(tmp_path).name], "nothing is left beside it"


@pytest.mark.parametrize("harm", ["flip", "cut", "no manifest", "half a manifest", "missing"])
def test_a_broken_cache_is_built_anew(tmp_path: Path, harm: str) -> None:
    cached(tmp_path, PARTS, _made)
    array, manifest = _place(tmp_path) / "ids.npy", _place(tmp_path) / MANIFEST
    data = bytearray(array.read_bytes())
    if harm == "flip":
        data[-1] ^= 1
        array.write_bytes(data)
    elif harm == "cut":
        array.write_bytes(data[:-4])
    elif harm == "missing":
        array.unlink()
    elif harm == "no manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:40])
    assert cached(tmp_path, PARTS, _made).arrays["ids"].tolist() == list(range(100))
    cached(tmp_path, PARTS, _never)


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    cached(tmp_path, PARTS, _made)
    place = _place(tmp_path)
    manifest = json.loads((place / MANIFEST).read_text())
    (place / MANIFEST).write_text(json.dumps({**manifest, "key": "sha256:" + "0" * 64}))
    with pytest.raises(CorruptError, match="not a cache of these rows"):
        cached(tmp_path, PARTS, _made)
    (place / MANIFEST).write_text(json.dumps(manifest))
    (place / "model.pt").write_bytes(b"x")
    with pytest.raises(CorruptError, match="not a cache of these rows"):
        cached(tmp_path, PARTS, _made)
    assert (place / "model.pt").exists()


def test_pickles_are_never_read(tmp_path: Path) -> None:
    def harmful() -> tuple[dict[str, np.ndarray], dict[str, int]]:
        return {"ids": np.asarray([{"a": 1}], dtype=object)}, {}

    with pytest.raises(ValueError, match="pickle"):
        cached(tmp_path, PARTS, harmful)
    assert _places(tmp_path) == []


def test_cached_rows_equal_fresh_ones_and_are_views(tmp_path: Path) -> None:
    settings = Settings(max_tokens=30, over_long="split")
    fresh, warm = _load(tmp_path, settings), _load(tmp_path, settings)
    assert fresh.account == warm.account
    for index in range(len(fresh)):
        for one, two in zip(fresh.sequences[index], warm.sequences[index], strict=True):
            assert one.ids.tolist() == two.ids.tolist()
            assert one.weights.tolist() == two.weights.tolist()
            assert (one.turns, one.full_tokens) == (two.turns, two.full_tokens)
            assert np.shares_memory(two.ids, warm.tables[0].sequences.ids_N)
        assert fresh.examples[index] == warm.examples[index]


def test_whatever_decides_over_tokens_changes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places() -> int:
        return len(_places(tmp_path / "cache"))

    _load(tmp_path)
    for count, changed in enumerate(
        [
            Settings(max_tokens=61),
            Settings(max_tokens=60, over_long="split"),
            Settings(max_tokens=60, roles=("user", "assistant")),
            Settings(max_tokens=200, profile={"kind": "regime3"}),
            Settings(max_tokens=60, method={"kind": "dpo"}),
            Settings(max_tokens=60, seed=1),
        ],
        start=2,
    ):
        _load(tmp_path, changed)
        assert places() == count
    monkeypatch.setattr(encoding, "code_hash", lambda _: "other")
    _load(tmp_path)
    assert places() == 8
    with (tmp_path / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text":"one more"}\n')
    assert len(_load(tmp_path)) == 13
    assert places() == 9


OWN = """
from typing import Literal
from realm.core.config import Config as BaseConfig
from {package}.manner import changed

class Own:
    class Config(BaseConfig):
        kind: Literal["own"] = "own"

    def __init__(self, config):
        self.config = config

    def transform(self, example, index, seed):
        return changed(example)

    def logits_processors(self, tokenizer):
        return []

    def describe(self):
        return "own"
"""
MANNER = """
def changed(example):
    turns = [turn.model_copy(update={{"content": turn.content + {sign!r}}}) for turn in example.messages]
    return example.model_copy(update={{"messages": tuple(turns)}})
"""


def _install(folder: Path, package: str, sign: str) -> None:
    """Lay down a package with a profile of its own, as an installer would."""
    (folder / package).mkdir(parents=True, exist_ok=True)
    (folder / package / "__init__.py").write_text("")
    (folder / package / "own.py").write_text(OWN.format(package=package))
    (folder / package / "manner.py").write_text(MANNER.format(sign=sign))
    info = folder / f"{package}-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[realm.profile]\nown = {package}.own:Own\n")


@pytest.fixture
def _own_kinds() -> Iterator[None]:
    """Let installed kinds be looked for anew, before and after."""
    Family._foreign.cache_clear()
    yield
    Family._foreign.cache_clear()


@pytest.mark.usefixtures("_own_kinds")
def test_a_profile_of_ones_own_that_was_edited_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for sign in "?!":
        _install(tmp_path / "site", "own_profile", sign)
        for name in [name for name in sys.modules if name.split(".")[0] == "own_profile"]:
            monkeypatch.delitem(sys.modules, name)
        Family._foreign.cache_clear()
        found = _load(tmp_path, Settings(max_tokens=90, profile={"kind": "own"}))
        assert found.examples[0].messages[-1].content.endswith(sign)
        assert tokenizer().decode(found.sequences[0][0].ids.tolist()).endswith(f"{sign}<|end|>")
    assert len(_places(tmp_path / "cache")) == 2


def test_what_decides_which_rows_a_method_takes_is_part_of_the_code() -> None:
    from realm.models import correction, marks

    files = [Path(module.__file__ or "") for module in encoding._MODULES]
    assert {Path(str(correction.__file__)), Path(str(marks.__file__))} <= set(files)


BUILD = """
import sys, numpy as np
from pathlib import Path
from realm.training.cache import cached
for limit in range(30):
    made = lambda: ({"ids": np.full(2000, limit, np.int32)}, {"limit": limit})
    found = cached(Path(sys.argv[1]), {"limit": limit}, made)
    assert set(found.arrays["ids"].tolist()) == {limit} and found.facts == {"limit": limit}
"""


def test_several_processes_build_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    children = [subprocess.Popen(command, env={**os.environ, "PYTHONWARNINGS": "error"}) for _ in range(3)]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    assert len(_places(tmp_path)) == 30


WRITE = """
import sys, time, numpy as np
from pathlib import Path
from realm.training.cache import cached

class Slow(dict):
    def items(self):
        yield from super().items()
        print("begun", flush=True)
        time.sleep(600)

cached(Path(sys.argv[1]), {"rows": "a", "limit": 3}, lambda: (Slow(ids=np.arange(9)), {}))
"""


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    foreign = tmp_path / "mine.partial"
    foreign.mkdir()
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        begun = [name for name in _places(tmp_path) if name != foreign.name]
        assert [Path(name).suffix for name in begun] == [".partial", ".writer"]
        cached(tmp_path, {"rows": "b"}, _made)
        assert set(begun) < set(_places(tmp_path))
        writer.kill()
    (tmp_path / f"{'0' * 64}.cafe.broken").mkdir()
    assert cached(tmp_path, {"rows": "b"}, _never).facts == {"rows": 7}
    assert len(_places(tmp_path)) == 2
    assert foreign.is_dir()
    assert cached(tmp_path, PARTS, _made).arrays["ids"].tolist() == list(range(100))
