"""What is wrong with data that a validator refuses: each problem at its key, in plain English.

One place has the words for all of them: configs, rows of files, answers of services. A problem that a part
of a config has by its own kind is handed up with its place and its words settled (`handed_up`), because the
config around it does not know that kind's keys.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from realm.core.records import PATTERNS
from realm.core.text import printable, there_are

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Keys = tuple[int | str, ...]

_HANDED_UP = "handed_up"
"""Type of an error that is settled already."""
_KEY_LIMIT = 200
"""Characters shown of a key; a file may hold longer ones."""
_TEXT_LIMIT = 40
"""Characters shown of a wrong value."""
_DIGITS_SHOWN = 20
"""Of a whole number; YAML may hold one of thousands."""
_QUOTED = re.compile(r"'([^']*)'")

_STRUCTURES = {
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "string_type": "a text",
    "path_type": "a path",
}
_VALUES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "null",
}
_CHOICES = ("literal_error", "enum")
_UNIONS = ("union_tag_invalid", "union_tag_not_found")
_BOUNDS = {
    "greater_than": ("must be greater than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("must be at most", "le"),
    "multiple_of": ("must be a multiple of", "multiple_of"),
}
_RULES = {
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must hold at least {min_length}, not {actual_length}",
    "too_long": "must hold at most {max_length}",
    "invalid_key": "a key is a text: put it in quotes",
    "recursion_loop": "holds itself",
}


class Problem(NamedTuple):
    """One thing that is wrong."""

    keys: Keys
    """Its place, in keys and numbers of items of the data."""
    said: str
    form: Literal["wrong", "missing", "unknown"] = "wrong"
    """Of the value, or of the key itself."""

    def line(self, whole: str = "") -> str:
        """Write the dotted key and what is wrong; `whole` names the place of all of the data."""
        dotted = printable(".".join(str(key) for key in self.keys), _KEY_LIMIT) or whole
        if self.form == "unknown":
            return f"unknown key {dotted}{self.said}"
        if self.form == "missing":
            return f"{dotted} is missing{self.said}"
        return f"{dotted}: {self.said}" if dotted else self.said


def problems_of(
    error: ValidationError, model: type[BaseModel] | None = None, most: int | None = None
) -> tuple[list[Problem], int]:
    """Return what is wrong, in the validator's order, and at how many places more than `most` there is more.

    With the model keys are those of the data alone, and the nearest known ones are told. A stranger's data
    may have very many problems; those beyond `most` are counted, not worded.
    """
    places: dict[Keys, list[tuple[ErrorDetails, Any]]] = {}
    for each in _nearest(model, error.errors(include_url=False)):
        keys, known = _place(model, each)
        places.setdefault(keys, []).append((each, known))
    worded = list(places.items())[:most]
    found = [problem for keys, there in worded for problem in _at_one_place(keys, there)]
    return found, len(places) - len(worded)


def handed_up(problems: Iterable[Problem]) -> ValidationError:
    """Return an error that a validator of the config around raises; its place goes before theirs."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError(_HANDED_UP, "{said}", {"said": each.said, "form": each.form}),
            loc=each.keys,
            input=None,
        )
        for each in problems
    ]
    return ValidationError.from_exception_data("part", details)


def _nearest(model: type[BaseModel] | None, problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what a form says that the data is not in, where another form found fault inside it.

    Also that a list is too short, where it is its faulty items that do not count.
    """
    places = [_place(model, each)[0] for each in problems]
    inside = {keys[:end] for keys in places for end in range(len(keys))}
    return [
        each
        for each, keys in zip(problems, places, strict=True)
        if keys not in inside or (keys == each["loc"] and each["type"] != "too_short")
    ]


def _place(model: type[BaseModel] | None, problem: ErrorDetails) -> tuple[Keys, Any]:
    """Return a problem's keys, and the annotation of what it concerns.

    The keys are without pydantic's names for the members of a union. What an unknown key concerns is the
    group that it is in.
    """
    keys: list[int | str] = []
    at: Any = model
    holder: Any = model
    for part in problem["loc"]:
        forms = _forms(at)
        if len(forms) > 1:
            at = next((form for form in forms if _is_called(form, str(part))), None)
            continue
        keys.append(part)
        holder, at = forms[0], _inside(forms[0], part)
    return tuple(keys), holder if problem["type"] == "extra_forbidden" else at


def _forms(annotation: Any) -> list[Any]:
    """Return the members of a union other than None, and anything else as it is."""
    if get_origin(annotation) is Annotated:
        return _forms(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [form for form in get_args(annotation) if form is not type(None)]
    return [annotation]


def _is_called(form: Any, label: str) -> bool:
    plain = get_args(form)[0] if get_origin(form) is Annotated else form
    name = getattr(get_origin(plain) or plain, "__name__", "")
    return label == name or label.startswith(f"{name}[") or label in _tags(plain, None)


def _tags(form: Any, key: str | None) -> list[str]:
    """Return what tells a member of a union from the others: choices of one key, or of any."""
    if not (isinstance(form, type) and issubclass(form, BaseModel)):
        return []
    annotations = [field.annotation for name, field in form.model_fields.items() if key in (None, name)]
    return [str(tag) for each in annotations if get_origin(each) is Literal for tag in get_args(each)]


def _inside(annotation: Any, part: int | str) -> Any:
    """Return the annotation of a key or an item; None where it is not known."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    items = [item for item in get_args(annotation) if item is not Ellipsis]
    return items[-1] if items else None


def _at_one_place(keys: Keys, found: list[tuple[ErrorDetails, Any]]) -> list[Problem]:
    """Return the problems of one place: where no form takes a value of this type, one for all of them."""
    rest = [
        _problem(keys, each, known) for each, known in found if not _expected(each) or _is_untold(each, known)
    ]
    return rest or [_of_another_type(keys, [each for each, _ in found])]


def _of_another_type(keys: Keys, found: list[ErrorDetails]) -> Problem:
    expected, given = dict.fromkeys(map(_expected, found)), found[0]["input"]
    if "a number" in expected:
        expected.pop("a whole number", None)
    choices = [choice for each in found if each["type"] in _CHOICES for choice in _choices(each)]
    meant = _meant(given, choices) if isinstance(given, str) else ""
    return Problem(keys, f"{' or '.join(expected)} is expected, not {_shown(found[0])}{meant}")


def _expected(problem: ErrorDetails) -> str:
    """Write which type of value is expected; empty where the type is right."""
    if problem["type"] in _CHOICES:
        choices = _choices(problem)
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    expected = _STRUCTURES.get(problem["type"]) or _VALUES.get(problem["type"], "")
    if expected == "a whole number" and isinstance(problem["input"], float) and problem["input"].is_integer():
        return "a smaller whole number"  # the validator says of one beyond 63 bits that it is no whole one
    return expected


def _choices(problem: ErrorDetails) -> list[str]:
    """Return the names there are to choose from, or the numbers as one text."""
    told = str(problem["ctx"]["expected"])
    return _QUOTED.findall(told) or re.split(r", | or ", told)


def _problem(keys: Keys, problem: ErrorDetails, known: Any) -> Problem:
    if problem["type"] == _HANDED_UP:
        return Problem(keys, problem["ctx"]["said"], problem["ctx"]["form"])
    if problem["type"] == "extra_forbidden":
        return Problem(keys, _known_keys(str(keys[-1]), known), "unknown")
    if problem["type"] == "missing":
        return Problem(keys, "", "missing")
    if _is_untold(problem, known):
        return _of_no_kind(keys, problem, known)
    return Problem(keys, _said(problem))


def no_kind(given: Any, names: Collection[str], key: str = "kind") -> Problem | None:
    """Return what is wrong with how data says which of several forms it has; None where it says one."""
    there = there_are(names, "")
    if not isinstance(given, Mapping):
        return Problem((), f"a {key}, or a mapping with one, is expected, not {shown(given)}: {there}")
    if key not in given:
        return Problem((key,), f": {there}", "missing")
    name = given[key]
    if not isinstance(name, str):
        return Problem((key,), f"a name is expected, not {shown(name)}: {there}")
    if name not in names:
        return Problem((), f"no {key} is called {printable(name, _KEY_LIMIT)!r}: {there_are(names, name)}")
    return None


def _is_untold(problem: ErrorDetails, known: Any) -> bool:
    """Say whether data does not tell which member of a union it is, where a key tells them apart."""
    not_a_mapping = problem["type"] == "model_attributes_type"
    return problem["type"] in _UNIONS or (not_a_mapping and len(_forms(known)) > 1)


def _of_no_kind(keys: Keys, problem: ErrorDetails, known: Any) -> Problem:
    forms = _forms(known)
    keys_told = [key for key in getattr(forms[0], "model_fields", ()) if all(_tags(f, key) for f in forms)]
    key = problem.get("ctx", {}).get("discriminator", "").strip("'") or (keys_told or ["kind"])[0]
    names = [tag for form in forms for tag in _tags(form, key)]
    found = no_kind(problem["input"], names, key)
    return found._replace(keys=(*keys, *found.keys)) if found else Problem(keys, problem["msg"])


def _said(problem: ErrorDetails) -> str:
    kind, facts = problem["type"], problem.get("ctx", {})
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {_number(facts[bound])}, not {_shown(problem)}"
    if kind == "string_pattern_mismatch":
        return f"must be {PATTERNS.get(facts['pattern'], 'as the pattern ' + facts['pattern'])}"
    if kind in _RULES:
        return _RULES[kind].format(**facts)
    # A validator of ours says what is wrong in its own words; pydantic puts its own before them.
    return str(facts["error"]) if kind == "value_error" else problem["msg"]


def _shown(problem: ErrorDetails) -> str:
    """Write the wrong value: a text only where it is a number or a name that was meant."""
    value = problem["input"]
    if isinstance(value, str) and problem["type"] in _STRUCTURES:
        return "a text"  # which may be a secret in the wrong place
    return shown(value)


def shown(value: Any) -> str:
    """Write a wrong value as YAML has it, short; of a list or a mapping that it is one."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        return repr(printable(value, _TEXT_LIMIT)) if value else "an empty text"
    if isinstance(value, Mapping | BaseModel):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple | set | frozenset) else f"a {type(value).__name__}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**_DIGITS_SHOWN else f"one of more than {_DIGITS_SHOWN} digits"
    if value.is_integer() and abs(value) < 10**_DIGITS_SHOWN:
        return str(int(value))
    return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(str(value), f"{value:g}")


def _meant(wanted: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(wanted[:_KEY_LIMIT], list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _known_keys(wanted: str, group: Any) -> str:
    """Write which key was meant, else which there are, in the order of the record's fields."""
    if not (isinstance(group, type) and issubclass(group, BaseModel)):
        return ""
    return _meant(wanted, group.model_fields) or f" (there are: {', '.join(group.model_fields) or 'none'})"
