"""Read a skill's YAML file and the rows beside it: bounded, and with the place of what is wrong."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError

from realm.core.config import explain, validate
from realm.core.errors import ConfigError, DataError, NotFoundError
from realm.core.text import printable
from realm.core.yamltext import BoundedLoader
from realm.skills.files import open_file
from realm.skills.own.schema import UNUSED, UNUSED_OF_PRIMITIVES, RowConfig, SkillFile

MOST_YAML_BYTES = 1 << 20
_MOST_ROWS_BYTES = 64 << 20
_MOST_LINE_BYTES = 1 << 20
_MOST_ROWS = 200_000

_log = logging.getLogger(__name__)


def read_bytes(path: Path, most: int) -> bytes:
    """Return a file of at most so many bytes. Raises NotFoundError, DataError."""
    with open_file(path) as file:
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise DataError(f"not readable: {error.strerror}", file=str(path)) from None
    if len(data) > most:
        raise DataError(f"larger than {most >> 20} MiB", file=str(path))
    return data


def read_skill(path: Path, data: bytes) -> SkillFile:
    """Return what a skill file says. Raises ConfigError, with the line or the field."""
    try:
        found = yaml.load(data.decode("utf-8"), Loader=BoundedLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not readable as YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {printable(str(error))}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a mapping was expected at the top, found {type(found).__name__}")
    return validate(SkillFile, _used(path, found), where=str(path))


def beside(path: Path, name: str) -> Path:
    """Return a file in the folder of another one. Raises ConfigError for one elsewhere, NotFoundError."""
    try:
        folder = path.parent.resolve()
        file = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a character that no name has
        raise NotFoundError(f"{path}: rows: {printable(name)}: no such file") from None
    if not file.is_relative_to(folder):
        raise ConfigError(f"{path}: rows: {name} is not beside the file", hint="copy it there")
    if not os.path.isfile(file):  # unlike Path.is_file, it fails for no name
        raise NotFoundError(f"{path}: rows: {file}: no such file")
    return file


def read_rows(file: Path) -> Iterator[tuple[int, RowConfig]]:
    """Yield (line, row) of a JSONL file. Raises DataError, with the line."""
    for number, line in enumerate(read_bytes(file, _MOST_ROWS_BYTES).split(b"\n"), 1):
        if number > _MOST_ROWS:
            raise DataError(f"more than {_MOST_ROWS:,} lines", file=str(file))
        if line.strip():
            yield number, _row(str(file), number, line)


def _used(path: Path, found: dict[Any, Any]) -> dict[Any, Any]:
    """Return the fields without those that mean nothing here; says which."""
    unused = {name for name in UNUSED if name in found}
    kept = {name: value for name, value in found.items() if name not in unused}
    primitives = found.get("primitives")
    if isinstance(primitives, list) and all(isinstance(each, dict) for each in primitives):
        unused |= {
            f"primitives.{name}" for each in primitives for name in UNUSED_OF_PRIMITIVES if name in each
        }
        kept["primitives"] = [
            {name: value for name, value in each.items() if name not in UNUSED_OF_PRIMITIVES}
            for each in primitives
        ]
    if unused:
        _log.warning("%s: not used here: %s", path, ", ".join(sorted(unused)))
    return kept


def _row(file: str, number: int, line: bytes) -> RowConfig:
    if len(line) > _MOST_LINE_BYTES:
        raise DataError("a line of more than 1 MiB", file=file, line=number)
    try:
        return RowConfig.model_validate(json.loads(line, parse_constant=_no_number))
    except ValidationError as error:
        raise DataError("; ".join(explain(RowConfig, error)), file=file, line=number) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"not readable as JSON: {printable(str(error))}", file=file, line=number) from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")
