"""Graphs and lowered kernels as text, for people and for golden files.

    graph (%0: f32[6, 11] "x") -> %1
    %1: f32[6, 11] = sum (a0: 6, a1: 11 scan) %0[a0, a1]

A domain lists its axes a0, a1, ... by extent, reduction axes behind a bar; an operand is a value with an
index per dim. `else` is what a read outside the operand gives, `@1` the value of operand 1 at the point.
"""

from collections.abc import Iterator

from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.steps import FROM_MEMORY, Action, Step


def graph_text(graph: Graph) -> str:
    """`graph`: inputs and outputs, then a line for each constant that an op reads, then one for each op."""
    return "\n".join(_graph_lines(graph)) + "\n"


def _graph_lines(graph: Graph) -> Iterator[str]:
    given = ", ".join(_declared(graph, value) for value in graph.inputs)
    yield f"graph ({given}) -> {', '.join(map(_value, graph.outputs))}"
    read = {access.value for op in graph.ops for access in op.operands}
    yield from (f"{_declared(graph, value)} constant" for value in sorted(read & set(graph.constants)))
    yield from (f"{_value(op.result)}: {graph.values[op.result]} = {_op_text(op)}" for op in graph.ops)


def _value(value: int) -> str:
    return f"%{value}"


def _declared(graph: Graph, value: int) -> str:
    name = f' "{graph.names[value]}"' if value in graph.names else ""
    return f"{_value(value)}: {graph.values[value]}{name}"


def _op_text(op: Op) -> str:
    operands = " ".join(map(_access_text, op.operands))
    attributes = "".join(f" {name}={value}" for name, value in op.attributes)
    return f"{op.kind}{attributes} ({_domain_text(op)}) {operands}".rstrip()


def _domain_text(op: Op) -> str:
    scans = [" scan" if kind is AxisKind.SCAN else "" for kind in op.axis_kinds]
    axes = [
        f"a{index}: {extent}{scan}" for index, (extent, scan) in enumerate(zip(op.domain, scans, strict=True))
    ]
    folded = f" | {', '.join(axes[op.rank :])}" if op.reduction_axes else ""
    return f"{', '.join(axes[: op.rank])}{folded}"


def _access_text(access: Access) -> str:
    outside = f" else {access.pad:g}" if access.pad is not None else ""
    return f"{_value(access.value)}[{', '.join(map(_expr_text, access.exprs))}{outside}]"


def _expr_text(expr: IndexExpr) -> str:
    if expr.source >= 0:
        return f"@{expr.source}"
    terms = [f"{factor}*a{axis}".removeprefix("1*").replace("-1*", "-") for axis, factor in expr.terms]
    total = " + ".join(terms + [str(expr.offset)] * (expr.offset != 0 or not terms))
    total = total.replace("+ -", "- ")
    if expr.divisor != 1:
        total = f"({total}) // {expr.divisor}"
    return total if expr.modulus == 0 else f"({total}) % {expr.modulus}"


def kernel_text(kernel: KernelProgram) -> str:
    """A lowered kernel: its ops with the level of each outer operand, loops, buffers, steps."""
    return "\n".join(_kernel_lines(kernel)) + "\n"


def _kernel_lines(kernel: KernelProgram) -> Iterator[str]:
    graph = kernel.workload.graph
    yield f"kernel on {kernel.cores} cores, {kernel.l1_bytes} bytes of L1"
    for value, place in zip(kernel.workload.outer, kernel.workload.placement, strict=True):
        yield f"  {_declared(graph, value)} in {place}"
    for index, op in enumerate(graph.ops):
        anchor = ", anchor" if index == kernel.anchor else ""
        yield f"  op {index}{anchor}: {_value(op.result)}: {graph.values[op.result]} = {_op_text(op)}"
    for loop in kernel.loops:
        how = "parallel" if loop.parallel else "serial"
        yield f"  loop {loop.dim}, {how}: {loop.extent} in {loop.count} tiles of {loop.tile}"
    for index, buffer in enumerate(kernel.buffers):
        room = "accumulators" if buffer.accumulator else "L1"
        yield (
            f"  buffer {index}: {_value(buffer.value)}, {buffer.slots} x {buffer.slot_bytes} bytes of {room}"
            f" at {buffer.offset}, storage {buffer.storage}"
        )
    yield from (f"  {_step_text(step)}" for step in kernel.steps)


def _step_text(step: Step) -> str:
    moves = f" when loops {', '.join(map(str, step.moves))} move" if step.moves else " once"
    late = ", at the last reduction step" if step.late else ""
    late += ", one tile behind" if step.lag else ""
    if step.action is not Action.COMPUTE:
        return f"{step.action} buffer {step.buffer}{moves}{late}"
    reads = ", ".join("memory" if read == FROM_MEMORY else f"buffer {read}" for read in step.reads)
    return f"compute op {step.op} of {reads or 'nothing'} to buffer {step.buffer}{moves}{late}"
