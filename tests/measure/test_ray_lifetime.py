"""Whatever happens to the driver, nothing of its private Ray stays behind. In a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tilewright.measure.ray_farm.reaper import marked

DRIVER = """
import sys
import time
from tilewright.measure.ray_farm.private import private_directory
from tilewright.measure.ray_farm.pool import RayPool
from tests.measure.fake_device import NamedTask, config_of, spec_of

with RayPool(spec_of(seconds=0.05), workers=2) as pool:
    pool.measure(NamedTask("a"), [config_of(number) for number in range(8)])
    while not all(worker.pid for worker in pool.workers()):
        time.sleep(0.05)
    pids = [worker.pid for worker in pool.workers()]
    print(private_directory(), *pids, flush=True)
    if sys.argv[1] != "close":
        pool.measure(NamedTask("a"), [config_of(number) for number in range(100_000)])
"""


@pytest.mark.parametrize("end", ["kill", "terminate", "close"])
def test_nothing_is_left_running(end: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, end],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as driver:
        assert driver.stdout is not None
        assert driver.stderr is not None
        private, *pids = driver.stdout.readline().split()
        assert len(pids) == 2
        assert all(int(pid) > 0 for pid in pids)  # 0 would be this test's own process group
        if end != "close":
            assert len(marked(private)) > 3
            # Workers are no less urgent than what asks them.
            of_workers = {os.getpriority(os.PRIO_PROCESS, int(pid)) for pid in pids}
            assert of_workers == {os.getpriority(os.PRIO_PROCESS, driver.pid)}
            os.kill(int(pids[0]), signal.SIGSTOP)
            driver.send_signal(signal.SIGKILL if end == "kill" else signal.SIGTERM)
        errors = driver.stderr.read()
        driver.wait()
        if end == "close":
            assert driver.returncode == 0
            assert errors == ""  # Ray is quiet
    until_s = time.monotonic() + 20.0
    while (marked(private) or Path(private).exists()) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert marked(private) == []
    assert not Path(private).exists()
