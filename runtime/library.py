"""A library in memory: its code, its weights and one arena, and runs on arrays by name."""

import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.runtime.cpu import require_cpu
from tilewright.runtime.errors import LibraryError
from tilewright.runtime.manifest import Manifest, Operand, opened, read_manifest, require_seal
from tilewright.runtime.steps import Slot, read_steps, run_steps

Array = npt.NDArray[Any]
LINE = 64
MOST_THREADS = 1024


def load(folder: str | Path, threads: int = 1) -> "Library":
    """The library that `tune build` wrote into `folder`, run by so many threads.

    LibraryError, one line, where it is damaged, or this CPU cannot run it.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise LibraryError(f"a library runs on 1 to {MOST_THREADS} threads, not on {threads!r}")
    folder = Path(folder)
    manifest = read_manifest(folder / "manifest.json")
    require_cpu(manifest.architecture, manifest.features)
    code = opened(folder, manifest.code)
    try:
        require_seal(folder, manifest, code)
        weights = opened(folder, manifest.weights)
    except LibraryError:
        os.close(code)
        raise
    return Library(manifest, code, weights, threads)


class Library:
    """A network ready to run. Runs of one library take turns; load it again for runs side by side."""

    def __init__(self, manifest: Manifest, code: int, weights: int, threads: int) -> None:
        self.manifest = manifest
        self.threads = threads
        self._files = [code]
        # First of all: what is refused must not stay loaded.
        self._steps = read_steps(manifest)
        size = manifest.values_bytes + threads * manifest.scratch_bytes
        try:
            self._arena = _lines(size)
        except (MemoryError, ValueError):
            raise LibraryError(f"the library needs an arena of {size} bytes, and there is no room") from None
        # The file whose digest was checked is the one that is loaded, even if another has its name by now. It
        # stays open: the system's loader takes a descriptor of the same number for the same library.
        try:
            library = ctypes.CDLL(f"/proc/self/fd/{code}")
            count = self._steps[-1].after + 1 if self._steps else 0
            self._parts = [library[f"part{at}"] for at in range(count)] or [library["net"]]
        except (OSError, AttributeError) as error:
            raise LibraryError(f"the system cannot load the library: {error}") from None
        for part in self._parts:
            part.restype = None
            part.argtypes = [*[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_int64]
        self._weights = _mapped(weights, manifest.weights.bytes)
        self._turn = threading.Lock()
        self._others: ThreadPoolExecutor | None = None
        self._process = 0  # whose threads they are: a fork has none of its parent's

    @property
    def inputs(self) -> tuple[Operand, ...]:
        """The arguments of `run`, in the order of the model."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[Operand, ...]:
        """The results of `run`."""
        return self.manifest.outputs

    def run(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """The outputs by name, new arrays, from arrays by name of the input.

        LibraryError names the input that is missing, not one of the network, or of another dtype or shape.
        """
        if not isinstance(inputs, Mapping):
            raise LibraryError(f"inputs are given by name, not as {type(inputs).__name__}")
        if strangers := sorted(map(str, set(inputs) - {operand.name for operand in self.inputs})):
            raise LibraryError(
                f"input {strangers[0]!r} is none of the network's:"
                f" {', '.join(map(str, self.inputs)) or 'it takes none'}"
            )
        given = [self._checked(operand, inputs) for operand in self.inputs]
        made = [_lines(operand.dtype.itemsize * _count(operand)) for operand in self.outputs]
        with self._turn:
            self._call(given, made)
        return {
            operand.name: _at(array, 0, operand) for operand, array in zip(self.outputs, made, strict=True)
        }

    @property
    def host_ops(self) -> tuple[str, ...]:
        """What numpy runs between the parts of the code, in order, by the model's names."""
        return tuple(step.name for step in self._steps)

    def _call(self, inputs: list[Array], outputs: list[Array]) -> None:
        """Run the parts of the code, and the steps of the host between them."""
        arguments = (
            self._arena.ctypes.data,
            self._weights.ctypes.data,
            _pointers(inputs),
            _pointers(outputs),
        )

        def view(slot: Slot) -> Array:
            match slot.region:
                case "arena":
                    return _at(self._arena, slot.at, slot)
                case "weights":
                    return _at(self._weights, slot.at, slot)
                case "inputs":
                    return inputs[slot.at]
            return _at(outputs[slot.at], 0, slot)

        for number, part in enumerate(self._parts):
            run_steps([step for step in self._steps if step.after == number], view)
            self._run(part, arguments)

    def _run(self, part: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Run one function of the code on all threads."""
        if self.threads == 1:
            part(*arguments, 0, 1)
            return
        if self._others is None or self._process != os.getpid():
            self._others = ThreadPoolExecutor(self.threads - 1, "tilewright")
            self._process = os.getpid()
        others = [
            self._others.submit(part, *arguments, number, self.threads) for number in range(1, self.threads)
        ]
        part(*arguments, 0, self.threads)
        for other in others:
            other.result()

    def _checked(self, operand: Operand, inputs: Mapping[str, npt.ArrayLike]) -> Array:
        if operand.name not in inputs:
            raise LibraryError(f"input {operand} is missing")
        array = np.asarray(inputs[operand.name])
        if operand.is_bfloat16 and array.dtype.name == "bfloat16":
            array = array.view(np.uint16)
        if array.dtype != operand.dtype or array.shape != operand.shape:
            raise LibraryError(f"input {operand} is given as {array.dtype}{list(array.shape)}")
        return np.require(array, operand.dtype, ["C_CONTIGUOUS", "ALIGNED"])


def _at(memory: Array, at: int, told: Operand | Slot) -> Array:
    """The array that lies from byte `at` of a memory on."""
    return memory[at : at + told.dtype.itemsize * _count(told)].view(told.dtype).reshape(told.shape)


def _count(operand: Operand | Slot) -> int:
    return int(np.prod(operand.shape, dtype=np.int64))


def _pointers(arrays: list[Array]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


def _mapped(file: int, size: int) -> Array:
    """The bytes of a file as memory that is read where it is used."""
    try:
        if not size:
            return _lines(1)
        return np.frombuffer(mmap.mmap(file, size, access=mmap.ACCESS_READ), np.uint8)
    finally:
        os.close(file)


def _lines(size: int) -> Array:
    """So many zero bytes, at least one line, from the start of a line on."""
    room = np.zeros(max(size, LINE) + LINE, dtype=np.uint8)
    skip = -room.ctypes.data % LINE
    return room[skip : skip + max(size, LINE)]
