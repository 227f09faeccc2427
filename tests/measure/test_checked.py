"""What devices compute is checked: wrong numbers are WRONG, with amount and place, and right ones pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.device_suite import DeviceSuite
from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.checked import CheckedDevice, checked
from tilewright.measure.device import Device, DeviceInfo, Task
from tilewright.measure.faults import FaultPlan, FaultyDevice
from tilewright.measure.lab import lab_here
from tilewright.measure.repeated import Repeated
from tilewright.measure.results import Measurement, Status
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import sample
from tilewright.search_space.network import NetworkTask
from tilewright.tuner.kernel.task import KernelTask, kernel_tasks
from tilewright.tuner.verbs.tune import tune

TARGET = load_target("ascend310")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product, and a softmax behind it: one kernel is exact on integers, one rounds."""
    nodes = [node("MatMul", "x w", "h"), node("Softmax", "h", "s"), node("MatMul", "s v", "y")]
    constants = {"w": reals(1, 12, 16), "v": reals(2, 16, 12)}
    return saved(model(nodes, [value("x", [8, 12])], ["y"], constants), tmp_path_factory.mktemp("checked"))


@pytest.fixture(scope="module")
def kernels(network: Path) -> Sequence[KernelTask]:
    return kernel_tasks(plan_graph(import_model(network).graph, TARGET), TARGET)


def _configs(task: KernelTask, count: int) -> list[Config]:
    rows = sample(task.space, count, np.random.default_rng(0))
    return list(dict.fromkeys(task.space.decode(row) for row in rows))


class TestCheckedDevice(DeviceSuite):
    @pytest.fixture
    def device(self) -> Device:
        return CheckedDevice(SimulatedDevice(TARGET))

    @pytest.fixture
    def case(self, kernels: Sequence[KernelTask]) -> tuple[Task, Sequence[Config]]:
        return kernels[0].workload, _configs(kernels[0], 3)


def test_wrong_outputs_are_all_refused_with_their_place_and_right_ones_never(
    kernels: Sequence[KernelTask],
) -> None:
    plan = FaultPlan(seed=5, wrong_output=0.5)
    device = lab_here(SimulatedDevice(TARGET), plan)
    seen = set()
    for task in kernels:
        configs = _configs(task, 6)
        for config, answer in zip(configs, device.measure(task.workload, configs), strict=True):
            wrong = plan.happens("wrong_output", task.digest, config.digest)
            assert answer.status is (Status.WRONG if wrong else Status.OK), answer.reason
            assert not wrong or ("output" in answer.reason and "instead of" in answer.reason)
            seen.add(wrong)
    assert seen == {False, True}


@dataclass
class Board:
    """Computes by the meaning of the graph, takes the simulator's time; `skips` the nth run, or spoils it."""

    skips: range = range(0)
    spoilt: str = ""
    runs: int = 0
    memory: dict[str, Mapping[int, Array]] = field(default_factory=dict)

    def describe(self) -> DeviceInfo:
        return DeviceInfo("board", TARGET.digest, "sdk-1", deterministic=True)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        return SimulatedDevice(TARGET).measure(task, configs)

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        assert isinstance(task, Workload | NetworkTask)
        self.runs += 1
        if self.runs in self.skips and task.digest in self.memory:
            return self.memory[task.digest]
        if self.spoilt == "raises":
            raise OSError("no such board")
        if self.spoilt == "says nothing":
            return {}
        graph = task.graph
        made = interpret(_holding(graph, inputs), inputs)
        outputs = {each: made[each] for each in graph.outputs}
        if self.spoilt == "another type":
            outputs = {each: array.astype(np.float64) for each, array in outputs.items()}
        if self.spoilt == "nan":
            outputs = {each: np.full_like(array, np.nan) for each, array in outputs.items()}
        self.memory[task.digest] = outputs
        return outputs


def _holding(graph: Graph, inputs: Mapping[int, Array]) -> Graph:
    return replace(graph, constants={each: inputs[each] for each in graph.constants})


def test_a_kernel_that_never_ran_is_found_by_what_the_last_one_left(kernels: Sequence[KernelTask]) -> None:
    (first, second) = _configs(kernels[0], 2)
    device = checked(Board(skips=range(2, 3)))
    fine, stale = device.measure(kernels[0].workload, [first, second])
    assert fine.status is Status.OK
    assert stale.status is Status.WRONG


@pytest.mark.parametrize(
    ("spoilt", "status", "said"),
    [
        ("raises", Status.FAILED, "the device raised OSError: no such board while computing outputs"),
        ("says nothing", Status.WRONG, "is missing"),
        ("another type", Status.WRONG, "it is float64[8, 16], not float32[8, 16]"),
        ("nan", Status.WRONG, "nan instead of"),
    ],
)
def test_what_is_no_output_has_its_reason(
    kernels: Sequence[KernelTask], spoilt: str, status: Status, said: str
) -> None:
    (config,) = _configs(kernels[0], 1)
    (answer,) = checked(Board(spoilt=spoilt)).measure(kernels[0].workload, [config])
    assert answer.status is status
    assert said in answer.reason


def test_a_device_that_shows_nothing_is_left_alone() -> None:
    class Silent(Board):
        outputs = None  # type: ignore[assignment]

    device = Silent()
    assert checked(device) is device
    with pytest.raises(UsageError, match="board shows no outputs that could be wrong"):
        lab_here(device, FaultPlan(wrong_output=0.1))


def test_what_was_wrong_once_stays_wrong_in_repeated_runs(kernels: Sequence[KernelTask]) -> None:
    device = CheckedDevice(FaultyDevice(Board(), FaultPlan(wrong_output=1.0), life=0))
    (config,) = _configs(kernels[0], 1)
    (answer,) = device.measure(kernels[0].workload, [config])
    (again,) = device.measure(Repeated(kernels[0].workload, 3), [config])
    assert answer.status is again.status is Status.WRONG
    assert answer.reason == again.reason


@pytest.mark.parametrize("seed", [2, 4])
def test_a_run_among_wrong_outputs_takes_a_right_one(network: Path, tmp_path: Path, seed: int) -> None:
    """Four in ten candidates compute other numbers; with one seed the default among them."""
    database, faults = tmp_path / "lab.db", f"wrong_output=0.4,seed={seed}"
    lab = tune(network, "ascend310", trials=16, database=database, ray="none", lab=faults)
    assert lab.verification == "value-exact"
    assert lab.tuned.latency_us <= lab.default.latency_us
    dropped = {each.what for each in lab.dropped}
    assert ("the default schedule of the network" in dropped) == (seed == 4)
    assert all(each.endswith("of the network") for each in dropped)
