"""Events from a child to its supervisor, through one file of JSON lines.

The writer may be killed at any byte: its last line may be torn, and a writer that comes after
it closes that line before its own. The reader waits for a line's end and counts the rest.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from realm.core import events
from realm.core.clock import Clock, iso, utc_now
from realm.core.errors import StorageError
from realm.core.events import Event


class EventLog:
    """Append events to a file. One line is one write, so lines of two writers never mix."""

    def __init__(self, path: Path, clock: Clock = utc_now) -> None:
        self.path = path
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        if _is_torn(path):
            self._append(b"\n")

    def emit(self, event: Event) -> None:
        """Stamp an event with the present moment and hand its line to the system."""
        stamped = event.model_copy(update={"at": iso(self._clock())})
        self._append(events.write(stamped).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}", hint="free some space") from error


class EventTail:
    """Read events as they are appended, from a byte offset on."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        """Bytes read so far, always at the start of a line; store it to go on later."""
        self.garbled = 0
        """Lines that a killed writer left unreadable."""
        self.cut = False
        """Whether the file was cut, removed or replaced by a shorter one, so that events may be lost."""

    def read(self) -> list[Event]:
        """Return the events of all complete new lines; none while the file does not exist.

        A file that holds less than was read of it is read anew from its beginning: see `cut`.
        """
        try:
            with self.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self.offset:
                    self._begin_anew()
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            if self.offset:
                self._begin_anew()
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self.offset += len(complete)
        lines = complete.split(b"\n")[:-1]
        return [event for line in lines if (event := self._parse(line)) is not None]

    def _begin_anew(self) -> None:
        self.offset, self.cut = 0, True

    def _parse(self, line: bytes) -> Event | None:
        try:
            return events.read(line)
        except ValidationError:
            self.garbled += 1
            return None


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
