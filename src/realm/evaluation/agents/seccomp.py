"""Which system calls a command may make: a seccomp filter, written as classic BPF.

Covered: namespaces and mounts; other processes' memory, limits and descriptors; parts of the kernel that
ordinary programs do without and that are attacked often (bpf, io_uring, keys, userfaultfd, modules); every
socket but pairs that cannot be addressed to anybody; and memory that belongs to no process, which would
escape the sum that `confine` takes (System V segments, memory files, pages put into pipes, shared anonymous
mappings). Refused calls fail with EPERM, `clone3` and calls newer than this list with ENOSYS, since the C
library then takes an older one; calls by another architecture's numbers kill.

Not covered: what allowed calls can be made to do. A list of what is refused names only what is known.
Sources of the numbers: the kernel's `syscall_64.tbl` and `asm-generic/unistd.h`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

from realm.evaluation.agents.kernel import FILTER, LIBC, SET_SECCOMP

_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _AND, _IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST, _IF_ANY, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in what a filter looks at; an argument has 8 bytes, the lower half first."""
_X32 = 0x40000000
_NEWEST = 466
"""The last number of the kernel that this list was made for; numbers are shared from 424 on."""
_NEW_ANYTHING = 0x7E020000
_UNIX, _STREAM, _SEQPACKET, _TYPE = 1, 1, 5, 0xF
_SHARED_ANONYMOUS = 0x21

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1), "riscv64": (0xC00000F3, 1)}
"""Architecture as the kernel's audit names it, and its column below."""
_REFUSED = {
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # parts of the kernel that programs do without
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # memory that belongs to no process, and queues shared with the machine
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "vmsplice": (278, 75),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # the network, and sockets of services
    "socket": (41, 198),
    # buffers beyond their usual size, and open files put into a socket, where nobody would count them
    "setsockopt": (54, 208),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
}
_CLONE3 = 435
_CLONE, _SOCKETPAIR, _MMAP, _PRLIMIT = (56, 220), (53, 199), (9, 222), (302, 261)


def possible() -> bool:
    """Tell whether this machine takes such a filter."""
    if sys.platform != "linux" or os.uname().machine not in _MACHINES or sys.maxsize < 1 << 32:
        return False
    # Without a program a kernel that has filters complains about the address, another about the mode.
    answer = LIBC.prctl(SET_SECCOMP, FILTER, None, 0, 0)
    return bool(answer < 0 and ctypes.get_errno() == errno.EFAULT)


def program(machine: str) -> bytes:
    """Return the filter for a machine as `uname` names it, eight bytes an instruction.

    Raises KeyError for a machine whose numbers are not listed.
    """
    architecture, column = _MACHINES[machine]
    refuse, unknown = _give(_REFUSE | errno.EPERM), _give(_REFUSE | errno.ENOSYS)
    code = [
        _load(_ARCHITECTURE),
        _do(_IF_EQUAL, architecture, 1, 0),
        _give(_KILL),
        _load(_NUMBER),
        _do(_IF_AT_LEAST, _X32, 0, 1),
        _give(_KILL),
        _do(_IF_ABOVE, _NEWEST, 0, 1),
        unknown,
        *_when(_CLONE3, [unknown]),
    ]
    for numbers in _REFUSED.values():
        code += _when(numbers[column], [refuse])
    for numbers, asked in _ASKED.items():
        code += _when(numbers[column], [*asked, _give(_ALLOW), refuse])
    return b"".join([*code, _give(_ALLOW)])


def _do(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """Return one instruction; jumps count the instructions that are left out."""
    return struct.pack("<HBBI", code, then, otherwise, value)


def _give(answer: int) -> bytes:
    return _do(_RETURN, answer)


def _load(offset: int) -> bytes:
    return _do(_LOAD, offset)


def _argument(index: int) -> bytes:
    return _load(_ARGUMENTS + 8 * index)


def _when(number: int, block: list[bytes]) -> list[bytes]:
    """Return a block that runs for one call only; it must end by giving an answer."""
    return [_do(_IF_EQUAL, number, 0, len(block)), *block]


_ASKED = {
    # Each ends before two answers: the next is to allow, the one behind it to refuse.
    _CLONE: [_argument(0), _do(_IF_ANY, _NEW_ANYTHING, 1, 0)],
    # Pairs of datagram sockets could still send to a name.
    _SOCKETPAIR: [
        _argument(0),
        _do(_IF_EQUAL, _UNIX, 0, 5),
        _argument(1),
        _do(_AND, _TYPE),
        _do(_IF_EQUAL, _STREAM, 1, 0),
        _do(_IF_EQUAL, _SEQPACKET, 0, 1),
    ],
    # Pages that are shared and nobody's file can be given up by every process and still be there.
    _MMAP: [_argument(3), _do(_AND, _SHARED_ANONYMOUS), _do(_IF_EQUAL, _SHARED_ANONYMOUS, 1, 0)],
    # Limits of one's own may be changed; those of the user's other processes would end them.
    _PRLIMIT: [_argument(0), _do(_IF_EQUAL, 0, 0, 1)],
}
