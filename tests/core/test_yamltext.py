"""YAML that strangers may have written."""

from __future__ import annotations

import pytest
import yaml

from realm.core.yamltext import MAX_DEPTH, BoundedLoader


def read(text: str) -> object:
    return yaml.load(text, Loader=BoundedLoader)


def test_plain_documents_are_read() -> None:
    assert read("a: [1, {b: two}]\nc: null\n") == {"a": [1, {"b": "two"}], "c": None}
    nested = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert read(nested)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: *x\n", "aliases are not taken"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
    ],
)
def test_what_grows_or_goes_too_deep_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        read(text)
    assert caught.value.problem == problem
    assert caught.value.problem_mark is not None


@pytest.mark.parametrize("value", ["2024-13-45", "9" * 5000, "!!int x", "!!bool x", "!!timestamp x"])
def test_a_value_that_is_none_of_its_type_is_refused_with_its_place(value: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match=r"this is no .*: put a text in quotes") as caught:
        read(f"a: {value}")
    assert "line 1, column 4" in str(caught.value)


def test_a_text_that_calls_itself_a_mapping_is_refused_with_its_place() -> None:
    with pytest.raises(yaml.MarkedYAMLError, match="expected a mapping node"):
        read("a: !!map x")


def test_types_of_programs_are_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        read("!!python/object/apply:os.system [true]")
