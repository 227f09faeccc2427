"""An image as an ELF shared object, written without a linker. Source: System V ABI, chapters 4 and 5.

    offset 0     headers, symbols, their names and hash      read
    next page    the image: code and constants               read, execute
    next page    the dynamic section                         read, write
    behind       names of sections, table of sections        not loaded

Every byte is loaded at the address that is its offset in the file. No page can be written and executed. The
loader needs the segments; tools and linkers that take the library as an input need the table of sections.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.compiler_core.codegen.machine.image import AARCH64, X86_64, Image
from tilewright.compiler_core.errors import ConfigError

MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}
PAGES = {X86_64: 1 << 12, AARCH64: 1 << 16}
"""The largest page of systems on a machine."""
LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551
READ, WRITE, EXECUTE = 4, 2, 1
NO_ENTRIES, HASH, STRTAB, SYMTAB, STRSZ, SYMENT, SONAME = 0, 4, 5, 6, 10, 11, 14
SHARED_OBJECT, GLOBAL_FUNCTION = 3, 0x12
HEADER, SEGMENT, SECTION, SYMBOL = 64, 56, 64, 24


@dataclass(frozen=True)
class _Section:
    """A row of the table of sections; bytes lie at `at`, which is an address too where it is loaded."""

    name: str
    kind: int
    flags: int
    at: int
    size: int
    link: int = 0
    info: int = 0
    align: int = 8
    entry_size: int = 0


def shared_object(image: Image, exported: Mapping[str, str], name: str, architecture: str) -> bytes:
    """The file of a library called `name`. `exported`: entries of the image by the name callers know.

    ConfigError for an architecture other than x86_64 and aarch64.
    """
    if architecture not in MACHINES:
        raise ConfigError(f"libraries are written for x86_64 and aarch64, not for {architecture}")
    machine = MACHINES[architecture]
    page = PAGES[machine]
    names = b"\0" + b"".join(each.encode() + b"\0" for each in (name, *exported))
    hash_at = HEADER + 5 * SEGMENT
    hashed = _hash_table(len(exported))
    symbols_at = hash_at + len(hashed)
    names_at = symbols_at + SYMBOL * (1 + len(exported))
    head_end = names_at + len(names)
    code_at = _up(head_end, page)
    dynamic_at = _up(code_at + len(image.code), page)
    symbols = bytes(SYMBOL)
    for label, entry in exported.items():
        place = names.index(b"\0" + label.encode() + b"\0") + 1
        value = image.entries[entry]
        row = place, GLOBAL_FUNCTION, 0, 4, code_at + value, len(image.code) - value
        symbols += struct.pack("<IBBHQQ", *row)
    rows = [(SONAME, 1), (HASH, hash_at), (STRTAB, names_at), (SYMTAB, symbols_at)]
    rows += [(STRSZ, len(names)), (SYMENT, SYMBOL), (NO_ENTRIES, 0)]
    dynamic = b"".join(struct.pack("<QQ", *row) for row in rows)
    segments = [
        (LOAD, READ, 0, head_end, page),
        (LOAD, READ | EXECUTE, code_at, len(image.code), page),
        (LOAD, READ | WRITE, dynamic_at, len(dynamic), page),
        (DYNAMIC, READ | WRITE, dynamic_at, len(dynamic), 8),
        (STACK, READ | WRITE, 0, 0, 16),
    ]
    sections = [
        _Section("", 0, 0, 0, 0, align=0),
        _Section(".hash", 5, 2, hash_at, len(hashed), link=2, entry_size=4),
        _Section(".dynsym", 11, 2, symbols_at, len(symbols), link=3, info=1, entry_size=SYMBOL),
        _Section(".dynstr", 3, 2, names_at, len(names), align=1),
        _Section(".text", 1, 6, code_at, len(image.code), align=64),
        _Section(".dynamic", 6, 3, dynamic_at, len(dynamic), link=3, entry_size=16),
    ]
    table_at, tail = _tail(sections, dynamic_at + len(dynamic))
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    counts = HEADER, SEGMENT, len(segments), SECTION, len(sections) + 1, len(sections)
    head += struct.pack("<HHIQQQIHHHHHH", SHARED_OBJECT, machine, 1, 0, HEADER, table_at, 0, *counts)
    for kind, rights, at, size, align in segments:
        head += struct.pack("<IIQQQQQQ", kind, rights, at, at, at, size, size, align)
    whole = head + hashed + symbols + names
    whole += bytes(code_at - len(whole)) + image.code
    whole += bytes(dynamic_at - len(whole)) + dynamic
    return whole + tail


def _hash_table(count: int) -> bytes:
    """One bucket, in which every symbol follows the one before it."""
    chain = [0, *(index + 1 if index < count else 0 for index in range(1, count + 1))]
    return struct.pack(f"<{4 + count}I", 1, 1 + count, min(1, count), *chain) + bytes(-4 * (4 + count) % 8)


def _tail(sections: list[_Section], at: int) -> tuple[int, bytes]:
    """The names of sections and their table, written from byte `at` on; where the table begins."""
    labels = b"".join(each.name.encode() + b"\0" for each in sections) + b".shstrtab\0"
    rows = [*sections, _Section(".shstrtab", 3, 0, at, len(labels), align=1)]
    gap = -(at + len(labels)) % 8
    made = b""
    for each in rows:
        address = each.at if each.flags else 0
        label = labels.index(each.name.encode() + b"\0") if each.name else 0
        made += struct.pack("<IIQQQQ", label, each.kind, each.flags, address, each.at, each.size)
        made += struct.pack("<IIQQ", each.link, each.info, each.align, each.entry_size)
    return at + len(labels) + gap, labels + bytes(gap) + made


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
