"""System calls by an allow-list: a seccomp filter that answers every other call with EPERM (Linux only).

The filter is classic BPF over `struct seccomp_data` (linux/seccomp.h): the call's number at byte 0, the
architecture at byte 4, argument n at byte 16 + 8 n, its low half first. Numbers of calls are those of
asm/unistd_64.h for x86_64 and of asm-generic/unistd.h for aarch64; architectures are AUDIT_ARCH_* of
linux/audit.h.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

# Memory, time, identity, what reads an open file, what looks at names, and the end: nothing that starts a
# thread or a process, sends, signals, or changes a file. Old forms of calls exist on x86_64 only.
PLAIN = {
    "x86_64": {
        "read": 0,
        "write": 1,
        "close": 3,
        "stat": 4,
        "fstat": 5,
        "lstat": 6,
        "poll": 7,
        "lseek": 8,
        "mmap": 9,
        "mprotect": 10,
        "munmap": 11,
        "brk": 12,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "pread64": 17,
        "readv": 19,
        "access": 21,
        "sched_yield": 24,
        "mremap": 25,
        "madvise": 28,
        "nanosleep": 35,
        "getpid": 39,
        "exit": 60,
        "uname": 63,
        "getcwd": 79,
        "readlink": 89,
        "gettimeofday": 96,
        "getrlimit": 97,
        "getrusage": 98,
        "sysinfo": 99,
        "times": 100,
        "getuid": 102,
        "getgid": 104,
        "geteuid": 107,
        "getegid": 108,
        "getppid": 110,
        "sigaltstack": 131,
        "gettid": 186,
        "futex": 202,
        "sched_getaffinity": 204,
        "getdents64": 217,
        "clock_gettime": 228,
        "clock_getres": 229,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "newfstatat": 262,
        "readlinkat": 267,
        "faccessat": 269,
        "getcpu": 309,
        "getrandom": 318,
        "membarrier": 324,
        "statx": 332,
        "rseq": 334,
        "faccessat2": 439,
    },
    "aarch64": {
        "getcwd": 17,
        "faccessat": 48,
        "close": 57,
        "getdents64": 61,
        "lseek": 62,
        "read": 63,
        "write": 64,
        "readv": 65,
        "pread64": 67,
        "ppoll": 73,
        "readlinkat": 78,
        "newfstatat": 79,
        "fstat": 80,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "nanosleep": 101,
        "clock_gettime": 113,
        "clock_getres": 114,
        "clock_nanosleep": 115,
        "sched_getaffinity": 123,
        "sched_yield": 124,
        "sigaltstack": 132,
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "times": 153,
        "uname": 160,
        "getrlimit": 163,
        "getrusage": 165,
        "getcpu": 168,
        "gettimeofday": 169,
        "getpid": 172,
        "getppid": 173,
        "getuid": 174,
        "geteuid": 175,
        "getgid": 176,
        "getegid": 177,
        "gettid": 178,
        "sysinfo": 179,
        "brk": 214,
        "munmap": 215,
        "mremap": 216,
        "mmap": 222,
        "mprotect": 226,
        "madvise": 233,
        "getrandom": 278,
        "membarrier": 283,
        "statx": 291,
        "rseq": 293,
        "faccessat2": 439,
    },
}
OPEN = {"x86_64": ((2, 1), (257, 2)), "aarch64": ((56, 2),)}  # open and openat: number, argument of the flags
IOCTL = {"x86_64": 16, "aarch64": 29}
FCNTL = {"x86_64": 72, "aarch64": 25}
PRLIMIT64 = {"x86_64": 302, "aarch64": 261}
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

CHANGES_A_FILE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FIOCLEX = 0x5451  # closes a file at exec; Python asks for it on every open
HARMLESS_FCNTL = (1, 2, 3, 1030)  # F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
X32_BIT = 0x40000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def allow_calls() -> bool:
    """Whether the filter is in force from now on; False where this system or machine has none."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in PLAIN:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    code = filter_for(machine)
    program = _Program(len(code) // 8, code)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def filter_for(machine: str) -> bytes:
    """The program of `machine`. Jumps stay inside a call's own lines, so that the list may be long."""
    lines = [_line(LOAD, 4), _line(EQUAL, ARCHITECTURE[machine], 1, 0), _line(RETURN, KILL), _line(LOAD, 0)]
    lines += [_line(AT_LEAST, X32_BIT, 0, 1), _line(RETURN, REFUSE)]
    for number in PLAIN[machine].values():
        lines += [_line(EQUAL, number, 0, 1), _line(RETURN, ALLOW)]
    for number, flags in OPEN[machine]:
        allowed = [_line(LOAD, _low(flags)), _line(ANY_BIT, CHANGES_A_FILE, 0, 1)]
        lines += _guarded(number, [*allowed, _line(RETURN, REFUSE), _line(RETURN, ALLOW)])
    for number, commands in ((FCNTL[machine], HARMLESS_FCNTL), (IOCTL[machine], (FIOCLEX,))):
        checks = [_line(LOAD, _low(1))]
        for command in commands:
            checks += [_line(EQUAL, command, 0, 1), _line(RETURN, ALLOW)]
        lines += _guarded(number, [*checks, _line(RETURN, REFUSE)])
    # prlimit64 may ask for limits of this process, not set them: no process id, no new limit.
    asks = []
    for half in (_low(0), _low(2), _low(2) + 4):
        asks += [_line(LOAD, half), _line(EQUAL, 0, 1, 0), _line(RETURN, REFUSE)]
    lines += _guarded(PRLIMIT64[machine], [*asks, _line(RETURN, ALLOW)])
    return b"".join([*lines, _line(RETURN, REFUSE)])


def _guarded(number: int, lines: list[bytes]) -> list[bytes]:
    """Lines for one call, which return in every case; others jump over them."""
    return [_line(EQUAL, number, 0, len(lines)), *lines]


def _low(argument: int) -> int:
    return 16 + 8 * argument


def _line(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, when_true, when_false, value)
