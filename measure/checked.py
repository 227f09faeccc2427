"""The outputs of a device are compared with the reference: a kernel that is fast and wrong gets the status
WRONG.

The first measurements of a Config that succeed are checked. Two sets of inputs take turns, so that an earlier
candidate's results in memory are wrong ones. The rule is the one of compiler_core/checking/judge.py.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Protocol

from tilewright.compiler_core.checking.probe import Probe, probe_of
from tilewright.compiler_core.digest import digest_of
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Workload
from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.repeated import Repeated, measured
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask

MOST_MACS = 2_000_000_000
"""Networks with more arithmetic than this are not compared as a whole; each of their kernels is."""
_SETS = 2
LOOKS = 8
"""How many measurements of a Config are checked; those that only time it again are not."""
_MOST_REMEMBERED = 8


class OutputDevice(Device, Protocol):
    """A Device that also returns its outputs."""

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        """The outputs of a Config on `inputs` (and constants), by value of the graph of a Workload or a
        network.

        Arrays have the shapes and dtypes of the graph, in the model's order under any layout.
        """
        ...


def checked(device: Device, seed: int = 0) -> Device:
    """`device` with its outputs checked, where it shows any."""
    return CheckedDevice(device, seed) if callable(getattr(device, "outputs", None)) else device


class CheckedDevice:
    """`device` (an OutputDevice) with its outputs checked on inputs that are drawn from `seed`."""

    def __init__(self, device: Device, seed: int = 0) -> None:
        self._device = device
        self._seed = seed
        self._turn = count()
        self._probes: dict[tuple[str, int], Probe] = {}
        self._found: dict[tuple[str, str], str] = {}
        self._looks: Counter[tuple[str, str]] = Counter()

    def __getattr__(self, name: str) -> Any:
        """Further methods of the device."""
        return getattr(self._device, name)

    def describe(self) -> DeviceInfo:
        """As the device does."""
        return self._device.describe()

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """One Measurement per Config; WRONG with output, amount and place where its numbers are."""
        reading = measured(self._device, task, configs)
        return [self._checked(task, *pair) for pair in zip(configs, reading, strict=True)]

    def _checked(self, task: Task, config: Config, reading: Measurement) -> Measurement:
        """`reading`, or what is wrong with the outputs; those of repeated runs are looked at once."""
        if reading.status is not Status.OK:
            return reading
        once = task.task if isinstance(task, Repeated) else task
        key = once.digest, config.digest
        if key not in self._found or (not isinstance(task, Repeated) and self._looks[key] < LOOKS):
            self._looks[key] += 1
            try:
                self._found[key] = self._objection(once, config) or self._found.get(key, "")
            except Exception as error:  # noqa: BLE001 - somebody else's code may raise anything
                said = f"{type(error).__name__}: {error}"
                return failure(
                    Status.FAILED, f"the device raised {said} while computing outputs", reading.worker
                )
        return failure(Status.WRONG, self._found[key], reading.worker) if self._found[key] else reading

    def _objection(self, task: Task, config: Config) -> str:
        """Why a Config's outputs are wrong; empty where they are right, or too much to be followed."""
        graph = _graph_of(task)
        if graph is None:
            return ""
        probe = self._probe(task.digest, graph)
        outputs = self._device.outputs(task, config, probe.given)  # type: ignore[attr-defined]
        for value in probe.outputs:
            why = probe.objection(value, outputs[value]) if value in outputs else f"output {value} is missing"
            if why:
                return why
        return ""

    def _probe(self, digest: str, graph: Graph) -> Probe:
        turn = next(self._turn) % _SETS
        if (digest, turn) not in self._probes:
            if len(self._probes) >= _SETS * _MOST_REMEMBERED:
                self._probes.clear()
            fresh = int(digest_of([self._seed, digest, turn])[:15], 16)
            self._probes[digest, turn] = probe_of(graph, fresh)
        return self._probes[digest, turn]


def _graph_of(task: Task) -> Graph | None:
    """The reference outputs of a task; None where they are unknown, or too costly to compute."""
    if isinstance(task, Workload):
        return task.graph
    if isinstance(task, NetworkTask) and task.graph.macs <= MOST_MACS:
        return task.graph
    return None
