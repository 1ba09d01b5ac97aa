"""Attacks on the sandbox by system calls, and on its sum of memory, under both plans."""

from __future__ import annotations

import errno
import os
import platform
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from test_sandbox import TIGHT, made, python

from realm.evaluation.agents import seccomp
from realm.evaluation.agents.sandbox import Sandbox

SUMMED = TIGHT.model_copy(update={"total_bytes": 160 << 20, "processes": 24, "wall_s": 10, "cpu_s": 10})
RAW = (
    "import ctypes, errno, os, platform\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "def told(value):\n"
    " if value == 0 and os.getpid() != us: os._exit(0)\n"
    " print('done' if value >= 0 else errno.errorcode[ctypes.get_errno()], flush=True)\n"
    "us, new_user, wide = os.getpid(), 0x10000000, ctypes.c_long\n"
)
"""Beginning of an attack in C's terms; a child that should not be there ends at once."""
ALLOWED, REFUSED, UNKNOWN, KILLED = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000


@pytest.fixture(params=["spaces", "bare"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if not seccomp.possible():
        pytest.skip("LOUD: system calls cannot be filtered here")
    attacked = made(request.param)
    yield attacked
    attacked.close()


@pytest.fixture(params=["spaces", "bare"])
def summed(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    attacked = made(request.param, SUMMED)
    yield attacked
    attacked.close()


def number(x86_64: int, others: int) -> int:
    return x86_64 if platform.machine() == "x86_64" else others


# --- namespaces ---------------------------------------------------------------------------------


def test_no_namespace_can_be_made(sandbox: Sandbox) -> None:
    code = (
        f"told(libc.unshare(new_user))\n"
        f"told(libc.syscall({number(56, 220)}, wide(new_user | 17), None, None, None, None))\n"
        "ask = (ctypes.c_uint64 * 11)(new_user, 0, 0, 0, 17)\n"
        "told(libc.syscall(435, ask, wide(88)))\n"
        "told(libc.setns(0, 0))\n"
        "told(libc.mount(b'none', b'/', b'tmpfs', 0, None))\n"
    )
    assert python(sandbox, RAW + code).output.split() == ["EPERM", "EPERM", "ENOSYS", "EPERM", "EPERM"]


def test_ordinary_programs_still_run(sandbox: Sandbox) -> None:
    code = (
        "import asyncio, os, resource, socket, subprocess, threading\n"
        "thread = threading.Thread(target=print, args=('thread',))\nthread.start(); thread.join()\n"
        "print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout.strip())\n"
        "os.waitpid(os.posix_spawn('/bin/echo', ['echo', 'spawned'], os.environ), 0)\n"
        "one, other = socket.socketpair()\none.send(b'pair'); print(other.recv(9).decode())\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    )
    ran = python(sandbox, code)
    assert ran.exit == 0, ran.output
    assert sorted(ran.output.split()) == ["child", "pair", "spawned", "thread"]


# --- the network and other processes -------------------------------------------------------------


def test_no_socket_has_an_address(sandbox: Sandbox) -> None:
    code = (
        "import socket\n"
        "for family in range(46):\n"
        " for kind in (1, 2, 3, 5):\n"
        "  try: socket.socket(family, kind); print('open', family, kind)\n"
        "  except PermissionError: pass\n"
        "try: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "except PermissionError: print('closed')\n"
    )
    assert python(sandbox, code).output == "closed\n"


def test_no_process_can_be_traced_or_read(sandbox: Sandbox) -> None:
    code = (
        "told(libc.ptrace(0, 0, None, None))\n"
        "here = ctypes.create_string_buffer(b'x' * 8)\n"
        "there = (ctypes.c_uint64 * 2)(ctypes.addressof(here), 8)\n"
        "told(libc.process_vm_readv(us, there, wide(1), there, wide(1), wide(0)))\n"
        "told(libc.process_vm_writev(us, there, wide(1), there, wide(1), wide(0)))\n"
    )
    assert python(sandbox, RAW + code).output.split() == ["EPERM"] * 3


def test_the_limits_of_others_stay_as_they_are(sandbox: Sandbox) -> None:
    who = sandbox._uid if os.getuid() == 0 else None
    bystander = subprocess.Popen(
        ["sleep", "60"], user=who, group=who, extra_groups=None if who is None else []
    )
    limits = Path(f"/proc/{bystander.pid}/limits")
    try:
        before = limits.read_text()
        code = f"import resource; resource.prlimit({bystander.pid}, resource.RLIMIT_NOFILE, (3, 3))"
        assert python(sandbox, code).exit != 0
        assert limits.read_text() == before
    finally:
        bystander.kill()
        bystander.wait()


def test_parts_of_the_kernel_are_closed(sandbox: Sandbox) -> None:
    code = "".join(
        f"told(libc.syscall({number(*numbers)}, *[wide(-1)] * 5))\n"
        for numbers in {
            "bpf": (321, 280),
            "perf_event_open": (298, 241),
            "io_uring_setup": (425, 425),
            "add_key": (248, 217),
            "request_key": (249, 218),
            "keyctl": (250, 219),
            "userfaultfd": (323, 282),
            "kexec_load": (246, 104),
            "finit_module": (313, 273),
            "open_by_handle_at": (304, 265),
        }.values()
    )
    assert python(sandbox, RAW + code).output.split() == ["EPERM"] * 10


def test_numbers_of_other_architectures_kill(sandbox: Sandbox) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("LOUD: numbers of other architectures are tried on x86_64 only")
    assert python(sandbox, RAW + f"libc.syscall({0x40000000 + 39})").exit == -31
    # mov eax, 20 (getpid as i386 numbers it); int 0x80; ret
    code = (
        "import ctypes, mmap\n"
        "place = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\n"
        "place.write(bytes.fromhex('b814000000cd80c3'))\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(place)))()\n"
    )
    assert python(sandbox, code).exit == -31


# --- the sum of memory ---------------------------------------------------------------------------


def test_many_processes_take_no_more_than_the_sum(summed: Sandbox) -> None:
    code = (
        "import os, time\n"
        "for _ in range(6):\n"
        " if not os.fork():\n"
        "  held = bytearray(b'x' * (40 << 20)); time.sleep(66661)\n"
        "time.sleep(66661)"
    )
    assert python(summed, code).ended == "memory"
    assert python(summed, "held = bytearray(60 << 20); print('one may')").output == "one may\n"


def test_memory_behind_an_ended_thread_counts(summed: Sandbox) -> None:
    code = RAW + (
        "import threading, time\n"
        "def hold():\n time.sleep(0.3); held = bytearray(b'x' * (40 << 20)); time.sleep(66662)\n"
        "for _ in range(6):\n"
        " if not os.fork():\n"
        "  threading.Thread(target=hold).start()\n"
        f"  libc.syscall({number(60, 93)}, 0)\n"
        "time.sleep(66662)"
    )
    assert python(summed, code).ended == "memory"


def test_no_memory_belongs_to_nobody(sandbox: Sandbox) -> None:
    code = (
        "import mmap\n"
        "try: mmap.mmap(-1, 1 << 20); print('shared')\n"
        "except PermissionError: pass\n"
        "try: open('/dev/zero', 'r+b'); print('zero')\n"
        "except OSError: pass\n"
        "told(libc.memfd_create(b'x', 0))\n"
        "told(libc.shmget(0, wide(1 << 20), 0o1600))\n"
        "reading, writing = os.pipe()\n"
        "page = ctypes.create_string_buffer(b'x' * 4096)\n"
        "where = (ctypes.c_uint64 * 2)(ctypes.addressof(page), 4096)\n"
        "told(libc.vmsplice(writing, where, wide(1), 0))\n"
        "told(libc.msgget(0, 0o1600))\n"
    )
    assert python(sandbox, RAW + code).output.split() == ["EPERM"] * 4


@pytest.mark.parametrize(
    "keep",
    [
        pytest.param("os.open('/dev/null', 0)", id="open"),
        pytest.param("libc.mmap(None, wide(4096), 1, 2, file.fileno(), wide(0)); file.close()", id="mapped"),
        pytest.param("libc.prctl(4, 0)", id="hidden from sight"),
    ],
)
def test_deleted_files_count_while_they_are_held(sandbox: Sandbox, keep: str) -> None:
    code = RAW + (
        "import time\nkept = []\n"
        "for _ in range(12):\n"
        " file = open('f', 'w+b', 0); file.write(b'x' * (1 << 20)); os.unlink('f'); kept.append(file)\n"
        f" {keep}\n"
        "time.sleep(66663)"
    )
    assert python(sandbox, code).ended == "disk"
    assert python(sandbox, "print('still here')").output == "still here\n"


def test_open_files_cannot_be_put_into_a_socket(sandbox: Sandbox) -> None:
    code = "import socket\none, _ = socket.socketpair()\nsocket.send_fds(one, [b'x'], [0])"
    assert "PermissionError" in python(sandbox, code).output


def test_commands_die_first_where_memory_runs_out(summed: Sandbox) -> None:
    running = threading.Thread(target=python, args=(summed, "import time; time.sleep(0.8071)"))
    running.start()
    scores: set[str] = set()
    while running.is_alive() and not scores:
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [""])[-1].endswith("time.sleep(0.8071)"):
                scores.add(Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip())
        time.sleep(0.01)
    running.join()
    assert scores == {"1000"}


# --- the filter itself, for machines that are not at hand -----------------------------------------


def answer(machine: str, architecture: int, call: int, *arguments: int) -> int:
    """Run the filter as the kernel would: classic BPF over what is known about a call."""
    known = struct.pack("<IIQ6Q", call, architecture, 0, *(*arguments, *[0] * 6)[:6])
    code = list(struct.iter_unpack("<HBBI", seccomp.program(machine)))
    at, held = 0, 0
    while True:
        what, then, otherwise, value = code[at]
        at += 1
        if what == 0x06:
            return int(value)
        if what == 0x20:
            held = struct.unpack_from("<I", known, value)[0]
        elif what == 0x54:
            held &= value
        else:
            true = {0x15: held == value, 0x25: held > value, 0x35: held >= value, 0x45: bool(held & value)}[
                what
            ]
            at += then if true else otherwise


MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
CALLS = [
    # name, number on x86_64, number elsewhere, arguments, answer
    ("read", 0, 63, (), ALLOWED),
    ("execve", 59, 221, (), ALLOWED),
    ("openat", 257, 56, (), ALLOWED),
    ("prctl", 157, 167, (), ALLOWED),
    ("seccomp", 317, 277, (), ALLOWED),
    ("fork by clone", 56, 220, (0x01200011,), ALLOWED),
    ("thread by clone", 56, 220, (0x3D0F00,), ALLOWED),
    ("clone into a user namespace", 56, 220, (0x10000011,), REFUSED),
    ("clone into a network namespace", 56, 220, (0x40000011,), REFUSED),
    ("clone into a cgroup namespace", 56, 220, (0x02000011,), REFUSED),
    ("clone, upper half set", 56, 220, (0x1_10000011,), REFUSED),
    ("clone3", 435, 435, (), UNKNOWN),
    ("unshare", 272, 97, (), REFUSED),
    ("setns", 308, 268, (), REFUSED),
    ("mount", 165, 40, (), REFUSED),
    ("move_mount", 429, 429, (), REFUSED),
    ("ptrace", 101, 117, (), REFUSED),
    ("bpf", 321, 280, (), REFUSED),
    ("io_uring_enter", 426, 426, (), REFUSED),
    ("keyctl", 250, 219, (), REFUSED),
    ("socket", 41, 198, (1, 1), REFUSED),
    ("pair of streams", 53, 199, (1, 0x80001), ALLOWED),
    ("pair of packets", 53, 199, (1, 5), ALLOWED),
    ("pair of datagrams", 53, 199, (1, 2), REFUSED),
    ("pair of another family", 53, 199, (30, 1), REFUSED),
    ("private memory", 9, 222, (0, 4096, 3, 0x22), ALLOWED),
    ("shared file", 9, 222, (0, 4096, 3, 0x01), ALLOWED),
    ("shared memory", 9, 222, (0, 4096, 3, 0x21), REFUSED),
    ("limits of one's own", 302, 261, (0, 7), ALLOWED),
    ("limits of others", 302, 261, (1, 7), REFUSED),
    ("a call that is newer", 467, 467, (), UNKNOWN),
    ("a number of x32", 0x40000000, 0x40000000, (), KILLED),
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("x86_64", "others", "arguments", "expected"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS]
)
def test_the_filter_answers(
    machine: str, x86_64: int, others: int, arguments: tuple[int, ...], expected: int
) -> None:
    call = x86_64 if machine == "x86_64" else others
    assert answer(machine, MACHINES[machine], call, *arguments) == expected
    assert answer(machine, 0x40000003, call, *arguments) == KILLED


def test_a_machine_that_is_not_known_has_no_filter() -> None:
    with pytest.raises(KeyError):
        seccomp.program("mips64")
