"""Rotary embeddings, activations with a bias, products with transposes: what optimizers fuse."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator


def _rotary_input(draw: Draw, chosen: Operator, dtype: Any) -> tuple[int, int, int]:
    """Batch, sequence and half the width of the rotation; the operator gets its input and attributes."""
    batch, sequence, heads, half = draw.size(1, 3), draw.size(1, 5), draw.size(1, 3), draw.size(1, 5)
    rest = draw.one_of([0, 0, draw.size(1, 6)])
    size, flat = 2 * half + rest, draw.flag()
    if rest:
        chosen.attributes["rotary_embedding_dim"] = 2 * half
    if rest or chosen.domain == "" or chosen.op_type != "RotaryEmbedding" or draw.flag():
        chosen.attributes["num_heads"] = heads
    if draw.flag(0.4):
        chosen.attributes["interleaved"] = 1
    shape = (batch, sequence, heads * size) if flat else (batch, heads, sequence, size)
    chosen.feed(draw.reals(*shape, dtype=dtype))
    return batch, sequence, half


def _rotary(draw: Draw) -> Case:
    dtype = draw.one_of([np.float32, np.float16])
    chosen = Operator("RotaryEmbedding")
    batch, sequence, half = _rotary_input(draw, chosen, dtype)
    longest = sequence + draw.size(0, 5)
    rows = draw.integers(0, longest - 1, (batch, sequence), np.int64)
    first = draw.integers(0, longest - sequence, (1,), np.int64)
    chosen.either(draw, draw.one_of([rows, first]), held=0.3)
    held = 1.0 if draw.flag(0.8) else 0.0
    for _ in range(2):
        chosen.either(draw, draw.reals(longest, half, dtype=dtype), held)
    if draw.flag(0.2):
        chosen.attributes["scale"] = 0.5
    return chosen.case()


def _multimodal_rotary(draw: Draw) -> Case:
    dtype = draw.one_of([np.float32, np.float16])
    chosen = Operator("MRotaryEmbedding")
    batch, sequence, half = _rotary_input(draw, chosen, dtype)
    longest = sequence + draw.size(0, 5)
    layout = draw.size(0, 1)
    height, width = (draw.size(0, half // 3) for _ in range(2))
    chosen.attributes["mrope_section"] = [half - height - width, height, width]
    chosen.attributes["mrope_layout"] = layout
    chosen.feed(draw.integers(0, longest - 1, (3, batch, sequence), np.int64))
    for _ in range(2):
        chosen.hold(draw.reals(longest, half, dtype=dtype))
    return chosen.case()


def _standard_rotary(draw: Draw) -> Case:
    dtype = draw.one_of([np.float32, np.float16])
    chosen = Operator("RotaryEmbedding", domain="", opset=23)
    batch, sequence, half = _rotary_input(draw, chosen, dtype)
    longest = sequence + draw.size(0, 5)
    told = draw.flag(0.6)
    shape = (longest, half) if told else (batch, sequence, half)
    for _ in range(2):
        chosen.either(draw, draw.reals(*shape, dtype=dtype))
    chosen.feed(draw.integers(0, longest - 1, (batch, sequence), np.int64) if told else None)
    return chosen.case()


def _activation(op_type: str, *, bias: str) -> Family:
    """`bias` is "never", "always" or "maybe"."""

    def family(draw: Draw) -> Case:
        dtype = draw.one_of([np.float32, np.float16])
        # A few elements, so that the largest is one that the activation lets through.
        shape = [draw.size(1, 4) for _ in range(draw.size(0, 3))] + [draw.size(8, 12)]
        chosen = Operator(op_type)
        chosen.feed(draw.reals(*shape, dtype=dtype, scale=2.0))
        if bias == "always" or (bias == "maybe" and draw.flag()):
            chosen.either(draw, draw.reals(shape[-1], dtype=dtype))
        if op_type == "QuickGelu" and draw.flag():
            chosen.attributes["alpha"] = draw.one_of([1.0, 0.7])
        return chosen.case()

    return family


def _fused_matmul(draw: Draw) -> Case:
    dtype = draw.one_of([np.float32, np.float64])
    rows, depth, columns = (draw.size(1, 6) for _ in range(3))
    batch = tuple(draw.size(1, 3) for _ in range(draw.size(0, 2)))
    chosen = Operator("FusedMatMul")
    for side, (left, right) in (("A", (rows, depth)), ("B", (depth, columns))):
        turned, first = draw.flag(), bool(batch) and draw.flag(0.4)
        if turned:
            left, right = right, left
            chosen.attributes[f"trans{side}"] = 1
        if first:
            chosen.attributes[f"transBatch{side}"] = 1
        shape = (left, *batch, right) if first else (*batch, left, right)
        chosen.either(draw, draw.reals(*shape, dtype=dtype), held=0.3)
    if draw.flag(0.4):
        chosen.attributes["alpha"] = 0.5
    if not chosen.feeds:
        return _fused_matmul(draw)
    return chosen.case()


def _quantized_where(draw: Draw) -> Case:
    kinds: list[Any] = [np.uint8, np.int8]
    kind = draw.one_of(kinds)
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    shape = tuple(draw.size(1, 5) for _ in range(draw.size(1, 3)))
    chosen = Operator("QLinearWhere")
    given = [tuple(draw.one_of([extent, extent, 1]) for extent in shape) for _ in range(3)]
    chosen.feed(draw.integers(0, 1, given[0], np.bool_))
    for index in (1, 2):
        chosen.feed(draw.integers(low, high, given[index], kind))
        chosen.hold(draw.positive(low=0.01, high=0.05))
        chosen.hold(draw.integers(low // 2, high // 2, (), kind))
    chosen.hold(draw.positive(low=0.01, high=0.05))
    chosen.hold(draw.integers(low // 2, high // 2, (), kind))
    return chosen.case(steps=1)


FUSED: Mapping[str, Family] = {
    "BiasGelu": _activation("BiasGelu", bias="always"),
    "FastGelu": _activation("FastGelu", bias="maybe"),
    "FusedMatMul": _fused_matmul,
    "Gelu": _activation("Gelu", bias="never"),
    "MRotaryEmbedding": _multimodal_rotary,
    "QLinearWhere": _quantized_where,
    "QuickGelu": _activation("QuickGelu", bias="never"),
    "RotaryEmbedding": _rotary,
    "RotaryEmbedding of the standard": _standard_rotary,
}
