"""Giving up the network, other programs and signals to them, for good, with a seccomp filter (Linux only).

The filter is classic BPF over `struct seccomp_data` (linux/seccomp.h): the call's number at byte 0, the
architecture at byte 4. What is on the list is answered with EPERM, everything else is let through.
"""

import ctypes
import errno
import platform
import struct
import sys

# Numbers of socket, connect, bind, sendto, sendmsg, execve, execveat, ptrace, io_uring_setup, kill, tkill,
# tgkill, pidfd_send_signal, by machine.
# asm/unistd_64.h for x86_64, asm-generic/unistd.h for aarch64; AUDIT_ARCH_* of linux/audit.h beside them.
CALLS = {
    "x86_64": (0xC000003E, (41, 42, 49, 44, 46, 59, 322, 101, 425, 62, 200, 234, 424)),
    "aarch64": (0xC00000B7, (198, 203, 200, 206, 211, 221, 281, 117, 425, 129, 130, 131, 424)),
}
X32_BIT = 0x40000000
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_network_and_programs() -> bool:
    """Whether the filter is in force; False where this system has none, and limits are all there is."""
    if sys.platform != "linux" or platform.machine() not in CALLS:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    code = _filter(*CALLS[platform.machine()])
    program = _Program(len(code) // 8, code)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(architecture: int, calls: tuple[int, ...]) -> bytes:
    def line(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, when_true, when_false, value)

    refuse = len(calls)  # steps from behind the first comparison to the refusal
    checks = [line(EQUAL, number, refuse - at) for at, number in enumerate(calls)]
    return b"".join(
        [
            line(LOAD, 4),
            line(EQUAL, architecture, 1, 0),
            line(RETURN, KILL),
            line(LOAD, 0),
            line(AT_LEAST, X32_BIT, len(calls) + 1, 0),
            *checks,
            line(RETURN, ALLOW),
            line(RETURN, REFUSE),
        ]
    )
