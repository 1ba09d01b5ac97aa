"""Every error that Realm raises on purpose, in one tree.

RealmError                     exit 1
├── RefusedError               exit 1   a check said no; nothing was changed
│   ├── DataError                       bad rows, with file, line and reason
│   ├── MaskingError                    the masking proof failed before the first step
│   ├── DivergedError                   the loss is no number any more
│   ├── CorruptError                    bytes do not match their hash
│   ├── UnsafeFileError                 a file that may not be loaded at all
│   ├── GateError                       a candidate is not better, or does not load
│   └── StateError                      not possible in the present state (resume a finished run)
├── UsageError                 exit 2   wrong use
│   ├── ConfigError                     a config that does not validate
│   └── HeldError                       another process holds this home
├── NotFoundError              exit 3   no such thing; lists what exists
└── UnavailableError           exit 4   may be retried
    ├── ChildDiedError                  a process was killed or crashed without a word
    ├── OutOfMemoryError                memory of the device or the machine ran out
    ├── StorageError                    disk full or not writable
    ├── MissingExtraError               an optional dependency is absent
    └── FencedError                     a newer holder took over; this writer must stop

Only four edges catch these: the command line, a web request, a job step and a sandbox.
"""

from __future__ import annotations


class RealmError(Exception):
    """Say what happened, to which id or file, and what to do next."""

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  → {self.hint}" if self.hint else self.what


class RefusedError(RealmError):
    """A check said no and nothing was changed."""


class DataError(RefusedError):
    """Refuse data, naming the file, the line (1-based) and the reason."""

    def __init__(self, reason: str, *, file: str, line: int | None = None, hint: str = "") -> None:
        where = f"{file}:{line}" if line is not None else file
        super().__init__(f"{where}: {reason}", hint=hint)
        self.reason = reason
        self.file = file
        self.line = line


class MaskingError(RefusedError):
    """The masking proof failed, so training did not start."""


class DivergedError(RefusedError):
    """The loss or a gradient stopped being a finite number."""


class CorruptError(RefusedError):
    """Stored bytes do not match the hash they were published under."""


class UnsafeFileError(RefusedError):
    """A file that could run code, or that is not on the allow-list."""


class GateError(RefusedError):
    """A candidate may not be promoted."""


class StateError(RefusedError):
    """The thing exists, but its present state does not allow this."""


class UsageError(RealmError):
    """Wrong use of a command or function."""

    exit_code = 2


class ConfigError(UsageError):
    """A config file or override that does not validate."""


class HeldError(UsageError):
    """Another process holds this home."""


class NotFoundError(RealmError):
    """No such thing; the message lists what exists."""

    exit_code = 3


class UnavailableError(RealmError):
    """Not possible now; the same call may work later."""

    exit_code = 4


class ChildDiedError(UnavailableError):
    """A child process was killed or crashed without saying why."""


class OutOfMemoryError(UnavailableError):
    """The memory of the device or of the machine ran out."""


class StorageError(UnavailableError):
    """The disk is full, failing or not writable."""


class MissingExtraError(UnavailableError):
    """An optional dependency is not installed."""


class FencedError(UnavailableError):
    """A newer holder has taken over; this writer must stop."""
