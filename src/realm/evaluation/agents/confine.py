"""Run commands under the kernel's limits: `python -I -S confine.py`, one request on standard input.

The request is a marshalled mapping. For each command the answer is a line with its exit code, how it ended
and the length of its output, then the output.

Two plans. `spaces`: fresh namespaces (mounts, processes, network, IPC; as a normal user inside a user
namespace) with a root of its own that holds the system's programs, the sandbox's folder and three devices.
`bare`: none of these. In both every command leads a session of its own, has resource limits, no
privileges to gain, and, where the kernel has Landlock, no files but those of the plan, no TCP, and no
signals to others. What is not covered is said in `sandbox`.

Imports nothing of Realm, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import select
import signal
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NOT_POSSIBLE = 97
"""Exit code where the plan cannot be carried out on this machine."""
_LOOK_S = 0.05
_DISK_LOOK_S = 0.1
_DEEPEST = 40
_NEW_NS, _NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_BIND, _REC, _PRIVATE, _REMOUNT, _RDONLY, _NOSUID, _NODEV = 0x1000, 0x4000, 0x40000, 0x20, 1, 2, 4
_DETACH = 2
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 4, 36, 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_READ, _WRITE_FILE, _EXECUTE = 0b1100, 0b10, 0b1
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | 0b100 | 1 << 14
"""Landlock rights that a rule about a file may hold; the others are about folders."""

LIBC = ctypes.CDLL(None, use_errno=True)


class Ignoring:
    """Ignore errors of some classes; `contextlib` takes longer to import than most commands run."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._errors)


def _call(name: str, *arguments: Any) -> int:
    """Call a function of the C library. Raises OSError naming it."""
    value: int = getattr(LIBC, name)(*arguments)
    if value < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return value


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _call("prctl", option, value, 0, 0, 0)


# --- namespaces and the root ----------------------------------------------------------------


def enter_spaces(request: dict[str, Any]) -> None:
    """Enter fresh namespaces and a root of our own. Raises OSError where the kernel refuses."""
    uid, gid = os.getuid(), os.getgid()
    flags = _NEW_NS | _NEW_IPC | _NEW_PID | _NEW_NET
    if uid == 0:
        _call("unshare", flags)
    else:
        _call("unshare", flags | _NEW_USER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _own_root(request)


def _own_root(request: dict[str, Any]) -> None:
    """Build a root in the sandbox's mount point and move into it; nothing else stays reachable."""
    new, inside = request["mount"], request["inside"]
    _mount("none", "/", None, _REC | _PRIVATE)
    _mount("tmpfs", new, "tmpfs", _NOSUID | _NODEV, b"size=1m,mode=755")
    for path in request["programs"]:
        _show(path, new)
    os.mkdir(f"{new}/dev")
    for device in _DEVICES:
        os.close(os.open(f"{new}{device}", os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(device, f"{new}{device}", None, _BIND)
    os.makedirs(new + inside)
    _mount(request["folder"], new + inside, None, _BIND)
    _mount("none", new + inside, None, _BIND | _REMOUNT | _NOSUID | _NODEV)
    os.mkdir(f"{new}/.old")
    _call("syscall", _PIVOT_ROOT[os.uname().machine], new.encode(), f"{new}/.old".encode())
    os.chdir("/")
    _call("umount2", b"/.old", _DETACH)
    os.rmdir("/.old")


def _show(path: str, new: str) -> None:
    """Show a folder of the system read-only; a link such as `/bin` stays one."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), new + path)
    elif os.path.isdir(path):
        os.makedirs(new + path, exist_ok=True)
        _mount(path, new + path, None, _BIND | _REC)
        # What the mount forbids already has to be forbidden again; the numbers are those of statvfs.
        kept = os.statvfs(new + path).f_flag & 0b1110
        _mount("none", new + path, None, _BIND | _REMOUNT | _RDONLY | _NOSUID | kept)
    elif os.path.isfile(path):
        os.makedirs(os.path.dirname(new + path), exist_ok=True)
        os.close(os.open(new + path, os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(path, new + path, None, _BIND)


def _mount(source: str, target: str, kind: str | None, flags: int, data: bytes | None = None) -> None:
    encoded = kind.encode() if kind else None
    _call("mount", source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), data)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def drop_root(uid: int) -> None:
    """Become a user without rights, where we are root: root is exempt from the limit of processes."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def tasks_of(uid: int) -> int:
    """Count the processes and threads of a user, which his limit counts too."""
    count = 0
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with Ignoring(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count


# --- Landlock -------------------------------------------------------------------------------


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has, 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(LIBC.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)))


def landlock(programs: list[str], folder: str) -> None:
    """Allow this process and its children no file but those, no TCP, no signals to others."""
    version = landlock_version()
    if not version:
        return
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    rules = [handled, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0]
    made = (ctypes.c_uint64 * 3)(*rules)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _call("syscall", _LANDLOCK_CREATE, made, ctypes.c_size_t(size), 0)
    for path in programs:
        _allow(ruleset, path, (_READ | _EXECUTE) & handled)
    for device in _DEVICES:
        _allow(ruleset, device, 0b110 & handled)
    # Sockets, pipes and devices are nothing that work on files makes.
    _allow(ruleset, folder, handled & ~(1 << 6 | 1 << 9 | 1 << 10 | 1 << 11))
    _call("syscall", _LANDLOCK_RESTRICT, ruleset, 0)
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
        _call("syscall", _LANDLOCK_ADD, ruleset, 1, rule, 0)
    finally:
        os.close(beneath)


# --- commands -------------------------------------------------------------------------------


def become(command: dict[str, Any], request: dict[str, Any], base: str, processes: int) -> None:
    """Turn the forked process into a command. Never returns."""
    try:
        os.setsid()
        os.chdir(f"{base}/{command['at']}")
        limits = request["limits"]
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_CPU, limits["cpu_s"])
        _limit(resource.RLIMIT_FSIZE, limits["file_bytes"])
        _limit(resource.RLIMIT_NOFILE, limits["open_files"])
        _limit(resource.RLIMIT_NPROC, processes)
        with Ignoring(ValueError, OSError):  # not on macOS
            _limit(resource.RLIMIT_AS, limits["memory_bytes"])
        _prctl(_SET_NO_NEW_PRIVS, 1)
        landlock([*request["programs"]], base)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execve(command["argv"][0], command["argv"], request["environment"])  # noqa: S606 - confined by now
    except (OSError, ValueError) as error:
        os.write(2, f"{command['argv'][0]}: {error}\n".encode(errors="replace"))
    os._exit(126)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def run(command: dict[str, Any], request: dict[str, Any], base: str, processes: int) -> bytes:
    """Run one command to its end or to the first limit it meets; return the answer about it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (writing, 1), (writing, 2)):
            os.dup2(source, target)
        become(command, request, base, processes)
    os.close(writing)
    os.set_blocking(reading, False)
    ended, status, output = _follow(pid, reading, request["limits"], base)
    code = os.waitstatus_to_exitcode(sweep(pid, status, alone=request["plan"] == "spaces"))
    os.close(reading)
    return f"{code} {ended} {len(output)}\n".encode() + output


def _follow(pid: int, reading: int, limits: dict[str, Any], base: str) -> tuple[str, int | None, bytes]:
    """Wait for a command; return how it ended, its status where it did by itself, and its output."""
    output = bytearray()
    until, look = time.monotonic() + limits["wall_s"], 0.0
    while True:
        select.select([reading], [], [], _LOOK_S)
        done, status = os.waitpid(pid, os.WNOHANG)
        _take(reading, output, limits["output_bytes"])
        if len(output) >= limits["output_bytes"]:
            return "output", None if not done else status, bytes(output)
        if done or time.monotonic() >= look:
            if crowded(base, limits["disk_bytes"], limits["files"]):
                return "disk", None if not done else status, bytes(output)
            look = time.monotonic() + _DISK_LOOK_S
        if done:
            return "exit", status, bytes(output)
        if time.monotonic() >= until:
            return "time", None, bytes(output)


def _take(reading: int, output: bytearray, most: int) -> None:
    """Take what is there, up to the cap; a closed pipe makes `select` return at once, so wait a little."""
    while len(output) < most:
        try:
            piece = os.read(reading, min(65536, most - len(output)))
        except BlockingIOError:
            return
        if not piece:
            time.sleep(0.002)
            return
        output += piece


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


def sweep(leader: int, status: int | None, *, alone: bool) -> int:
    """Kill what a command left behind and collect it; return the command's own status."""
    while True:
        with Ignoring(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        for other in [-1] if alone else _descendants():
            with Ignoring(ProcessLookupError, PermissionError):
                os.kill(other, signal.SIGKILL)
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return signal.SIGKILL if status is None else status
        if pid == leader:
            status = ended
        elif pid == 0:
            time.sleep(0.002)


def _descendants() -> list[int]:
    """Return the processes that descend from us; orphans among them were given to us."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with Ignoring(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found, grown = {os.getpid()}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return sorted(found - {os.getpid()})


# --- the request ----------------------------------------------------------------------------


def main() -> None:
    """Carry out the request on standard input."""
    request = marshal.loads(sys.stdin.buffer.read())  # noqa: S302 - our starter's
    report = os.dup(1)
    parent = request["parent"]
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.umask(0o022)
    spaces, base = request["plan"] == "spaces", request["folder"]
    processes = request["limits"]["processes"]
    if not spaces or os.getuid() == 0:
        processes += tasks_of(request["uid"])
    if spaces:
        try:
            enter_spaces(request)
        except (OSError, KeyError) as error:
            os.write(2, f"{error}\n".encode())
            sys.exit(NOT_POSSIBLE)
        base = request["inside"]
    drop_root(request["uid"])
    # A change of user forgets it.
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    init = os.fork()
    if init:
        sys.exit(min(1, os.waitpid(init, 0)[1]))
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    # Commands have the same user, and may neither trace this process nor reach its files.
    _prctl(_SET_DUMPABLE, 0)
    _prctl(_SET_SUBREAPER, 1)
    for command in request["commands"]:
        done = run(command, request, base, processes)
        while done:
            done = done[os.write(report, done) :]
    os._exit(0)


if __name__ == "__main__":
    main()
