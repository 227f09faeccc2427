"""The Ray pool with real processes, killed for real. One private Ray serves the whole file."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.pool_suite import PoolSuite
from tests.measure.fake_device import FakeDevice, NamedTask, config_of, latency_of, spec_of
from tests.measure.host.test_device import default_of, product
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.compiler_core.target_model.file import target_from_text
from tilewright.measure.farm.messages import Canary, Replied, Rules
from tilewright.measure.farm.pool import Pool, SerialPool
from tilewright.measure.host.detect import MeasuredCore, core_text
from tilewright.measure.host.worker import host_spec
from tilewright.measure.ray_farm.cluster import LOCAL, connect, disconnect
from tilewright.measure.ray_farm.pool import RayPool
from tilewright.measure.ray_farm.worker import started
from tilewright.measure.results import Measurement, Status
from tilewright.measure.wire import DeviceSpec

TASK = NamedTask("a")


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """Pools opened in between share this connection, and so cost a worker's start and no more."""
    connect(LOCAL, "fake", 4)
    yield
    disconnect()


@pytest.fixture(scope="module")
def quick(ray: None) -> Iterator[RayPool]:
    with RayPool(spec_of(), workers=2) as pool:
        yield pool


class TestRayPool(PoolSuite):
    @pytest.fixture
    def pool(self, quick: RayPool) -> Pool:
        return quick


def answers(measurements: list[Measurement]) -> list[tuple[Status, float | None]]:
    return [(measurement.status, measurement.latency_us) for measurement in measurements]


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def pids(pool: RayPool) -> list[int]:
    return [worker.pid for worker in pool.workers() if worker.phase == "ready" and worker.pid]


def test_the_answers_do_not_depend_on_the_number_of_workers(quick: RayPool) -> None:
    configs = [config_of(number) for number in range(300)]
    serial = SerialPool(FakeDevice()).measure(TASK, configs)
    with RayPool(spec_of(), workers=1) as one:
        assert answers(one.measure(TASK, configs)) == answers(serial)
    assert answers(quick.measure(TASK, configs)) == answers(serial)


def test_poison_is_stopped_and_takes_nobody_with_it(quick: RayPool) -> None:
    behaviours = {3: "die", 5: "raise"}
    configs = [config_of(number, behaviours.get(number, "")) for number in range(12)]
    measured = quick.measure(TASK, configs)
    for number, measurement in enumerate(measured):
        if number in behaviours:
            assert measurement.status is Status.FAILED
        else:
            assert measurement.latency_us == latency_of(TASK, configs[number])
    assert "3 attempts" in measured[3].reason
    assert "ValueError: no such tile" in measured[5].reason


def test_killed_and_stopped_workers_lose_nothing(ray: None) -> None:
    """SIGKILL and SIGSTOP from outside, while candidates are in flight."""
    configs = [config_of(number) for number in range(100)]
    rules = Rules(deadline_s=1.0, chunk_s=0.02, attempts=10)
    with RayPool(spec_of(seconds=0.01), workers=4, rules=rules) as pool:
        struck: list[int] = []

        def strike() -> None:
            while len(struck) < 5:
                for pid in set(pids(pool)) - set(struck):
                    os.kill(pid, signal.SIGSTOP if len(struck) == 2 else signal.SIGKILL)
                    struck.append(pid)
                    break
                time.sleep(0.2)

        thread = threading.Thread(target=strike)
        thread.start()
        while thread.is_alive():
            measured = pool.measure(TASK, configs)
            assert [m.latency_us for m in measured] == [latency_of(TASK, config) for config in configs]
        thread.join()
        assert eventually(lambda: all(started(pid) is None for pid in struck))


def test_an_endless_candidate_runs_into_its_deadline(ray: None) -> None:
    rules = Rules(deadline_s=0.5, attempts=2)
    with RayPool(spec_of(), workers=2, rules=rules) as pool:
        endless, fine = pool.measure(TASK, [config_of(1, "hang"), config_of(2)])
        assert endless.status is Status.TIMEOUT
        assert fine.status is Status.OK


def test_a_liar_is_quarantined_and_nothing_of_it_is_published(ray: None, tmp_path: Path) -> None:
    canary = Canary(NamedTask("canary"), config_of(99), latency_of(NamedTask("canary"), config_of(99)))
    rules = Rules(canaries=(canary,))
    configs = [config_of(number) for number in range(100)]
    with RayPool(spec_of(liar=str(tmp_path / "liar")), workers=3, rules=rules) as pool:
        measured = pool.measure(TASK, configs)
        assert [m.latency_us for m in measured] == [latency_of(TASK, config) for config in configs]
        assert sorted(worker.phase for worker in pool.workers()).count("quarantined") == 1
        assert eventually(lambda: started(int((tmp_path / "liar").read_text())) is None)


def test_confirmations_come_from_different_workers(ray: None) -> None:
    with RayPool(spec_of(seconds=0.01), workers=3) as pool:
        assert len({m.worker for m in pool.confirm(TASK, config_of(1), 3)}) == 3


def test_a_doubled_and_a_late_answer_count_once(quick: RayPool) -> None:
    (before,) = quick.measure(TASK, [config_of(1)])
    again = Measurement(Status.OK, latency_us=0.001)
    for lease in range(1000):
        quick._tell(Replied(before.worker, lease, (again,), 0.1))
    (ticket,) = quick.submit(TASK, [config_of(2)])
    (answer,) = quick.collect(60.0)
    assert answer.ticket == ticket
    assert answer.measurement.latency_us == latency_of(TASK, config_of(2))
    assert quick.collect(0.0) == []


def test_drain_and_upgrade(ray: None) -> None:
    with RayPool(spec_of(), workers=2) as pool:
        pool.measure(TASK, [config_of(1), config_of(2)])
        pool.drain("fake-0")
        assert eventually(lambda: pool.workers()[0].phase == "released")
        assert {m.worker for m in pool.measure(TASK, [config_of(n) for n in range(20)])} == {"fake-1"}
        pool.change_toolchain("fake-2")
        with pytest.raises(DeviceError, match="toolchain 'fake-1', the run needs 'fake-2'"):
            pool.measure(TASK, [config_of(1)])


def test_close_leaves_no_process_even_a_stopped_one(ray: None) -> None:
    pool = RayPool(spec_of(), workers=2)
    with pool:
        pool.measure(TASK, [config_of(n) for n in range(4)])
        assert eventually(lambda: len(pids(pool)) == 2)
        processes = pids(pool)
        os.kill(processes[0], signal.SIGSTOP)
    assert eventually(lambda: all(started(pid) is None for pid in processes))
    with pytest.raises(DeviceError, match="closed"):
        pool.measure(TASK, [config_of(1)])
    pool.close()


def test_a_device_that_is_unusable_says_why(ray: None) -> None:
    with RayPool(spec_of(), workers=2) as pool, pytest.raises(DeviceError, match="the board is unplugged"):
        pool.measure(TASK, [config_of(1, "refuse")])
    missing = DeviceSpec.of("fake", "tests.measure.nowhere:make", "a:b", "a:b")
    with RayPool(missing, workers=1) as pool, pytest.raises(DeviceError, match=r"tests\.measure\.nowhere"):
        pool.info()


def test_more_workers_than_the_cluster_offers_are_refused(ray: None) -> None:
    with RayPool(spec_of(), workers=100_000) as pool, pytest.raises(DeviceError, match="offers 4096"):
        pool.measure(TASK, [config_of(1)])


def test_the_backlog_is_bounded(ray: None) -> None:
    with RayPool(spec_of(), workers=1, rules=Rules(backlog_max=10)) as pool:
        pool.submit(TASK, [config_of(n) for n in range(10)])
        with pytest.raises(UsageError, match="collect first"):
            pool.submit(TASK, [config_of(11)])


@pytest.mark.parametrize("workers", [0, None])
def test_a_pool_without_workers_is_refused(workers: int | None) -> None:
    with pytest.raises(UsageError):
        RayPool(spec_of(), workers=workers)


@pytest.mark.parametrize("address", ["10.1.2.3:6379", "auto", "ray://farm:10001"])
def test_beyond_this_machine_only_with_a_token(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(DeviceError, match="RAY_AUTH_MODE=token"):
        connect(address, "fake", 1)


def test_a_bare_address_is_refused() -> None:
    with pytest.raises(DeviceError, match="no Ray address"):
        connect("", "fake", 1)


def core_of_this_cpu() -> str:
    """A target file of the machine that the tests run on, with rates that nobody measured."""
    seen = MeasuredCore(3000.0, 1, 4, (64.0, 32.0, 16.0), 10.0)
    return core_text(host_machine(), seen)


def test_a_worker_offers_a_core_of_its_own_cpu(ray: None) -> None:
    text = core_of_this_cpu()
    target, workload = target_from_text(text), product()
    with RayPool(host_spec(text), workers=1) as pool:
        (measured,) = pool.measure(workload, [default_of(workload, target)])
    assert measured.status is Status.OK, measured.reason
    assert measured.worker
    assert measured.samples_us


def test_a_worker_with_another_cpu_refuses(ray: None) -> None:
    text = core_of_this_cpu().replace('identity = "', 'identity = "another ')
    workload = product()
    with RayPool(host_spec(text), workers=1) as pool, pytest.raises(DeviceError, match="another CPU"):
        pool.measure(workload, [default_of(workload, target_from_text(text))])
