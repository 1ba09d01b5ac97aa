"""A skill that another program serves through the Skill API."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.config import validate
from realm.core.records import Name
from realm.http.client import KeyVariable, SafeUrl
from realm.skills.own.grading import Grading
from realm.skills.own.served import Mixed, Served, Server
from realm.skills.own.skill import OwnSkill


class Http(OwnSkill):
    """Drill and grade what a skill server hands out. Raises ConfigError for a host that is not allowed."""

    class Config(BaseConfig):
        """Where the server is and how its problems are taken."""

        kind: Literal["http"] = "http"
        url: SafeUrl
        """Root of the server, such as http://127.0.0.1:8090."""
        name: Name | None = None
        """The skill's name here, part of every problem's key; none means the server's host and port."""
        grading: Grading = "exact"
        heldout_fraction: Annotated[float, Field(ge=0.05, le=0.5)] = 0.30
        """Share of all problems that is never trained on."""
        token_variable: KeyVariable | None = None
        """Environment variable with the server's token."""
        allow_host: str | None = None
        """The URL's host, where that is another machine."""

    def __init__(self, config: Config) -> None:
        host = re.sub(r"[^A-Za-z0-9._-]", "-", urlsplit(config.url).netloc)
        given = {
            **config.model_dump(include={"url", "grading", "token_variable", "allow_host"}),
            "name": config.name or host,
            "share": config.heldout_fraction,
        }
        self._served = Served(validate(Server, given, where="skill http"))
        super().__init__(config, self._served)

    def mixed(self, level: int) -> Mixed:
        """Say how many problems of a level are for training and held out, and what was left out."""
        return self._served.mixed(level)
