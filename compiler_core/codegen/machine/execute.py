"""Run a flat image in this process: code is written, then made executable, and never both (W^X)."""

import ctypes
import mmap
from collections.abc import Sequence

import numpy as np

from tilewright.compiler_core.codegen.machine.image import Image
from tilewright.compiler_core.ir.ops import Array

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class LoadedImage:
    """An image in executable memory. `run` calls a kernel with pointers to its operands."""

    def __init__(self, image: Image, entry: str) -> None:
        size = -(-len(image.code) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, size, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._memory.write(image.code)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        if _LIBC.mprotect(first, size, mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "memory cannot be made executable here")
        self.address = first + image.entries[entry]
        self._function = _SIGNATURE(self.address)

    def run(self, operands: Sequence[Array], scratch: Array, first: int, last: int) -> None:
        """The tiles [first, last) of a kernel on arrays that lie as its nest says."""
        pointers = (ctypes.c_void_p * max(1, len(operands)))(*(array.ctypes.data for array in operands))
        self._function(ctypes.addressof(pointers), scratch.ctypes.data, first, last)


def aligned(count: int) -> Array:
    """`count` bytes at an address that is a multiple of 64."""
    room = np.zeros(count + 64, dtype=np.uint8)
    skip = -room.ctypes.data % 64
    return room[skip : skip + count]
