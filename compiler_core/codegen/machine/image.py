"""From an object file to a flat image: code and constants in one piece that runs wherever it is put.

Reads relocatable ELF64 files, little-endian, of x86-64 and aarch64. Every reference must lie inside: an image
has no linker and no library. Sources: System V ABI, AMD64 supplement; ELF for the Arm 64-bit Architecture.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.compiler_core.errors import ConfigError

X86_64, AARCH64 = 62, 183
PROGBITS, SYMTAB, RELA, NOBITS = 1, 2, 4, 8
ALLOCATED = 0x2
LINE, PAGE = 64, 4096
"""An image of aarch64 refers to pages, so that it begins with one; code of x86-64 wants whole lines."""


@dataclass(frozen=True)
class Image:
    """`code` in one piece; functions begin at `entries`. It may lie at the start of any page."""

    code: bytes
    entries: Mapping[str, int]


@dataclass(frozen=True)
class _Section:
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


@dataclass(frozen=True)
class _Symbol:
    name: str
    section: int
    value: int


def flat_image(data: bytes, others: Mapping[str, Image] | None = None) -> Image:
    """The image of a relocatable object; ConfigError where it refers to something outside.

    `others` become part of it, by name: the object may call their functions, as `name.function`.
    """
    if data[:4] != b"\x7fELF" or data[4] != 2 or data[5] != 1:
        raise ConfigError("the object is no little-endian ELF64 file")
    machine = struct.unpack_from("<H", data, 18)[0]
    table, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    sections = [_section(data, table + 64 * index) for index in range(count)]
    places: dict[int, int] = {}
    code = bytearray()
    for index, section in enumerate(sections):
        if section.flags & ALLOCATED and section.kind in (PROGBITS, NOBITS) and section.size:
            align = max(LINE, section.align)
            code += b"\0" * (-len(code) % align)
            places[index] = len(code)
            empty = section.kind == NOBITS
            code += b"\0" * section.size if empty else data[section.offset : section.offset + section.size]
    outside: dict[str, int] = {}
    for name, other in (others or {}).items():
        code += b"\0" * (-len(code) % (PAGE if machine == AARCH64 else LINE))
        outside |= {f"{name}.{function}": len(code) + at for function, at in other.entries.items()}
        code += other.code
    symbols = _symbols(data, sections)
    for section in sections:
        if section.kind == RELA and section.info in places:
            for index in range(section.size // 24):
                where, info, addend = struct.unpack_from("<QQq", data, section.offset + 24 * index)
                symbol = symbols[info >> 32]
                if symbol.section in places:
                    to = places[symbol.section] + symbol.value + addend
                elif symbol.name in outside:
                    to = outside[symbol.name] + addend
                else:
                    raise ConfigError(f"the kernel calls {symbol.name or 'something'}, which no image has")
                _relocate(code, places[section.info] + where, to, info & 0xFFFFFFFF, machine)
    entries = {s.name: places[s.section] + s.value for s in symbols if s.name and s.section in places}
    return Image(bytes(code), entries)


def _section(data: bytes, at: int) -> _Section:
    _, kind, flags, _, offset, size, link, info, align, entry = struct.unpack_from("<IIQQQQIIQQ", data, at)
    return _Section(kind, flags, offset, size, link, info, align, entry)


def _symbols(data: bytes, sections: list[_Section]) -> list[_Symbol]:
    table = next(section for section in sections if section.kind == SYMTAB)
    names = sections[table.link]
    found = []
    for index in range(table.size // 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, table.offset + 24 * index)
        start = names.offset + name
        found.append(_Symbol(data[start : data.index(b"\0", start)].decode(), section, value))
    return found


def _relocate(code: bytearray, at: int, to: int, kind: int, machine: int) -> None:
    """Fill in one reference, from `at` to `to`, both from the image's start."""
    if machine == X86_64 and kind in (2, 4):  # PC32, PLT32
        struct.pack_into("<i", code, at, to - at)
    elif machine == X86_64 and kind == 24:  # PC64
        struct.pack_into("<q", code, at, to - at)
    elif machine == AARCH64 and kind in (282, 283):  # JUMP26, CALL26
        word = struct.unpack_from("<I", code, at)[0]
        struct.pack_into("<I", code, at, word & ~0x3FFFFFF | (to - at) // 4 & 0x3FFFFFF)
    elif machine == AARCH64 and kind == 275:  # ADR_PREL_PG_HI21: page of `to`, the image lying on a page
        pages = (to >> 12) - (at >> 12)
        word = struct.unpack_from("<I", code, at)[0] & ~(3 << 29 | 0x7FFFF << 5)
        struct.pack_into("<I", code, at, word | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5)
    elif machine == AARCH64 and kind in (277, 278, 284, 285, 286, 299):  # ADD_ABS_LO12, LDST8..128_ABS_LO12
        scale = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}[kind]
        word = struct.unpack_from("<I", code, at)[0] & ~(0xFFF << 10)
        struct.pack_into("<I", code, at, word | ((to & 0xFFF) >> scale) << 10)
    else:
        raise ConfigError(f"the kernel has a reference of kind {kind}, which no image has")
