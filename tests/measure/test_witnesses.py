"""Times are checked before they count: wrong ones move nothing, and no true one is lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.pool_suite import PoolSuite
from tests.measure.fake_device import FakeDevice, NamedTask, config_of, latency_of
from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.ir.graph_json import graph_from_json
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.db.records import Key
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.pool import Pool, SerialPool
from tilewright.measure.farm.witnesses import WitnessedPool
from tilewright.measure.faults import FaultPlan
from tilewright.measure.lab import lab_here
from tilewright.measure.own_device import OwnDevice
from tilewright.measure.repeated import Repeated
from tilewright.measure.results import Measurement, Status
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.worker import task_from_text, task_to_text
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask
from tilewright.tuner.answer.report import Report
from tilewright.tuner.verbs.tune import tune

TARGET = "ascend910"
TASK = NamedTask("a")
CONFIGS = [config_of(number) for number in range(300)]


class TestWitnessedPool(PoolSuite):
    """What every pool keeps to."""

    @pytest.fixture
    def pool(self) -> Pool:
        return WitnessedPool(SerialPool(OwnDevice(FakeDevice())))


def _true_us(config: Config) -> float:
    return latency_of(TASK, config)


@dataclass
class Board:
    """Counts runs; `warm`: runs in a row take this much of a single one; `slow` readings are of a spell."""

    warm: float = 1.0
    slow: range = range(0)
    read: int = 0
    runs: int = 0

    def describe(self) -> DeviceInfo:
        return FakeDevice().describe()

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        return self.measure_repeated(task, configs, 1)

    def measure_repeated(self, task: Task, configs: Sequence[Config], times: int) -> list[Measurement]:
        answers = []
        for config in configs:
            us = latency_of(task, config) * (1.0 if times == 1 else self.warm)
            answers.append(Measurement(Status.OK, us * (3.0 if self.read in self.slow else 1.0)))
            self.read += 1
            self.runs += times
        return answers


class ShownDevice(FakeDevice):
    """One that shows its outputs."""

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        return {0: np.zeros(3)}


@pytest.mark.parametrize("warm", [0.1, 0.5, 1.0, 1.4])
def test_an_honest_board_is_believed_whatever_it_surprises_with(warm: float) -> None:
    board, said = Board(warm=warm), list[str]()
    with WitnessedPool(SerialPool(OwnDevice(board)), said.append) as pool:
        answers = [answer for config in CONFIGS for answer in pool.measure(TASK, [config])]
        confirmed = pool.confirm(TASK, min(CONFIGS, key=_true_us))
    assert [answer.latency_us for answer in answers] == [_true_us(config) for config in CONFIGS]
    assert [answer.latency_us for answer in confirmed] == [min(map(_true_us, CONFIGS))] * 3
    assert not said
    assert board.read < 1.2 * len(CONFIGS)  # only what becomes the lowest is checked


@pytest.mark.parametrize("first", range(0, 12, 3))
def test_a_slow_spell_is_no_lie(first: int) -> None:
    board, said = Board(slow=range(first, first + 20)), list[str]()
    with WitnessedPool(SerialPool(OwnDevice(board)), said.append) as pool:
        pool.measure(TASK, CONFIGS)
    assert not said


@pytest.mark.parametrize("seed", range(4))
def test_wrong_times_never_become_the_lowest_and_are_confirmed_at_their_true_length(seed: int) -> None:
    plan = FaultPlan(seed=seed, wrong_time=0.3)
    floor_us = min(map(_true_us, CONFIGS))
    with WitnessedPool(SerialPool(lab_here(FakeDevice(), plan))) as pool:
        pool.measure(TASK, CONFIGS[:50], floor_us=floor_us)
        answers = pool.measure(TASK, CONFIGS, floor_us=floor_us)
        assert min(answer.latency_us or 0.0 for answer in answers) == floor_us
        wrong = [c for c in CONFIGS if plan.happens("wrong_time", TASK.digest, c.digest)]
        for config in wrong[:20]:
            assert [answer.latency_us for answer in pool.confirm(TASK, config)] == [_true_us(config)] * 3
    assert all(answer.status is Status.OK for answer in answers)
    assert any("runs in a row take" in answer.reason for answer in answers)


def test_what_cannot_repeat_is_read_again() -> None:
    repeated = Repeated(TASK, 4)
    assert repeated.digest != Repeated(TASK, 5).digest != TASK.digest
    assert OwnDevice(FakeDevice()).measure(repeated, CONFIGS) == FakeDevice().measure(TASK, CONFIGS)
    board = Board()
    OwnDevice(board).measure(repeated, CONFIGS[:2])
    assert board.runs == 8


def test_repeated_work_travels(network: Path) -> None:
    task = Repeated(NetworkTask(import_model(network).graph), 3)
    assert task_from_text(task_to_text(task)).digest == task.digest


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two products with something between them that no kernel takes in on this chip."""
    constants = {"w": reals(1, 128, 256), "v": reals(2, 256, 128)}
    nodes = [node("MatMul", "x w", "h"), node("Softmax", "h", "s"), node("MatMul", "s v", "y")]
    made = model(nodes, [value("x", [128, 128])], ["y"], constants)
    return saved(made, tmp_path_factory.mktemp("witnesses"))


def test_a_lying_board_moves_no_answer(network: Path, tmp_path: Path) -> None:
    """Three programs in ten say a third of their time."""
    seed = 1
    honest = tune(network, TARGET, trials=16, database=tmp_path / "honest.db", ray="none", seed=seed)
    database, lab = tmp_path / "lab.db", f"wrong_time=0.3,seed={seed}"
    report = tune(network, TARGET, trials=16, database=database, ray="none", seed=seed, lab=lab)
    assert report.default.latency_us == pytest.approx(honest.default.latency_us, rel=1e-9)
    assert report.tuned.latency_us == pytest.approx(_on_a_true_board_us(database, report), rel=1e-9)
    assert report.tuned.latency_us <= 1.02 * honest.tuned.latency_us


def _on_a_true_board_us(database: Path, report: Report) -> float:
    """What the answer takes on a board that tells the truth."""
    target = load_target(TARGET)
    repository = Repository(open_database(database))
    (run,) = repository.runs(5)
    key = Key(report.graph_digest, target.digest, run.asked.toolchain, run.asked.objective)
    best = repository.best(key)
    body = json.loads(repository.workloads([report.graph_digest])[report.graph_digest].body)
    repository.database.close()
    assert best is not None
    (measured,) = SimulatedDevice(target).measure(NetworkTask(graph_from_json(body)), [best.config])
    assert measured.latency_us is not None
    return measured.latency_us


FAULTS = {
    "noise": 0.03,
    "hang": 0.25,
    "crash_before": 0.25,
    "crash_during": 0.25,
    "crash_after": 0.25,
    "lost_reply": 0.25,
    "wrong_output": 0.3,
    "wrong_time": 0.4,
    "poison": 0.2,
}


@pytest.mark.parametrize("pair", list(combinations(FAULTS, 2)), ids="+".join)
def test_no_pair_of_faults_confirms_a_lie_or_nothing(pair: tuple[str, str]) -> None:
    plan = FaultPlan(seed=5, **{fault: FAULTS[fault] for fault in pair})
    with WitnessedPool(SerialPool(lab_here(ShownDevice(), plan))) as pool:
        answers = pool.measure(TASK, CONFIGS[:16])
        assert all(answer.status is not Status.LOST for answer in answers)
        for config in CONFIGS[:16]:
            confirmed = pool.confirm(TASK, config)
            assert len(confirmed) == 3
            holds = not any(
                plan.happens(fault, TASK.digest, config.digest) for fault in ("wrong_output", "poison")
            )
            for reading in confirmed if holds else ():
                assert reading.latency_us == pytest.approx(_true_us(config), rel=0.2), reading.reason


PAIRS = [("wrong_time", "wrong_output"), ("wrong_time", "lost_reply"), ("wrong_output", "poison")]


@pytest.mark.parametrize(("seed", "pair"), list(enumerate(PAIRS)))
def test_whatever_goes_wrong_together_an_answer_is_true(
    seed: int, pair: tuple[str, str], network: Path, tmp_path: Path
) -> None:
    database, lab = tmp_path / "lab.db", f"{pair[0]}=0.3,{pair[1]}=0.3,seed={seed}"
    report = tune(network, TARGET, trials=8, database=database, ray="none", seed=seed, lab=lab)
    true_us = _on_a_true_board_us(database, report)
    assert report.tuned.latency_us == pytest.approx(true_us, rel=0.03)
    assert true_us <= 1.001 * _default_us(network)


def _default_us(network: Path) -> float:
    return tune(network, TARGET, level=0, database=network.parent / "default.db").default.latency_us
