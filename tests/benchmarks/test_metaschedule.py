"""The race with MetaSchedule: its process, the budget that both have, and the figure."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.host import metaschedule
from benchmarks.host.kernels import KERNELS
from benchmarks.host.metaschedule import SHOWN, TvmProcess, bench_metaschedule, spent_of
from tests.targets import simd_target
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.errors import DeviceError, UsageError

TOY = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    answer = {"trials": 7, "spent_s": asked["budget_s"]} if "model" in asked else {"us": 2.0}
    print(json.dumps(answer), flush=True)
"""


def test_the_kernels_are_those_of_the_host_bench() -> None:
    assert len(SHOWN) == 12
    assert set(SHOWN) <= set(KERNELS)


def test_its_process_answers_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(metaschedule, "HOST", tmp_path / "toy.py")
    monkeypatch.setenv("TILEWRIGHT_TVM", sys.executable)
    process = TvmProcess()
    assert process.ask({"model": "x", "budget_s": 3.0}) == {"trials": 7, "spent_s": 3.0}
    assert process.ask({"time": True}) == {"us": 2.0}
    process.close()
    (tmp_path / "toy.py").write_text("raise SystemExit")
    with pytest.raises(DeviceError, match="without an answer"):
        TvmProcess().ask({})
    monkeypatch.setenv("TILEWRIGHT_TVM", "/nowhere/python")
    with pytest.raises(UsageError, match="make tvm"):
        TvmProcess()


def test_a_tuner_that_timed_nothing_is_no_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it builds then is the kernel without any schedule."""

    class Device:
        machine = host_machine()

        def close(self) -> None: ...

    (tmp_path / "toy.py").write_text(TOY.replace("7,", '16, "ran": 0,'))
    monkeypatch.setattr(metaschedule, "HOST", tmp_path / "toy.py")
    monkeypatch.setenv("TILEWRIGHT_TVM", sys.executable)
    with pytest.raises(DeviceError, match="none of its 16 candidates"):
        metaschedule._raced(SHOWN[0], Device(), 3.0, 0)  # type: ignore[arg-type]


def test_the_clock_counts_children_that_run() -> None:
    class OneChild:
        children = (os.getpid(),)

    clock = spent_of(OneChild())  # type: ignore[arg-type]
    alone = os.times()
    assert clock() >= alone.user + alone.system


def test_a_row_a_kernel_and_their_mean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ratios = iter([1.0, 4.0])
    monkeypatch.setattr(metaschedule, "ensure_host", lambda: None)
    monkeypatch.setattr(metaschedule, "load_target", lambda name: simd_target())
    monkeypatch.setattr(metaschedule, "HostDevice", lambda target: None)
    raced = {"ours_us": 1.0, "tvm_us": 2.0, "our_trials": 3, "tvm_trials": 4, "spent_s": 5.0}
    monkeypatch.setattr(metaschedule, "_raced", lambda *_: raced | {"ratio": next(ratios)})
    for _ in range(2):  # the second time from the journal
        found = bench_metaschedule(["bert_tiny", "dw 5x5"], journal=tmp_path / "rows")
        assert found["summary"]["2 kernels"] == {"value": 2.0, "goal": ">= 1.3", "ok": True}
