"""Does a Program compute what its network means? One walk down the Program, every op judged alone.

Every call is run on the reference's operands, and everything that its tiles compute is judged (judge.py) from
the operands that they had. The reference goes on from its own values, in the model's dtypes; a value is
dropped after its last reader.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.checking.emulate import (
    Seen,
    StoredBox,
    laid_out,
    run_call,
    run_tiles,
    stored_by,
)
from tilewright.compiler_core.checking.judge import Expected, Judgement, expect
from tilewright.compiler_core.checking.sampled import sampled_tiles
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Kernel
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, Program


@dataclass(frozen=True)
class Judged:
    """A value of the graph that a call computes, and the judgement on it. `whole`: on all of its elements."""

    value: int
    judgement: Judgement
    whole: bool = True


def judge_program(
    graph: Graph, program: Program, inputs: Mapping[int, Array], sample_seed: int | None = None
) -> Iterator[Judged]:
    """A judgement on every value that `program` computes, as calls are run; `graph` is the Program's own.

    With a `sample_seed` of every kernel only tiles of all distinct shapes are run, and a few more
    (sampled.py). Raises VerifyError when the Program reads what is not there.
    """
    rng = None if sample_seed is None else np.random.default_rng(sample_seed)
    kinds = {value: graph.values[value].dtype.numpy for value in graph.inputs}
    given = {value: inputs[value].astype(kind, copy=False) for value, kind in kinds.items()}
    memory = _Memory(graph, program, given)
    for at, call in enumerate(memory.calls):
        with np.errstate(all="ignore"):
            if isinstance(call, HostCall):
                made, judged = _judge_host(graph, call, memory)
            else:
                made, judged = _judge_kernel(graph, call, memory, rng)
        yield from judged
        memory.step(at, made)


class _Memory:
    """What later calls read: in the model's order (`known`) and as it lies between kernels (`lying`)."""

    def __init__(self, graph: Graph, program: Program, given: Mapping[int, Array]) -> None:
        self._graph = graph
        self.calls = [call for stage in program.stages for call in stage]
        self._last_reader = {value: at for at, call in enumerate(self.calls) for value in _read(graph, call)}
        self.known = dict(given)
        self.lying = dict(given)

    def operand(self, value: int) -> Array:
        """A value in the model's order, or a constant."""
        return self.known[value] if value in self.known else self._graph.constants[value]

    def step(self, at: int, made: Mapping[int, Array]) -> None:
        """After call `at`: what it stores is there, what nobody reads any more is not."""
        call = self.calls[at]
        for value in stored_by(self._graph, call):
            if self._last_reader.get(value, -1) > at:
                self.known[value] = made[value]
                self.lying[value] = laid_out(call, value, made[value])
        for value in _read(self._graph, call):
            if self._last_reader[value] == at:
                self.known.pop(value, None)
                self.lying.pop(value, None)


def _read(graph: Graph, call: KernelCall | HostCall) -> set[int]:
    if isinstance(call, HostCall):
        return {access.value for access in graph.ops[call.op].operands}
    return {call.kernel.values[value] for value in call.kernel.workload.graph.inputs}


def _judge_host(graph: Graph, call: HostCall, memory: _Memory) -> tuple[dict[int, Array], list[Judged]]:
    op = graph.ops[call.op]
    read = [access.value for access in op.operands]
    operands = [memory.operand(value) for value in read]
    expected = expect(op, operands, [graph.values[value] for value in read], graph.values[op.result])
    got = run_call(graph, call, memory.lying)[op.result]
    return {op.result: _rounded(expected)}, [Judged(op.result, expected.judge(got))]


def _judge_kernel(
    graph: Graph, call: KernelCall, memory: _Memory, rng: np.random.Generator | None
) -> tuple[dict[int, Array], list[Judged]]:
    """What the reference makes of one kernel, by value of the graph, and a judgement on all it computes."""
    watched: dict[int, Seen] = {}
    if rng is None:
        made = run_call(graph, call, memory.lying, watched=watched)
        stored = {value: Seen.all_of(array) for value, array in made.items()}
    else:
        boxes = run_tiles(graph, call, memory.known, sampled_tiles(call.program, rng), watched)
        stored = _put_together(graph, boxes)
    return judge_ops(call.kernel, memory.operand, watched, stored)


def judge_ops(
    kernel: Kernel, operand: Callable[[int], Array], watched: Mapping[int, Seen], stored: Mapping[int, Seen]
) -> tuple[dict[int, Array], list[Judged]]:
    """A judgement on what tiles computed (`watched`) and what they stored, op by op of one kernel.

    All by value of the graph; `operand` gives those that the kernel reads. An inner operand is what the tiles
    made of it. Where they made nothing the reference stands in; where two of them do not agree, their
    difference counts as slack.
    """
    local = kernel.workload.graph
    arrays = {value: kernel.part(value, operand(kernel.values[value])) for value in local.inputs}
    slacks: dict[int, Array] = {}
    judged: list[Judged] = []
    made: dict[int, Array] = {}
    for op in local.ops:
        read = [access.value for access in op.operands]
        kinds = [local.values[value] for value in read]
        loose = [slacks.get(value) for value in read]
        expected = expect(op, [arrays[value] for value in read], kinds, local.values[op.result], loose)
        outer = kernel.values[op.result]
        judged += [
            Judged(outer, expected.judge(seen.array, seen.there), seen.whole)
            for seen in (watched.get(outer), stored.get(outer))
            if seen is not None
        ]
        made[outer] = arrays[op.result] = _rounded(expected)
        inner = watched.get(outer)
        if inner is not None:
            arrays[op.result] = np.where(inner.there, inner.array, made[outer])
            if inner.unsteady is not None:
                slacks[op.result] = np.where(inner.unsteady, expected.allowed, 0.0)
    return made, judged


def _rounded(expected: Expected) -> Array:
    """The reference as an operand."""
    return expected.exact.value.astype(expected.plain.dtype)


def _put_together(graph: Graph, boxes: Sequence[StoredBox]) -> dict[int, Seen]:
    found: dict[int, Seen] = {}
    for box in boxes:
        if box.value not in found:
            found[box.value] = Seen.nothing(graph.shape(box.value), box.elements.dtype)
        found[box.value].show(box.place, box.elements)
    return found
