"""A contender's end of the pipe; see `contender`. It imports nothing, so that anybody can run it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
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

    def told_to_go(self, asked: Mapping[str, Callable[[], None]] | None = None) -> bool:
        """Wait for `go`, doing what else is asked until then; false when there will be nothing any more."""
        for line in iter(sys.stdin.readline, ""):
            (command,) = json.loads(line)
            if command == "go":
                return True
            (asked or {})[command]()
            self.tell({})
        return False

    def serve(
        self, segment: Callable[[], dict[str, Any]], asked: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        """Carry out a segment whenever told to go."""
        while self.told_to_go(asked):
            self.tell(segment())
