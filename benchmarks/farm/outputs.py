"""Fast but wrong kernels, injected on purpose: are they all refused, and nobody else?"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.farm.device import DigestDevice, configs
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import Array, AxisKind
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.measure.checked import CheckedDevice
from tilewright.measure.device import Task
from tilewright.measure.faults import FaultPlan, FaultyDevice
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config

Row = dict[str, Any]
SIDE = 8


def _product() -> Graph:
    """Two matrices of 8 x 8."""
    matrix = TensorType((SIDE, SIDE), DType.F32)
    reads = (Access(0, (axis_index(0), axis_index(2))), Access(1, (axis_index(2), axis_index(1))))
    axes = (AxisKind.PARALLEL, AxisKind.PARALLEL, AxisKind.REDUCTION)
    return Graph((matrix,) * 3, (Op("contract", (SIDE,) * 3, axes, reads, 2),), (0, 1), (2,))


TASK = kernel_of(_product(), [0], {}).workload


class ComputingDevice(DigestDevice):
    """A DigestDevice whose kernels compute what they should."""

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        """See OutputDevice."""
        made = interpret(TASK.graph, inputs)
        return {value: made[value] for value in TASK.graph.outputs}


class Cheating(FaultyDevice):
    """Kernels that compute other numbers are three times as fast as they could be: the lure of a bug."""

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """Latencies, the wrong ones' too good to be true."""
        plan = self._plan
        measured = super().measure(task, configs)
        return [
            Measurement(Status.OK, latency_us=m.latency_us / 3.0)
            if m.latency_us is not None and plan.happens("wrong_output", task.digest, config.digest)
            else m
            for config, m in zip(configs, measured, strict=True)
        ]


def fast_but_wrong(kernels: int, seed: int) -> Row:
    """Until `kernels` wrong ones were met among as many right ones: how many of each were refused."""
    plan = FaultPlan(seed=seed, wrong_output=0.5)
    device = CheckedDevice(Cheating(ComputingDevice(), plan, life=0), seed=seed)
    wrong = refused = right = right_refused = 0
    number = 0
    while wrong < kernels:
        (config,) = configs(number, 1)
        number += 1
        (answer,) = device.measure(TASK, [config])
        if plan.happens("wrong_output", TASK.digest, config.digest):
            wrong += 1
            refused += answer.status is Status.WRONG
        else:
            right += 1
            right_refused += answer.status is not Status.OK
    return {
        "task": "fast but wrong",
        "wrong": wrong,
        "refused": refused,
        "right": right,
        "right_refused": right_refused,
    }
