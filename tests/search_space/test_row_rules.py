"""Compiled rules and demands say what the same source says as plain Python."""

import numpy as np
import pytest

from tests.small_networks import product_chain, split_matmul
from tests.targets import small_target
from tilewright.compiler_core.compiled import Compiled
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.workload import kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.cost_model.resources import KernelResources
from tilewright.search_space.knobs import Rows
from tilewright.search_space.moves import random_grid
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

GRAPHS = [product_chain().graph, split_matmul().graph]


def drawn(graph: Graph) -> tuple[KnobLayout, Rows]:
    layout = KnobLayout(Regions(kernel_of(graph, range(len(graph.ops)), {}).workload), small_target())
    return layout, random_grid(kernel_space(layout), 200, np.random.default_rng(2))


@pytest.mark.parametrize("graph", GRAPHS)
def test_rules_are_the_same_compiled(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, rows = drawn(graph)
    space = kernel_space(layout)
    canonical = space.canonical(rows)
    feasible = space.feasible(canonical)
    assert feasible.any()
    assert not feasible.all()
    monkeypatch.setattr(Compiled, "for_rows", lambda function, _: function.py_func)
    plain = kernel_space(layout)
    assert (plain.canonical(rows) == canonical).all()
    assert (plain.feasible(canonical) == feasible).all()


@pytest.mark.parametrize("graph", GRAPHS)
def test_demands_are_the_same_compiled(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, rows = drawn(graph)
    compiled = KernelResources(layout, layout.regions.workload).demand(rows)
    monkeypatch.setattr(Compiled, "for_rows", lambda function, _: function.py_func)
    plain = KernelResources(layout, layout.regions.workload).demand(rows)
    assert (compiled.load > 0).any()
    for name, values in vars(compiled).items():
        assert (values == vars(plain)[name]).all(), name
