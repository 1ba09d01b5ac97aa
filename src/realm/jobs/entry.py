"""Run `package.module:function` on a spec file and turn how it ended into an exit code."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, cast

from realm.core.errors import UsageError

CRASHED = 1
"""Exit code of an entry that raised."""


def run(entry: str, spec: Path) -> NoReturn:
    """Call the entry and leave the process at once, without waiting for threads or teardown."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A killed child must not take its last lines along.
            stream.reconfigure(line_buffering=True)
    code = _call(entry, spec)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def resolve(entry: str) -> Callable[[Path], int]:
    """Import the function that `package.module:function` names."""
    module, sign, function = entry.partition(":")
    if not sign or not module or not function:
        raise UsageError(f"{entry!r} is no entry", hint="write package.module:function")
    return cast("Callable[[Path], int]", getattr(importlib.import_module(module), function))


def _call(entry: str, spec: Path) -> int:
    try:
        return resolve(entry)(spec)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else CRASHED
    # The edge of a child process: its log gets the traceback, its parent the exit code.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return CRASHED
