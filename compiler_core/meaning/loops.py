"""Loops: a body that runs step after step with a carry, and the same as structured ops of the Graph.

A loop is an op `loop` with a Graph as its body; one op an output. Operands and the body's inputs, in order:

    carried      the state before the first step                  in the body: the state before this step
    scanned      sequences, read along their first dim            in the body: the element of this step
    the rest     what every step reads                            in the body: the same

The body's outputs are the state after the step, then what is collected. Attribute `output` says which of them
the op gives: a state after the last step (steps are a reduction axis), or all elements collected (they are a
leading scan axis). `conditional`: the first state says whether there is another step, up to `most_steps`.

A state may grow: a dim of it that changes from step to step is a symbol of the body, local to a step, which
is what the state that comes in has there. Constants of the body depend on such extents; all others are read.

`written_out` gives each step its own ops, so that kernels, tiles and fusion treat them like any others:

    h, ys = loop(h0, xs, w)   ->   h1 = step(h0, xs[0], w);  h2 = step(h1, xs[1], w);  ys = concat(h1, h2)
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tilewright.compiler_core.ir.dims import LOCAL, Dim, Shape, known, sizes_in
from tilewright.compiler_core.ir.dtypes import TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr, affine, axis_index, constant_index
from tilewright.compiler_core.ir.ops import AxisKind

MOST_STEPS = 1024
"""Longest loop that is written out; a longer one runs on the host."""
MOST_PARTS = 64
"""Parts of one concat; more are put together in two levels."""


def written_out(graph: Graph, most_steps: int = MOST_STEPS) -> Graph:
    """`graph` with every loop of known length as ops, values keeping their numbers.

    Loops that are longer, of unknown length, or ended by a condition stay.
    """
    if not any(_can_be_written(op, graph.values, most_steps) for op in graph.ops):
        return graph
    writer = _Writer(graph, most_steps)
    ops = tuple(writer.write(graph.ops))
    return replace(graph, values=tuple(writer.values), ops=ops, origins=writer.origins)


def stays_a_loop(op: Op) -> bool:
    """Whether `op` is a loop that no binding of symbols gets written out: too long, ended by data, or with
    constants that every step makes anew.
    """
    if op.body is None:
        return False
    steps = _steps_of(op)
    return steps is None or (isinstance(steps, int) and steps > MOST_STEPS) or bool(op.body.constants)


def _can_be_written(op: Op, values: Sequence[TensorType], most_steps: int) -> bool:
    steps = None if op.body is None else _steps_of(op)
    if op.body is None or not isinstance(steps, int) or not 1 <= steps <= most_steps or op.body.constants:
        return False
    carried = op.operands[: int(dict(op.attributes)["carried"])]
    sizes = told_sizes(op.body, [values[access.value].shape for access in carried])
    return all(name in sizes for name in op.body.symbols if name.startswith(LOCAL))


def told_sizes(body: Graph, shapes: Sequence[Shape]) -> dict[str, int]:
    """The symbols of a body that the shapes of its first inputs tell: of its state, or of all."""
    sizes: dict[str, int] = {}
    for value, shape in zip(body.inputs, shapes, strict=False):
        extents = [extent for extent in shape if isinstance(extent, int)]
        if len(extents) == len(shape):
            sizes |= sizes_in(body.values[value].shape, extents)
    return sizes


def _steps_of(op: Op) -> Dim | None:
    """The number of steps of a loop; None if a condition ends it."""
    if dict(op.attributes)["conditional"]:
        return None
    axes = zip(op.domain, op.axis_kinds, strict=True)
    return next(extent for extent, kind in axes if kind is not AxisKind.PARALLEL)


class _Writer:
    """Values so far, and the ops of all steps of loops as they are met."""

    def __init__(self, graph: Graph, most_steps: int) -> None:
        self.values = list(graph.values)
        self.origins = dict(graph.origins)
        self.most_steps = most_steps

    def write(self, ops: Sequence[Op]) -> Iterator[Op]:
        """`ops` with loops replaced. The outputs of one loop are written together, where the first one is."""
        done: set[int] = set()
        for op in ops:
            if op.result in done:
                continue
            if op.body is None or not _can_be_written(op, self.values, self.most_steps):
                yield op
                continue
            alike = [other for other in ops if other.body is op.body and other.operands == op.operands]
            done |= {other.result for other in alike}
            steps = list(self._steps(op, op.body, alike))
            for step in steps:
                self.origins.setdefault(step.result, self.origins.get(op.result, ()))
            yield from self.write(steps)

    def _steps(self, op: Op, loop: Graph, alike: Sequence[Op]) -> Iterator[Op]:
        attributes = dict(op.attributes)
        carried, scanned = int(attributes["carried"]), int(attributes["scanned"])
        result_of = {int(dict(other.attributes)["output"]): other.result for other in alike}
        operands = [access.value for access in op.operands]
        state, invariant = operands[:carried], operands[carried + scanned :]
        collected: dict[int, list[int]] = {output: [] for output in result_of if output >= carried}
        for step in range(op.steps):
            last = step == op.steps - 1
            sizes = told_sizes(loop, [self.values[value].shape for value in state])
            body = loop.bound_to(sizes) if sizes else loop
            elements = []
            for sequence, inner in zip(
                operands[carried : carried + scanned], body.inputs[carried : carried + scanned], strict=True
            ):
                at = (constant_index(step), *_plain(body.values[inner]))
                yield self._op("view", body.values[inner], [Access(sequence, at)])
                elements.append(self._latest)
            outer = dict(zip(body.inputs, [*state, *elements, *invariant], strict=True))
            finals = {
                body.outputs[output]: result_of[output] for output in result_of if output < carried and last
            }
            for inner_op in body.ops:
                made = finals.pop(inner_op.result, -1)
                if made < 0:
                    made = self._new(body.values[inner_op.result])
                    if inner_op.result in body.origins:
                        self.origins[made] = body.origins[inner_op.result]
                outer[inner_op.result] = made
                accesses = tuple(replace(a, value=outer[a.value]) for a in inner_op.operands)
                yield replace(inner_op, operands=accesses, result=made)
            state = [outer[value] for value in body.outputs[:carried]]
            for output, result in result_of.items():
                # A state that the body hands on as it is, or that is two states at once.
                if last and output < carried and state[output] != result:
                    kind = self.values[result]
                    yield self._op("view", kind, [Access(state[output], _plain(kind))], result)
            for output, parts in collected.items():
                kind = body.values[body.outputs[output]]
                exprs = tuple(axis_index(dim + 1) for dim in range(len(kind.shape)))
                part = TensorType((1, *kind.shape), kind.dtype)
                yield self._op("view", part, [Access(outer[body.outputs[output]], exprs)])
                parts.append(self._latest)
        for output, parts in collected.items():
            yield from self._concat(parts, result_of[output])

    def _concat(self, parts: list[int], result: int) -> Iterator[Op]:
        """The elements one after the other along the first dim."""
        while len(parts) > MOST_PARTS:
            chunks = [parts[index : index + MOST_PARTS] for index in range(0, len(parts), MOST_PARTS)]
            parts = []
            for chunk in chunks:
                yield self._joined(chunk, None)
                parts.append(self._latest)
        yield self._joined(parts, result)

    def _joined(self, parts: Sequence[int], result: int | None) -> Op:
        kind = self.values[parts[0]]
        accesses: list[Access] = []
        offset = 0
        for part in parts:
            _, *rest = _plain(kind)
            accesses.append(Access(part, (affine((0, 1), offset=-offset), *rest), 0.0))
            offset += known(self.values[part].shape[0], "a part of a concat")
        return self._op("concat", TensorType((offset, *kind.shape[1:]), kind.dtype), accesses, result)

    def _op(self, kind: str, type_: TensorType, accesses: Sequence[Access], result: int | None = None) -> Op:
        made = self._new(type_) if result is None else result
        self._latest = made
        return Op(kind, type_.shape, (AxisKind.PARALLEL,) * len(type_.shape), tuple(accesses), made)

    def _new(self, type_: TensorType) -> int:
        self.values.append(type_)
        return len(self.values) - 1


def _plain(kind: TensorType) -> tuple[IndexExpr, ...]:
    return tuple(axis_index(dim) for dim in range(len(kind.shape)))
