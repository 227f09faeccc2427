"""Kernels of a real CPU as tables: parts of spaces, recording with a device of the test, replays."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from benchmarks.search import bench
from benchmarks.search.figures import kind_of, summary_of, verdict
from benchmarks.search.silicon import recorded
from benchmarks.search.silicon.lattice import lattice
from benchmarks.search.silicon.recorded import file_of, record_silicon, silicon_task, silicon_tasks
from tests.targets import simd_target
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.measure.device import Task
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import enumerate_rows

NAME = "bert_tiny 128x128x512"


def fake_latency(config: Config) -> float:
    return 100.0 + int(config.digest[:4], 16) % 97


class FakeDevice:
    """Answers by the digest of a Config, a few of them failures."""

    def __init__(self, target: object) -> None:
        self.target = simd_target()
        self.asked = 0

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        self.asked += len(configs)
        return [
            failure(Status.WRONG, "broken")
            if config.digest.startswith("a")
            else Measurement(Status.OK, latency_us=fake_latency(config))
            for config in configs
        ]

    def close(self) -> None:
        return None


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    made = FakeDevice(None)
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    monkeypatch.setattr(recorded, "HostDevice", lambda target: made)
    monkeypatch.setattr(recorded, "ensure_host", Mock())
    monkeypatch.setattr(recorded, "load_target", lambda name: simd_target())
    monkeypatch.setattr(recorded, "target_text", lambda name: "")
    return made


def test_a_part_is_small_and_holds_what_is_kept() -> None:
    task = recorded.kernel_task(NAME, simd_target())
    kept = np.stack([task.space.encode(task.default), task.problem().climbed[0]])
    part = lattice(task.space, kept, 100)
    rows = enumerate_rows(part)
    assert rows is not None
    assert 10 < len(rows) <= 100
    configs = [part.decode(row) for row in rows]
    assert all(task.space.contains(config) for config in configs)
    assert {task.space.decode(row) for row in kept} <= set(configs)


def test_what_was_recorded_is_replayed(device: FakeDevice, tmp_path: Path) -> None:
    journal = tmp_path / "rows"
    (row,) = record_silicon([NAME], rows=60, journal=journal)["rows"]
    first = file_of(NAME).read_bytes()
    asked = device.asked
    record_silicon([NAME], rows=60, journal=journal)
    assert (device.asked, file_of(NAME).read_bytes()) == (asked, first), "all rows are in the journal"
    (task,) = silicon_tasks()
    assert task.table.optimum_us == row["best_us"]
    assert -1.0 <= task.rank_correlation <= 1.0
    rows = task.problem.whole
    assert rows is not None
    for at in rows:
        config = task.problem.space.decode(at)
        measured = task.table.measure(task.problem.task, [config])[0]
        assert measured.latency_us == (None if config.digest.startswith("a") else fake_latency(config))
    assert task.problem.draft_log is not None
    assert task.problem.bound_log is not None
    assert (task.problem.bound_log(rows) <= task.problem.draft_log(rows) + 1e-9).all()


def test_the_bench_runs_on_it_and_says_what_it_found(device: FakeDevice) -> None:
    record_silicon([NAME], rows=60)
    lines: list[str] = []
    found = bench.bench_search(
        device="host", seeds=1, methods=("tilewright", "random", "random+draft"), say=lines.append
    )
    assert {row["task"] for row in found["rows"]} == {f"host/{NAME}"}
    assert any("rank correlation of draft and silicon" in line for line in lines)
    assert "kernels on a CPU" in verdict(found["rows"])
    assert found["summary"]["host/t5_over_best_peer"]["goal"] == 0.5
    assert "host/tilewright/regret_32_median" in summary_of(found["rows"])
    assert kind_of({"task": "ascend910/matmul/skewed"}) == "skewed"


def test_a_table_of_another_space_is_one_line(device: FakeDevice) -> None:
    record_silicon([NAME], rows=30)
    document = json.loads(gzip.decompress(file_of(NAME).read_bytes()))
    document["metadata"]["knobs"]["unroll"] = [3]
    with pytest.raises(RecordError, match="record it anew"):
        silicon_task(NAME, simd_target(), document)
    file_of(NAME).unlink()
    with pytest.raises(UsageError, match="--record"):
        list(silicon_tasks())


def test_every_table_of_the_project_is_of_its_space() -> None:
    tasks = list(silicon_tasks())
    assert len(tasks) >= 4
    for task in tasks:
        assert task.table.optimum_us > 0.0
        assert len(task.table.table) >= 200
