"""An answer without a measurement is the plan that the simulator finds fastest, whatever prices promised."""

from pathlib import Path

import pytest

from tests.compiler_core.test_kernel_order import two_branches
from tests.onnx_models import saved, small_cnn
from tests.targets import target_with_llb
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.transforms.fuse import FusionPolicy
from tilewright.tuner.answer.guess import cover_or_guess, fastest_guess, simulated_us
from tilewright.tuner.network.assignment import guessed_of
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.subject import Subject


def test_a_plan_that_promised_too_much_is_not_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(small_cnn(), tmp_path)
    with open_network(Subject(path, "ascend910"), tmp_path / "tune.db") as opened:
        alone = plan_graph(opened.graph, opened.target, FusionPolicy(epilogues=False))
        monkeypatch.setattr(Planner, "replan", lambda planner: alone)
        answer, _ = cover_or_guess(opened)
        bad_us = simulated_us(guessed_of(opened, alone))
        taken_us = simulated_us(answer)
        assert bad_us is not None
        assert taken_us is not None
        assert taken_us < bad_us


def test_no_known_order_is_faster_than_the_answer(tmp_path: Path) -> None:
    small = target_with_llb(tmp_path, kib=10)
    path = saved(two_branches(), tmp_path)
    with open_network(Subject(path, small), tmp_path / "tune.db") as opened:
        planned = opened.planner.base
        orders = list(opened.planner.in_known_orders(planned))
        assert len(orders) > 1
        answer_us = simulated_us(fastest_guess(opened, planned))
        assert answer_us is not None
        for plan in orders:
            other_us = simulated_us(guessed_of(opened, plan))
            assert other_us is None or answer_us <= other_us
