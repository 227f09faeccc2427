"""The error of the polynomials, in units in the last place of float, against double arithmetic."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from tests.targets import small_target
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.run import compile_kernel, run_kernel
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import OPS, AxisKind, Unit
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.schedule import Tiling

Array = np.ndarray[Any, Any]
COUNT = 40_000


def native(kind: str, x: Array) -> Array:
    """An elementwise op on the CPU."""
    shape = (len(x),)
    types = (TensorType(shape, DType.F32), TensorType(shape, DType.F32))
    op = Op(kind, shape, (AxisKind.PARALLEL,), (Access(0, (axis_index(0),)),), 1)
    workload = kernel_of(Graph(types, (op,), (0,), (1,)), [0], {}).workload
    regions = Regions(workload)
    target = small_target(cores=1, l1_kib=1 << 20)
    program = lower_kernel(regions, Tiling(shape, (), (0,)), 1, target)
    kernel = compile_kernel(nest_of(regions, program, host_machine()))
    return run_kernel(kernel, {workload.graph.inputs[0]: x})[workload.graph.outputs[0]]


CASES: dict[str, tuple[float, float, float, Callable[[Array], Any]]] = {
    "exp": (-100.0, 88.0, 1.0, np.exp),
    "log": (1e-38, 1e38, 1.0, np.log),
    "tanh": (-10.0, 10.0, 3.0, np.tanh),
    "erf": (-5.0, 5.0, 2.0, special.erf),
    "sigmoid": (-80.0, 30.0, 3.0, special.expit),
    "sin": (-1000.0, 1000.0, 1.0, np.sin),
    "cos": (-1000.0, 1000.0, 1.0, np.cos),
    "tan": (-100.0, 100.0, 1.0, np.tan),
    "asin": (-1.0, 1.0, 1.0, np.arcsin),
    "acos": (-1.0, 1.0, 1.0, np.arccos),
    "atan": (-100.0, 100.0, 1.0, np.arctan),
    "sinh": (-80.0, 80.0, 1.0, np.sinh),
    "cosh": (-80.0, 80.0, 1.0, np.cosh),
    "asinh": (-1000.0, 1000.0, 1.0, np.arcsinh),
    "acosh": (1.0, 1000.0, 1.0, np.arccosh),
    "atanh": (-0.999999, 0.999999, 1.0, np.arctanh),
    "softplus": (-80.0, 80.0, 1.0, lambda x: np.logaddexp(x, 0.0)),
}


@pytest.mark.parametrize("kind", sorted(CASES))
def test_error_is_as_stated(kind: str) -> None:
    low, high, most, meant = CASES[kind]
    rng = np.random.default_rng(7)
    wide = rng.uniform(low, high, COUNT) if kind != "log" else np.exp(rng.uniform(-87, 88, COUNT))
    near = rng.choice([-1.0, 1.0], COUNT) * np.exp(rng.uniform(-12, 1, COUNT))
    x = np.concatenate([wide, near]).astype(np.float32)
    x = x[(x >= low) & (x <= high)]
    exact = meant(x.astype(np.float64))
    ulp = np.spacing(np.maximum(np.abs(exact), np.finfo(np.float32).tiny).astype(np.float32))
    assert (np.abs(native(kind, x) - exact) / ulp).max() <= most


def test_functions_of_extremes() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], dtype=np.float32)
    with np.errstate(all="ignore"):
        for kind, meant in (("exp", np.exp), ("log", np.log), ("tanh", np.tanh), ("sigmoid", special.expit)):
            np.testing.assert_allclose(native(kind, x), meant(x), rtol=1e-6, err_msg=kind)
        np.testing.assert_allclose(native("erf", x), special.erf(x), rtol=1e-6)


def test_every_row_has_a_native_meaning() -> None:
    from tilewright.compiler_core.codegen.lanes.expressions import Expressions

    for kind, row in OPS.items():
        if row.unit is not Unit.HOST:
            assert callable(getattr(Expressions, row.emit or kind, None)), kind
