"""Walks a Program that `tune compile -o` wrote into the calls of another compiler's back end.

    tune compile model.onnx --target ascend910 -o program.json
    python examples/program_reader.py program.json

Put your own back end in place of `Printer`: it gets every tile transfer and every tile of work, core by core,
with the place in L1 and the box of the value. docs/program.md explains the file that this reads.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tilewright.compiler_core.lowering.formats.program_json import program_from_json
from tilewright.compiler_core.lowering.program import HostCall, KernelCall
from tilewright.compiler_core.lowering.steps import Action


class Printer:
    """A back end that prints what it is told to do."""

    def __getattr__(self, call: str) -> Callable[..., None]:  # stands for any function of yours
        return lambda *given: print(call, *given)


def walk(call: KernelCall, core: int, backend: Printer) -> None:
    """Everything one core does for one call of a kernel, in order."""
    kernel = call.program
    for instruction in kernel.instructions(core):
        buffer = kernel.buffers[instruction.buffer]
        place = buffer.offset + instruction.slot * buffer.slot_bytes  # in L1, or in accumulator memory
        box = [kernel.at(span, instruction.tile) for span in buffer.region]  # [low, high) in every dim
        value = call.kernel.values[buffer.value]  # as `names` and `provenance.model.inputs` number it
        if instruction.action is Action.COMPUTE:
            step = kernel.steps[instruction.step]
            backend.compute(core, kernel.workload.graph.ops[step.op].kind, value, box, place)
        else:
            getattr(backend, instruction.action)(core, value, box, place)


def main(path: str, backend: Printer) -> None:
    """Stage by stage: the kernels of a stage run side by side, a barrier ends it."""
    for stage in program_from_json(Path(path).read_text(encoding="utf-8")).stages:
        for call in stage:
            if isinstance(call, HostCall):
                backend.host(call.op)
                continue
            for core in range(call.cores.count):
                walk(call, core, backend)
        backend.barrier()


if __name__ == "__main__":
    main(sys.argv[1], Printer())
