"""Run a Program in numpy, tile by tile, by its instructions and nothing else.

Each core has its own L1. Reading a box that a slot does not hold, or a slot that was never filled or was
freed, raises VerifyError; filling a slot poisons every other value in the same bytes. So equality with the
interpreter says that every load, halo, accumulation, store and sharing of room is right.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tilewright.compiler_core.errors import VerifyError
from tilewright.compiler_core.ir.dtypes import dtype_of
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import clamped_interval
from tilewright.compiler_core.ir.layouts import Layout
from tilewright.compiler_core.ir.ops import Array, AxisKind
from tilewright.compiler_core.lowering.program import (
    HostCall,
    Instruction,
    KernelCall,
    KernelProgram,
    Program,
)
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action
from tilewright.compiler_core.meaning.evaluate import Held, evaluate
from tilewright.compiler_core.target_model.precision import Precision


@dataclass(eq=False)
class Seen:
    """The elements of a value that tiles have computed: `array` where `there`, and the places where two tiles
    disagree.
    """

    array: Array
    there: Array
    unsteady: Array | None = None

    @classmethod
    def nothing(cls, shape: tuple[int, ...], dtype: np.dtype[Any]) -> "Seen":
        """No element yet."""
        return cls(np.zeros(shape, dtype), np.zeros(shape, np.bool_))

    @classmethod
    def all_of(cls, array: Array) -> "Seen":
        """A value that was computed whole."""
        return cls(array, np.ones(array.shape, np.bool_))

    @property
    def whole(self) -> bool:
        """Whether every element was computed."""
        return bool(self.there.all())

    def show(self, place: tuple[slice, ...], elements: Array) -> None:
        """A tile's part of the value."""
        before = self.there[place]
        if before.any():
            differs = before & (self.array[place] != elements)
            if differs.any():
                if self.unsteady is None:
                    self.unsteady = np.zeros(self.there.shape, np.bool_)
                self.unsteady[place] |= differs
        self.array[place] = elements
        self.there[place] = True


def made_again(program: KernelProgram, at: int, op: Op) -> Array | None:
    """Elements of an op's result that several tiles compute, in a halo; None where none is."""
    again = np.zeros(op.extents[: op.rank], np.bool_)
    for axis, (low, high) in enumerate(program.domains[at][: op.rank]):
        intervals = np.unique(np.stack(np.broadcast_arrays(low, high), -1).reshape(-1, 2), axis=0)
        edges = np.zeros(op.extents[axis] + 1, np.int64)
        np.add.at(edges, intervals[:, 0], 1)
        np.add.at(edges, intervals[:, 1], -1)
        form = [1] * op.rank
        form[axis] = -1
        again |= (np.cumsum(edges[:-1]) > 1).reshape(form)
    return again if again.any() else None


def emulate(
    graph: Graph,
    program: Program,
    inputs: Mapping[int, Array],
    instead: Mapping[int, Array] | None = None,
    precision: Precision | None = None,
    watched: dict[int, Seen] | None = None,
) -> dict[int, Array]:
    """Every value that `program` stores, from arrays for the graph's inputs.

    `graph` supplies constants and shapes only. Later kernels read the arrays of `instead` where it has one,
    so that errors do not add up. With a `precision` every value, fused or not, is rounded as the target
    stores it. `watched` receives what tiles compute of every value, those that stay inside a kernel too.
    Between kernels values lie as the Program lays them out. Raises VerifyError when the Program
    reads what is not there.
    """
    memory: dict[int, Array] = {}
    for value in graph.inputs:
        memory[value] = inputs[value].astype(graph.values[value].dtype.numpy, copy=False)
    if precision is not None:
        given = {**memory, **{value: graph.constants[value] for value in graph.constants}}
        memory = {value: precision.stored(value, array) for value, array in given.items()}
    stored: dict[int, Array] = {}
    for stage in program.stages:
        for call in stage:
            made = run_call(graph, call, memory, precision, watched)
            stored |= made
            for value, array in made.items():
                lies = array if instead is None else instead.get(value, array)
                memory[value] = laid_out(call, value, lies)
    return stored


def run_call(
    graph: Graph,
    call: KernelCall | HostCall,
    memory: Mapping[int, Array],
    precision: Precision | None = None,
    watched: dict[int, Seen] | None = None,
) -> dict[int, Array]:
    """The values that one call stores, in the model's order, from `memory` as `laid_out` left it."""
    if isinstance(call, HostCall):
        return {graph.ops[call.op].result: _run_on_host(graph, graph.ops[call.op], memory)}
    seen = dict(memory)
    for value, layout in _layouts(call).items():
        if value in seen:
            seen[value] = layout.unpack(seen[value])
    run_kernel(graph, call, seen, precision, watched)
    return {value: seen[value] for value in stored_by(graph, call)}


def stored_by(graph: Graph, call: KernelCall | HostCall) -> tuple[int, ...]:
    """The values of the graph that a call stores."""
    if isinstance(call, HostCall):
        return (graph.ops[call.op].result,)
    return tuple(call.kernel.values[value] for value in call.kernel.workload.graph.outputs)


def laid_out(call: KernelCall | HostCall, value: int, array: Array) -> Array:
    """An array that a call stores, as it lies in memory."""
    layout = None if isinstance(call, HostCall) else _layouts(call).get(value)
    return array if layout is None else layout.pack(array)


def _layouts(call: KernelCall) -> Mapping[int, Layout]:
    return {call.kernel.values[value]: layout for value, layout in call.kernel.workload.layouts.items()}


def _run_on_host(graph: Graph, op: Op, memory: Mapping[int, Array]) -> Array:
    operands: list[Held] = []
    for access in op.operands:
        array = memory[access.value] if access.value in memory else graph.constants[access.value]
        operands.append(Held(array, (0,) * array.ndim, array.shape))
    box = [(0, extent) for extent in op.extents]
    return evaluate(op, box, operands, graph.values[op.result])


@dataclass(frozen=True)
class StoredBox:
    """A box of one value of the graph that a tile stored: where it lies and its elements."""

    value: int
    place: tuple[slice, ...]
    elements: Array


def run_kernel(
    graph: Graph,
    call: KernelCall,
    memory: dict[int, Array],
    precision: Precision | None = None,
    watched: dict[int, Seen] | None = None,
) -> None:
    """Execute one kernel on `memory` (value of the graph -> array), and add its results."""
    _prepare(graph, call, memory)
    for core in range(call.program.cores):
        _Core(call, memory, precision, watched=watched).run(call.program.instructions(core))


def run_tiles(
    graph: Graph,
    call: KernelCall,
    known: Mapping[int, Array],
    tiles: Sequence[int],
    watched: dict[int, Seen] | None = None,
) -> list[StoredBox]:
    """The results of one core that runs only these parallel tiles of a kernel, on operands of `known`."""
    outer = [call.kernel.values[value] for value in call.kernel.workload.graph.inputs]
    memory = {value: known[value] for value in outer if value in known}
    _prepare(graph, call, memory)
    stored: list[StoredBox] = []
    _Core(call, memory, stored=stored, watched=watched).run(call.program.instructions_of(tiles))
    return stored


def _prepare(graph: Graph, call: KernelCall, memory: dict[int, Array]) -> None:
    """Operands in place, and poison where results will be."""
    local = call.kernel.workload.graph
    for value in local.inputs:
        outer = call.kernel.values[value]
        if outer not in memory:
            if outer not in graph.constants:
                raise VerifyError(f"{graph.name_of(outer)} is read before any kernel stored it")
            memory[outer] = graph.constants[outer]
    for value in local.outputs:
        outer = call.kernel.values[value]
        memory[outer] = poison(graph.shape(outer), graph.values[outer].dtype.numpy)


def poison(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Elements that spoil every result that depends on them."""
    if dtype == np.bool_:
        return np.ones(shape, dtype=dtype)
    kind = dtype_of(dtype)
    if kind.is_float:
        # A type without a NaN has its largest number instead.
        return np.full(shape, np.nan, dtype=dtype) if kind.bits >= 8 else np.full(shape, kind.largest, dtype)
    most = kind.limits[1]
    return np.full(shape, most // 2 + 7 if most > 100 else most, dtype=dtype)


@dataclass
class _Core:
    """One core: the contents of its L1 slots, and the carries of scans in progress."""

    call: KernelCall
    memory: dict[int, Array]
    precision: Precision | None = None
    slots: dict[tuple[int, int], Held] = field(default_factory=dict)
    carries: dict[int, Array] = field(default_factory=dict)
    stored: list[StoredBox] | None = None
    watched: dict[int, Seen] | None = None

    @property
    def program(self) -> KernelProgram:
        return self.call.program

    @property
    def graph(self) -> Graph:
        return self.call.kernel.workload.graph

    def run(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            if instruction.action is Action.FREE:
                self._free(instruction)
            elif instruction.action is Action.LOAD:
                self._load(instruction)
            elif instruction.action is Action.COMPUTE:
                self._compute(instruction)
            else:
                self._store(instruction)

    def _box(self, instruction: Instruction, buffer: int) -> list[tuple[int, int]]:
        region = self.program.buffers[buffer].region
        return [self.program.at(span, instruction.tile) for span in region]

    def _free(self, instruction: Instruction) -> None:
        held = self.slots.pop((instruction.buffer, instruction.slot), None)
        if held is None:
            raise VerifyError(f"{self._name(instruction.buffer)} is freed but not held")

    def _name(self, buffer: int) -> str:
        return f"buffer {buffer} of value {self.program.buffers[buffer].value}"

    def _source(self, value: int) -> Array:
        """An operand of the kernel, from memory."""
        return self.call.kernel.part(value, self.memory[self.call.kernel.values[value]])

    def _load(self, instruction: Instruction) -> None:
        value = self.program.buffers[instruction.buffer].value
        source = self._source(value)
        box = self._box(instruction, instruction.buffer)
        part = source[tuple(slice(low, high) for low, high in box)].copy()
        self._fill(instruction, Held(part, tuple(low for low, _ in box), source.shape))

    def _fill(self, instruction: Instruction, held: Held) -> None:
        key = (instruction.buffer, instruction.slot)
        if key in self.slots:
            raise VerifyError(f"{self._name(instruction.buffer)} is overwritten before it was freed")
        for other in self.neighbours[instruction.buffer]:
            for slot in range(self.program.buffers[other].slots):
                if self._same_bytes(key, (other, slot)) and (other, slot) in self.slots:
                    lost = self.slots[other, slot]
                    spoilt = poison(lost.elements.shape, lost.elements.dtype)
                    self.slots[other, slot] = Held(spoilt, lost.start, lost.shape)
        self.slots[key] = held

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Per buffer, those that have room in common with it."""
        buffers = self.program.buffers
        return tuple(
            tuple(
                other
                for other, theirs in enumerate(buffers)
                if other != index and theirs.accumulator is mine.accumulator
                if mine.offset < theirs.offset + theirs.slots * theirs.slot_bytes
                if theirs.offset < mine.offset + mine.slots * mine.slot_bytes
            )
            for index, mine in enumerate(buffers)
        )

    def _same_bytes(self, one: tuple[int, int], other: tuple[int, int]) -> bool:
        (mine, slot), (theirs, their_slot) = one, other
        a, b = self.program.buffers[mine], self.program.buffers[theirs]
        low, high = a.offset + slot * a.slot_bytes, b.offset + their_slot * b.slot_bytes
        return low < high + b.slot_bytes and high < low + a.slot_bytes

    def _held(self, buffer: int, slot: int) -> Held:
        held = self.slots.get((buffer, slot))
        if held is None:
            raise VerifyError(f"{self._name(buffer)} is read but not held")
        return held

    def _compute(self, instruction: Instruction) -> None:
        step = self.program.steps[instruction.step]
        op = self.graph.ops[step.op]
        box = [self.program.at(span, instruction.tile) for span in self.program.domains[step.op]]
        operands: list[Held] = []
        for access, read, slot in zip(op.operands, step.reads, instruction.sources, strict=True):
            if read == FROM_MEMORY:
                source = self._source(access.value)
                operands.append(Held(source, (0,) * source.ndim, source.shape))
            else:
                held = self._held(read, slot)
                for dim, expr in enumerate(access.exprs):
                    low, high = clamped_interval(expr, box, held.shape[dim])
                    inside = held.start[dim] <= low and high <= held.start[dim] + held.elements.shape[dim]
                    if low < high and not inside:
                        raise VerifyError(
                            f"{self._name(read)} holds [{held.start[dim]}, "
                            f"{held.start[dim] + held.elements.shape[dim]}) of dim {dim}, "
                            f"op {step.op} ({op.kind}) reads [{low}, {high})"
                        )
                operands.append(held)
        whole = [(0, extent) for extent in op.extents]
        split = step.op == self.program.anchor and box[op.rank :] != whole[op.rank :]
        result = evaluate(op, box, operands, self.graph.values[op.result], partial=split)
        if any(kind is AxisKind.SCAN for kind in op.axis_kinds):
            result = self._carry(step.op, op, box, result)
        result = self._held_as(op, result, partial=split)
        if not split or all(box[axis][0] == 0 for axis in op.reduction_axes):
            start = tuple(low for low, _ in box[: op.rank])
            self._fill(instruction, Held(result, start, self.graph.shape(op.result)))
        else:
            self._accumulate(instruction, op, result)
        last = all(box[axis][1] == op.extents[axis] for axis in op.reduction_axes)
        if split and last:
            self._round(instruction, op)
        if self.watched is not None and (last or not split):
            self._show(op, box, self._held(instruction.buffer, instruction.slot).elements)

    def _show(self, op: Op, box: list[tuple[int, int]], elements: Array) -> None:
        """Let a watcher see a tile of a value that is complete."""
        assert self.watched is not None, "somebody watches"
        outer = self.call.kernel.values[op.result]
        if outer not in self.watched:
            self.watched[outer] = Seen.nothing(self.graph.shape(op.result), elements.dtype)
        self.watched[outer].show(tuple(slice(low, high) for low, high in box[: op.rank]), elements)

    def _held_as(self, op: Op, result: Array, *, partial: bool) -> Array:
        """A result, or partial sums of one, as the target keeps them."""
        if self.precision is None:
            return result
        outer = self.call.kernel.values[op.result]
        sums = op.row.reducer is not None
        result = self.precision.summed(outer, result) if sums else result
        return result if partial else self.precision.stored(outer, result)

    def _accumulate(self, instruction: Instruction, op: Op, addend: Array) -> None:
        held = self._held(instruction.buffer, instruction.slot)
        reducer = op.row.reducer
        assert reducer is not None, "only a reduction is split"
        total = self._held_as(op, reducer.ufunc(held.elements, addend), partial=True)
        self.slots[instruction.buffer, instruction.slot] = Held(total, held.start, held.shape)

    def _round(self, instruction: Instruction, op: Op) -> None:
        held = self._held(instruction.buffer, instruction.slot)
        rounded = held.elements.astype(self.graph.values[op.result].dtype.numpy)
        rounded = self._held_as(op, rounded, partial=False)
        self.slots[instruction.buffer, instruction.slot] = Held(rounded, held.start, held.shape)

    def _carry(self, at: int, op: Op, box: list[tuple[int, int]], result: Array) -> Array:
        """Continue a scan from the tile before, and remember where it got to."""
        if not result.size:
            # Every element of it that the tile reads is padding.
            return result
        axis = op.axis_kinds.index(AxisKind.SCAN)
        reducer = op.row.reducer
        assert reducer is not None, "a scan folds"
        if box[axis][0] > 0:
            if at not in self.carries:
                raise VerifyError(f"op {at} ({op.kind}) scans on from {box[axis][0]} without a carry")
            result = reducer.ufunc(result, self.carries[at]).astype(result.dtype)
        self.carries[at] = result.take([-1], axis=axis)
        return result

    def _store(self, instruction: Instruction) -> None:
        held = self._held(instruction.buffer, instruction.slot)
        value = self.program.buffers[instruction.buffer].value
        target = self.memory[self.call.kernel.values[value]]
        box = self._box(instruction, instruction.buffer)
        for dim, ((low, high), start, extent) in enumerate(
            zip(box, held.start, held.elements.shape, strict=True)
        ):
            if low < start or high > start + extent:
                raise VerifyError(
                    f"{self._name(instruction.buffer)} holds [{start}, {start + extent}) of dim {dim},"
                    f" [{low}, {high}) is stored"
                )
        want = tuple(
            slice(low - start, high - start) for (low, high), start in zip(box, held.start, strict=True)
        )
        place = tuple(slice(low, high) for low, high in box)
        target[place] = held.elements[want]
        if self.stored is not None:
            self.stored.append(StoredBox(self.call.kernel.values[value], place, held.elements[want]))
