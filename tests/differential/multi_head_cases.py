"""Attention of com.microsoft: projected inputs apart and packed, masks of every shape, a past, a buffer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator
from tests.onnx_models import Array


def _mask(draw: Draw, shape: str, batch: int, queries: int, keys: int) -> Array:
    """A mask of one of its shapes."""
    ends = draw.integers(1, keys, (batch,))
    match shape:
        case "ends":
            return ends
        case "ends and starts":
            return np.concatenate([ends, draw.integers(0, keys // 2, (batch,))])
        case "packed ends":
            return np.concatenate([ends, *[np.arange(batch + 1, dtype=np.int32)] * 2])
        case "keys":
            return draw.integers(0, 1, (batch, keys))
        case "queries":
            return draw.integers(0, 1, (batch, queries, keys))
    return np.ones((draw.one_of([1, batch]), 1), np.int32)


def _shared(draw: Draw, chosen: Operator) -> None:
    if draw.flag(0.25):
        chosen.attributes["scale"] = 0.3
    if draw.flag(0.3):
        chosen.attributes["mask_filter_value"] = draw.one_of([-5.0, -1e9, float(np.finfo(np.float32).min)])


def _bias(draw: Draw, batch: int, heads: int, queries: int, keys: int) -> Array:
    return draw.reals(draw.one_of([1, batch]), draw.one_of([1, heads]), queries, keys)


def _fed(
    chosen: Operator, parts: Sequence[Array | None], rest: Sequence[Array | None], held: bool
) -> Operator:
    """The operator with queries, keys and values, then its bias, held or fed, then the other inputs."""
    filled = replace(chosen, inputs=[], feeds={}, shapes={}, constants={})
    for part in parts:
        filled.feed(part)
    (filled.hold if held else filled.feed)(rest[0])
    for array in rest[1:]:
        filled.feed(array)
    return filled


def _multi_head(draw: Draw) -> Case:
    batch, heads, size = draw.size(1, 3), draw.size(1, 3), draw.size(1, 9)
    form = draw.one_of(["apart", "apart", "projected keys", "packed keys", "packed"])
    queries = draw.one_of([1, draw.size(1, 5)])
    keys = queries if form == "packed" else draw.one_of([queries, draw.size(1, 6)])
    # onnxruntime asks one head size of values with a past, and of keys that are projected already.
    past = draw.one_of([0, draw.size(1, 4)]) if form == "apart" else 0
    width = draw.size(1, 9) if form == "apart" and not past and draw.flag(0.3) else size
    chosen = Operator("MultiHeadAttention", attributes={"num_heads": heads})
    parts = [draw.reals(batch, queries, heads * size), draw.reals(batch, keys, heads * size)]
    parts.append(draw.reals(batch, keys, heads * width))
    if form == "projected keys":
        parts[1:] = [draw.reals(batch, heads, keys, size) for _ in range(2)]
    buffer = past if past and queries == keys == 1 and draw.flag() else 0
    before = draw.size(0, past - 1) if buffer else past
    total = before + keys
    shape = draw.one_of(["ends", "packed ends", "keys", "queries"])
    rest = [
        draw.reals(heads * (2 * size + width)) if draw.flag() else None,
        _mask(draw, shape, batch, queries, total) if draw.flag() else None,
        _bias(draw, batch, heads, queries, total) if draw.flag(0.3) else None,
        *(draw.reals(batch, heads, past, size) if past else None for _ in range(2)),
        np.array([before], np.int32) if buffer else None,
    ]
    _shared(draw, chosen)
    if draw.flag(0.4):
        chosen.attributes["unidirectional"] = 1
    # onnxruntime reads what is not there where a past comes in and does not go out.
    outputs = [True, *[past > 0 or draw.flag(0.6)] * 2, not buffer and draw.flag(0.2)]
    held = draw.flag()
    case = _fed(chosen, parts, rest, held).case(outputs, {3: np.float32})
    if not form.startswith("packed"):
        return case
    # onnxruntime has no kernel for packed forms on processors: it gets the parts.
    by_head = [part.reshape(batch, -1, heads, size) for part in parts]
    packed: list[Array | None] = [parts[0], np.stack(by_head[1:], axis=3), None]
    if form == "packed":
        packed = [np.stack(by_head, axis=3), None, None]
    return replace(_fed(chosen, packed, rest, held).case(outputs, {3: np.float32}), stand_in=case)


def _projection(
    draw: Draw, masks: Sequence[str]
) -> tuple[Operator, dict[str, Array | None], list[int], bool]:
    """What Attention and QAttention share: inputs, hidden sizes, whether a present is wanted."""
    batch, heads, size = draw.size(1, 3), draw.size(1, 3), draw.size(1, 8)
    sequence, past = draw.size(1, 5), draw.one_of([-1, -1, 0, 2, 3])
    total = max(past, 0) + sequence
    chosen = Operator("Attention", attributes={"num_heads": heads})
    _shared(draw, chosen)
    if draw.flag(0.4):
        chosen.attributes["unidirectional"] = 1
    given = {
        "x": draw.reals(batch, sequence, draw.size(1, 7)),
        "mask": _mask(draw, draw.one_of(masks), batch, sequence, total) if draw.flag(0.7) else None,
        "past": draw.reals(2, batch, heads, past, size) if past >= 0 else None,
        "bias": _bias(draw, batch, heads, sequence, total) if draw.flag(0.3) and past < 0 else None,
    }
    return chosen, given, [heads * size] * 3, past >= 0 or draw.flag()


def _attention(draw: Draw) -> Case:
    masks = ["ends", "ends and starts", "packed ends", "keys", "queries", "nothing"]
    chosen, given, sizes, present = _projection(draw, masks)
    if not present and draw.flag(0.3):
        sizes[2] = chosen.attributes["num_heads"] * draw.size(1, 8)
        chosen.attributes["qkv_hidden_sizes"] = sizes
    x = given["x"]
    assert x is not None
    chosen.feed(x)
    chosen.either(draw, draw.reals(x.shape[2], sum(sizes)), held=0.8)
    chosen.either(draw, draw.reals(sum(sizes)), held=0.8)
    for name in ("mask", "past", "bias"):
        chosen.feed(given[name])
    return chosen.case([True, present])


def _quantized_attention(draw: Draw) -> Case:
    masks = ["ends", "ends and starts", "keys", "queries"]
    chosen, given, sizes, present = _projection(draw, masks)
    chosen.op_type = "QAttention"
    x, width = given["x"], sum(sizes)
    assert x is not None
    kind = draw.one_of([np.uint8, np.int8])
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    chosen.feed(draw.integers(0, 255, x.shape, np.uint8))
    chosen.hold(draw.integers(low, high, (x.shape[2], width), kind))
    chosen.hold(draw.reals(width))
    chosen.hold(np.array(0.01, np.float32))
    scales = draw.one_of([(), (1,), (width,)])
    chosen.hold(draw.positive(*scales, low=0.005, high=0.02))
    chosen.feed(given["mask"])
    chosen.hold(np.array(draw.size(100, 150), np.uint8) if draw.flag(0.7) else None)
    zeros = draw.one_of([(), (1,), (width,)])
    chosen.hold(draw.integers(low // 4, high // 4, zeros, kind) if draw.flag() else None)
    chosen.feed(given["past"])
    return chosen.case([True, present])


def _decoder_masked(draw: Draw) -> Case:
    width = draw.one_of([1, 1, 2, 3])
    groups, heads, size = draw.size(1, 2), draw.size(1, 3), draw.size(1, 8)
    batch = groups * width
    chosen = Operator("DecoderMaskedMultiHeadAttention", attributes={"num_heads": heads})
    _shared(draw, chosen)
    longest = draw.size(2, 7)
    crossed = width == 1 and draw.flag(0.3)
    past = draw.size(0, longest - 1)
    total = longest if crossed else past + 1
    chosen.feed(draw.reals(batch, 1, heads * size))
    shape = (batch, heads, longest, size) if crossed else (batch, 1, heads * size)
    for _ in range(2):
        chosen.feed(draw.reals(*shape))
    chosen.feed(_mask(draw, "keys", batch, 1, total) if draw.flag() else None)
    # With beams onnxruntime reads a bias as if it had one row.
    bias = draw.reals(1, heads, 1, total)
    chosen.feed(bias if draw.flag(0.3) and not crossed else None)
    for _ in range(2):
        chosen.feed(None if crossed else draw.reals(batch, heads, longest, size))
    told = np.array([past], np.int32)
    (chosen.feed if draw.flag() else chosen.hold)(None if crossed else told)
    chosen.hold(np.array([width], np.int32) if width > 1 else None)
    beams = draw.integers(0, width - 1, (groups, width, longest))
    chosen.feed(beams if width > 1 or (not crossed and draw.flag(0.3)) else None)
    chosen.either(draw, draw.reals(3 * heads * size) if draw.flag() else None)
    outputs = [True, not crossed, not crossed, False]
    if not crossed:
        chosen.attributes["past_present_share_buffer"] = 1
    # Rows that a mask empties are all rounding of what it adds.
    return chosen.case(outputs, tolerance=1e-3)


MULTI_HEAD: Mapping[str, Family] = {
    "Attention": _attention,
    "DecoderMaskedMultiHeadAttention": _decoder_masked,
    "MultiHeadAttention": _multi_head,
    "QAttention": _quantized_attention,
}
