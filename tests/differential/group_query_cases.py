"""com.microsoft GroupQueryAttention: prompts, chunks of prompts, single tokens; caches of all lengths."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator
from tests.onnx_models import Array


@dataclass(frozen=True)
class _Lengths:
    """Of queries, keys, cache (-1 for none) and the whole; tokens of each row of the batch."""

    queries: int
    keys: int
    cache: int
    total: int
    rows: Array


def _lengths(draw: Draw, batch: int) -> _Lengths:
    kind = draw.one_of(["prompt", "prompt with cache", "chunk", "token", "token in buffer", "borrowed"])
    sequence = draw.size(2, 6)
    if kind == "prompt":
        rows = _full_or_ragged(draw, batch, sequence, 1)
        return _Lengths(sequence, sequence, draw.one_of([-1, 0]), sequence, rows)
    if kind == "prompt with cache":
        rows = _full_or_ragged(draw, batch, sequence, 1)
        return _Lengths(sequence, sequence, sequence + draw.size(0, 4), sequence, rows)
    cache = draw.size(1, 6)
    if kind == "token":
        return _Lengths(1, 1, cache, cache + 1, _full_or_ragged(draw, batch, cache + 1, 1))
    if kind == "token in buffer":
        total = draw.size(2, cache + 1)
        return _Lengths(1, 1, cache + 1, total, _full_or_ragged(draw, batch, total, 1))
    if kind == "borrowed":
        cache += sequence
        rows = np.array([draw.one_of([cache, draw.size(sequence, cache)])])
        return _Lengths(sequence, 0, cache, cache, rows)
    total = cache + sequence
    spare = draw.one_of([0, total])
    return _Lengths(sequence, sequence, cache + spare, cache + sequence, np.array([total]))


def _full_or_ragged(draw: Draw, batch: int, total: int, least: int) -> Array:
    rows = np.full(batch, total)
    if draw.flag():
        rows[1:] = draw.integers(least, total, (batch - 1,))
    return rows


def _group_query(draw: Draw) -> Case:
    dtype = draw.one_of([np.float32, np.float32, np.float16])
    batch, groups, size = draw.one_of([1, 1, 2, 3]), draw.size(1, 3), draw.one_of([8, 16, 32])
    heads = groups * draw.size(1, 3)
    lengths = _lengths(draw, batch)
    batch = len(lengths.rows)
    chosen = Operator("GroupQueryAttention")
    chosen.attributes.update(num_heads=heads, kv_num_heads=groups)
    packed = lengths.keys == lengths.queries and draw.flag(0.3)
    natural = lengths.total == max(lengths.cache, 0) + lengths.keys
    named = natural and lengths.keys > 0 and draw.flag(0.3)
    new = ("batch", "sequence", None) if named else ()
    if packed:
        chosen.feed(draw.reals(batch, lengths.queries, (heads + 2 * groups) * size, dtype=dtype), new)
        chosen.feed(None)
        chosen.feed(None)
    else:
        chosen.feed(draw.reals(batch, lengths.queries, heads * size, dtype=dtype), new)
        for _ in range(2):
            chosen.feed(draw.reals(batch, lengths.keys, groups * size, dtype=dtype), new)
    # onnxruntime takes a quantized cache only where one comes in. A step of four bits is so large that the
    # rounding of f16 before it would show.
    steps = [0, 0, 8, 4] if dtype is np.float32 else [0, 0, 8]
    bits = draw.one_of(steps) if lengths.cache >= 0 and lengths.keys else 0
    old = ("batch", None, "past", None) if named else ()
    for _ in range(2):
        chosen.feed(_past(draw, (batch, groups, lengths.cache, size), bits, dtype), old)
    if named or draw.flag():
        chosen.feed((lengths.rows - 1).astype(np.int32), ("batch",) if named else ())
    else:
        chosen.hold((lengths.rows - 1).astype(np.int32))
    total = np.array(lengths.total, np.int32).reshape(draw.one_of([(), (1,)]))
    (chosen.feed if named or (natural and draw.flag()) else chosen.hold)(total)
    _rotary(draw, chosen, size, lengths, dtype)
    if draw.flag(0.3):
        shape = (draw.one_of([1, batch]), draw.one_of([1, heads]), lengths.queries, lengths.total)
        chosen.feed(draw.reals(*shape, dtype=dtype))
    else:
        chosen.feed(None)
    chosen.either(draw, draw.reals(heads, dtype=dtype) if draw.flag(0.25) else None)
    _scales(draw, chosen, (groups, size), bits)
    # onnxruntime reads what is not there where a cache comes in and does not go out.
    outputs = [True, lengths.cache >= 0 or draw.flag(0.8), False, False]
    outputs[2] = outputs[1]
    _attributes(draw, chosen, outputs, lengths)
    # One step of a quantized cache more or less, in either half of a byte, is no difference.
    return chosen.case(outputs, tolerance=2e-2 if bits else None, steps=17 if bits == 4 else 1)


def _past(draw: Draw, shape: tuple[int, int, int, int], bits: int, dtype: type) -> Array | None:
    """A cache of reals or of steps; None for a negative length."""
    if shape[2] < 0:
        return None
    match bits:
        case 8:
            return draw.integers(-128, 127, shape, np.int8)
        case 4:
            return draw.integers(0, 255, (*shape[:3], shape[3] // 2), np.uint8)
    return draw.reals(*shape, dtype=dtype)


def _scales(draw: Draw, chosen: Operator, shape: tuple[int, int], bits: int) -> None:
    """What a step of a quantized cache is worth, in the whole or in a channel."""
    kind = draw.one_of(["PER_TENSOR", "PER_CHANNEL"])
    for name in ("k", "v"):
        given = (1,) if kind == "PER_TENSOR" else (1, shape[0], 1, shape[1])
        spread = draw.positive(*given, low=0.02, high=0.04) * (16 if bits == 4 else 1)
        chosen.hold(spread.astype(np.float32) if bits else None)
        if bits:
            chosen.attributes[f"{name}_quant_type"] = kind
    if bits:
        chosen.attributes["kv_cache_bit_width"] = bits


def _rotary(draw: Draw, chosen: Operator, size: int, lengths: _Lengths, dtype: type) -> None:
    if size % 16 or draw.flag(0.4) or not lengths.keys:
        for _ in range(3):
            chosen.feed(None)
        return
    chosen.attributes["do_rotary"] = 1
    if draw.flag(0.3):
        chosen.attributes["rotary_interleaved"] = 1
    width = draw.one_of([size // 2, 8])
    longest = max(lengths.cache, lengths.total) + draw.size(0, 5)
    held = draw.flag(0.8)
    for _ in range(2):
        (chosen.hold if held else chosen.feed)(draw.reals(longest, width, dtype=dtype))
    batch = len(lengths.rows)
    if draw.flag(0.25):
        first = lengths.queries == lengths.total
        high = longest - (lengths.queries if first else 1)
        chosen.feed(draw.integers(0, high, (batch, lengths.queries), np.int64))
    else:
        chosen.feed(None)


def _attributes(draw: Draw, chosen: Operator, outputs: list[bool], lengths: _Lengths) -> None:
    if draw.flag(0.25):
        chosen.attributes["scale"] = 0.3
    if draw.flag(0.25):
        chosen.attributes["softcap"] = draw.one_of([0.5, 2.0])
    if draw.flag(0.2):
        chosen.attributes["smooth_softmax"] = 1
    full = bool((lengths.rows == lengths.total).all())
    if draw.flag(0.2):
        chosen.attributes["causal"] = 0
    elif draw.flag(0.3) and full:
        chosen.attributes["local_window_size"] = draw.size(1, 4)
    if full and draw.flag(0.2):
        chosen.attributes["qk_output"] = draw.size(1, 2)
        outputs[1:] = [True, True, True]


GROUP_QUERY: Mapping[str, Family] = {"GroupQueryAttention": _group_query}
