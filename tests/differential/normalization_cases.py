"""Normalizations of language models: of a sum, of embeddings, by the root of the mean square."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator
from tests.onnx_models import Array


def _epsilon(draw: Draw, chosen: Operator) -> None:
    if draw.flag():
        chosen.attributes["epsilon"] = draw.one_of([1e-5, 1e-3])


def _skip(op_type: str, *, simplified: bool) -> Family:
    def family(draw: Draw) -> Case:
        dtype = draw.one_of([np.float32, np.float32, np.float16])
        size, sequence = draw.size(2, 12), draw.size(1, 4)
        batch = draw.one_of([(), (draw.size(1, 3),)])
        chosen = Operator(op_type)
        _epsilon(draw, chosen)
        shape = (*batch, sequence, size)
        skipped = draw.one_of([shape, shape[-2:], (*[1] * len(batch), *shape[-2:])])
        wide = draw.one_of([1.0, 1.0, 300.0])
        names = ("batch", None, None) if batch and draw.flag(0.3) and skipped != shape else ()
        chosen.feed(draw.reals(*shape, dtype=dtype, scale=wide), names)
        chosen.feed(draw.reals(*skipped, dtype=dtype, scale=wide))
        chosen.either(draw, draw.reals(size, dtype=dtype))
        if not simplified:
            chosen.either(draw, draw.reals(size, dtype=dtype) if draw.flag() else None)
        chosen.either(draw, draw.reals(size, dtype=dtype) if draw.flag() else None)
        return chosen.case([True, draw.flag(0.3), draw.flag(0.3), draw.flag(0.6)])

    return family


def _root_mean_square(op_type: str, opset: int, outputs: int) -> Family:
    def family(draw: Draw) -> Case:
        dtypes: list[Any] = [np.float32, np.float16, np.float64]
        dtype = draw.one_of(dtypes)
        shape = [draw.size(1, 6) for _ in range(draw.size(1, 4))]
        axis = draw.size(0, len(shape) - 1)
        chosen = Operator(op_type, domain="", opset=opset)
        _epsilon(draw, chosen)
        if axis != len(shape) - 1 or draw.flag():
            chosen.attributes["axis"] = draw.one_of([axis, axis - len(shape)])
        if draw.flag(0.3):
            chosen.attributes["stash_type"] = 1
        chosen.feed(draw.reals(*shape, dtype=dtype, scale=draw.one_of([1.0, 300.0])))
        chosen.either(draw, draw.reals(*draw.one_of([shape[axis:], shape[-1:]]), dtype=dtype))
        return chosen.case([True, outputs > 1 and draw.flag()])

    return family


def _layer(draw: Draw) -> Case:
    dtypes: list[Any] = [np.float32, np.float16, np.float64]
    dtype = draw.one_of(dtypes)
    shape = [draw.size(2, 6) for _ in range(draw.size(1, 4))]
    axis = draw.size(0, len(shape) - 1)
    chosen = Operator("LayerNormalization", domain="", opset=17)
    _epsilon(draw, chosen)
    chosen.attributes["axis"] = draw.one_of([axis, axis - len(shape)])
    # Around two: a mean of nearly nothing would be all rounding.
    chosen.feed(draw.reals(*shape, dtype=dtype, scale=draw.one_of([1.0, 300.0])) + dtype(2))
    chosen.either(draw, draw.reals(*shape[axis:], dtype=dtype))
    chosen.either(draw, draw.reals(*shape[axis:], dtype=dtype) if draw.flag() else None)
    # Statistics of doubles go out as singles.
    return chosen.case([True, draw.flag(), draw.flag()], tolerance=2e-5 if dtype is np.float64 else None)


def _embedded(draw: Draw, op_type: str) -> tuple[Operator, list[Array | None], list[Array], tuple[int, int]]:
    """The operator with its ids, tables of words, positions and segments, gamma and beta, and a shape."""
    batch, sequence, size = draw.size(1, 3), draw.size(1, 6), draw.size(2, 10)
    words, places = draw.size(2, 12), sequence + draw.size(0, 3)
    segments = draw.flag(0.6)
    chosen = Operator(op_type)
    _epsilon(draw, chosen)
    chosen.feed(draw.integers(0, words - 1, (batch, sequence)))
    chosen.feed(draw.integers(0, 1, (batch, sequence)) if segments else None)
    tables: list[Array | None] = [draw.reals(words, size), draw.reals(places, size)]
    tables.append(draw.reals(2, size) if segments else None)
    return chosen, tables, [draw.reals(size), draw.reals(size)], (batch, sequence)


def _embed(draw: Draw) -> Case:
    chosen, tables, vectors, shape = _embedded(draw, "EmbedLayerNormalization")
    for table in (*tables, *vectors):
        chosen.hold(table)
    masked, summed = draw.flag(), draw.flag(0.4)
    chosen.feed(draw.integers(0, 1, shape) if masked else None)
    positions = draw.integers(0, shape[1] - 1, draw.one_of([shape, (1, shape[1])]))
    chosen.feed(positions if draw.flag(0.4) else None)
    if draw.flag(0.3):
        chosen.attributes["mask_index_type"] = int(masked)
    return chosen.case([True, True, summed])


def _quantized_embed(draw: Draw) -> Case:
    chosen, tables, vectors, shape = _embedded(draw, "QEmbedLayerNormalization")
    kinds: list[Any] = [np.uint8, np.int8]
    kind = draw.one_of(kinds)
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    parts = [*tables, *vectors]
    for table in parts:
        chosen.hold(None if table is None else draw.integers(low, high, table.shape, kind))
    chosen.feed(draw.integers(0, 1, shape) if draw.flag() else None)
    for table in parts:
        chosen.hold(None if table is None else draw.positive(low=0.01, high=0.05))
    for table in parts:
        chosen.hold(None if table is None else draw.integers(low, high, (), kind))
    return chosen.case([True, True])


NORMALIZATIONS: Mapping[str, Family] = {
    "EmbedLayerNormalization": _embed,
    "LayerNormalization": _layer,
    "QEmbedLayerNormalization": _quantized_embed,
    "RMSNormalization": _root_mean_square("RMSNormalization", 23, 1),
    "SimplifiedLayerNormalization": _root_mean_square("SimplifiedLayerNormalization", 17, 2),
    "SkipLayerNormalization": _skip("SkipLayerNormalization", simplified=False),
    "SkipSimplifiedLayerNormalization": _skip("SkipSimplifiedLayerNormalization", simplified=True),
}
