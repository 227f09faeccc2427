"""Wrong kernels, planted: is each refused, and no right one?

A kernel of a small random network is tried as devices are (checking/probe.py). Wrong ones compute a changed
graph (an index, a tail, a halo, swapped operands, a wrong constant, another op), or lose something of the
right numbers (a stale accumulator, a tile that is not stored, a lower precision, one element). Right ones
compute the graph in other ways: in float64, without rounding between ops, tile by tile under random Configs.

    python -m tests.robust.planted --kernels 500 --seed 0
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto, TensorProto

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.checking.emulate import run_kernel
from tilewright.compiler_core.checking.probe import Probe, probe_of
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import as_its_own
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.meaning.tolerance import epsilon, is_rounded
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.task import KernelTask, kernel_tasks

TARGET = load_target("ascend310")
CLEAR = 16.0
"""Epsilons of the dtype, of the largest magnitude: a kernel that is off by less on all data is right."""
OTHERS, CHECKED = 4, 2
"""Sets of data on which a planted error may show, and how many of them a device is checked on."""
FLOATS: Mapping[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
    TensorProto.DOUBLE: np.float64,
}
INTEGERS: Mapping[int, Any] = {TensorProto.INT32: np.int32, TensorProto.INT8: np.int8}

Outputs = Mapping[int, Array]


@dataclass
class Tally:
    """What became of the kernels: escaped and refused by kind of error, right ones, and those refused."""

    refused: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)
    right: int = 0
    right_refused: list[str] = field(default_factory=list)


def networks(rng: np.random.Generator, folder: Path) -> Iterator[Graph]:
    """Small networks of random extents and dtypes, without end."""
    while True:
        make = MAKERS[int(rng.integers(len(MAKERS)))]
        path = saved(make(rng), folder)
        yield import_model(path).graph


def _float(rng: np.random.Generator) -> int:
    return list(FLOATS)[int(rng.integers(len(FLOATS)))]


def _drawn(rng: np.random.Generator, kind: int, *shape: int) -> Array:
    return rng.standard_normal(shape).astype({**FLOATS, **INTEGERS}[kind])


def _sides(rng: np.random.Generator, count: int, low: int = 3, high: int = 20) -> list[int]:
    return [int(each) for each in rng.integers(low, high, count)]


def _product(rng: np.random.Generator) -> ModelProto:
    kind, (m, k, n) = _float(rng), _sides(rng, 3)
    nodes = [node("MatMul", "x w", "p"), node("Add", "p b", "s"), node("Relu", "s", "y")]
    constants = {"w": _drawn(rng, kind, k, n), "b": _drawn(rng, kind, n)}
    return model(nodes, [value("x", [m, k], kind)], ["y"], constants)


def _square_product(rng: np.random.Generator) -> ModelProto:
    kind, (side,) = _float(rng), _sides(rng, 1)
    nodes = [node("MatMul", "x z", "p"), node("Sub", "p x", "y")]
    return model(nodes, [value("x", [side, side], kind), value("z", [side, side], kind)], ["y"])


def _convolution(rng: np.random.Generator) -> ModelProto:
    kind = TensorProto.FLOAT if rng.random() < 0.5 else TensorProto.FLOAT16
    c, k = _sides(rng, 2, 2, 6)
    h, w = _sides(rng, 2, 5, 12)
    stride, size = int(rng.integers(1, 3)), int(rng.integers(2, 4))
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[stride, stride]),
        node("LeakyRelu", "c", "y", alpha=0.1),
    ]
    constants = {"w": _drawn(rng, kind, k, c, size, size), "b": _drawn(rng, kind, k)}
    return model(nodes, [value("x", [1, c, h, w], kind)], ["y"], constants)


def _rows(rng: np.random.Generator) -> ModelProto:
    kind, (m, n) = _float(rng), _sides(rng, 2)
    kind = TensorProto.FLOAT if kind == TensorProto.BFLOAT16 else kind
    first = [node("Softmax", "x", "s"), node("LogSoftmax", "x", "s"), node("ReduceL2", "x", "s", keepdims=1)]
    nodes = [first[int(rng.integers(3))], node("Mul", "s c", "y")]
    return model(nodes, [value("x", [m, n], kind)], ["y"], {"c": _drawn(rng, kind, 1)})


def _norm(rng: np.random.Generator) -> ModelProto:
    kind, (m, n) = _float(rng), _sides(rng, 2)
    kind = TensorProto.FLOAT if kind == TensorProto.BFLOAT16 else kind
    nodes = [node("LayerNormalization", "x g b", "y", epsilon=1e-5)]
    constants = {"g": _drawn(rng, kind, n), "b": _drawn(rng, kind, n)}
    return model(nodes, [value("x", [m, n], kind)], ["y"], constants)


def _pointwise(rng: np.random.Generator) -> ModelProto:
    kind, (m, n) = _float(rng), _sides(rng, 2)
    kind = TensorProto.FLOAT if kind == TensorProto.BFLOAT16 else kind
    unary = ("Erf", "Tanh", "Sigmoid", "Exp", "Sqrt", "Reciprocal")[int(rng.integers(6))]
    binary = ("Sub", "Div", "Mul")[int(rng.integers(3))]
    nodes = [node("Abs", "x", "a"), node(unary, "a", "u"), node(binary, "u z", "y")]
    return model(nodes, [value("x", [m, n], kind), value("z", [m, n], kind)], ["y"])


def _windows(rng: np.random.Generator) -> ModelProto:
    kind = TensorProto.FLOAT if rng.random() < 0.5 else TensorProto.FLOAT16
    (c,), (h, w) = _sides(rng, 1, 2, 6), _sides(rng, 2, 5, 12)
    pool = "MaxPool" if rng.random() < 0.5 else "AveragePool"
    nodes = [node(pool, "x", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), node("Neg", "p", "y")]
    return model(nodes, [value("x", [1, c, h, w], kind)], ["y"])


def _integers(rng: np.random.Generator) -> ModelProto:
    m, k, n = _sides(rng, 3)
    nodes = [node("MatMulInteger", "x w", "p"), node("Sub", "p b", "y")]
    constants: dict[str, Array] = {
        "w": rng.integers(-3, 4, (k, n)).astype(np.int8),
        "b": rng.integers(-9, 9, n).astype(np.int32),
    }
    return model(nodes, [value("x", [m, k], TensorProto.INT8)], ["y"], constants)


def _quantised(rng: np.random.Generator) -> ModelProto:
    m, k, n = _sides(rng, 3)
    nodes = [
        node("DequantizeLinear", "x s z", "d"),
        node("MatMul", "d w", "p"),
        node("QuantizeLinear", "p t z", "y"),
    ]
    constants: dict[str, Array] = {
        "s": np.array(0.05, np.float32),
        "t": np.array(0.1, np.float32),
        "z": np.array(3, np.int8),
        "w": _drawn(rng, TensorProto.FLOAT, k, n),
    }
    return model(nodes, [value("x", [m, k], TensorProto.INT8)], ["y"], constants)


def _moves(rng: np.random.Generator) -> ModelProto:
    kind, (m, n) = _float(rng), _sides(rng, 2)
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0]),
        node("Concat", "t z", "c", axis=1),
        node("CumSum", "c a", "y"),
    ]
    kind = TensorProto.FLOAT if kind == TensorProto.BFLOAT16 else kind
    constants = {"a": np.array(1, np.int32)}
    return model(nodes, [value("x", [m, n], kind), value("z", [n, m], kind)], ["y"], constants)


MAKERS = (
    _product, _square_product, _convolution, _rows, _norm,
    _pointwise, _windows, _integers, _quantised, _moves,
)  # fmt: skip


def changed_graphs(graph: Graph, rng: np.random.Generator) -> Iterator[tuple[str, Graph]]:
    """The graph with one thing wrong, by kind of error."""
    at = int(rng.integers(len(graph.ops)))
    op = graph.ops[at]

    def with_op(other: Op) -> Graph:
        return replace(graph, ops=(*graph.ops[:at], other, *graph.ops[at + 1 :]))

    place = int(rng.integers(len(op.operands)))
    access = op.operands[place]

    def with_access(**what: object) -> Graph:
        other = replace(access, pad=access.pad or 0.0)
        operands = (*op.operands[:place], replace(other, **what), *op.operands[place + 1 :])  # type: ignore[arg-type]
        return with_op(replace(op, operands=operands))

    moving = [dim for dim, expr in enumerate(access.exprs) if expr.terms and expr.source < 0]
    if moving:
        dim = moving[int(rng.integers(len(moving)))]
        off = 1 if rng.random() < 0.5 else -1
        expr = replace(access.exprs[dim], offset=access.exprs[dim].offset + off)
        yield "index", with_access(exprs=(*access.exprs[:dim], expr, *access.exprs[dim + 1 :]))
    summed = [axis for axis in range(op.rank, len(op.domain)) if op.extents[axis] > 1]
    if summed:
        domain = tuple(n - (axis == summed[-1]) for axis, n in enumerate(op.extents))
        yield "tail of a sum", with_op(replace(op, domain=domain))
    if access.pad is not None:
        yield "halo", with_access(pad=access.pad + 1.0 if np.isfinite(access.pad) else 0.0)
    if len(op.operands) == 2 and graph.shape(op.operands[0].value) == graph.shape(op.operands[1].value):
        first, second = op.operands
        swapped = (replace(first, value=second.value), replace(second, value=first.value))
        yield "swapped operands", with_op(replace(op, operands=swapped))
    numbers = [(name, each) for name, each in op.attributes if isinstance(each, float)]
    if numbers:
        name, number = numbers[0]
        attributes = tuple((n, number * 1.1 + 0.01 if n == name else v) for n, v in op.attributes)
        yield "constant", with_op(replace(op, attributes=attributes))
    others = {"sub": "add", "div": "mul", "relu": "abs", "exp": "tanh", "max": "min", "sum": "max"}
    if op.kind in others and len(op.operands) <= 2:
        yield "another op", with_op(replace(op, kind=others[op.kind]))


def spoilt_outputs(right: Outputs, rng: np.random.Generator) -> Iterator[tuple[str, Outputs]]:
    """Right outputs of which something was lost."""
    value = max(right, key=lambda each: right[each].size)
    array = right[value]
    if array.size < 4 or not array.shape:
        return

    def spoilt(change: Callable[[Array], None]) -> Outputs:
        other = array.copy()
        change(other)
        return {**right, value: other}

    axis = int(np.argmax(array.shape))
    half = array.shape[axis] // 2

    def part(start: int, stop: int) -> tuple[slice, ...]:
        return (*[slice(None)] * axis, slice(start, stop))

    def stale(other: Array) -> None:
        other[part(half, 2 * half)] += array[part(0, half)]

    def unstored(other: Array) -> None:
        other[part(array.shape[axis] - 1, array.shape[axis])] = 0

    def moved(other: Array) -> None:
        other[part(half, 2 * half)] = array[part(0, half)]

    place = np.unravel_index(int(rng.integers(array.size)), array.shape)

    def one(other: Array) -> None:
        number = float(array[place])
        other[place] = array[place] ^ 1 if array.dtype.kind in "iu" else number + 0.05 * max(1.0, abs(number))

    yield "stale accumulator", spoilt(stale)
    yield "tile not stored", spoilt(unstored)
    yield "tile in another place", spoilt(moved)
    yield "one element", spoilt(one)
    if array.dtype == np.float32:
        yield "lower precision", {**right, value: array.astype(ml_dtypes.bfloat16).astype(np.float32)}


def is_wrong(graph: Graph, got: Outputs, right: Outputs) -> bool:
    """Whether outputs differ clearly: integers at all, floats by CLEAR epsilons of the largest."""
    for each, array in right.items():
        one, other = (np.asarray(a, np.float64) for a in (got[each], array))
        if one.shape != other.shape or not np.array_equal(np.isfinite(one), np.isfinite(other)):
            return True
        kind = graph.values[each].dtype
        finite = np.isfinite(other)
        largest = float(np.max(np.abs(other), initial=0.0, where=finite))
        room = CLEAR * epsilon(kind) * largest if is_rounded(kind) else 0.0
        if float(np.max(np.abs(one - other), initial=0.0, where=finite)) > room:
            return True
    return False


def outputs_of(graph: Graph, probe: Probe) -> Outputs:
    """What a graph makes of a probe's data."""
    constants = {each: probe.given[each] for each in graph.constants}
    with np.errstate(all="ignore"):
        made = interpret(replace(graph, constants=constants), probe.given)
    return {each: made[each] for each in probe.outputs}


def refused(probe: Probe, got: Outputs) -> bool:
    """Whether the check finds outputs wrong."""
    return any(probe.objection(each, array) for each, array in got.items())


def in_float64(graph: Graph, probe: Probe) -> Outputs:
    """Right outputs that were rounded at the very end only."""
    values = tuple(
        replace(kind, dtype=type(kind.dtype)("f64")) if is_rounded(kind.dtype) else kind
        for kind in graph.values
    )
    given = {
        each: array.astype(np.float64) if is_rounded(graph.values[each].dtype) else array
        for each, array in probe.given.items()
    }
    wide = replace(graph, values=values, constants={each: given[each] for each in graph.constants})
    with np.errstate(all="ignore"):
        made = interpret(wide, given)
        return {each: made[each].astype(graph.values[each].dtype.numpy) for each in probe.outputs}


def by_tiles(task: KernelTask, probe: Probe, rng: np.random.Generator) -> Iterator[Outputs]:
    """Right outputs, tile by tile under a random Config."""
    for row in sample(task.space, 1, rng):
        tiling, cores = tiling_of(task.space.decode(row), task.regions)
        try:
            program = lower_kernel(task.regions, tiling, cores, TARGET)
        except ConfigError:
            continue
        memory = dict(probe.given)
        with np.errstate(all="ignore"):
            call = KernelCall(as_its_own(task.workload), program, CoreRange(0, cores))
            run_kernel(task.workload.graph, call, memory)
        yield {each: memory[each] for each in probe.outputs}


def try_kernel(task: KernelTask, seed: int, tally: Tally) -> None:
    """Plant every kind of error in one kernel, and compute it right in every other way."""
    graph, rng = task.workload.graph, np.random.default_rng(seed)
    probes = [probe_of(graph, seed * OTHERS + number) for number in range(OTHERS)]
    name = f"seed {seed}, {' '.join(op.kind for op in graph.ops)}, {graph.values[graph.outputs[0]]}"

    def note(kind: str, got: Sequence[Outputs], right: Sequence[Outputs]) -> None:
        if not any(is_wrong(graph, *pair) for pair in zip(got, right, strict=True)):
            return  # it computes the same
        if any(refused(*pair) for pair in zip(probes[:CHECKED], got, strict=False)):
            tally.refused[kind] += 1
        else:
            tally.escaped.append(f"{kind}: {name}")

    right = [outputs_of(graph, probe) for probe in probes]
    for kind, other in changed_graphs(graph, rng):
        note(kind, [outputs_of(other, probe) for probe in probes], right)
    spoilt = [dict(spoilt_outputs(made, np.random.default_rng(seed))) for made in right]
    for kind in spoilt[0]:
        note(kind, [each[kind] for each in spoilt], right)
    for probe, made in zip(probes, right, strict=True):
        for each in (made, in_float64(graph, probe), *by_tiles(task, probe, rng)):
            tally.right += 1
            if refused(probe, each):
                tally.right_refused.append(name)


def campaign(kernels: int, seed: int) -> Tally:
    """At least so many wrong kernels, and right ones beside them."""
    tally, number = Tally(), 0
    with tempfile.TemporaryDirectory() as folder:
        for graph in networks(np.random.default_rng(seed), Path(folder)):
            for task in kernel_tasks(plan_graph(graph, TARGET), TARGET):
                number += 1
                try_kernel(task, 10_000 * seed + number, tally)
            if tally.refused.total() + len(tally.escaped) >= kernels and tally.right >= kernels:
                return tally
    return tally


def main() -> None:
    """Print how many of each kind were refused, and every one that was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    tally = campaign(asked.kernels, asked.seed)
    for kind, count in sorted(tally.refused.items()):
        print(f"{count:6d} refused   {kind}")
    print(
        f"{tally.refused.total()} wrong ones refused, {len(tally.escaped)} not:", *tally.escaped, sep="\n  "
    )
    print(f"{tally.right} right ones, {len(tally.right_refused)} refused:", *tally.right_refused, sep="\n  ")


if __name__ == "__main__":
    main()
