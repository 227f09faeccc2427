"""Groups that are alike are one Workload, and the same as if each had been cut out by itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.onnx_models import model, node, reals, saved, small_cnn, two_parts, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering import pipeline
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target

TARGET = load_target("ascend310")


def fan(width: int, folder: Path) -> Path:
    """One input, `width` layers of it, their sum."""
    names = [f"h{index}" for index in range(width)]
    nodes = [node("MatMul", "x w", name) for name in names]
    added = node("Sum", " ".join(names), "y")
    return saved(model([*nodes, added], [value("x", [8, 8])], ["y"], {"w": reals(1, 8, 8)}), folder)


def chain(folder: Path) -> Path:
    """Repeated layers whose order of operands differs."""
    nodes, last = [], "x"
    for index in range(6):
        nodes += [node("MatMul", f"{last} w", f"h{index}"), node("Softmax", f"h{index}", f"s{index}")]
        both = f"s{index} x" if index % 2 else f"x s{index}"
        nodes.append(node("Add", both, last := f"y{index}"))
    return saved(model(nodes, [value("x", [8, 8])], [last], {"w": reals(1, 8, 8)}), folder)


@pytest.mark.parametrize(
    "make",
    [
        chain,
        lambda folder: fan(5, folder),
        lambda folder: saved(small_cnn(), folder),
        lambda folder: saved(two_parts(), folder),
    ],
)
def test_a_shared_workload_is_that_of_each(make: Callable[[Path], Path], tmp_path: Path) -> None:
    graph = import_model(make(tmp_path)).graph
    plan = plan_graph(graph, TARGET)
    for group, kernel in zip(plan.groups, plan.kernels, strict=True):
        if kernel is not None:
            alone = kernel_of(graph, group, plan.levels)
            assert kernel.workload.digest == alone.workload.digest
            assert (kernel.values, kernel.ops) == (alone.values, alone.ops)
            assert kernel.origins == alone.origins


def test_kernels_that_are_alike_are_made_once(tmp_path: Path) -> None:
    plan = plan_graph(import_model(fan(40, tmp_path)).graph, TARGET)
    workloads = [kernel.workload for kernel in plan.kernels if kernel is not None]
    assert len(workloads) >= 40
    assert len(set(map(id, workloads))) <= 3


def test_a_network_beyond_the_limit_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MOST_OPS", 10)
    graph = import_model(fan(20, tmp_path)).graph
    with pytest.raises(ModelError, match=r"the model has \d+ ops, above the limit of 10; split it"):
        plan_graph(graph, TARGET)
