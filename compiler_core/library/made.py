"""A network's library in memory: code, room, and the manifest's facts about both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.codegen.lanes.arithmetic import STORED
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import flat_image
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.library.calls import NetworkCalls, network_calls
from tilewright.compiler_core.library.driver import GIVE_WAY, SYSTEM, emit_driver, entries_of
from tilewright.compiler_core.library.elf import shared_object
from tilewright.compiler_core.library.hosted import host_facts, require_host_ops
from tilewright.compiler_core.library.manifest import (
    FORMAT,
    HOST_FORMAT,
    LIBRARY,
    WEIGHTS,
    digests_of,
    machine_facts,
    operands_of,
    room_facts,
    seal_of,
)
from tilewright.compiler_core.library.room import Room, room_of
from tilewright.compiler_core.lowering.pipeline import Plan

Named = Sequence[tuple[str, int]]
"""Names of inputs or outputs with their values, in the order of the model."""


@dataclass(frozen=True, eq=False)
class NativeNetwork:
    """`made` are its calls, `code` is the ELF file; `room` says what is in weights and arena, `facts` are the
    manifest's.
    """

    graph: Graph
    made: NetworkCalls
    code: bytes
    room: Room
    facts: Mapping[str, Any]

    def write(self, folder: Path) -> dict[str, Any]:
        """Put the weights and the code into a folder; sizes and digests of both files."""
        with (folder / WEIGHTS).open("wb") as stream:
            stream.writelines(self.room.packed(self.graph))
        weights = digests_of(folder, (WEIGHTS,))
        (folder / LIBRARY).write_bytes(self.code + seal_of(self.facts, weights[WEIGHTS]))
        return digests_of(folder, (LIBRARY,)) | weights


def native_network(
    name: str,
    plan: Plan,
    kernels: Mapping[str, NativeKernel],
    named: tuple[Named, Named],
    machine: Machine,
    object_of: Callable[[str, Machine], bytes],
) -> NativeNetwork:
    """The library of a plan: `kernels` by workload digest, `named` inputs and outputs, `object_of` LLVM.

    ConfigError where an op or a dtype has no native form.
    """
    graph = plan.graph
    require_host_ops(name, plan)
    inputs, outputs = ([value for _, value in side] for side in named)
    for value in (*inputs, *outputs):
        STORED[graph.values[value].dtype]
    made = network_calls(plan, kernels)
    room = room_of(graph, made, inputs, outputs)
    known: dict[bytes, int] = {}
    numbers = [known.setdefault(call.kernel.image.code, len(known)) for call in made.calls]
    architecture = machine.triple.partition("-")[0]
    driver = object_of(emit_driver(made, numbers, room, machine), machine)
    images = {f"k{number}": call.kernel.image for number, call in zip(numbers, made.calls, strict=True)}
    image = flat_image(driver, images | {SYSTEM: GIVE_WAY[architecture]})
    facts = {
        "format": HOST_FORMAT if made.hosted else FORMAT,
        "model": name,
        "machine": machine_facts(machine),
        "inputs": operands_of(graph, named[0]),
        "outputs": operands_of(graph, named[1]),
        "memory": room_facts(room),
        "kernels": len(known),
        "calls": len(made.calls),
    }
    if made.hosted:
        facts["host"] = host_facts(graph, made, room)
    exported = {each: each for each in entries_of(made)}
    return NativeNetwork(graph, made, shared_object(image, exported, LIBRARY, architecture), room, facts)
