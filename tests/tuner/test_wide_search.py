"""The asynchronous search: several kernels under way at once, nothing asked twice, the budget exact."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.onnx_models import saved, two_parts
from tilewright.measure.device import Task
from tilewright.measure.farm.pool import Answer, SerialPool
from tilewright.measure.simulator.worker import simulated_device
from tilewright.search_space.knobs import Config
from tilewright.tuner import devices
from tilewright.tuner import run as run_module
from tilewright.tuner.network.events import Event, Measured, Phase
from tilewright.tuner.request import Hooks, TuneRequest
from tilewright.tuner.verbs.tune import tune


class Reversed(SerialPool):
    """Answers last in, first out, a few at a time: the order in which a farm might."""

    def __init__(self, target_text: str) -> None:
        super().__init__(simulated_device(target_text), batch=40)
        self.most_tasks = 0
        self.open: dict[int, str] = {}
        self.asked: list[tuple[str, str]] = []

    def submit(self, task: Task, configs: Sequence[Config], *, floor_us: float = 0.0) -> list[int]:
        tickets = super().submit(task, configs, floor_us=floor_us)
        self.open.update(dict.fromkeys(tickets, task.digest))
        self.asked += [(task.digest, config.digest) for config in configs]
        self.most_tasks = max(self.most_tasks, len(set(self.open.values())))
        return tickets

    def collect(self, timeout_s: float | None = None) -> list[Answer]:
        done = super().collect(timeout_s)
        self._done = done[:-3]
        for answer in done[-3:]:
            del self.open[answer.ticket]
        return done[-3:][::-1]


def test_kernels_are_searched_side_by_side_and_the_budget_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[Reversed] = []

    def pool_of(name: str, target_text: str, *rest: object) -> Reversed:
        pools.append(Reversed(target_text))
        return pools[-1]

    monkeypatch.setattr(devices, "simulated_pool", pool_of)
    heard: list[Event] = []
    report = tune(
        saved(two_parts(), tmp_path),
        "ascend310",
        trials=40,
        database=tmp_path / "tuning.db",
        asynchronous=True,
        on_event=heard.append,
    )
    (pool,) = pools
    assert pool.most_tasks > 1
    assert len(pool.asked) == len(set(pool.asked)) == 40
    assert pool.outstanding() == 0
    assert report.trials >= 40
    counts = [event.trials for event in heard if isinstance(event, Measured)]
    assert counts == sorted(counts)
    assert counts[-1] == 40
    assert any("asynchronous" in event.detail for event in heard if isinstance(event, Phase))
    assert report.tuned.latency_us <= report.default.latency_us


def test_a_cancelled_search_keeps_what_was_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[Reversed] = []
    heard: list[Event] = []

    def pool_of(name: str, target_text: str, *rest: object) -> Reversed:
        pools.append(Reversed(target_text))
        return pools[-1]

    monkeypatch.setattr(devices, "simulated_pool", pool_of)
    request = TuneRequest(
        saved(two_parts(), tmp_path),
        "ascend310",
        trials=400,
        database=tmp_path / "tuning.db",
        asynchronous=True,
    )
    enough = Hooks(heard.append, cancelled=lambda: bool(pools and len(pools[0].asked) >= 24))
    run_module.run(request, enough)
    counts = [event.trials for event in heard if isinstance(event, Measured)]
    assert counts[-1] == len(pools[0].asked) < 400
    assert pools[0].outstanding() == 0
