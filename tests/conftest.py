"""Lets the processes that tests start find compiled modules."""

from __future__ import annotations

import os
import sys


def pytest_configure() -> None:
    """Allow bytecode: tests start hundreds of processes, and each would compile the whole package anew."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
