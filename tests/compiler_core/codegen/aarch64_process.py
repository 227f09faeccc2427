"""A kernel of aarch64 in a process of its own: a whole ELF program around its image, run by qemu."""

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tilewright.compiler_core.codegen.machine.image import AARCH64, Image

BASE, PAGE = 0x400000, 0x10000
RETURN_TO, SYSTEM_CALL, WRITE, EXIT = 0xD63F0120, 0xD4000001, 64, 93  # blr x9; svc 0


def run_under(
    qemu: str, folder: Path, image: Image, entry: str, buffers: Sequence[bytes], tiles: range
) -> list[bytes]:
    """What is in the buffers after the kernel ran over its tiles; the last one is its scratch memory."""
    code_at, data_at = BASE + PAGE, BASE + PAGE + -(-len(image.code) // PAGE) * PAGE + PAGE
    table = 8 * len(buffers)
    places, data = [], bytearray(-(-table // 64) * 64)
    for each in buffers:
        places.append(data_at + len(data))
        data += each + bytes(-len(each) % 64)
    struct.pack_into(f"<{len(places)}Q", data, 0, *places)
    start = _words((0, data_at), (1, places[-1]), (2, tiles.start), (3, tiles.stop))
    start += _words((9, code_at + image.entries[entry])) + struct.pack("<I", RETURN_TO)
    start += _words((8, WRITE), (0, 1), (1, data_at), (2, len(data))) + struct.pack("<I", SYSTEM_CALL)
    start += _words((8, EXIT), (0, 0)) + struct.pack("<I", SYSTEM_CALL)
    text = start + bytes(PAGE - len(start)) + image.code
    path = folder / "kernel"
    path.write_bytes(_program([(BASE, 5, text), (data_at, 6, bytes(data))]))
    path.chmod(0o700)
    ended = subprocess.run([qemu, str(path)], capture_output=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    made = ended.stdout
    return [made[at - data_at : at - data_at + len(each)] for at, each in zip(places, buffers, strict=True)]


def run_library_under(
    qemu: str,
    folder: Path,
    library: bytes,
    arena_bytes: int,
    weights: bytes,
    given: Sequence[bytes],
    made: Sequence[int],
) -> list[bytes]:
    """The outputs, of `made` bytes each, of the function of a library whose file is mapped as it is."""
    code_at = BASE + PAGE
    data_at = code_at + -(-len(library) // PAGE) * PAGE + PAGE
    blocks = [bytes(arena_bytes), weights, *given, *(bytes(size) for size in made)]
    count = len(given) + len(made)
    places, data = [], bytearray(-(-8 * count // 64) * 64)
    for each in blocks:
        places.append(data_at + len(data))
        data += each + bytes(-len(each) % 64)
    struct.pack_into(f"<{count}Q", data, 0, *places[2:])
    start = _words((0, places[0]), (1, places[1]), (2, data_at), (3, data_at + 8 * len(given)))
    start += _words((4, 0), (5, 1), (9, code_at + _first_symbol(library))) + struct.pack("<I", RETURN_TO)
    start += _words((8, WRITE), (0, 1), (1, data_at), (2, len(data))) + struct.pack("<I", SYSTEM_CALL)
    start += _words((8, EXIT), (0, 0)) + struct.pack("<I", SYSTEM_CALL)
    path = folder / "network"
    path.write_bytes(
        _program([(BASE, 5, start + bytes(PAGE - len(start)) + library), (data_at, 6, bytes(data))])
    )
    path.chmod(0o700)
    ended = subprocess.run([qemu, str(path)], capture_output=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    outputs = places[2 + len(given) :]
    return [ended.stdout[at - data_at : at - data_at + size] for at, size in zip(outputs, made, strict=True)]


def _first_symbol(library: bytes) -> int:
    """The value of the one symbol that a shared object exports."""
    (table,) = struct.unpack_from("<Q", library, 40)
    size, count = struct.unpack_from("<HH", library, 58)
    sections = [struct.unpack_from("<IIQQQQ", library, table + size * at) for at in range(count)]
    (symbols,) = (section[4] for section in sections if section[1] == 11)
    (value,) = struct.unpack_from("<Q", library, symbols + 24 + 8)
    return int(value)


def _words(*moves: tuple[int, int]) -> bytes:
    """movz and movk: each register gets its 64-bit number."""
    words = []
    for register, number in moves:
        for part in range(4):
            base = 0xF2800000 if part else 0xD2800000
            words.append(base | part << 21 | (number >> 16 * part & 0xFFFF) << 5 | register)
    return struct.pack(f"<{len(words)}I", *words)


def _program(segments: Sequence[tuple[int, int, bytes]]) -> bytes:
    """A static ELF64 executable that begins at the first segment: (address, rights, bytes) each."""
    count = len(segments)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, AARCH64, 1, segments[0][0], 64, 0, 0, 64, 56, count, 64, 0, 0)
    rows, body = b"", b""
    for address, rights, data in segments:
        offset = PAGE + len(body)
        rows += struct.pack("<IIQQQQQQ", 1, rights, offset, address, address, len(data), len(data), PAGE)
        body += data + bytes(-len(data) % PAGE)
    return head + rows + bytes(PAGE - len(head) - len(rows)) + body
