from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import SerializeAsAny, create_model

from realm.core.config import Config, validate
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


def test_what_a_config_says_wrong_of_a_kind_is_told_at_its_place(family: Family[object]) -> None:
    part = Annotated[SerializeAsAny[Config], family.part()]
    whole = create_model("Whole", __base__=Config, one=(part | None, None), more=(tuple[part, ...], ()))

    def told(data: object) -> str:
        with pytest.raises(ConfigError) as caught:
            validate(whole, data, where="x.yaml")
        assert caught.value.exit_code == 2
        return caught.value.what

    there = "there are: broken, jsonl"
    assert told({"one": "jsonk"}) == f"x.yaml: one: no kind is called 'jsonk': did you mean jsonl? {there}"
    assert told({"one": {}}) == f"x.yaml: one.kind is missing: {there}"
    assert told({"one": {"kind": 3}}) == f"x.yaml: one.kind: a name is expected, not 3: {there}"
    assert told({"one": 3}) == f"x.yaml: one: a kind, or a mapping with one, is expected, not 3: {there}"
    assert told({"more": ["jsonl", {"kind": "jsonl", "size": "big", "sise": 2}], "on": 1}) == (
        "x.yaml: more.1.size: a whole number is expected, not 'big'; "
        "unknown key more.1.sise (did you mean size?); unknown key on (did you mean one?)"
    )
    assert validate(whole, {"more": ["jsonl"]}, where="").model_dump()["more"] == (
        {"kind": "jsonl", "size": 1},
    )


def test_a_part_without_a_kind_is_of_the_default_one(family: Family[object]) -> None:
    whole = create_model(
        "Whole", __base__=Config, one=Annotated[SerializeAsAny[Config], family.part("jsonl")]
    )
    found = validate(whole, {"one": {"size": 4}}, where="x.yaml")
    assert found.model_dump() == {"one": {"kind": "jsonl", "size": 4}}


@pytest.mark.parametrize("bad", [{}, {"kind": 3}, 7, {"kind": "jsonl", "sise": 2}])
def test_a_bad_config_is_refused(family: Family[object], bad: object) -> None:
    with pytest.raises(ConfigError):
        family.config(bad)


def test_the_schema_of_a_key_names_its_family(family: Family[object]) -> None:
    part = Annotated[SerializeAsAny[Config], family.part()]
    found = create_model("Whole", things=(tuple[part, ...], ())).model_json_schema()
    assert found["properties"]["things"]["items"] == {"type": ["object", "string"], "family": "thing"}
    assert "$defs" not in found  # the base of all configs, which takes no key at all
