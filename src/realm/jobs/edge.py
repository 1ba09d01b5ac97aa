"""The edge of a child process: whatever its work raises becomes one `Failed` event."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from realm.core.errors import RealmError
from realm.core.events import Emit, Failed
from realm.jobs.tail import EventLog


def run_told(run: str, events: Path, work: Callable[[Emit], None]) -> int:
    """Do a child's work, telling its events; return the exit code: 0, or 1 after `Failed`.

    The traceback of an error that nobody raised on purpose goes to the child's log.
    """
    log = EventLog(events)
    try:
        work(log.emit)
    except RealmError as error:
        log.emit(Failed(run=run, error=type(error).__name__, what=error.what, hint=error.hint))
        return 1
    except Exception as error:  # noqa: BLE001 - one of the four edges
        traceback.print_exc()
        log.emit(Failed(run=run, error=type(error).__name__, what=str(error)))
        return 1
    finally:
        log.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
