"""A folder in which a model's commands run, away from everything else.

Covered, on Linux with namespaces (plan `spaces`), each with a test that attacks it:
- files: a command sees the system's programs read-only, its own folder, and two devices; no home, no
  `/etc`, no `/proc`;
- network: none, loopback included; no sockets of services, since it gets no socket that has an address;
- processes: it sees and signals only its own, and changes nobody's limits; what it leaves behind is killed
  when it ends, or when the process that started it dies;
- environment: a fixed list, nothing of ours;
- amounts: CPU and wall time, memory a process, memory in all, processes, open files, size of a file, disk
  and number of files, deleted ones that are held open included, output;
- privileges: none can be gained, root becomes a user of its own first, no namespaces can be made, and
  system calls that ordinary programs do without are refused (`seccomp` lists them);
- our own reads and writes follow no link and touch no hard link, pipe or device;
- git: no hooks, no configuration of the machine's, no protocol but local files, no credentials, no editor.

Memory in all is looked at every 0.05 s, disk every 0.1 s, later on a busy machine; above it everything is
killed. What a fork shares counts for each process. Between two looks a command takes what the machine can
give in that time, of memory never more than processes times memory a process; if the machine runs out of
memory meanwhile, commands are killed before others.

Not covered:
- bugs of the kernel in the calls that are allowed;
- what the kernel holds for a command beside its memory: pipes and pairs of sockets, 0.25 MB an open file;
- what programs of the system could do with the folder's own files: git filters and aliases that a program
  writes into the folder do run, inside the same limits;
- two sandboxes of one user at a time take each other's processes where the limit counts both: where we
  are not root and have no namespaces.

Where the kernel grants no namespaces (plan `bare`), the filter still keeps the network, services and new
namespaces away, and Landlock files and signals. `Isolation.missing` says in every result what is lacking.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from realm.core.errors import RefusedError, StorageError, UnavailableError
from realm.core.records import Record
from realm.core.text import printable
from realm.evaluation.agents import leftovers, seccomp
from realm.evaluation.agents.gitsettings import git_environment
from realm.evaluation.agents.kernel import landlock_version

_NOBODY = 65534
_USERS = range(61_184, 65_520)
"""Users that no account is given: systemd hands them out to services while they run."""
_INSIDE = "/town"
_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_PROGRAMS = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
_GRACE_S = 20.0
"""What starting, cleaning up and a busy machine may take beside the commands' own time."""
_ANSWER = re.compile(rb"(-?\d{1,5}) (exit|time|output|disk|memory) (\d{1,9})\n")
_CONFINE = f"""
import sys
realm = sys.modules["realm"] = type(sys)("realm")
realm.__path__ = [{str(Path(__file__).parents[2])!r}]
from realm.evaluation.agents.confine import main
main()
"""
"""Leaves out what `realm` imports itself, which would take a third of the time."""
_EPOCH_S, _STEP_S = 1_767_225_600, 60
"""Time of the first commit, and between two calls: the same work has the same hashes everywhere."""


class Limits(Record):
    """What one command may take."""

    cpu_s: int = 10
    wall_s: float = 10.0
    memory_bytes: int = 256 << 20
    """Address space of one process."""
    total_bytes: int = 512 << 20
    """Memory of all processes together."""
    processes: int = 24
    open_files: int = 64
    file_bytes: int = 8 << 20
    disk_bytes: int = 64 << 20
    files: int = 4000
    output_bytes: int = 64 << 10


class Isolation(Record):
    """What the machine's kernel keeps apart."""

    plan: Literal["spaces", "bare"]
    landlock: int
    """Version, 0 for none."""
    seccomp: bool
    """Whether system calls are filtered."""
    proc: bool
    """Whether there is a `/proc`, in which processes are found and their memory is read."""

    def missing(self) -> tuple[str, ...]:
        """Return what is not kept apart here, in words; empty where all is."""
        told = []
        if not self.seccomp:
            told.append("no filter of system calls: a command can make namespaces and hide memory")
        if not self.proc:
            told.append("no /proc: the sum of memory is not bounded")
        if self.plan == "spaces":
            return tuple(told)
        told.append("no namespaces: a command shares the machine's users and process numbers")
        if not self.seccomp:
            told.append("network not separated: a command can open connections and send UDP")
        if not self.landlock:
            told.append("no Landlock: a command can read whatever its user may read")
        if self.landlock < 6:
            told.append("a command can signal other processes of its user")
        if not self.proc:
            told.append("what leaves its group of processes is not killed")
        return tuple(told)


class Ran(Record):
    """How a command ended."""

    exit: int
    """Exit code, negative for a signal."""
    ended: Literal["exit", "time", "output", "disk", "memory", "lost"]
    """By itself, at a limit of time, output, disk or memory, or with everything around it."""
    output: str


class Sandbox:
    """One folder with room for a repository; closed by whoever made it."""

    def __init__(self, limits: Limits | None = None, isolation: Isolation | None = None) -> None:
        self.limits = limits or Limits()
        self.isolation = isolation or detect()
        self._clock = 0
        try:
            self._root, lock = leftovers.made()
            self._lock: int | None = lock
            for folder in ("mount", "town"):
                (self._root / folder).mkdir()
            self._uid = _taken_by(self._root / "town")
            for folder in ("town/work", "town/home", "town/tmp", "town/stage"):
                (self._root / folder).mkdir()
                self._give(self._root / folder)
        except OSError as error:
            raise StorageError(
                f"no sandbox could be made: {error.strerror}", hint="free some space"
            ) from None

    @property
    def base(self) -> str:
        """The folder's path as commands see it."""
        return _INSIDE if self.isolation.plan == "spaces" else str(self._root / "town")

    @property
    def python(self) -> str:
        """The Python that runs inside: ours, or the system's where ours is hidden from other users."""
        ours = os.path.realpath(sys.executable)
        hidden = os.getuid() == 0 and self.isolation.plan == "bare" and not ours.startswith("/usr/")
        return (shutil.which("python3", path=":".join(_PATH)) or ours) if hidden else ours

    def run(self, argv: Sequence[str], at: str = "work") -> Ran:
        """Run one command; `at` is the folder it runs in. Takes bounded time for any command."""
        return self.run_all([argv], at)[0]

    def run_all(self, commands: Sequence[Sequence[str]], at: str = "work") -> tuple[Ran, ...]:
        """Run commands one after another in one confined process."""
        request = {
            **confinement(self.isolation, self._root, self._uid, self.limits),
            "environment": self._environment(),
            "commands": [{"argv": [_program(argv[0]), *argv[1:]], "at": at} for argv in commands],
        }
        answers = _confined(request, len(commands) * self.limits.wall_s + _GRACE_S)
        done = list(_read(answers))[: len(commands)]
        return (*done, *[Ran(exit=-9, ended="lost", output="")] * (len(commands) - len(done)))

    def read(self, path: str, *, at: str = "work") -> str:
        """Return a file's text, up to the cap of output.

        Raises RefusedError for a path that leaves the folder and for all but plain files.
        """
        with self._parent(path, at) as (folder, name):
            descriptor = self._plain(folder, name, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(self.limits.output_bytes).decode(errors="replace")

    def write(self, path: str, text: str, *, at: str = "work") -> None:
        """Write a file and the folders above it. Raises RefusedError as `read` does, or for too much."""
        data = text.encode(errors="replace")
        if len(data) > self.limits.file_bytes:
            raise RefusedError(f"{len(data):,} bytes are too many for one file")
        with self._parent(path, at, make=True) as (folder, name):
            descriptor = self._plain(folder, name, os.O_WRONLY | os.O_CREAT)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate()
            file.write(data)
            if os.getuid() == 0:
                os.fchown(descriptor, self._uid, self._uid)

    def tick(self) -> None:
        """Let the time that commits are dated with go on by a minute."""
        self._clock += 1

    def close(self) -> None:
        """Remove the folder. Harmless when repeated."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            if self._root.exists():
                self._remove()
        finally:
            os.close(lock)

    def _remove(self) -> None:
        try:
            shutil.rmtree(self._root)
        except (OSError, RecursionError):
            # Folders closed to their owner, or too deep to walk down.
            self.run_all(
                [["chmod", "-R", "u+rwX", "."], ["rm", "-rf", "work", "home", "tmp", "stage"]], at="."
            )
            shutil.rmtree(self._root)

    def _environment(self) -> dict[str, str]:
        date = f"{_EPOCH_S + _STEP_S * self._clock} +0000"
        return {
            "PATH": ":".join(_PATH),
            "HOME": f"{self.base}/home",
            "TMPDIR": f"{self.base}/tmp",  # noqa: S108 - inside the sandbox
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_DATE": date,
            **git_environment(),
        }

    @contextlib.contextmanager
    def _parent(self, path: str, at: str, *, make: bool = False) -> Any:
        """Open the folder of a path, one step after another and never through a link."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if path.startswith("/") or ".." in parts or not parts or "\0" in path or len(parts) > 30:
            raise RefusedError(f"{printable(path)}: not a path inside the work folder")
        folder = os.open(self._root / "town" / at, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for part in parts[:-1]:
                folder = self._step(folder, part, make)
            yield folder, parts[-1]
        except OSError as error:
            raise RefusedError(f"{printable(path)}: {error.strerror}") from None
        finally:
            os.close(folder)

    def _step(self, folder: int, part: str, make: bool) -> int:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
                if os.getuid() == 0:
                    os.chown(part, self._uid, self._uid, dir_fd=folder, follow_symlinks=False)
        inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        os.close(folder)
        return inner

    def _plain(self, folder: int, name: str, flags: int) -> int:
        descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=folder)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise RefusedError(f"{printable(name)}: not a plain file of its own")
        return descriptor

    def _give(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, self._uid, self._uid)


def _taken_by(folder: Path) -> int:
    """Return the user that commands run as, to whom the folder now belongs: where we are root, its own one.

    The limit of processes counts a user's, so that two sandboxes of one user take each other's.
    """
    if os.getuid() != 0:
        return os.getuid()
    own = _USERS[folder.stat().st_ino % len(_USERS)]
    try:
        os.chown(folder, own, own)
    except OSError:  # a container that has few users
        os.chown(folder, _NOBODY, _NOBODY)
        return _NOBODY
    return own


def confinement(isolation: Isolation, root: Path, uid: int, limits: Limits) -> dict[str, Any]:
    """Return what `confine` is asked, but for the commands."""
    return {
        "plan": isolation.plan,
        "filter": seccomp.program(os.uname().machine) if isolation.seccomp else b"",
        "parent": os.getpid(),
        "uid": uid,
        "folder": str(root / "town"),
        "mount": str(root / "mount"),
        "inside": _INSIDE,
        "programs": [*_PROGRAMS, *_interpreter_folders()],
        "limits": limits.model_dump(),
    }


@cache
def detect() -> Isolation:
    """Find out, once, what the kernel keeps apart for us, and remove what ended processes left."""
    leftovers.remove()
    found = Isolation(
        plan="spaces",
        landlock=landlock_version(),
        seccomp=seccomp.possible(),
        proc=os.path.isdir("/proc/self"),
    )
    trial = Sandbox(isolation=found)
    try:
        possible = sys.platform == "linux" and trial.run(["true"]).exit == 0
    finally:
        trial.close()
    return found if possible else found.model_copy(update={"plan": "bare"})


def _interpreter_folders() -> tuple[str, ...]:
    prefix = os.path.realpath(sys.base_prefix)
    return () if prefix == "/usr" or prefix.startswith("/usr/") else (prefix,)


@cache
def _program(name: str) -> str:
    if name.startswith("/"):
        return name
    found = shutil.which(name, path=":".join(_PATH))
    if found is None:
        raise UnavailableError(f"{name} is not in {', '.join(_PATH)}", hint=f"install {name} there")
    return found


def _read(answers: bytes) -> Iterator[Ran]:
    """Yield the answers of a confined process, up to one that is cut off."""
    while match := _ANSWER.match(answers):
        length = int(match[3])
        output, answers = answers[match.end() : match.end() + length], answers[match.end() + length :]
        if len(output) < length:
            return
        yield Ran.model_validate(
            {"exit": int(match[1]), "ended": match[2].decode(), "output": output.decode(errors="replace")}
        )


def _confined(request: dict[str, Any], timeout_s: float) -> bytes:
    """Return the answers of a confined process; fewer than commands where it was ended."""
    arguments = [sys.executable, "-I", "-S", "-c", _CONFINE]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise UnavailableError(f"no process could be started: {error}") from None
    with process:
        try:
            output, _ = process.communicate(marshal.dumps(request), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            output = b""
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    return output
