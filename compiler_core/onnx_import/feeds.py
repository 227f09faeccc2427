"""Inputs drawn for a network, and the extents that only data decide, taken from a run on them."""

from collections.abc import Mapping

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import symbols_in
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array, Unit
from tilewright.compiler_core.meaning.evaluate import run_open
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model


def draw_feeds(model: ImportedModel, seed: int) -> dict[str, Array]:
    """Seeded arrays for the inputs by name: the value that one was bound to, what a run of these extents
    presumes, else normal floats, zeros and ones of anything else.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for name, value in model.inputs:
        kind, shape = model.graph.values[value].dtype, model.graph.shape(value)
        drawn = rng.standard_normal(shape) if kind.is_float else rng.integers(0, 2, shape)
        feeds[name] = model.presumed.get(name, drawn).astype(kind.numpy)
    return {**feeds, **model.given}


def extents_decided(model: ImportedModel, feeds: Mapping[str, Array]) -> dict[str, int]:
    """Sizes of the symbols of `model` that depend on data, in a run on `feeds` (by name of the input). Only
    the ops that they depend on are run. ModelError where that fails: a loop that does not end on these
    inputs.
    """
    graph = model.graph
    sizes: dict[str, int] = {}
    arrays = {value: feeds[name] for name, value in model.inputs}
    with np.errstate(all="ignore"):
        run_open(graph, arrays, sizes, _needed(graph, model.decided))
    missing = sorted(model.decided - sizes.keys())
    if missing:
        raise ModelError(
            f"extents {', '.join(missing)} follow from no single op; give them with --dim NAME=VALUE"
        )
    return {name: sizes[name] for name in sorted(model.decided)}


def deciding_inputs(model: ImportedModel) -> tuple[str, ...]:
    """The names of the inputs that extents which only data decide follow from."""
    needed = _needed(model.graph, model.decided)
    return tuple(name for name, value in model.inputs if value in needed)


def contradiction(model: ImportedModel, feeds: Mapping[str, Array]) -> str:
    """How extents that only data decide differ in a run on `feeds` from what they are bound to; or nothing.

    Then the network differs from its file: surplus elements are cut, missing ones are zero.
    """
    if not model.bound_decided:
        return ""
    others = {name: size for name, size in model.dims.items() if name not in model.bound_decided}
    try:
        made = extents_decided(import_model(model.path, others, model.given), feeds)
    except ModelError as error:
        return str(error)
    differ = {name: size for name, size in model.bound_decided.items() if made.get(name, size) != size}
    return "; ".join(
        f"{name} is {made[name]} on these inputs, and bound to {differ[name]}" for name in differ
    )


def _needed(graph: Graph, decided: frozenset[str]) -> set[int]:
    """The results that the extents `decided` follow from: of ops that have them, and all before these."""
    needed: set[int] = set()
    for op in reversed(graph.ops):
        on_host = op.row.unit is Unit.HOST
        if op.result in needed or (on_host and symbols_in(op.domain) & decided):
            needed.add(op.result)
            needed.update(access.value for access in op.operands)
    return needed
