"""Control flow: a branch that is known is entered, one that depends on data is computed both ways."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Dim, SymDim
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import checked_axis, optional, required
from tilewright.compiler_core.onnx_import.building.frames import Frame
from tilewright.compiler_core.onnx_import.building.looping import Place, begin_loop, reversed_view
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.movement import concat

if TYPE_CHECKING:
    from tilewright.compiler_core.onnx_import.walk import Walk

Enter: TypeAlias = Callable[["Walk", Frame, Node, Sequence[Tensor | None]], None]


def _enter_if(walk: "Walk", frame: Frame, node: Node, inputs: Sequence[Tensor | None]) -> None:
    """If with a known condition is the branch taken; otherwise both branches, and a select of each result."""
    condition = required(inputs, 0)
    branches = [node.graph("then_branch"), node.graph("else_branch")]
    for branch in branches:
        if len(branch.output) != len(node.outputs):
            raise ModelError("a branch has another number of outputs than the node")
    content = walk.context.builder.content(condition)
    if content is not None:
        if content.size != 1:
            raise ModelError("the condition must have one element")
        taken = walk.enter_graph(frame, branches[0] if content.ravel()[0] else branches[1])
        names = [output.name for output in (branches[0] if content.ravel()[0] else branches[1]).output]
        taken.finish = lambda: walk.results(frame, node, [taken.lookup(name) for name in names])
        return
    chosen = walk.enter_graph(frame, branches[0])

    def then_done() -> None:
        other = walk.enter_graph(frame, branches[1])

        def else_done() -> None:
            builder = walk.context.builder
            results = []
            for left, right in zip(branches[0].output, branches[1].output, strict=True):
                one, two = chosen.lookup(left.name), other.lookup(right.name)
                if one.rank != two.rank or one.dtype is not two.dtype:
                    raise ModelError("the branches of a data-dependent If give different ranks or types")
                if one.shape == two.shape:
                    scalar = builder.reshape(condition, ())
                    results.append(builder.elementwise("where", scalar, one, two, dtype=one.dtype))
                    continue
                shape = tuple(
                    a if a == b else walk.context.fresh(node, f"dim{dim}")
                    for dim, (a, b) in enumerate(zip(one.shape, two.shape, strict=True))
                )
                operands = [condition, one, two]
                results += walk.context.host(node, "choose", operands, [(shape, one.dtype)])
            walk.results(frame, node, results)

        other.finish = else_done

    chosen.finish = then_done


def _enter_loop(walk: "Walk", frame: Frame, node: Node, inputs: Sequence[Tensor | None]) -> None:
    """A Loop of known trip count whose condition stays true is its body, written out turn by turn.

    One of symbolic trip count is a loop of structured steps; one that data ends runs on the host.
    """
    builder = walk.context.builder
    body = node.graph("body")
    trips, going = (builder.content(optional(inputs, at)) for at in range(2))
    counted = trips is not None and trips.dtype != object
    unconditional = optional(inputs, 1) is None or going is not None
    stopped = going is not None and not going.ravel()[0]
    if not stopped and not (counted and unconditional and _goes_on(body)):
        _enter_open_loop(walk, frame, node, inputs)
        return
    count = 0 if stopped or trips is None else int(trips.ravel()[0])
    if count > MAX_TURNS:
        _enter_open_loop(walk, frame, node, inputs)
        return
    carried = [required(inputs, at) for at in range(2, len(inputs))]
    names = [info.name for info in body.input]
    results = [info.name for info in body.output]
    if len(names) != 2 + len(carried) or len(results) < 1 + len(carried):
        raise ModelError("the body's inputs or outputs do not fit what the Loop carries")
    scanned: list[list[Tensor]] = [[] for _ in results[1 + len(carried) :]]

    def turn(at: int, state: Sequence[Tensor]) -> None:
        if at == count:
            if count == 0 and scanned:
                raise ModelError("a Loop without turns whose results are collected is not supported")
            walk.results(frame, node, [*state, *[concat(builder, parts, 0) for parts in scanned]])
            return
        inner = walk.enter_graph(frame, body)
        index = builder.constant(np.array(at, dtype=np.int64))
        for name, tensor in zip(names, [index, builder.scalar(True, DType.BOOL), *state], strict=True):
            inner.define(name, tensor)

        def finish() -> None:
            again = builder.content(inner.lookup(results[0]))
            if again is None:
                raise ModelError("a Loop whose condition is computed from data is not supported")
            if not again.ravel()[0] and at + 1 < count:
                raise ModelError("a Loop that ends before its trip count is not supported")
            after = [inner.lookup(name) for name in results[1:]]
            for parts, tensor in zip(scanned, after[len(state) :], strict=True):
                parts.append(builder.reshape(tensor, (1, *tensor.shape)))
            turn(at + 1, after[: len(state)])

        inner.finish = finish

    turn(0, carried)


def _goes_on(body: onnx.GraphProto) -> bool:
    """Whether a body hands on the condition that it was given, or a constant."""
    name = body.output[0].name if body.output else ""
    made = {output: item for item in body.node for output in item.output}
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    constants = {tensor.name for tensor in body.initializer}
    given = len(body.input) > 1 and name == body.input[1].name
    return given or name in constants or (name in made and made[name].op_type == "Constant")


def _enter_open_loop(
    walk: "Walk",
    frame: Frame,
    node: Node,
    inputs: Sequence[Tensor | None],
    growing: frozenset[Place] = frozenset(),
    evenly: bool = True,
) -> None:
    """A Loop whose body is imported once: counted by a symbol, or ended by a condition or count from data.

    Where its steps turn out to change extents of what it carries, it is imported anew with those `growing`.
    What does not grow `evenly` has a length that only running the loop tells.
    """
    builder = walk.context.builder
    body = node.graph("body")
    limit, going = optional(inputs, 0), optional(inputs, 1)
    carried = [required(inputs, at) for at in range(2, len(inputs))]
    names, results = [info.name for info in body.input], [info.name for info in body.output]
    if len(names) != 2 + len(carried) or len(results) < 1 + len(carried):
        raise ModelError("the body's inputs or outputs do not fit what the Loop carries")
    count = builder.content(limit)
    endless = _goes_on(body) and (going is None or builder.content(going) is not None)
    steps: Dim | None = None
    if count is not None and endless and evenly:
        (turns,) = count.ravel().tolist()
        steps = turns if isinstance(turns, SymDim) else max(0, int(turns))
    true = builder.scalar(True, DType.BOOL)
    zero, one = builder.scalar(0, DType.I64), builder.scalar(1, DType.I64)
    if steps is not None:
        numbers = builder.table([steps], DType.I64, lambda extents: np.arange(extents[0]))
        loop = begin_loop(walk.context, node, carried, [numbers], growing)
        given = [loop.elements[0], true, *loop.state]
    else:
        start = true if going is None else builder.reshape(going, ())
        if limit is not None:
            more = builder.elementwise("less", zero, builder.reshape(limit, ()), dtype=DType.BOOL)
            start = builder.elementwise("logical_and", start, more, dtype=DType.BOOL)
        loop = begin_loop(walk.context, node, [start, zero, *carried], [], growing)
        given = [loop.state[1], loop.state[0], *loop.state[2:]]
    inner = walk.enter_graph(frame, body)
    for name, tensor in zip(names, given, strict=True):
        inner.define(name, tensor)

    def finish() -> None:
        after = [inner.lookup(name) for name in results[1:]]
        state, collected = after[: len(carried)], after[len(carried) :]
        grown = loop.grown(state)
        counted_wrongly = steps is not None and not loop.grows_evenly(state)
        if grown != growing or counted_wrongly:
            loop.discard()
            _enter_open_loop(walk, frame, node, inputs, grown, evenly=not counted_wrongly)
            return
        if steps is not None:
            walk.results(frame, node, loop.finish(steps, state, collected))
            return
        again = builder.reshape(inner.lookup(results[0]), ())
        following = builder.elementwise("add", loop.state[1], one)
        if limit is not None:
            more = builder.elementwise("less", following, builder.reshape(limit, ()), dtype=DType.BOOL)
            again = builder.elementwise("logical_and", again, more, dtype=DType.BOOL)
        walk.results(frame, node, loop.finish(None, [again, following, *state], collected)[2:])

    inner.finish = finish


def _enter_scan(walk: "Walk", frame: Frame, node: Node, inputs: Sequence[Tensor | None]) -> None:
    """A Scan is a loop over the elements of sequences, turned so that they are read forward along dim 0."""
    builder, body = walk.context.builder, node.graph("body")
    if node.version < 9:
        raise ModelError("Scan before opset 9 is not supported; export with a newer opset")
    count = node.integer("num_scan_inputs")
    states = [required(inputs, at) for at in range(len(inputs) - count)]
    given = [required(inputs, at) for at in range(len(inputs) - count, len(inputs))]
    axes = node.integers("scan_input_axes", [0] * count)
    backward = node.integers("scan_input_directions", [0] * count)
    if not count or len(body.input) != len(inputs) or len(body.output) != len(node.outputs):
        raise ModelError("the body's inputs or outputs do not fit those of the Scan")
    steps = given[0].shape[checked_axis(axes[0], given[0].rank)]
    sequences = []
    for tensor, axis, reverse in zip(given, axes, backward, strict=True):
        first = checked_axis(axis, tensor.rank)
        builder.equal(tensor.shape[first], steps, "lengths of the sequences of a Scan")
        turned = builder.transpose(tensor, [first, *(dim for dim in range(tensor.rank) if dim != first)])
        sequences.append(reversed_view(builder, turned) if reverse else turned)
    loop = begin_loop(walk.context, node, states, sequences)
    inner = walk.enter_graph(frame, body)
    for info, tensor in zip(body.input, [*loop.state, *loop.elements], strict=True):
        inner.define(info.name, tensor)

    def finish() -> None:
        after = [inner.lookup(info.name) for info in body.output]
        made = loop.finish(steps, after[: len(states)], after[len(states) :])
        collected = made[len(states) :]
        out_axes = node.integers("scan_output_axes", [0] * len(collected))
        out_backward = node.integers("scan_output_directions", [0] * len(collected))
        for at, (tensor, axis, reverse) in enumerate(zip(collected, out_axes, out_backward, strict=True)):
            turned = reversed_view(builder, tensor) if reverse else tensor
            place = checked_axis(axis, tensor.rank)
            order = [*range(1, place + 1), 0, *range(place + 1, tensor.rank)]
            made[len(states) + at] = builder.transpose(turned, order)
        walk.results(frame, node, made)

    inner.finish = finish


MAX_TURNS = 1024
"""Most turns of a Loop that are written out at import."""

ENTER: Mapping[str, Enter] = {"If": _enter_if, "Loop": _enter_loop, "Scan": _enter_scan}
