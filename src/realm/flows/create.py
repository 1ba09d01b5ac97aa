"""Create a realm's folder from a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from realm.core.errors import StateError, StorageError
from realm.core.paths import expanded
from realm.flows.config import template_text
from realm.flows.home import Home


def create_home(path: Path, template: str, settings: Mapping[str, str]) -> Home:
    """Make a new realm at a path; `settings` fill the template's places. Refuses an existing one."""
    root = expanded(path).resolve()
    home = Home(root)
    if home.config.exists():
        raise StateError(
            f"{root}: already a realm", hint=f"use it with --home {path}, or choose another folder"
        )
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", root.name).strip(".-") or "realm"
    text = template_text(template, {"name": name, **settings})
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{root}: cannot be created ({error.strerror})", hint="choose another place"
        ) from None
    home.make()
    try:
        # The config comes last: a folder without it is no realm, and init can be run again.
        home.config.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{home.config}: {error.strerror}", hint="free space, then run init again"
        ) from None
    return home
