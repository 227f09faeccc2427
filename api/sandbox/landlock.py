"""Files by an allow-list: a Landlock ruleset under which only some folders can be read (Linux 5.13 on).

Structures, bits and numbers are those of linux/landlock.h; the numbers of the calls are the same everywhere.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ONLY_VERSION = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
RIGHTS_OF_FILES = (13, 14, 15, 15, 16)  # bits of handled_access_fs, by version from 1 on
RIGHTS_OF_NET = 0b11  # bind and connect of TCP, from version 4 on
SCOPES = 0b11  # abstract sockets and signals to processes outside, from version 6 on
PR_SET_NO_NEW_PRIVS = 38


def version() -> int:
    """Of the running kernel; 0 where it has no Landlock, or has it switched off."""
    if sys.platform != "linux":
        return 0
    found = int(ctypes.CDLL(None, use_errno=True).syscall(CREATE, None, ctypes.c_size_t(0), ONLY_VERSION))
    return max(0, found)


def read_only(folders: Iterable[Path]) -> bool:
    """Whether from now on nothing but reading below `folders` is allowed; False without Landlock."""
    found = version()
    if found == 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    of_files = (1 << RIGHTS_OF_FILES[min(found, len(RIGHTS_OF_FILES)) - 1]) - 1
    fields = [of_files]
    if found >= 4:
        fields.append(RIGHTS_OF_NET)
    if found >= 6:
        fields.append(SCOPES)
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    ruleset = libc.syscall(CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        for folder in folders:
            _allow_reading(libc, ruleset, folder)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow_reading(libc: ctypes.CDLL, ruleset: int, folder: Path) -> None:
    try:
        beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a folder that is not there needs no rule
        return
    try:
        rule = struct.pack("=Qi", READ_FILE | READ_DIR, beneath)
        libc.syscall(ADD_RULE, ruleset, 1, rule, 0)
    finally:
        os.close(beneath)
