"""A skill that a person wrote down: rows or templates in a YAML file, or the address of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from realm.core.config import Config as BaseConfig
from realm.core.config import validate
from realm.core.paths import expanded
from realm.skills.own.schema import SkillFile
from realm.skills.own.served import Served, Server
from realm.skills.own.skill import OwnSkill, Source
from realm.skills.own.written import source_of


class File(OwnSkill):
    """Drill and grade what a YAML file says. Raises NotFoundError, ConfigError, DataError for a bad one."""

    class Config(BaseConfig):
        """Where the file is."""

        kind: Literal["file"] = "file"
        path: Path
        """A skill's YAML file; in a realm's settings relative to the realm."""

    def __init__(self, config: Config) -> None:
        path = expanded(config.path)
        found = source_of(path)
        super().__init__(config, _served(path, found) if isinstance(found, SkillFile) else found)


def _served(path: Path, file: SkillFile) -> Source:
    given = {
        **(file.api.model_dump() if file.api else {}),
        "name": file.id,
        "grading": file.grading,
        "share": file.heldout_fraction,
    }
    return Served(validate(Server, given, where=f"{path}: api"))
