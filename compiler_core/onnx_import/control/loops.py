"""Loop: written out turn by turn where the number of turns is known, else a loop of structured steps.

A step that ends the loop by a condition known while the model is read counts as known. One that data or a
symbol counts or ends is imported once, as a loop whose steps run after each other.
"""

from collections.abc import Sequence

import numpy as np
import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, SymDim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.frames import Frame
from tilewright.compiler_core.onnx_import.building.looping import Place, begin_loop
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.values import (
    StackedSequence,
    TensorSequence,
    Value,
    leaves,
    same_structure,
    tensor_of,
    with_leaves,
)
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.sequences import Values, stacked
from tilewright.compiler_core.onnx_import.walk import ImportWalk

MAX_TURNS = 1024
"""Most turns of a Loop that are written out at import."""


def enter_loop(walk: ImportWalk, frame: Frame, node: Node, inputs: Values) -> None:
    """A Loop of known length is its body, turn by turn; any other is imported as a loop of steps."""
    builder, body = walk.context.builder, node.graph("body")
    limit, going = (_optional(inputs, index) for index in range(2))
    carried = [value for value in inputs[2:] if value is not None]
    if len(carried) < len(inputs[2:]):
        raise ModelError("a state of the Loop is missing")
    if len(body.input) != 2 + len(carried) or len(body.output) < 1 + len(carried):
        raise ModelError("the body's inputs or outputs do not fit the Loop's carried values")
    trips, start = builder.content(limit), builder.content(going)
    counted = trips is not None and trips.dtype != object
    most = int(trips.ravel()[0]) if trips is not None and counted else None
    if start is not None and not start.ravel()[0]:
        most = 0
    ends_itself = not _goes_on(body)
    settled = (going is None or start is not None) and (counted or (limit is None and ends_itself))
    if most == 0 or (settled and (most is None or most <= MAX_TURNS)):
        _write_out(walk, frame, node, carried, most)
    else:
        _enter_open(walk, frame, node, carried)


def _optional(inputs: Values, at: int) -> Tensor | None:
    value = inputs[at] if at < len(inputs) else None
    return None if value is None else tensor_of(value, f"input {at}")


def _goes_on(body: onnx.GraphProto) -> bool:
    """Whether a body hands on the condition that it was given, or a constant."""
    name = body.output[0].name if body.output else ""
    made = {output: item for item in body.node for output in item.output}
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    constants = {tensor.name for tensor in body.initializer}
    given = len(body.input) > 1 and name == body.input[1].name
    return given or name in constants or (name in made and made[name].op_type == "Constant")


def _write_out(
    walk: ImportWalk, frame: Frame, node: Node, carried: Sequence[Value], most: int | None
) -> None:
    """The body at most `most` times. Where its condition turns out to depend on data, or does not end, the
    written ops are removed.
    """
    builder, body = walk.context.builder, node.graph("body")
    names, results = [info.name for info in body.input], [info.name for info in body.output]
    scanned: list[list[Tensor]] = [[] for _ in results[1 + len(carried) :]]
    before, nodes_left = [len(things) for things in walk.context.made()], walk.nodes_left

    def undo() -> None:
        for things, kept in zip(walk.context.made(), before, strict=True):
            del things[kept:]
        walk.nodes_left = nodes_left

    def done(state: Sequence[Value]) -> None:
        walk.results(frame, node, [*state, *[concat(builder, parts, 0) for parts in scanned]])

    def turn(at: int, state: Sequence[Value]) -> None:
        if at == most and (at or not scanned):
            done(state)
            return
        inner = walk.enter_graph(frame, body)
        index = builder.constant(np.array(at, dtype=np.int64))
        for name, value in zip(names, [index, builder.scalar(True, DType.BOOL), *state], strict=True):
            inner.define(name, value)

        def finish() -> None:
            again = builder.content(tensor_of(inner.lookup(results[0]), "the condition"))
            after = [inner.lookup(name) for name in results[1:]]
            rows = [tensor_of(value, "a collected result") for value in after[len(state) :]]
            if most == 0:
                # No turn at all: the collected values have no rows.
                undo()
                for parts, tensor in zip(scanned, rows, strict=True):
                    parts.append(_no_rows(builder, tensor))
                done(state)
                return
            too_long = most is None and (at + 1 == MAX_TURNS or 4 * walk.nodes_left < nodes_left)
            if (again is None and at + 1 != most) or (again is not None and again.ravel()[0] and too_long):
                undo()
                _enter_open(walk, frame, node, carried)
                return
            for parts, tensor in zip(scanned, rows, strict=True):
                parts.append(builder.reshape(tensor, (1, *tensor.shape)))
            if again is not None and not again.ravel()[0]:
                done(after[: len(state)])
            else:
                turn(at + 1, after[: len(state)])

        inner.finish = finish

    turn(0, carried)


def _no_rows(builder: Builder, tensor: Tensor) -> Tensor:
    return builder.table((0, *tensor.shape), tensor.dtype, lambda extents: np.zeros(extents))


def _enter_open(
    walk: ImportWalk,
    frame: Frame,
    node: Node,
    carried: Sequence[Value],
    growing: frozenset[Place] = frozenset(),
    evenly: bool = True,
    longer: frozenset[int] = frozenset(),
) -> None:
    """A Loop whose body is imported once: counted by a symbol, or ended by a condition or count from data.

    Where its steps turn out to change extents of what it carries, it is imported anew with those `growing`.
    A value that does not grow `evenly` has a length that only a run of the loop decides. Sequences that get
    `longer`, by their place among `carried`, are collected step by step.
    """
    builder, body = walk.context.builder, node.graph("body")
    inputs = [frame.lookup(name) if name else None for name in node.inputs]
    limit, going = (_optional(inputs, index) for index in range(2))
    names, results = [info.name for info in body.input], [info.name for info in body.output]
    fixed = [value for index, value in enumerate(carried) if index not in longer]
    before = leaves(fixed)
    true = builder.scalar(True, DType.BOOL)
    zero, one = builder.scalar(0, DType.I64), builder.scalar(1, DType.I64)
    steps = _known_steps(builder, body, limit, going) if evenly else None
    if steps is not None:
        numbers = builder.table([steps], DType.I64, lambda extents: np.arange(extents[0]))
        loop = begin_loop(walk.context, node, before, [numbers], growing)
        given = [loop.elements[0], true]
    else:
        start = true if going is None else builder.reshape(going, ())
        if limit is not None:
            more = builder.elementwise("less", zero, builder.reshape(limit, ()), dtype=DType.BOOL)
            start = builder.elementwise("logical_and", start, more, dtype=DType.BOOL)
        loop = begin_loop(walk.context, node, [start, zero, *before], [], growing)
        given = [loop.state[1], loop.state[0]]
    state = with_leaves(fixed, loop.state[len(loop.state) - len(before) :])
    inner = walk.enter_graph(frame, body)
    for name, value in zip(names, [*given, *_with_growing(carried, state, longer)], strict=True):
        inner.define(name, value)

    def finish() -> None:
        after = [inner.lookup(name) for name in results[1:]]
        made, rows = (
            after[: len(carried)],
            [tensor_of(v, "a collected result") for v in after[len(carried) :]],
        )
        changed = frozenset(
            index
            for index, (old, new) in enumerate(zip(carried, made, strict=True))
            if not same_structure(old, new)
        )
        if changed - longer:
            loop.discard()
            _check_growth(carried, made, changed)
            _enter_open(walk, frame, node, carried, growing, evenly, longer | changed)
            return
        kept = leaves([value for index, value in enumerate(made) if index not in longer])
        grown = loop.grown(kept)
        counted_wrongly = steps is not None and not loop.grows_evenly(kept)
        if grown != growing or counted_wrongly:
            loop.discard()
            _enter_open(walk, frame, node, carried, grown, evenly and not counted_wrongly, longer)
            return
        appended = {index: _row_of(builder, made[index]) for index in sorted(longer)}
        collected = [*rows, *appended.values()]
        if steps is not None:
            ended = loop.finish(steps, kept, collected)
        else:
            again = builder.reshape(tensor_of(inner.lookup(results[0]), "the condition"), ())
            following = builder.elementwise("add", loop.state[1], one)
            if limit is not None:
                more = builder.elementwise("less", following, builder.reshape(limit, ()), dtype=DType.BOOL)
                again = builder.elementwise("logical_and", again, more, dtype=DType.BOOL)
            ended = loop.finish(None, [again, following, *kept], collected)[2:]
        states = iter(with_leaves(fixed, ended[: len(kept)]))
        stacks = dict(zip(appended, ended[len(kept) + len(rows) :], strict=True))
        finals: list[Value] = [
            _extended(builder, value, stacks[index]) if index in longer else next(states)
            for index, value in enumerate(carried)
        ]
        walk.results(frame, node, [*finals, *ended[len(kept) : len(kept) + len(rows)]])

    inner.finish = finish


def _known_steps(
    builder: Builder, body: onnx.GraphProto, limit: Tensor | None, going: Tensor | None
) -> Dim | None:
    """The number of steps, a symbol perhaps; None where data or a condition decide it."""
    count = builder.content(limit)
    if count is None or not _goes_on(body) or not (going is None or builder.content(going) is not None):
        return None
    (turns,) = count.ravel().tolist()
    return turns if isinstance(turns, SymDim) else max(0, int(turns))


def _with_growing(carried: Sequence[Value], state: Sequence[Value], longer: frozenset[int]) -> list[Value]:
    """A step's view of the carried values: a sequence that gets longer shows only the elements it appends."""
    fixed = iter(state)
    return [
        TensorSequence((), value.dtype, grows=True)
        if index in longer and isinstance(value, TensorSequence)
        else next(fixed)
        for index, value in enumerate(carried)
    ]


def _check_growth(carried: Sequence[Value], made: Sequence[Value], changed: frozenset[int]) -> None:
    for index in changed:
        old, new = carried[index], made[index]
        if not isinstance(old, TensorSequence) or not isinstance(new, TensorSequence):
            raise ModelError("a carried value changes its kind from step to step")
        if len(new.elements) < len(old.elements):
            raise ModelError("a loop of unknown length takes elements out of a sequence; bind its turns")


def _row_of(builder: Builder, value: Value) -> Tensor:
    """The elements that a step appends to a sequence, in one tensor."""
    if not isinstance(value, TensorSequence) or not value.grows or not value.elements:
        raise ModelError(
            "a loop of unknown length changes a sequence other than by appending to it; bind its turns with"
            " --dim NAME=VALUE or --input NAME=VALUE"
        )
    return stacked(builder, TensorSequence(value.elements, value.dtype)).stack


def _extended(builder: Builder, before: Value, rows: Tensor) -> Value:
    """The sequence `before` and behind it the elements of each step, [steps, elements per step, ...]."""
    steps, width, *shape = rows.shape
    stack = builder.reshape(rows, (steps * width, *shape))
    if isinstance(before, TensorSequence) and before.elements:
        return StackedSequence(concat(builder, [stacked(builder, before).stack, stack], 0))
    return StackedSequence(stack)
