"""A run of a small network that is open and has measured nothing, for tests of single stages of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.device import DeviceInfo, Task
from tilewright.measure.farm.pool import SerialPool
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status, failure
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.network.book import Book
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.network.search import NetworkSearch
from tilewright.tuner.request import Hooks, TuneRequest
from tilewright.tuner.turn import take_turn

TARGET = "ascend310"


@dataclass
class ScriptedDevice:
    """The simulated chip, with the latency in us of chosen Configs replaced; `asked` lists all Configs.

    A Config whose replacement is None fails, as every one does where `broken`; those for which `is_wrong`
    holds compute wrong numbers.
    """

    latencies_us: dict[Config, float | None] = field(default_factory=dict)
    broken: bool = False
    asked: list[Config] = field(default_factory=list)
    is_wrong: Callable[[Config], bool] = lambda config: False

    def __post_init__(self) -> None:
        self._chip = SimulatedDevice(load_target(TARGET))

    def describe(self) -> DeviceInfo:
        return self._chip.describe()

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        self.asked += configs
        return [self._one(task, config) for config in configs]

    def _one(self, task: Task, config: Config) -> Measurement:
        if self.broken:
            return failure(Status.FAILED, "the board is off")
        if self.is_wrong(config):
            return failure(Status.WRONG, "output 3 is off")
        if config not in self.latencies_us:
            return self._chip.measure(task, [config])[0]
        us = self.latencies_us[config]
        if us is None:
            return failure(Status.FAILED, "refused by the script")
        return Measurement(Status.OK, us, energy_uj=1.0, peak_bytes=1)


def two_products(folder: Path) -> Path:
    """Two matrix products: small, and fast to simulate."""
    nodes = [node("MatMul", "x w", "h"), node("MatMul", "h w", "y")]
    inputs = [value("x", [32, 32]), value("w", [32, 32])]
    return saved(model(nodes, inputs, ["y"]), folder)


@dataclass(frozen=True)
class OpenRun:
    opened: Opened
    book: Book
    device: ScriptedDevice

    def search(self, run: str = "run", budget: int = 32) -> NetworkSearch:
        return NetworkSearch(self.opened.planner, run, budget, SearchSettings(first_batch=4, batch=8))


@contextmanager
def open_run(
    folder: Path,
    latencies_us: Mapping[Config, float | None] | None = None,
    *,
    made: Callable[[Path], Path] = two_products,
    objectives: tuple[Objective, ...] = (Objective.LATENCY,),
    trials: int = 32,
) -> Iterator[OpenRun]:
    """A run of the network that `made` writes, on a ScriptedDevice; the database lies in `folder`."""
    request = TuneRequest(
        made(folder), TARGET, trials=trials, objectives=objectives, database=folder / "tuning.db"
    )
    device = ScriptedDevice(dict(latencies_us or {}))
    with open_network(request.subject, request.database) as opened:
        turn = take_turn(opened, request, Hooks())
        assert turn is not None
        book = Book(opened.records, turn.lease, SerialPool(device))
        book.set_bound(opened.network.task.digest, opened.bound_us)
        yield OpenRun(opened, book, device)


def reopened(folder: Path) -> Opened:
    """The same network opened after the run; the run itself answers by what was known before it."""
    request = TuneRequest(folder / "model.onnx", TARGET, database=folder / "tuning.db")
    return open_network(request.subject, request.database)
