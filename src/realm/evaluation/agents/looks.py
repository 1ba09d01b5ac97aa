"""What a command's processes and its folder take, and which processes there are.

The process that looks has the machine's `/proc` as its working folder, which nobody inside can reach, or
`/` where there is none; then no process is seen.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 40
_LONGEST_MAP = 1 << 20
"""Bytes of a process's list of mappings; Python's is 100 times shorter."""
_HELD = (b"RssAnon:", b"RssShmem:", b"VmSwap:", b"HugetlbPages:")


class Ignoring:
    """Ignore errors of some classes; `contextlib` takes longer to import than most commands run."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._errors)


def crowded(base: str, most_bytes: int, most_files: int) -> bool:
    """Tell whether the folder holds too much; whatever cannot be looked at counts as too much."""
    size, files, folders = 0, 0, [(base, 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            for entry in _entries(folder):
                files += 1
                with Ignoring(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    size += found.st_blocks * 512
                    if stat.S_ISDIR(found.st_mode):
                        folders.append((entry.path, depth + 1))
                if files > most_files or size > most_bytes or depth > _DEEPEST:
                    return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """List a folder; one that its owner closed is opened again, since hidden files count too."""
    try:
        entries = os.scandir(folder)
    except PermissionError:
        os.chmod(folder, 0o700)
        entries = os.scandir(folder)
    with entries:
        yield from entries


def tasks_of(uid: int) -> int:
    """Count the processes and threads of a user, which his limit counts too."""
    count = 0
    for name in _processes():
        with Ignoring(OSError):
            if os.stat(name).st_uid == uid:
                count += len(os.listdir(f"{name}/task"))
    return count


def held_bytes() -> int:
    """Return the memory of all processes that descend from us; what a fork shares counts for each."""
    return sum(_held(name) for name in descendants())


def _held(pid: int) -> int:
    """Return a process's memory, swapped or not, without pages of files; 0 where it has ended."""
    # A process whose first thread has ended shows its memory at the others alone.
    for task in _tasks(pid):
        with Ignoring(OSError), open(f"{task}/status", "rb") as file:
            lines = [line.split() for line in file if line.startswith(_HELD)]
            if lines:
                return sum(int(words[1]) << 10 for words in lines)
    return 0


def hoarded(most_bytes: int, most_a_file: int) -> bool:
    """Tell whether deleted files that are still open or mapped hold too much.

    One that is only mapped counts as the largest that a file may be. A process that cannot be looked at
    counts as too much.
    """
    files: dict[tuple[int, int], int] = {}
    for task in [task for pid in descendants() for task in _tasks(pid)]:
        try:
            with Ignoring(FileNotFoundError, ProcessLookupError):
                files = dict.fromkeys(_mapped(task), most_a_file) | files | dict(_open(task))
        except PermissionError:
            if not _ended(task):
                return True
    return sum(files.values()) > most_bytes


def _open(task: str) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield device, inode and size of the deleted files that a thread has open."""
    for number in os.listdir(f"{task}/fd"):
        with Ignoring(FileNotFoundError):
            found = os.stat(f"{task}/fd/{number}")
            if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                yield (found.st_dev, found.st_ino), found.st_blocks * 512


def _mapped(task: str) -> Iterator[tuple[int, int]]:
    """Yield device and inode of the deleted files that a thread has mapped. Raises PermissionError."""
    with open(f"{task}/maps", "rb") as file:
        text = file.read(_LONGEST_MAP)
    if len(text) == _LONGEST_MAP:
        raise PermissionError
    for line in text.splitlines():
        if line.endswith(b" (deleted)"):
            device, inode = line.split()[3:5]
            major, _, minor = device.partition(b":")
            yield os.makedev(int(major, 16), int(minor, 16)), int(inode)


def _tasks(pid: int) -> list[str]:
    with Ignoring(OSError):
        return [f"{pid}/task/{thread}" for thread in os.listdir(f"{pid}/task")]
    return []


def _ended(task: str) -> bool:
    """Tell whether a thread has given up its memory, as it does before all else when it ends."""
    with Ignoring(OSError), open(f"{task}/statm", "rb") as file:
        return file.read().startswith(b"0 ")
    return True


def descendants() -> list[int]:
    """Return the processes that descend from us; orphans among them were given to us."""
    parents: dict[int, int] = {}
    for name in _processes():
        with Ignoring(OSError, ValueError), open(f"{name}/stat", "rb") as file:
            parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    if not parents:
        return []
    # In a namespace of processes we have another number than here.
    us = int(os.readlink("self"))
    found, grown = {us}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return sorted(found - {us})


def _processes() -> list[str]:
    return [name for name in os.listdir(".") if name.isdigit()]
