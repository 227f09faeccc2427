"""`tune warm`: one small kernel from Graph to measurement, so that all that is compiled is cached."""

from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.results import Status
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.tuner.kernel.task import kernel_tasks

EXTENT = 64


def warm() -> str:
    """Measure one matrix product on a preset; returns the result in words."""
    square = TensorType((EXTENT, EXTENT), DType.F32)
    product = Op(
        "contract",
        (EXTENT, EXTENT, EXTENT),
        (AxisKind.PARALLEL, AxisKind.PARALLEL, AxisKind.REDUCTION),
        (Access(0, (axis_index(0), axis_index(2))), Access(1, (axis_index(2), axis_index(1)))),
        2,
    )
    graph = Graph((square, square, square), (product,), (0, 1), (2,))
    target = load_target("ascend910")
    (task,) = kernel_tasks(plan_graph(graph, target), target)
    (measured,) = SimulatedDevice(target).measure(task.workload, [task.default])
    assert measured.status is Status.OK, measured.reason
    return f"a {EXTENT} x {EXTENT} matrix product takes {measured.latency_us:.2f} us on {target.name}"
