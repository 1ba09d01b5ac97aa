"""A contender's end of the pipe; see `contender`. It imports nothing, so that anybody can run it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


class Pipe:
    """Take standard output away from all others in this process, and answer through it."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def tell(self, answer: dict[str, Any]) -> None:
        """Write one answer."""
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()

    def told(self) -> bool:
        """Wait for a command; false when there will be none any more."""
        return bool(sys.stdin.readline())

    def serve(self, segment: Callable[[], dict[str, Any]]) -> None:
        """Carry out a segment for each command."""
        while self.told():
            self.tell(segment())
