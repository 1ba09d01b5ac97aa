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


def test_types_of_programs_are_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        read("!!python/object/apply:os.system [true]")
