from __future__ import annotations

from pathlib import Path

import pytest

from realm.core.config import Config, load, override, validate
from realm.core.errors import ConfigError, NotFoundError


class Inner(Config):
    learning_rate: float = 0.1


class Outer(Config):
    inner: Inner = Inner()
    names: tuple[str, ...] = ()


def test_an_unknown_key_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown key inner\.learning_rat \(did you mean learning_rate\?\)"
    ):
        validate(Outer, {"inner": {"learning_rat": 1}}, where="x.yaml")


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {"inner": {"learning_rate": "fast"}, "name": 1}, where="x.yaml")
    assert "inner.learning_rate" in str(caught.value)
    assert "unknown key name (did you mean names?)" in str(caught.value)


def test_overrides_reach_into_groups_and_read_yaml_values(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("inner: {learning_rate: 0.5}\n")
    found = load(Outer, path, ["inner.learning_rate=2e-3", "names=[a, b]"])
    assert found == Outer(inner=Inner(learning_rate=2e-3), names=("a", "b"))


def test_an_override_does_not_change_the_data_it_was_given() -> None:
    data = {"inner": {"learning_rate": 1}}
    override(data, ["inner.learning_rate=2"])
    assert data == {"inner": {"learning_rate": 1}}


@pytest.mark.parametrize("bad", ["novalue", "=3", "names.deep=1"])
def test_a_bad_override_is_a_config_error(bad: str) -> None:
    with pytest.raises(ConfigError):
        override({"names": "a"}, [bad])


@pytest.mark.parametrize("text", ["- a list\n", "a: [unclosed\n", "!!python/object:os.system {}\n"])
def test_bad_yaml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        load(Outer, path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load(Outer, tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["a=[", "a={b: ]", "a=" + "[" * 3000])
def test_a_value_that_is_no_yaml_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError, match="the value is no YAML"):
        override({}, [text])
