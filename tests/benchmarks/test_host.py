"""The bench of the host: its models are sound, its figures say what was missed."""

import onnx

from benchmarks.host.bench import GOALS, _figures
from benchmarks.host.kernels import KERNELS, QUICK


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
