from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from realm.core.config import Config, first_problem, load, override, read_yaml, validate
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


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
def test_only_finite_numbers_are_taken(tmp_path: Path, number: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"inner: {{learning_rate: {number}}}")
    with pytest.raises(ConfigError, match=r"inner\.learning_rate: Input should be a finite number"):
        load(Outer, path)
    path.write_text("")
    with pytest.raises(ConfigError, match="finite"):
        load(Inner, path, [f"learning_rate={number}"])


class Round(Config):
    kind: Literal["round"] = "round"


class Square(Config):
    kind: Literal["square"] = "square"


class Picture(Config):
    frame: Annotated[Round | Square, Field(discriminator="kind")] = Round()


def test_an_unknown_kind_of_a_union_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"frame: no kind is called 'sqare': did you mean square\? there are: round, square"
    ):
        validate(Picture, {"frame": {"kind": "sqare"}}, where="x.yaml")
    with pytest.raises(ConfigError) as caught:
        validate(Picture, {"frame": {"kind": "\x1b[31m" + "a" * 10_000}}, where="x.yaml")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


class Ordered(Config):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high < self.low:
            raise ValueError("high is below low")
        return self


class Whole(Config):
    bounds: Ordered = Ordered()
    counts: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (Whole, {"bounds": {"low": 3}}, "x.yaml: bounds: high is below low"),
        (Ordered, {"low": 3}, "x.yaml: high is below low"),
    ],
)
def test_our_own_rules_are_told_in_our_own_words(model: type[Config], data: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(model, data, where="x.yaml")
    assert caught.value.what == message


@pytest.mark.parametrize(("wrong", "more"), [(8, ""), (9, "; and 1 more"), (100, "; and 92 more")])
def test_of_many_problems_the_first_eight_are_told(wrong: int, more: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Whole, {"counts": {f"k{n}": "many" for n in range(wrong)}}, where="x.yaml")
    assert caught.value.what.count("counts.k") == 8
    assert caught.value.what.endswith(f"counts.k7: {INTEGER}{more}")


INTEGER = "Input should be a valid integer, unable to parse string as an integer"


class Row(Config):
    answer: str


class Span(Config):
    low: int


class Either(Config):
    rows: tuple[Row, ...] | Annotated[str, Field(max_length=9)] = ()
    spans: dict[str, Span | Annotated[tuple[str | int, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    name: str | None = None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"rows": [{"answer": 1}]}, "rows.0.answer: Input should be a valid string"),
        (
            {"rows": [{"anser": "1"}, {"answer": 2}]},
            "rows.0.answer is missing; unknown key rows.0.anser (did you mean answer?); "
            "rows.1.answer: Input should be a valid string",
        ),
        ({"rows": 3}, "rows: Input should be a valid tuple; rows: Input should be a valid string"),
        (
            {"rows": "a" * 10},
            "rows: Input should be a valid tuple; rows: String should have at most 9 characters",
        ),
        ({"spans": {"str": {"low": "x"}}}, f"spans.str.low: {INTEGER}"),
        (
            {"spans": {"int": [None]}},
            "spans.int.0: Input should be a valid string; spans.int.0: Input should be a valid integer",
        ),
        ({"name": 3}, "name: Input should be a valid string"),
    ],
)
def test_a_place_is_made_of_the_keys_of_the_data_alone(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Either, data, where="x.yaml")
    assert caught.value.what == f"x.yaml: {told}"


def test_a_hostile_key_is_told_short_and_without_control_characters() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Whole, {"bounds": {"h" * 100_000: 1, "\x1b[31mhigh": 1}}, where="x.yaml")
    assert len(caught.value.what) < 500
    assert "\x1b" not in caught.value.what
    assert "unknown key bounds.[31mhigh (did you mean high?)" in caught.value.what


def by_kind(data: Any) -> Config:
    """Validate a part by its own kind, as a family does."""
    if data["kind"] != "inner":
        raise NotFoundError(f"no kind is called {data['kind']!r}", hint="there are: inner")
    return validate(Inner, {"learning_rate": data["rate"]}, where="kind inner")


class Chosen(Config):
    part: Annotated[Config, BeforeValidator(by_kind)]


def test_what_a_kind_refuses_names_the_file_too() -> None:
    with pytest.raises(ConfigError, match=r"^x\.yaml: kind inner: learning_rate: Input should be"):
        validate(Chosen, {"part": {"kind": "inner", "rate": "fast"}}, where="x.yaml")
    with pytest.raises(NotFoundError, match=r"^x\.yaml: no kind is called 'outer'") as caught:
        validate(Chosen, {"part": {"kind": "outer"}}, where="x.yaml")
    assert caught.value.hint == "there are: inner"


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


def test_the_first_problem_names_its_place_in_our_own_words() -> None:
    class Lamp(Config):
        watts: int = 5

        @model_validator(mode="after")
        def _bright(self) -> Self:
            if self.watts > 60:
                raise ValueError("too bright")
            return self

    def problem(data: object) -> str:
        with pytest.raises(ValidationError) as caught:
            Lamp.model_validate(data)
        return first_problem(caught.value, "the lamp")

    assert problem({"watts": 61}) == "the lamp: too bright"
    assert problem({"watts": "many", "colour": "red"}).startswith("watts: Input should be a valid integer")
    assert "\x1b" not in problem({"\x1b[31m": 1})
    assert len(problem({"k" * 10_000: 1})) <= 201


def test_a_key_that_is_set_twice_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "realm.yaml"
    path.write_text("lamp:\n  watts: 5\n  colour: red\n  watts: 6\n")
    with pytest.raises(ConfigError, match=r"watts is set twice(?s:.)*line 4"):
        read_yaml(path)
    path.write_text("a: &shared {watts: 5}\nb: {<<: *shared, watts: 6}\nc: {watts: 7}\n")
    assert read_yaml(path)["b"] == {"watts": 6}
