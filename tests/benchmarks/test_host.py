"""The bench of the host: its models are sound, its figures say what was missed."""

from unittest.mock import Mock

import onnx
import pytest

from benchmarks.host import bench
from benchmarks.host.bench import GOALS, _figures
from benchmarks.host.kernels import KERNELS, QUICK
from tests.targets import simd_target
from tilewright.compiler_core.errors import DeviceError


def test_there_are_24_kernels_of_known_kinds() -> None:
    assert len(KERNELS) == 24
    assert {kind for kind, _ in KERNELS.values()} == set(GOALS)
    assert set(QUICK) <= set(KERNELS)


def test_every_kernel_is_a_sound_model() -> None:
    for _, made in KERNELS.values():
        onnx.checker.check_model(made(), full_check=True)


def test_a_figure_is_a_geometric_mean_with_its_goal() -> None:
    rows = [{"kind": "convolution", "ratio": 2.0}, {"kind": "convolution", "ratio": 0.5}]
    found = _figures(rows)
    assert found["convolution"] == {"value": 1.0, "goal": ">= 1.05", "ok": False}
    assert found["convolution, least"]["value"] == 0.5


def test_the_kernel_that_is_measured_again_worst_is_told_by_length() -> None:
    rows = [
        {"kind": "matmul", "ratio": 1.0, "ours_us": us, "spread": spread}
        for us, spread in ((50.0, 0.01), (90.0, 0.03), (500.0, 0.02))
    ]
    found = _figures(rows)
    assert found["measured again, below 100 us"] == {"value": 0.03, "goal": "<= 0.02", "ok": False}
    assert found["measured again, above 100 us"] == {"value": 0.02, "goal": "<= 0.04", "ok": True}


def test_a_kernel_of_which_no_candidate_runs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_tuned", lambda *_: iter(()))
    monkeypatch.setattr(bench, "HostDevice", Mock())
    with pytest.raises(DeviceError, match="matmul 512"):
        bench._raced("matmul 512", simd_target(), 4, 0)
