"""Constants: computed once, at the first look, in any depth, and anew when symbols are bound."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import symbol
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.constants import Constants, Recipe, fits, recipe_of, run
from tilewright.compiler_core.onnx_import.building.builder import Builder


def _counted(log: list[str], name: str, *sources: Recipe, symbols: frozenset[str] = frozenset()) -> Recipe:
    def compute(arrays: Sequence[Array], symbols: Mapping[str, int]) -> Array:
        log.append(name)
        return np.asarray(sum(arrays, np.zeros(())) + symbols.get("n", 1))

    return Recipe(compute, sources, work=1, symbols=symbols)


def test_nothing_is_computed_before_somebody_looks() -> None:
    log: list[str] = []
    constants = Constants({0: _counted(log, "a"), 1: _counted(log, "b")})
    assert len(constants) == 2
    assert 1 in constants
    assert not log
    assert constants[0] == constants[0] == 1
    assert log == ["a"]
    assert constants.computed == {0}


def test_binding_computes_again_only_what_depends_on_symbols() -> None:
    log: list[str] = []
    constants = Constants(
        {0: _counted(log, "plain"), 1: _counted(log, "symbolic", symbols=frozenset({"n"}))}, {"n": 2}
    )
    assert [constants[index].item() for index in range(2)] == [2, 2]
    bound = constants.bound_to({"n": 5})
    assert [bound[index].item() for index in range(2)] == [2, 5]
    assert log == ["plain", "symbolic", "symbolic"]


def test_a_chain_of_a_hundred_thousand_does_not_recurse() -> None:
    recipe = recipe_of(np.zeros(()))
    for _ in range(100_000):
        recipe = Recipe(lambda arrays, symbols: arrays[0] + 1, (recipe,), work=1)
    assert run(recipe, {}) == 100_000
    assert not fits(recipe, 1000, 1 << 40)
    assert fits(recipe, 200_000, 1 << 40)


def test_shared_sources_run_once() -> None:
    log: list[str] = []
    recipe = _counted(log, "leaf")
    for _ in range(60):
        recipe = Recipe(lambda arrays, symbols: np.maximum(arrays[0], arrays[1]), (recipe, recipe), work=1)
    assert run(recipe, {}) == 1
    assert log == ["leaf"]
    assert fits(recipe, 61, 61)


def test_a_missing_symbol_is_named() -> None:
    builder = Builder()
    table = builder.table((symbol("seq"),), DType.I64, lambda extents: np.arange(extents[0]))
    constants = Constants(builder.recipes)
    with pytest.raises(ModelError, match="seq"):
        constants[table.value]
    np.testing.assert_array_equal(constants.bound_to({"seq": 3})[table.value], [0, 1, 2])
