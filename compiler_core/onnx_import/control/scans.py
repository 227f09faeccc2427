"""Scan: a loop over the elements of sequences, turned so that they are read forward along dim 0."""

from collections.abc import Callable, Sequence

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import checked_axis
from tilewright.compiler_core.onnx_import.building.frames import Frame
from tilewright.compiler_core.onnx_import.building.looping import begin_loop, reversed_view
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.building.values import tensor_of
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.sequences import Values
from tilewright.compiler_core.onnx_import.operators.views import slice_view
from tilewright.compiler_core.onnx_import.walk import ImportWalk

MAX_BATCH = 64
"""Largest batch of a Scan of opset 8, which has a loop for each of its rows."""


def enter_scan(walk: ImportWalk, frame: Frame, node: Node, inputs: Values) -> None:
    """A Scan from opset 9 on, or a row of the batch after the other of one before."""
    given = [
        None if value is None else tensor_of(value, f"input {index}") for index, value in enumerate(inputs)
    ]
    if node.version < 9:
        _enter_batched(walk, frame, node, given)
        return
    count = node.integer("num_scan_inputs")
    tensors = [tensor for tensor in given if tensor is not None]
    if not 0 < count <= len(tensors) or len(tensors) < len(given):
        raise ModelError("the inputs of the Scan do not fit num_scan_inputs")
    states = len(tensors) - count
    axes = node.integers("scan_input_axes", [0] * count)
    backward = node.integers("scan_input_directions", [0] * count)
    sequences = [
        _turned(walk.context.builder, tensor, axis, bool(reverse))
        for tensor, axis, reverse in zip(tensors[states:], axes, backward, strict=True)
    ]

    def done(made: list[Tensor]) -> None:
        collected = made[states:]
        out_axes = node.integers("scan_output_axes", [0] * len(collected))
        out_backward = node.integers("scan_output_directions", [0] * len(collected))
        for index, (tensor, axis, reverse) in enumerate(zip(collected, out_axes, out_backward, strict=True)):
            turned = reversed_view(walk.context.builder, tensor) if reverse else tensor
            place = checked_axis(axis, tensor.rank)
            order = [*range(1, place + 1), 0, *range(place + 1, tensor.rank)]
            made[states + index] = walk.context.builder.transpose(turned, order)
        walk.results(frame, node, made)

    _scan(walk, frame, node, tensors[:states], sequences, done)


def _turned(builder: Builder, tensor: Tensor, axis: int, reverse: bool) -> Tensor:
    """A sequence along `axis` as one along dim 0, read from its end with `reverse`."""
    first = checked_axis(axis, tensor.rank)
    turned = builder.transpose(tensor, [first, *(dim for dim in range(tensor.rank) if dim != first)])
    return reversed_view(builder, turned) if reverse else turned


def _scan(
    walk: ImportWalk,
    frame: Frame,
    node: Node,
    states: Sequence[Tensor],
    sequences: Sequence[Tensor],
    done: Callable[[list[Tensor]], None],
) -> None:
    """One loop over the rows of `sequences`; `done` gets the last states, then what is collected by rows."""
    builder, body = walk.context.builder, node.graph("body")
    if len(body.input) != len(states) + len(sequences) or len(body.output) != len(node.outputs):
        raise ModelError("the body's inputs or outputs do not fit those of the Scan")
    steps = sequences[0].shape[0]
    for sequence in sequences:
        builder.equal(sequence.shape[0], steps, "lengths of the sequences of a Scan")
    loop = begin_loop(walk.context, node, states, sequences)
    inner = walk.enter_graph(frame, body)
    for info, tensor in zip(body.input, [*loop.state, *loop.elements], strict=True):
        inner.define(info.name, tensor)

    def finish() -> None:
        after = [tensor_of(inner.lookup(info.name), "a result of the body") for info in body.output]
        done(loop.finish(steps, after[: len(states)], after[len(states) :]))

    inner.finish = finish


def _enter_batched(walk: ImportWalk, frame: Frame, node: Node, given: Sequence[Tensor | None]) -> None:
    """Before opset 9: all inputs have a batch in front, and every row of it is a scan of its own."""
    builder, tensors = walk.context.builder, [tensor for tensor in given[1:] if tensor is not None]
    if (given and given[0] is not None) or len(tensors) < len(given) - 1 or not tensors:
        raise ModelError("a Scan with sequence_lens is not supported; export with a newer opset")
    count = node.integer("num_scan_inputs")
    batch = known(tensors[0].shape[0], "the batch of a Scan before opset 9")
    if not 0 < count <= len(tensors) or not 0 < batch <= MAX_BATCH:
        raise ModelError(f"{count} sequences in a batch of {batch} are not supported")
    states = len(tensors) - count
    backward = node.integers("directions", [0] * count)
    rows: list[list[Tensor]] = []

    def row(at: int) -> None:
        if at == batch:
            walk.results(frame, node, [concat(builder, parts, 0) for parts in zip(*rows, strict=True)])
            return
        one = [builder.reshape(slice_view(builder, t, 0, at, 1), t.shape[1:]) for t in tensors]
        sequences = [
            reversed_view(builder, sequence) if reverse else sequence
            for sequence, reverse in zip(one[states:], backward, strict=True)
        ]

        def done(made: list[Tensor]) -> None:
            rows.append([builder.reshape(tensor, (1, *tensor.shape)) for tensor in made])
            row(at + 1)

        _scan(walk, frame, node, one[:states], sequences, done)

    row(0)
