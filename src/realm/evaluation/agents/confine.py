"""Run commands under the kernel's limits: a process of its own, one request on standard input.

The request is a marshalled mapping. For each command the answer is a line with its exit code, how it ended
and the length of its output, then the output.

Two plans. `spaces`: fresh namespaces (mounts, processes, network, IPC; as a normal user inside a user
namespace) with a root of its own that holds the system's programs, the sandbox's folder and two devices.
`bare`: none of these. In both every command leads a session of its own, has resource limits, no
privileges to gain, where the kernel has Landlock no files but those of the plan and no signals to others,
and a filter of system calls where the request holds one. What is not covered is said in `sandbox`.

Imports little, so that it starts in a few hundredths of a second.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import select
import signal
import sys
import time

from realm.evaluation.agents.kernel import (
    DEVICES,
    SET_DUMPABLE,
    SET_NO_NEW_PRIVS,
    SET_PDEATHSIG,
    SET_SUBREAPER,
    call,
    forbid,
    landlock,
    prctl,
)
from realm.evaluation.agents.looks import Ignoring, crowded, descendants, held_bytes, hoarded, tasks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOT_POSSIBLE = 97
"""Exit code where the plan cannot be carried out on this machine."""
_LOOK_S = 0.05
_DISK_LOOK_S = 0.1
_MEMORY_LOOK_S = 0.05
_NEW_NS, _NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_BIND, _REC, _PRIVATE, _REMOUNT, _RDONLY, _NOSUID, _NODEV = 0x1000, 0x4000, 0x40000, 0x20, 1, 2, 4
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}


# --- namespaces and the root ----------------------------------------------------------------


def enter_spaces(request: dict[str, Any]) -> None:
    """Enter fresh namespaces and a root of our own. Raises OSError where the kernel refuses."""
    uid, gid = os.getuid(), os.getgid()
    flags = _NEW_NS | _NEW_IPC | _NEW_PID | _NEW_NET
    if uid == 0:
        call("unshare", flags)
    else:
        call("unshare", flags | _NEW_USER)
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
    for device in DEVICES:
        os.close(os.open(f"{new}{device}", os.O_CREAT | os.O_WRONLY, 0o644))
        _mount(device, f"{new}{device}", None, _BIND)
    os.makedirs(new + inside)
    _mount(request["folder"], new + inside, None, _BIND)
    _mount("none", new + inside, None, _BIND | _REMOUNT | _NOSUID | _NODEV)
    os.mkdir(f"{new}/.old")
    call("syscall", _PIVOT_ROOT[os.uname().machine], new.encode(), f"{new}/.old".encode())
    os.chdir("/")
    call("umount2", b"/.old", _DETACH)
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
    call("mount", source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), data)


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
        prctl(SET_NO_NEW_PRIVS, 1)
        landlock([*request["programs"]], base)
        forbid(request["filter"])
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
    # Whoever may not be traced cannot be looked at either; nobody else runs at this moment.
    prctl(SET_DUMPABLE, 1)
    pid = os.fork()
    if pid == 0:
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (writing, 1), (writing, 2)):
            os.dup2(source, target)
        become(command, request, base, processes)
    # Commands have the same user, and may neither trace this process nor reach its files.
    prctl(SET_DUMPABLE, 0)
    os.close(writing)
    os.set_blocking(reading, False)
    ended, status, output = _follow(pid, reading, request["limits"], base)
    code = os.waitstatus_to_exitcode(sweep(pid, status, alone=request["plan"] == "spaces"))
    os.close(reading)
    return f"{code} {ended} {len(output)}\n".encode() + output


def _follow(pid: int, reading: int, limits: dict[str, Any], base: str) -> tuple[str, int | None, bytes]:
    """Wait for a command; return how it ended, its status where it did by itself, and its output."""
    output = bytearray()
    begun, look = time.monotonic(), 0.0
    until, memory_look = begun + limits["wall_s"], begun + _MEMORY_LOOK_S
    while True:
        select.select([reading], [], [], _LOOK_S)
        done, status = os.waitpid(pid, os.WNOHANG)
        _take(reading, output, limits["output_bytes"])
        if len(output) >= limits["output_bytes"]:
            return "output", None if not done else status, bytes(output)
        if done or time.monotonic() >= look:
            full = crowded(base, limits["disk_bytes"], limits["files"])
            # What has been left running is killed in a moment, and its deleted files are gone with it.
            if full or (not done and hoarded(limits["disk_bytes"], limits["file_bytes"])):
                return "disk", None if not done else status, bytes(output)
            look = time.monotonic() + _DISK_LOOK_S
        if done:
            return "exit", status, bytes(output)
        if time.monotonic() >= memory_look:
            if held_bytes() > limits["total_bytes"]:
                return "memory", None, bytes(output)
            memory_look = time.monotonic() + _MEMORY_LOOK_S
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


def sweep(leader: int, status: int | None, *, alone: bool) -> int:
    """Kill what a command left behind and collect it; return the command's own status."""
    while True:
        with Ignoring(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        for other in [-1] if alone else descendants():
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


# --- the request ----------------------------------------------------------------------------


def main() -> None:
    """Carry out the request on standard input."""
    request = marshal.loads(sys.stdin.buffer.read())  # noqa: S302 - our starter's
    report = os.dup(1)
    parent = request["parent"]
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.umask(0o022)
    with Ignoring(OSError):
        # Where a burst leaves the machine without memory, the kernel ends commands before anything else.
        _write("/proc/self/oom_score_adj", "1000")
    processes_folder = os.open("/proc" if os.path.isdir("/proc/self") else "/", os.O_RDONLY)
    os.fchdir(processes_folder)
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
        os.fchdir(processes_folder)
    os.close(processes_folder)
    drop_root(request["uid"])
    # A change of user forgets it.
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    init = os.fork()
    if init:
        sys.exit(min(1, os.waitpid(init, 0)[1]))
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    prctl(SET_SUBREAPER, 1)
    for command in request["commands"]:
        done = run(command, request, base, processes)
        while done:
            done = done[os.write(report, done) :]
    os._exit(0)
