"""The standard's Attention: rank 3 and 4, grouped heads, masks of every rank and type, past, cap, scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator
from tests.onnx_models import Array


def _attention(opset: int) -> Family:
    def family(draw: Draw) -> Case:
        dtype: Any = draw.one_of([np.float32, np.float32, np.float16])
        batch, groups, size = draw.size(1, 3), draw.size(1, 2), draw.size(1, 8)
        heads = groups * draw.size(1, 3)
        queries = draw.size(1, 5)
        keys = draw.one_of([queries, draw.size(1, 6)])
        width = draw.one_of([size, draw.size(1, 8)])
        past = draw.one_of([0, 0, draw.size(1, 4)])
        if past and queries == 1:
            # onnxruntime takes one query for the last, whatever number of keys come with it.
            keys = 1
        chosen = Operator("Attention", domain="", opset=opset)
        flat = draw.flag()
        if flat:
            chosen.attributes.update(q_num_heads=heads, kv_num_heads=groups)
        for count, length, each in ((heads, queries, size), (groups, keys, size), (groups, keys, width)):
            shape = (batch, length, count * each) if flat else (batch, count, length, each)
            chosen.feed(draw.reals(*shape, dtype=dtype))
        total = past + keys
        chosen.feed(_mask(draw, (batch, heads, queries, total), dtype) if draw.flag(0.6) else None)
        for each in (size, width):
            chosen.feed(draw.reals(batch, groups, past, each, dtype=dtype) if past else None)
        if opset > 23:
            told = not past and draw.flag(0.3)
            chosen.feed(draw.integers(1, keys, (batch,), np.int64) if told else None)
        _attributes(draw, chosen)
        outputs = [True, bool(past), bool(past), draw.flag(0.3)]
        if outputs[3]:
            # Masked scores are minus infinity in the standard, very low in onnxruntime.
            chosen.attributes["qk_matmul_output_mode"] = draw.one_of([0, 1, 3])
        return chosen.case(outputs)

    return family


def _mask(draw: Draw, shape: tuple[int, int, int, int], dtype: Any) -> Array:
    """A mask that broadcasts to `shape`, of bools (no row without a key) or of scores."""
    batch, heads, queries, keys = shape
    given = draw.one_of(
        [
            (queries, keys),
            (draw.one_of([1, heads]), queries, keys),
            (draw.one_of([1, batch]), draw.one_of([1, heads]), queries, keys),
        ]
    )
    if draw.flag():
        return draw.reals(*given, dtype=dtype)
    mask = draw.chance.random(given) < 0.7
    mask[..., 0] = True
    return mask


def _attributes(draw: Draw, chosen: Operator) -> None:
    if draw.flag(0.4):
        chosen.attributes["is_causal"] = 1
    if draw.flag(0.3):
        chosen.attributes["scale"] = 0.3
    if draw.flag(0.3):
        chosen.attributes["softcap"] = draw.one_of([0.5, 2.0])
    if draw.flag(0.2):
        chosen.attributes["softmax_precision"] = 1


ATTENTION: Mapping[str, Family] = {
    "Attention of opset 23": _attention(23),
    "Attention of opset 24": _attention(24),
}
