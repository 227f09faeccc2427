"""Probes: planted wrong kernels are refused and right ones are not, and what is said to be noticed is."""

from pathlib import Path

import numpy as np
import pytest

from tests.robust.planted import TARGET, campaign, networks
from tilewright.compiler_core.checking.probe import SMALL, exact_probe, probe_of
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.meaning.tolerance import is_rounded
from tilewright.tuner.kernel.task import kernel_tasks


def test_planted_errors_are_refused_and_right_kernels_are_not() -> None:
    """A small part of `make planted`."""
    tally = campaign(kernels=150, seed=0)
    assert not tally.escaped
    assert not tally.right_refused
    assert len(tally.refused) >= 9


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_error_that_is_said_to_be_noticed_is(seed: int, tmp_path: Path) -> None:
    """Planted at any element of the value in float64, up or down; half of it is not noticed everywhere."""
    rng = np.random.default_rng(seed)
    made = networks(rng, tmp_path)
    noticed = passed = 0
    for _ in range(25):
        for task in kernel_tasks(plan_graph(next(made), TARGET), TARGET):
            for value, meaning in probe_of(task.workload.graph, seed, integers=False).meaning.items():
                caught, wanted = meaning.judge(meaning.plain).caught, meaning.exact.value
                if not is_rounded(meaning.dtype) or not caught or not wanted.size:
                    continue
                error = caught * float(np.max(np.abs(wanted)))
                for share in (1.1, -1.1, 0.5):
                    place = np.unravel_index(int(rng.integers(wanted.size)), wanted.shape)
                    got = meaning.plain.copy()
                    got[place] = wanted[place] + share * error
                    stored = abs(float(got[place]) - float(wanted[place])) > error
                    if abs(share) > 1.0 and stored:
                        assert not meaning.judge(got).ok, (value, task.described)
                        noticed += 1
                    passed += abs(share) < 1.0 and meaning.judge(got).ok
    assert noticed > 20
    assert passed


def test_exact_data_are_as_large_as_may_be_and_never_zero(tmp_path: Path) -> None:
    made = networks(np.random.default_rng(5), tmp_path)
    largest = []
    for _ in range(20):
        for task in kernel_tasks(plan_graph(next(made), TARGET), TARGET):
            probe = exact_probe(task.workload.graph, 1)
            if probe is not None:
                assert not probe.meaning
                arrays = [array for array in probe.given.values() if array.size > 1]
                assert all((array != 0).all() for array in arrays)
                largest += [int(np.max(np.abs(array))) for array in arrays]
    assert max(largest) > 10 * SMALL
