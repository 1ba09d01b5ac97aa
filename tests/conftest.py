"""Lets the processes that tests start find compiled modules, and property tests draw the same every time."""

from __future__ import annotations

import os
import sys

from hypothesis import settings

# What passes here passes elsewhere; `pytest --hypothesis-profile=default` draws anew each time.
settings.register_profile("same", derandomize=True)


def pytest_configure() -> None:
    """Allow bytecode: tests start hundreds of processes, and each would compile the whole package anew."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
