"""Mixtures of experts: routing with ties, every activation, weights of reals and of few bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator
from tests.onnx_models import Array

GATED = ("turns", "halves", "apart")
"""How a gate and what it gates lie: swiglu_fusion 1, 2 and 0."""


@dataclass(frozen=True)
class _Product:
    """Weights [experts, out, in], what makes them reals, a bias; each [experts, out, ..] or absent."""

    parts: tuple[Array | None, ...]

    def beside(self, other: "_Product", how: str) -> "_Product":
        """Both as one product, rows in turns or in halves."""
        return _Product(
            tuple(
                None if mine is None or theirs is None else _joined(mine, theirs, how)
                for mine, theirs in zip(self.parts, other.parts, strict=True)
            )
        )


def _joined(mine: Array, theirs: Array, how: str) -> Array:
    if how == "halves":
        return np.concatenate([mine, theirs], axis=1)
    turns: Array = np.stack([mine, theirs], axis=2)
    return turns.reshape(mine.shape[0], -1, *mine.shape[2:])


@dataclass(frozen=True)
class _Sizes:
    tokens: int
    experts: int
    hidden: int
    inner: int


def _sizes(draw: Draw, hidden: int, inner: int) -> _Sizes:
    return _Sizes(draw.one_of([1, draw.size(1, 8)]), draw.size(1, 6), hidden, inner)


def _routed(draw: Draw, chosen: Operator, sizes: _Sizes, dtype: Any) -> None:
    """The input, the scores of the router, and the attributes of the routing."""
    x = draw.reals(sizes.tokens, sizes.hidden, dtype=dtype)
    chosen.feed(x.reshape(1, *x.shape) if draw.flag(0.3) else x)
    shape = (sizes.tokens, sizes.experts)
    ties: Array = draw.integers(0, 2, shape, dtype)
    chosen.feed(ties if draw.flag(0.3) else draw.reals(*shape, dtype=dtype))
    chosen.attributes["k"] = draw.size(1, sizes.experts)
    if draw.flag(0.4):
        chosen.attributes["normalize_routing_weights"] = 1


def _activation(draw: Draw, chosen: Operator) -> str:
    """The activation; how its gate lies, or an empty string where it has none."""
    name = draw.one_of(["relu", "gelu", "silu", "identity", "swiglu", "swiglu", "gated silu"])
    chosen.attributes["activation_type"] = name.removeprefix("gated ")
    if name == "gated silu":
        return "silu apart"
    if name != "swiglu":
        return ""
    how = draw.one_of(GATED)
    chosen.attributes["swiglu_fusion"] = {"turns": 1, "halves": 2, "apart": 0}[how]
    if draw.flag():
        chosen.attributes.update(activation_alpha=1.702, activation_beta=1.0, swiglu_limit=0.5)
    return how


def _mixed(chosen: Operator, products: Sequence[_Product], how: str, rest: Sequence[Array | None]) -> Case:
    """The case of these products: first, second, and a third behind a gate."""
    if how and not how.endswith("apart"):
        products = [products[0].beside(products[2], how), products[1]]
    ours = replace(chosen, inputs=list(chosen.inputs), constants={})
    for product in products:
        for array in product.parts:
            ours.hold(array)
    for array in rest:
        ours.hold(array)
    return ours.case()


def _judged(
    chosen: Operator, products: Sequence[_Product], how: str, rests: Sequence[list[Array | None]]
) -> Case:
    """With what onnxruntime runs instead: it knows a gate in turns with its input only."""
    case = _mixed(chosen, products, how, rests[0])
    if how in ("", "turns"):
        return case
    attributes = {**chosen.attributes, "activation_type": "swiglu", "swiglu_fusion": 1}
    return replace(case, stand_in=_mixed(replace(chosen, attributes=attributes), products, "turns", rests[1]))


def _dense(draw: Draw) -> Case:
    sizes = _sizes(draw, draw.size(1, 9), draw.size(1, 12))
    chosen = Operator("MoE")
    _routed(draw, chosen, sizes, np.float32)
    how = _activation(draw, chosen)
    biased = draw.flag()
    shapes = [(sizes.inner, sizes.hidden), (sizes.hidden, sizes.inner), (sizes.inner, sizes.hidden)]
    products = [
        _Product(
            (
                draw.reals(sizes.experts, rows, columns),
                draw.reals(sizes.experts, rows) if biased else None,
            )
        )
        for rows, columns in shapes[: 3 if how else 2]
    ]
    return _judged(chosen, products, how, [[], []])


def packed(numbers: Array, bits: int) -> Array:
    """Numbers of a few bits, low bits first, every row of the last dim in bytes of its own."""
    count = 8 // bits
    short = -numbers.shape[-1] % count
    whole = np.pad(numbers, [*[(0, 0)] * (numbers.ndim - 1), (0, short)])
    parts: Array = whole.reshape(*whole.shape[:-1], -1, count).astype(np.uint8)
    places: Array = np.arange(0, 8, bits, dtype=np.uint8)
    joined: Array = np.bitwise_or.reduce(parts << places, axis=-1)
    return joined


def _quantized(draw: Draw) -> Case:
    bits = draw.one_of([2, 4, 8])
    block = draw.one_of([0, 16, 32])
    dtype = draw.one_of([np.float32, np.float16])
    sizes = _sizes(draw, 32 * draw.size(1, 2), 32 * draw.size(1, 2))
    chosen = Operator("QMoE", attributes={"expert_weight_bits": bits})
    if block:
        chosen.attributes["block_size"] = block
    _routed(draw, chosen, sizes, dtype)
    how = _activation(draw, chosen)
    biased, pointed, most = draw.flag(), draw.flag(), (1 << bits) - 1
    products, zeros = [], []
    shapes = [(sizes.inner, sizes.hidden), (sizes.hidden, sizes.inner), (sizes.inner, sizes.hidden)]
    for rows, columns in shapes[: 3 if how else 2]:
        blocks = (columns // block,) if block else ()
        weights = packed(draw.integers(0, most, (sizes.experts, rows, columns)), bits)
        scales = (draw.positive(sizes.experts, rows, *blocks, low=0.2) / (1 << bits)).astype(dtype)
        bias = draw.reals(sizes.experts, rows, dtype=dtype) if biased else None
        products.append(_Product((weights, scales, bias)))
        zeros.append(_Product((draw.integers(0, most, (sizes.experts, rows, *blocks)),)))
    shape = (sizes.tokens, sizes.experts)
    routing = draw.positive(*shape, dtype=dtype, low=0.1, high=1.0) if draw.flag(0.3) else None

    def rest(how: str) -> list[Array | None]:
        together = [zeros[0].beside(zeros[2], how), zeros[1]] if how in ("turns", "halves") else zeros
        points = [zero.parts[0] for zero in together]
        held = [packed(point, bits) if pointed and point is not None else None for point in points]
        return [*[None] * (9 - 3 * len(together)), *held, *[None] * (3 - len(held)), routing]

    case = _judged(chosen, products, how, [rest(how), rest("turns" if how else "")])
    # Beside such blocks onnxruntime rounds what is multiplied with them to 8 bits.
    coarse = (bits == 8 and block) or (bits == 2 and block == 32)
    return replace(case, tolerance=5e-2) if coarse else case


MIXTURES: Mapping[str, Family] = {"MoE": _dense, "QMoE": _quantized}
