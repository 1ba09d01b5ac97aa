"""One contender: a process that trains a segment when it is told to, and sleeps in between.

Commands and answers are JSON lines on its standard input and output. The clock and the memory are
read here, the same way for everybody:

    ← {"imported": true}                                  its libraries are loaded, nothing else
    ← {"ready": {"first_loss": …, "parameters": …}}       set up, warm, not a step taken
    → {"go": 1}   ← {"tokens": …, "trained_tokens": …}    one segment; as often as it is told
    → end of file                                         it leaves

Where contenders take turns on a GPU, two commands surround each segment, and `rest` follows the set-up:

    → {"wake": 1}   ← {}    it takes its memory on the GPU, before the clock runs
    → {"rest": 1}   ← {}    it leaves it, after the clock has stopped
"""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from realm.core.errors import ChildDiedError, UnavailableError
from realm.core.records import Record
from realm.jobs.lifeline import end_group

TIMEOUT_S = 3600.0
"""The longest that a set-up or a segment may take."""
_CLOSE_S = 10.0
_SHOWN_LINES = 8


class Trained(Record):
    """One segment."""

    seconds: float
    peak_mb: float
    """The most host memory it has held since its set-up, above what it held after its imports; where
    contenders take turns, since it was woken."""
    answer: dict[str, float]
    """What the contender tells of it; on a GPU also `peak_device_mb`."""


class Contender:
    """Start a contender and set it up; leaving the context ends it and all it started."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        takes_turns: bool = False,
    ) -> None:
        self.name = name
        self._log = log
        self._takes_turns = takes_turns
        self._busy = True
        """Whether it was asked for something that it has not answered."""
        began = time.perf_counter()
        with log.open("wb") as sink:
            self._process = subprocess.Popen(  # noqa: S603 - an argument list of ours
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                bufsize=0,  # `select` must not miss a line that a buffer has taken already
                env=dict(environment),
                start_new_session=True,
            )
        try:
            self._answer()
            self._imported_mb = self._memory_mb("VmRSS")
            self.ready: dict[str, Any] = self._answer()["ready"]
            self._in_turn("rest")
        except BaseException:
            self.close()
            raise
        self._forget_peak()
        self.setup_s = time.perf_counter() - began
        """From its start until it was ready to train, imports included."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def train(self) -> Trained:
        """Have one segment trained. Raises ChildDiedError with the end of its log."""
        if self._takes_turns:
            self._in_turn("wake")
            self._forget_peak()  # what lay in host memory meanwhile is no need of training
        began = time.perf_counter()
        answer = self._ask("go")
        seconds = time.perf_counter() - began
        peak_mb = self._memory_mb("VmHWM") - self._imported_mb
        self._in_turn("rest")
        return Trained(seconds=seconds, peak_mb=peak_mb, answer=answer)

    def close(self) -> None:
        """End it, politely if it waits for a command."""
        with suppress(OSError):
            self._stdin.close()
        if not self._busy:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_CLOSE_S)
        end_group(self._process.pid)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def _stdin(self) -> Any:
        assert self._process.stdin is not None
        return self._process.stdin

    def _in_turn(self, command: str) -> None:
        """Have it take or leave the device, where there are turns."""
        if self._takes_turns:
            self._ask(command)

    def _ask(self, command: str) -> dict[str, Any]:
        try:
            self._stdin.write(json.dumps({command: 1}).encode() + b"\n")
            self._stdin.flush()
        except OSError:
            raise self._died() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None
        self._busy = True
        ready, _, _ = select.select([output], [], [], TIMEOUT_S)
        if not ready:
            raise UnavailableError(f"{self.name} has not answered for {TIMEOUT_S / 60:.0f} minutes")
        line = output.readline()
        if not line:
            raise self._died()
        self._busy = False
        found: dict[str, Any] = json.loads(line)
        return found

    def _died(self) -> ChildDiedError:
        code = self._process.wait()
        last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_SHOWN_LINES:]
        told = "\n".join(last) or "it left no message"
        return ChildDiedError(
            f"{self.name} ended with code {code}:\n{told}",
            hint="run it again; -9 is what memory shortage leaves",
        )

    def _memory_mb(self, entry: str) -> float:
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        except FileNotFoundError:
            raise UnavailableError("memory can be measured on Linux only") from None
        return int(status.split(f"{entry}:")[1].split()[0]) / 1024

    def _forget_peak(self) -> None:
        """Let the peak begin anew; where the system does not allow it, the set-up counts as well."""
        with suppress(OSError):
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5", encoding="ascii")
