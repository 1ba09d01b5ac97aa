from __future__ import annotations

import sys
from pathlib import Path

import pytest

from realm.core.errors import ConfigError, NotFoundError
from realm.core.kinds import Family

KIND = """
from typing import Literal
from realm.core.config import Config as Base

class Jsonl:
    class Config(Base):
        kind: Literal["jsonl"] = "jsonl"
        size: int = 1
    def __init__(self, config):
        self.config = config
"""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family[object]:
    package = tmp_path / "some_family"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "jsonl.py").write_text(KIND)
    (package / "broken.py").write_text("raise RuntimeError('imported')\n")
    (package / "_private.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("some_family")]:
        del sys.modules[name]
    return Family("thing", "some_family")


def test_kinds_are_listed_without_importing_them(family: Family[object]) -> None:
    assert family.names() == ["broken", "jsonl"]
    assert "some_family.jsonl" not in sys.modules


def test_a_config_builds_its_kind(family: Family[object]) -> None:
    built = family.build({"kind": "jsonl", "size": 3})
    assert type(built).__name__ == "Jsonl"
    assert built.config.size == 3  # type: ignore[attr-defined]
    assert family.config("jsonl").model_dump() == {"kind": "jsonl", "size": 1}


def test_an_unknown_kind_names_the_nearest(family: Family[object]) -> None:
    with pytest.raises(NotFoundError, match="did you mean jsonl"):
        family.build("jsonk")


@pytest.mark.parametrize("bad", [{}, {"kind": 3}, 7, {"kind": "jsonl", "sise": 2}])
def test_a_bad_config_is_refused(family: Family[object], bad: object) -> None:
    with pytest.raises(ConfigError):
        family.config(bad)
