"""Where the buffers of a network lie while it runs: the arena, the weights, the caller's own memory.

    arena     [meeting | values by lifetime | scratch of thread 0 | scratch of thread 1 | ...]
    weights   [the constants of the first call | those of the second | ...]

Everything begins at a multiple of 64 bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tilewright.compiler_core.codegen.places import row_major
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.library.calls import NetworkBuffer, NetworkCalls
from tilewright.compiler_core.lowering.memory.allocate import Block, TensorSpan, allocate_blocks

LINE = 64
MEETING_BYTES = 2 * LINE
"""The state of the barrier: how many threads have come, and the turn, each in a line of its own."""


class Region(StrEnum):
    """Memory that the caller hands over."""

    ARENA = "arena"
    WEIGHTS = "weights"
    INPUTS = "inputs"
    OUTPUTS = "outputs"


@dataclass(frozen=True)
class Location:
    """A byte of the arena or the weights, or the start of an input or output by its number."""

    region: Region
    at: int


@dataclass(frozen=True)
class Copy:
    """What is left to be copied at the end: an output that is an input, a constant or another output."""

    source: Location
    output: int
    bytes: int


@dataclass(frozen=True)
class Room:
    """`locations` of all buffers by name; `weights` are the constants with their byte offsets, in order."""

    locations: Mapping[str, Location]
    copies: tuple[Copy, ...]
    weights: tuple[tuple[int, NetworkBuffer], ...]
    weights_bytes: int
    values_bytes: int
    scratch_bytes: int

    def arena_bytes(self, threads: int) -> int:
        """The size of an arena for so many threads."""
        return self.values_bytes + threads * self.scratch_bytes

    def packed(self, graph: Graph) -> Iterator[bytes]:
        """The bytes of the weights, piece by piece."""
        end = 0
        for at, buffer in self.weights:
            yield bytes(at - end)
            data = buffer.place.arranged(_array(graph, buffer)).tobytes()
            yield data
            end = at + len(data)
        yield bytes(self.weights_bytes - end)


def room_of(graph: Graph, made: NetworkCalls, inputs: Sequence[int], outputs: Sequence[int]) -> Room:
    """The room of a network whose caller gives `inputs` and wants `outputs`, values of the graph in order."""
    weights = _Weights()
    locations: dict[str, Location] = {}
    spans: dict[str, tuple[int, int]] = {}
    for step, names in sorted(_uses(made), key=lambda use: use[0]):
        for name in names:
            buffer = made.buffers[name]
            if buffer.value in graph.constants:
                if name not in locations:
                    locations[name] = weights.add(buffer)
            elif buffer.value in graph.inputs:
                locations[name] = Location(Region.INPUTS, inputs.index(buffer.value))
            elif buffer.value in outputs:
                locations[name] = Location(Region.OUTPUTS, outputs.index(buffer.value))
            else:
                first, _ = spans.get(name, (step, step))
                spans[name] = first, step
    blocks = [
        Block((TensorSpan(number, _up(made.buffers[name].place.bytes), *span),))
        for number, (name, span) in enumerate(spans.items())
    ]
    arena = allocate_blocks(blocks, 2 * len(made.calls) + 1) if blocks else None
    for number, name in enumerate(spans):
        assert arena is not None, "made of the spans"
        locations[name] = Location(Region.ARENA, MEETING_BYTES + arena.offsets[number])
    copies = tuple(_copies(graph, inputs, outputs, weights))
    scratch = max([LINE, *(call.kernel.nest.scratch[2] for call in made.calls)])
    return Room(
        locations,
        copies,
        tuple(weights.placed),
        weights.end,
        MEETING_BYTES + (arena.arena_bytes if arena else 0),
        _up(scratch),
    )


def _uses(made: NetworkCalls) -> Iterator[tuple[int, list[str]]]:
    """Steps and the buffers they use: call c is step 2c + 1, and what the host runs before it is step 2c."""
    for number, call in enumerate(made.calls):
        yield 2 * number + 1, [name for name, _ in call.operands]
    for run in made.hosted:
        yield 2 * run.after, [*run.operands, run.result]


class _Weights:
    """Constants in order of use."""

    def __init__(self) -> None:
        self.placed: list[tuple[int, NetworkBuffer]] = []
        self.end = 0

    def add(self, buffer: NetworkBuffer) -> Location:
        """Put a constant behind the others."""
        at = self.end
        self.placed.append((at, buffer))
        self.end = at + _up(buffer.place.bytes)
        return Location(Region.WEIGHTS, at)


def _copies(graph: Graph, inputs: Sequence[int], outputs: Sequence[int], weights: _Weights) -> Iterator[Copy]:
    for number, value in enumerate(outputs):
        place = row_major(graph.values[value].dtype, graph.shape(value))
        size = graph.elements(value) * place.dtype.bytes
        if value in graph.constants:
            yield Copy(weights.add(NetworkBuffer(value, place)), number, size)
        elif value in graph.inputs:
            yield Copy(Location(Region.INPUTS, inputs.index(value)), number, size)
        elif outputs.index(value) != number:
            yield Copy(Location(Region.OUTPUTS, outputs.index(value)), number, size)


def _array(graph: Graph, buffer: NetworkBuffer) -> Array:
    return np.asarray(graph.constants[buffer.value])


def _up(size: int) -> int:
    return -(-max(size, 1) // LINE) * LINE
