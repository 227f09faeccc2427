"""List schedules: legal, deterministic, and the compiled walk equal to the plain one."""

from dataclasses import replace

import pytest

from benchmarks.order.synthetic_graphs import random_graph, transformer_training
from tilewright.compiler_core.order.flat import flatten
from tilewright.compiler_core.order.kernel_graph import live_profile, peak_of
from tilewright.compiler_core.order.portfolio import POLICIES, ListWeights, list_order
from tilewright.compiler_core.order.walk import flat_peak, flat_profile


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_gives_a_legal_order_and_the_walks_agree(policy: str) -> None:
    for graph in (transformer_training(400), *map(random_graph, range(40))):
        flat = flatten(graph)
        order = list_order(flat, POLICIES[policy])
        assert tuple(flat_profile(flat, order).tolist()) == live_profile(graph, order.tolist())
        assert flat_peak(flat, order) == peak_of(graph, order.tolist())


def test_given_weight_reproduces_the_given_order() -> None:
    flat = flatten(transformer_training(400))
    for weights in (ListWeights(given=1.0), ListWeights(given=1.0, backward=True)):
        assert list_order(flat, weights).tolist() == list(range(flat.kernels))


def test_a_weight_steers() -> None:
    flat = flatten(transformer_training(400))
    base = POLICIES["least_growth"]
    assert list_order(flat, base).tolist() != list_order(flat, replace(base, growth=-1.0)).tolist()
    assert flat_peak(flat, list_order(flat, base)) < flat_peak(
        flat, list_order(flat, replace(base, growth=-1.0))
    )
