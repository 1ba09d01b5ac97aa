"""What a process asks the kernel to forbid it: files and signals (Landlock), and system calls (seccomp).

Imports nothing that takes time, since every command's confinement imports it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEVICES = ("/dev/null", "/dev/urandom")
"""Not `/dev/zero`: shared mappings of it are memory that belongs to no process."""
SET_PDEATHSIG, SET_DUMPABLE, SET_SUBREAPER, SET_NO_NEW_PRIVS = 1, 4, 36, 38
SET_SECCOMP, FILTER = 22, 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ, _WRITE_FILE, _EXECUTE = 0b1100, 0b10, 0b1
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | 0b100 | 1 << 14
"""Landlock rights that a rule about a file may hold; the others are about folders."""

LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """Call a function of the C library. Raises OSError naming it."""
    value: int = getattr(LIBC, name)(*arguments)
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return value


def prctl(option: int, value: int) -> None:
    """Change something about this process, on Linux. Raises OSError."""
    if sys.platform == "linux":
        call("prctl", option, value, 0, 0, 0)


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has, 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(LIBC.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)))


def landlock(programs: list[str], folder: str) -> None:
    """Allow this process and its children no file but those, and no signals to others."""
    version = landlock_version()
    if not version:
        return
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    made = (ctypes.c_uint64 * 3)(handled, 0, 0b10)
    size = 24 if version >= 6 else 8
    ruleset = call("syscall", _LANDLOCK_CREATE, made, ctypes.c_size_t(size), 0)
    for path in programs:
        _allow(ruleset, path, (_READ | _EXECUTE) & handled)
    for device in DEVICES:
        _allow(ruleset, device, 0b110 & handled)
    # Sockets, pipes and devices are nothing that work on files makes.
    _allow(ruleset, folder, handled & ~(1 << 6 | 1 << 9 | 1 << 10 | 1 << 11))
    call("syscall", _LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= _FILE_RIGHTS
        rule = rights.to_bytes(8, sys.byteorder) + beneath.to_bytes(4, sys.byteorder, signed=True)
        call("syscall", _LANDLOCK_ADD, ruleset, 1, rule, 0)
    finally:
        os.close(beneath)


def forbid(program: bytes) -> None:
    """Refuse the system calls that a program of classic BPF refuses; none where it is empty."""
    if program:
        held = ctypes.create_string_buffer(program, len(program))
        where = (ctypes.c_uint64 * 2)(len(program) // 8, ctypes.addressof(held))
        call("prctl", SET_SECCOMP, FILTER, ctypes.byref(where), 0, 0)
