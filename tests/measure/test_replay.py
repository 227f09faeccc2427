"""The replay device keeps to the Device suite and says of each entry what the table says."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.device_suite import DeviceSuite
from tests.tuner.landscapes import latency_ms, problem_and_device, space, t4
from tilewright.compiler_core.errors import RecordError
from tilewright.measure.device import Device, Task
from tilewright.measure.recorded.replay import ReplayDevice, SpaceTask, load_t4, replay_device
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import enumerate_rows
from tilewright.search_space.t1 import load_t1

SHARED = Path(__file__).parents[2].parent / "shared" / "reference" / "replay"


class TestReplay(DeviceSuite):
    @pytest.fixture
    def device(self) -> Device:
        return problem_and_device()[1]

    @pytest.fixture
    def case(self) -> tuple[Task, Sequence[Config]]:
        rows = enumerate_rows(space())
        assert rows is not None
        return SpaceTask(space()), [space().decode(row) for row in rows[::7]]


def test_latencies_are_microseconds_and_failures_keep_their_kind() -> None:
    problem, device = problem_and_device(seed=3)
    assert problem.whole is not None
    seen = set()
    for row in problem.whole:
        config = problem.space.decode(row)
        answer = device.measure(problem.task, [config])[0]
        expected = latency_ms(dict(config.items), 3)
        seen.add(answer.status)
        if expected is None:
            assert answer.status is Status.FAILED
        else:
            assert answer.latency_us == pytest.approx(expected * 1000)
    assert seen == {Status.OK, Status.FAILED}


def test_what_the_table_lacks_is_invalid() -> None:
    document = t4()
    lost = document["results"].pop()
    device = replay_device("short", document, space())
    answer = device.measure(SpaceTask(space()), [Config(tuple(lost["configuration"].items()))])[0]
    assert answer.status is Status.INVALID
    assert "no such configuration" in answer.reason


def test_damaged_tables_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "gpu.T4.json.gz"
    path.write_bytes(b"\x1f\x8b nonsense")
    with pytest.raises(RecordError, match="gpu"):
        load_t4(path, space())
    document = t4()
    document["results"][0]["configuration"]["block"] = 7
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    with pytest.raises(RecordError, match="block"):
        load_t4(path, space())


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded GPU tables are not here")
@pytest.mark.parametrize(("gpu", "failed"), [("a100", 161), ("w6600", 0)])
def test_the_recorded_gpus_cover_their_space(gpu: str, failed: int) -> None:
    recorded = load_t1(SHARED / "convolution.T1.json")
    device: ReplayDevice = load_t4(SHARED / f"convolution_{gpu}.T4.json.gz", recorded)
    rows = enumerate_rows(recorded)
    assert rows is not None
    answers = device.measure(SpaceTask(recorded), [recorded.decode(row) for row in rows])
    assert len(rows) == len(device.table) == 4362
    assert sum(answer.status is not Status.OK for answer in answers) == failed
