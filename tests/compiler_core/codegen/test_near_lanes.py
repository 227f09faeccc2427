"""Lanes a few elements apart, the parts of a concatenation, blocks that leave no registers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compiler_core.codegen.test_row_passes import nest
from tests.onnx_models import Array, model, node, reals, saved, value
from tilewright.compiler_core.codegen.emit import emit
from tilewright.compiler_core.codegen.fold_writer import KEEP_ORDER
from tilewright.compiler_core.codegen.nest import Blocking
from tilewright.compiler_core.codegen.run import compile_kernel, run_kernel
from tilewright.compiler_core.codegen.strides import breaks_of, shares_of
from tilewright.compiler_core.ir.workload import Workload, kernel_of
from tilewright.compiler_core.onnx_import.importer import import_model


def whole(nodes: list[Any], inputs: dict[str, list[int]], folder: Path, **constants: Array) -> Workload:
    """All nodes as one kernel, whose value is y."""
    given = [value(name, shape) for name, shape in inputs.items()]
    graph = import_model(saved(model(nodes, given, ["y"], constants), folder)).graph
    return kernel_of(graph, range(len(graph.ops)), {}).workload


@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("pad", [0, 1])
@pytest.mark.parametrize("width", [9, 33, 70, 131])
def test_windows_that_step_by_a_few_elements_gather_nothing(
    step: int, pad: int, width: int, tmp_path: Path
) -> None:
    pool = node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[step, step], pads=[pad] * 4)
    workload = whole([pool], {"x": [1, 2, 7, width]}, tmp_path)
    made = nest(workload)
    text = emit(made)
    assert "gather" not in text
    assert "shufflevector" in text
    x = np.random.default_rng(width).normal(size=(1, 2, 7, width)).astype(np.float32)
    (got,) = run_kernel(compile_kernel(made), {made.graph.inputs[0]: x}).values()
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::step, ::step]
    np.testing.assert_array_equal(got, windows.max((4, 5)))


def test_a_fold_over_a_concatenation_is_cut_between_its_parts(tmp_path: Path) -> None:
    nodes = [node("Concat", "a b", "c", axis=1), node("Conv", "c w", "y")]
    shapes = {"a": [1, 24, 5, 6], "b": [1, 40, 5, 6]}
    made = nest(whole(nodes, shapes, tmp_path, w=reals(1, 20, 64, 1, 1)))
    stage = made.stages[-1]
    (axis,) = breaks_of(made, stage)
    assert breaks_of(made, stage)[axis] == (24,)
    assert shares_of(made, stage)[:2] == [24 / 64, 40 / 64]
    text = emit(made)
    assert "icmp ult i64" not in text, "which part is read is known without a test"
    rng = np.random.default_rng(5)
    a, b = (rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes.values())
    w = rng.integers(-4, 5, (20, 64, 1, 1)).astype(np.float32)
    ends = {shape: array for array in (a, b, w) for shape in [array.shape]}
    given = {value: ends[made.graph.shape(value)] for value in made.graph.inputs}
    (got,) = run_kernel(compile_kernel(made), given).values()
    wanted = np.einsum("ncyx,oc->noyx", np.concatenate([a, b], 1), w[:, :, 0, 0])
    np.testing.assert_array_equal(got, wanted)


def test_short_parts_are_not_cut(tmp_path: Path) -> None:
    nodes = [node("Concat", "a b", "c", axis=1), node("Conv", "c w", "y")]
    made = nest(whole(nodes, {"a": [1, 3, 4, 4], "b": [1, 40, 4, 4]}, tmp_path, w=reals(1, 8, 43, 1, 1)))
    assert not breaks_of(made, made.stages[-1])


def test_steps_of_a_full_block_hold_nothing_for_each_other(tmp_path: Path) -> None:
    workload = whole([node("Conv", "x w", "y")], {"x": [1, 4, 9, 64]}, tmp_path, w=reals(1, 64, 4, 3, 3))
    rows = (nest(workload).machine.registers - 4) // 2

    def blocked(count: int) -> str:
        return emit(nest(workload, Blocking(1, 2, ((3, count),), (0, 2, 1, 3), (4, 5, 6), ((6, 3),))))

    assert KEEP_ORDER in blocked(rows)
    assert KEEP_ORDER not in blocked(2)
