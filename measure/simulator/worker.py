"""Factory, `encode` and `decode` of the simulated accelerator, by name for a measuring worker."""

import json

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.ir.graph_json import (
    graph_from_json,
    graph_to_json,
    workload_from_json,
    workload_to_json,
)
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.target_model.file import parse_target
from tilewright.measure.device import Task
from tilewright.measure.repeated import Repeated
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.network import NetworkTask


def simulated_device(target_text: str) -> SimulatedDevice:
    """The chip that a target file's text describes; DeviceError when it describes none."""
    target, mistakes = parse_target(target_text)
    if target is None:
        raise DeviceError(f"the target file is unusable: {mistakes[0]}")
    return SimulatedDevice(target)


def task_to_text(task: Task) -> str:
    """A kernel or a network, or several runs of one, as JSON; DeviceError for anything else."""
    if isinstance(task, Repeated):
        return canonical_json({"times": task.times, "of": task_to_text(task.task)})
    if isinstance(task, Workload):
        return canonical_json({"workload": workload_to_json(task)})
    if isinstance(task, NetworkTask):
        return canonical_json({"network": graph_to_json(task.graph)})
    raise DeviceError(f"the simulator runs kernels and networks, not a {type(task).__name__}")


def task_from_text(text: str) -> Task:
    """Inverse of `task_to_text`."""
    form = json.loads(text)
    if "times" in form:
        return Repeated(task_from_text(form["of"]), form["times"])
    if "workload" in form:
        return workload_from_json(form["workload"])
    return NetworkTask(graph_from_json(form["network"]))
