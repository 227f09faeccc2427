"""Kernels of any target's Program evaluated by machine code of this CPU, in a child of this process.

The tile loops, intervals and folds are those of the Program; how a tile is worked out in registers is this
CPU's affair. Inner values of a kernel lie tile by tile, in memory that is poisoned at first, so that a tile
that reads another's values is found. Slots and rooms are the verifier's (checking/verify.py).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import REPEAT, emit
from tilewright.compiler_core.codegen.machine.image import Image, flat_image
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.errors import ConfigError, DeviceError
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.lowering.program import KernelCall, KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.measure.host.compiler import Compiler
from tilewright.measure.host.process import (
    ChildDiedError,
    ChildHungError,
    HostProcess,
    SharedBuffers,
    runner,
)

DEADLINE_S = 120.0
LEVEL = 0


@dataclass(frozen=True, eq=False)
class _Native:
    """A Program's kernel, and its machine code where it has some."""

    program: KernelProgram
    nest: KernelNest | None = None
    image: Image | None = None


@dataclass(eq=False)
class NativeEvaluator:
    """Evaluates kernels in a child that is started when it is first asked. Close it, or use `with`."""

    _arena: SharedBuffers = field(default_factory=SharedBuffers, repr=False)
    _process: HostProcess = field(init=False, repr=False)
    _compiler: Compiler = field(default_factory=lambda: Compiler(LEVEL), repr=False)
    _made: dict[int, _Native] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._process = runner(file=self._arena.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the children."""
        self._process.close()
        self._compiler.close()
        self._arena.close()

    def __call__(self, call: KernelCall, operands: Mapping[int, Array]) -> Mapping[int, Array] | None:
        """All values that a kernel computes, from arrays of its inputs, by value of its Workload.

        None where it has no native form, or its machine code crashes or hangs.
        """
        native = self._made.get(id(call.program))
        if native is None:
            native = self._made[id(call.program)] = self._compiled(call.program)
        if native.nest is None or native.image is None:
            return None
        try:
            return self._run(native.nest, native.image, operands)
        except (ChildDiedError, ChildHungError, DeviceError):
            return None

    def _compiled(self, program: KernelProgram) -> _Native:
        machine = host_machine()
        try:
            nest = nest_of(Regions(program.workload), program, machine, shows=True)
            return _Native(program, nest, flat_image(self._compiler.object_of(emit(nest), machine)))
        except ConfigError:
            return _Native(program)

    def _run(self, nest: KernelNest, image: Image, operands: Mapping[int, Array]) -> Mapping[int, Array]:
        ask = self._process.ask
        ask({"what": "forget"})
        name = hashlib.sha256(image.code).hexdigest()
        ask({"what": "image", "name": name, "entry": image.entries[REPEAT]}, image.code)
        self._arena.clear()
        held = {value: self._buffer(str(value), place.bytes) for value, place in nest.outer.items()}
        for value, place in nest.outer.items():
            if value in operands:
                place.put(operands[value], held[value].view(place.dtype.numpy))
            else:
                held[value][:] = 0xFF
        self._buffer("scratch", max(64, nest.scratch[2]))[:] = 0xFF
        spec = {
            "image": name,
            "operands": [[str(value), 0] for value in nest.outer],
            "scratch": "scratch",
            "tiles": [0, nest.program.parallel_tiles],
        }
        ask({"what": "run", "calls": [spec]}, deadline_s=DEADLINE_S)
        return {
            value: place.collected(held[value].view(place.dtype.numpy), nest.graph.shape(value))
            for value, place in nest.outer.items()
            if value not in operands
        }

    def _buffer(self, name: str, size: int) -> Array:
        """Bytes that the child has too."""
        at, memory = self._arena.take(size)
        self._process.ask({"what": "buffer", "name": name, "size": size, "at": at})
        return np.frombuffer(memory, np.uint8)
