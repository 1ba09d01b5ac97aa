from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from realm.core.config import Config, first_problem, load, override, read_yaml, validate
from realm.core.errors import ConfigError, NotFoundError
from realm.core.records import Name


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
    with pytest.raises(ConfigError, match=r"inner\.learning_rate: a finite number is expected, not -?\."):
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


INTEGER = "a whole number is expected, not 'many'"


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
        ({"rows": [{"answer": 1}]}, "rows.0.answer: a text is expected, not 1"),
        (
            {"rows": [{"anser": "1"}, {"answer": 2}]},
            "rows.0.answer is missing; unknown key rows.0.anser (did you mean answer?); "
            "rows.1.answer: a text is expected, not 2",
        ),
        ({"rows": 3}, "rows: a list or a text is expected, not 3"),
        ({"rows": "a" * 10}, "rows: must have at most 9 characters"),
        ({"spans": {"str": {"low": "many"}}}, f"spans.str.low: {INTEGER}"),
        ({"spans": {"int": [None]}}, "spans.int.0: a text or a whole number is expected, not null"),
        ({"name": 3}, "name: a text is expected, not 3"),
    ],
)
def test_a_place_is_made_of_the_keys_of_the_data_alone(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Either, data, where="x.yaml")
    assert caught.value.what == f"x.yaml: {told}"


class Many(Config):
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    on: bool = False
    role: Literal["user", "tool"] = "user"
    roles: Annotated[tuple[Literal["user", "tool"], ...], Field(min_length=1)] = ("user",)
    alpha: Annotated[int | float, Field(gt=0)] = 1
    name: Name = "n"
    inner: Inner = Inner()
    frame: Annotated[Round | Square, Field(discriminator="kind")] = Round()
    seed: int = 0
    free: float = 0


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"steps": 1e23}, "steps: a smaller whole number is expected, not 1e+23"),
        ({"steps": 10**30}, "steps: must be at most 1000, not one of more than 20 digits"),
        ({"steps": 1.5}, "steps: a whole number is expected, not 1.5"),
        ({"steps": "1e3"}, "steps: a whole number is expected, not '1e3'"),
        ({"steps": None}, "steps: a whole number is expected, not null"),
        ({"steps": []}, "steps: a whole number is expected, not a list"),
        ({"share": 0}, "share: must be greater than 0, not 0"),
        ({"share": "\x1b" + "a" * 99}, f"share: a number is expected, not '{'a' * 39}…'"),
        ({"on": "perhaps"}, "on: true or false is expected, not 'perhaps'"),
        ({"role": "usr"}, "role: one of user, tool is expected, not 'usr' (did you mean user?)"),
        ({"roles": ["bot"]}, "roles.0: one of user, tool is expected, not 'bot'"),
        ({"roles": []}, "roles: must hold at least 1, not 0"),
        ({"roles": "secret"}, "roles: a list is expected, not a text"),
        ({"alpha": "x"}, "alpha: a number is expected, not 'x'"),
        ({"inner": "secret"}, "inner: a mapping is expected, not a text"),
        ({"inner": {3: 4}}, "inner.3: a key is a text: put it in quotes"),
        ({"inner": {"x": 4}}, "unknown key inner.x (there are: learning_rate)"),
        ({"frame": {}}, "frame.kind is missing: there are: round, square"),
        ({"frame": {"kind": None}}, "frame.kind: a name is expected, not null: there are: round, square"),
        ({"frame": 3}, "frame: a kind, or a mapping with one, is expected, not 3: there are: round, square"),
        ({"frame": {"kind": "round", "kin": 1}}, "unknown key frame.kin (did you mean kind?)"),
        ({"seed": 2**63}, f"seed: too large a number: must be from -{2**63 - 1} to {2**63 - 1}"),
        ({"free": 1e300}, "free: too large a number: must be from -3.4e+38 to 3.4e+38"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Many, data, where="x.yaml")
    assert caught.value.what == f"x.yaml: {told}"


def test_a_faulty_name_is_told_what_names_are_made_of() -> None:
    with pytest.raises(ConfigError, match=r"name: must be 1 to 128 of the letters A to Z"):
        validate(Many, {"name": "a b"}, where="x.yaml")


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
    with pytest.raises(
        ConfigError, match=r"^x\.yaml: kind inner: learning_rate: a number is expected, not 'fast'"
    ):
        validate(Chosen, {"part": {"kind": "inner", "rate": "fast"}}, where="x.yaml")
    with pytest.raises(ConfigError, match=r"^x\.yaml: no kind is called 'outer'") as caught:
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
    assert problem({"watts": "many", "colour": "red"}).startswith(
        "watts: a whole number is expected, not 'many'"
    )
    assert "\x1b" not in problem({"\x1b[31m": 1})
    assert len(problem({"k" * 10_000: 1})) <= 201


def test_a_key_that_is_set_twice_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "realm.yaml"
    path.write_text("lamp:\n  watts: 5\n  colour: red\n  watts: 6\n")
    with pytest.raises(ConfigError, match=r"watts is set twice(?s:.)*line 4"):
        read_yaml(path)
    path.write_text("a: &shared {watts: 5}\nb: {<<: *shared, watts: 6}\nc: {watts: 7}\n")
    assert read_yaml(path)["b"] == {"watts": 6}
