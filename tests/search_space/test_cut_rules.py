"""Kernels of one structure share the rules of their cuts; the lowest drafts are found without all drafts."""

from typing import Any

import numpy as np
import pytest

from tests.small_networks import product_chain
from tests.targets import small_target
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph, Op
from tilewright.compiler_core.ir.index_map import Access, axis_index
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.lowering.outline import buffer_outline
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.lowering.steps import Outline
from tilewright.compiler_core.target_model.file import load_target
from tilewright.cost_model.analytic import KernelModel
from tilewright.search_space import cut_rules
from tilewright.search_space.moves import random_grid
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

P, R = AxisKind.PARALLEL, AxisKind.REDUCTION


def product(m: int, n: int, k: int) -> Workload:
    left = Access(0, (axis_index(0), axis_index(2)))
    right = Access(1, (axis_index(2), axis_index(1)))
    op = Op("contract", (m, n, k), (P, P, R), (left, right), 2)
    values = tuple(TensorType(shape, DType.F32) for shape in ((m, k), (k, n), (m, n)))
    return Workload(Graph(values, (op,), (0, 1), (2,)), (Level.DRAM,) * 3)


def test_products_of_other_extents_draw_no_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    target, drawn = load_target("ascend910"), list[object]()

    def counted(*of: Any) -> Outline:
        drawn.append(of)
        return buffer_outline(*of)

    monkeypatch.setattr(cut_rules, "buffer_outline", counted)
    cut_rules._cuts.cache_clear()
    first = kernel_space(KnobLayout(Regions(product(96, 200, 300)), target))
    assert first.feasible(random_grid(first, 2000, np.random.default_rng(3))).any()
    assert drawn
    drawn.clear()
    second = kernel_space(KnobLayout(Regions(product(48, 400, 80)), target))
    rows = random_grid(second, 500, np.random.default_rng(4))
    found, settled = second.feasible(rows), second.canonical(rows)
    assert not drawn
    cut_rules._cuts.cache_clear()
    alone = kernel_space(KnobLayout(Regions(product(48, 400, 80)), target))
    assert (alone.feasible(rows) == found).all()
    assert (alone.canonical(rows) == settled).all()


def test_one_structure_one_set_of_rules() -> None:
    target = load_target("ascend910")
    one, other = (KnobLayout(Regions(product(*mnk)), target) for mnk in ((96, 200, 300), (48, 400, 80)))
    assert cut_rules.cuts_of(one) is cut_rules.cuts_of(other)
    chain = product_chain().graph
    unlike = KnobLayout(Regions(kernel_of(chain, range(len(chain.ops)), {}).workload), target)
    assert cut_rules.cuts_of(unlike) is not cut_rules.cuts_of(one)
    assert cut_rules.cuts_of(KnobLayout(Regions(product(96, 200, 300)), small_target())) is not (
        cut_rules.cuts_of(one)
    )


@pytest.mark.parametrize("count", [1, 2, 16])
@pytest.mark.parametrize("preset", ["ascend910", "ethos_u55_256", "gemmini16"])
def test_the_rows_of_lowest_draft_are_found_without_all_drafts(preset: str, count: int) -> None:
    chain = product_chain().graph
    for workload in (product(96, 200, 300), kernel_of(chain, range(len(chain.ops)), {}).workload):
        layout = KnobLayout(Regions(workload), load_target(preset))
        space, model = kernel_space(layout), KernelModel(layout)
        rows = random_grid(space, 600, np.random.default_rng(1))
        rows = rows[space.feasible(rows)]
        wanted = np.argsort(model.draft_log(rows), kind="stable")[:count]
        assert (model.lowest(rows, count) == wanted).all()
