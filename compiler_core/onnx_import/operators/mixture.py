"""com.microsoft MoE and QMoE: mixtures of experts, routed by structured ops.

An expert is chosen for a token where fewer than k others score higher, so routing needs no sort:

    place[t, e] = number of experts d with (score[t, d], d) > (score[t, e], e)        chosen where place < k

What the chosen experts compute has two forms of the same meaning. Where the tokens choose fewer experts than
there are, their weights are gathered, a set a choice; otherwise every expert works on every token, and the
shares of those not chosen are zero.

    gathered    a[t, s, f] = act(sum over h of x[t, h] w1[expert[t, s], f, h])     s counts the choices
    dense       a[t, e, f] = act(sum over h of x[t, h] w1[e, f, h])            share[t, e] = 0 if not chosen
    both        y[t, h] = sum over s, f of share[t, s] a[t, s, f] w2[.., h, f]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import ceildiv, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr, axis_index
from tilewright.compiler_core.onnx_import.building.builder import Operand, Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.elementwise import gelu
from tilewright.compiler_core.onnx_import.operators.gathering import gather
from tilewright.compiler_core.onnx_import.operators.heads import Mask, masked_softmax, with_mask
from tilewright.compiler_core.onnx_import.operators.packed_weights import unpacked
from tilewright.compiler_core.onnx_import.operators.quantized import dequantize
from tilewright.compiler_core.onnx_import.operators.reduction import softmax
from tilewright.compiler_core.onnx_import.operators.views import slice_view


@dataclass(frozen=True)
class _Layer:
    """Weights [experts, out, in] and a bias [experts, out] of one product."""

    weights: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class _Routes:
    """Shares [tokens, slots]; a slot is an expert, or a choice, its expert in `chosen` [tokens, slots]."""

    share: Tensor
    chosen: Tensor | None


def _moe(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """MoE: shares are the softmax over all experts, over the chosen ones with normalize_routing_weights."""
    layers = [
        _Layer(weights, optional(inputs, index + 1))
        for index in (2, 4, 6)
        if (weights := optional(inputs, index)) is not None
    ]
    scores = required(inputs, 1)
    chosen = _places(context, scores)
    allowed = _below(context, chosen, _count(node, scores))
    if node.integer("normalize_routing_weights", 0):
        mask = Mask(allowed=allowed)
        shares = masked_softmax(context, with_mask(context, scores, mask), mask)
    else:
        shares = _only(context, allowed, softmax(context, scores, [1]))
    return _mixed(context, node, required(inputs, 0), layers, (shares, chosen))


def _quantized_moe(context: Context, node: Node, inputs: Inputs) -> Tensor:
    """QMoE: weights of few bits; shares are the softmax over the chosen, or router_weights."""
    if node.text("quant_type", "int") != "int":
        raise ModelError(f"quant_type {node.text('quant_type')!r} is not supported; only 'int' is")
    scores, given = required(inputs, 1), optional(inputs, 14)
    places = _places(context, scores)
    allowed = _below(context, places, _count(node, scores))
    if given is None:
        mask = Mask(allowed=allowed)
        shares = masked_softmax(context, with_mask(context, scores, mask), mask)
    else:
        shares = _only(context, allowed, context.builder.elementwise("relu", given))
        if node.integer("normalize_routing_weights", 0):
            total = context.builder.reduce("sum", shares, [1], keep=True)
            shares = context.builder.elementwise("div", shares, total)
    layers = []
    for index, name in ((2, "fc1"), (5, "fc2"), (8, "fc3")):
        if optional(inputs, index) is not None:
            bits = node.integer(f"{name}_expert_weight_bits", node.integer("expert_weight_bits", 4))
            parts = [optional(inputs, place) for place in (index, index + 1, 11 + index // 3)]
            weights = _dequantized(context, parts, bits, node.integer("block_size", 0))
            layers.append(_Layer(weights, optional(inputs, index + 2)))
    return _mixed(context, node, required(inputs, 0), layers, (shares, places))


def _dequantized(context: Context, parts: Sequence[Tensor | None], bits: int, block: int) -> Tensor:
    """Weights [experts, out, in] from packed ones, a scale and a zero point a row, or a block of each row."""
    builder = context.builder
    packed, scales = required(parts, 0), required(parts, 1)
    if bits not in (2, 4, 8) or packed.rank != 3:
        raise ModelError(f"weights of rank {packed.rank} and {bits} bits are not supported; give 2, 4 or 8")
    experts, rows = packed.shape[:2]
    depth = packed.shape[2] * (8 // bits)
    weights = unpacked(context, packed, (experts, rows, depth), bits)
    block = block if block > 0 else known(depth, "the input size of an expert")
    blocks = ceildiv(depth, block)
    zeros = optional(parts, 2)
    if zeros is None:
        zeros = builder.expand(builder.scalar(1 << (bits - 1), DType.U8), (experts, rows, blocks))
    else:
        shape = (experts, rows, blocks) if zeros.rank == 3 else (experts, rows)
        zeros = builder.reshape(unpacked(context, zeros, shape, bits), (experts, rows, blocks))
    scales = builder.reshape(scales, (experts, rows, blocks))
    return dequantize(context, weights, scales, zeros, 2, block)


def _count(node: Node, scores: Tensor) -> int:
    """The number of experts per token."""
    count = node.integer("k", 1)
    experts = known(scores.shape[-1], "the number of experts")
    if scores.rank != 2 or not 1 <= count <= experts:
        raise ModelError(f"k = {count} of {experts} experts, by scores of rank {scores.rank}, is no choice")
    return count


def _places(context: Context, scores: Tensor) -> Tensor:
    """The number of experts before each [tokens, experts]: higher scores, and of equals the later ones."""
    builder = context.builder
    experts = known(scores.shape[1], "the number of experts")
    shape = (scores.shape[0], experts, experts)
    mine, theirs = [axis_index(0), axis_index(1)], [axis_index(0), axis_index(2)]
    higher = builder.op("less", shape, [(scores, mine), (scores, theirs)], DType.BOOL)
    equal = builder.op("equal", shape, [(scores, mine), (scores, theirs)], DType.BOOL)
    later = builder.table((experts, experts), DType.BOOL, lambda extents: np.triu(np.ones(extents), 1))
    before = builder.elementwise("logical_and", equal, later)
    before = builder.elementwise("logical_or", higher, before)
    return builder.reduce("sum", builder.cast(before, DType.I32), [2], keep=False)


def _below(context: Context, places: Tensor, count: int) -> Tensor:
    limit = context.builder.scalar(count, DType.I32)
    return context.builder.elementwise("less", places, limit, dtype=DType.BOOL)


def _only(context: Context, allowed: Tensor, shares: Tensor) -> Tensor:
    zero = context.builder.scalar(0.0, shares.dtype)
    return context.builder.elementwise("where", allowed, shares, zero)


def _routes(context: Context, node: Node, shares: Tensor, places: Tensor) -> _Routes:
    """Every expert a slot; or the choices, where there are fewer of them than experts."""
    builder = context.builder
    count = _count(node, shares)
    tokens, experts = shares.shape[0], known(shares.shape[1], "the number of experts")
    if not isinstance(tokens, int) or tokens * count >= experts:
        return _Routes(shares, None)
    slots = builder.table((count, 1), DType.I32, lambda extents: np.arange(extents[0])[:, None])
    spread = builder.reshape(places, (tokens, 1, experts))
    here = builder.cast(builder.elementwise("equal", spread, slots, dtype=DType.BOOL), DType.I32)
    numbers = builder.table((experts,), DType.I32, lambda extents: np.arange(extents[0]))
    chosen = builder.reduce("sum", builder.elementwise("mul", here, numbers), [2], keep=False)
    exprs = [axis_index(0), IndexExpr(source=1)]
    identity = [axis_index(0), axis_index(1)]
    share = builder.op("gather", (tokens, count), [(shares, exprs), (chosen, identity)], shares.dtype)
    return _Routes(share, chosen)


def _mixed(
    context: Context, node: Node, x: Tensor, layers: Sequence[_Layer], routing: tuple[Tensor, Tensor]
) -> Tensor:
    """The experts' result for x [.., hidden], by the shares and places [tokens, experts] of the routing."""
    builder = context.builder
    if len(layers) < 2:
        raise ModelError("the weights of the first or the second product are missing")
    hidden = x.shape[-1]
    tokens = routing[0].shape[0]
    rows = builder.reshape(x, (tokens, hidden))
    routes = _routes(context, node, *routing)
    inner = _inward(context, rows, layers[0], routes)
    if node.text("activation_type", "relu") == "swiglu":
        third = _inward(context, rows, layers[2], routes) if len(layers) > 2 else None
        inner = _swiglu(context, node, inner, third)
    else:
        inner = _activated(context, node, inner)
        if len(layers) > 2:
            inner = builder.elementwise("mul", inner, _inward(context, rows, layers[2], routes))
    y = _outward(context, inner, layers[1], routes)
    return builder.reshape(y, x.shape)


def _stacked(context: Context, x: Tensor, routes: _Routes, slot: int) -> tuple[Tensor, list[IndexExpr]]:
    """The slice of the expert of a slot, and the indices of its leading dims; `slot` is the slots' axis."""
    if routes.chosen is None:
        return x, [axis_index(slot)]
    return gather(context.builder, x, routes.chosen, 0), [axis_index(0), axis_index(slot)]


def _inward(context: Context, rows: Tensor, layer: _Layer, routes: _Routes) -> Tensor:
    """[tokens, slots, features] of rows [tokens, hidden]."""
    builder = context.builder
    tokens, slots = routes.share.shape
    features = layer.weights.shape[1]
    depth = builder.equal(rows.shape[1], layer.weights.shape[2], "the hidden size of experts and input")
    weights, lead = _stacked(context, layer.weights, routes, 1)
    operands: list[Operand] = [
        (rows, [axis_index(0), axis_index(3)]),
        (weights, [*lead, axis_index(2), axis_index(3)]),
    ]
    made = builder.op("contract", [tokens, slots, features, depth], operands, rows.dtype, reduced=1)
    if layer.bias is None:
        return made
    bias, lead = _stacked(context, layer.bias, routes, 1)
    identity = [axis_index(dim) for dim in range(3)]
    return builder.op("add", made.shape, [(made, identity), (bias, [*lead, axis_index(2)])], rows.dtype)


def _outward(context: Context, inner: Tensor, layer: _Layer, routes: _Routes) -> Tensor:
    """[tokens, hidden] of [tokens, slots, features], the slots' shares summed up."""
    builder = context.builder
    tokens, slots, features = inner.shape
    hidden = layer.weights.shape[1]
    builder.equal(features, layer.weights.shape[2], "the inner size of the experts' two products")
    shared = builder.elementwise("mul", inner, builder.reshape(routes.share, (tokens, slots, 1)))
    weights, lead = _stacked(context, layer.weights, routes, 2)
    operands: list[Operand] = [
        (shared, [axis_index(0), axis_index(2), axis_index(3)]),
        (weights, [*lead, axis_index(1), axis_index(3)]),
    ]
    y = builder.op("contract", [tokens, hidden, slots, features], operands, inner.dtype, reduced=2)
    if layer.bias is None:
        return y
    bias, lead = _stacked(context, layer.bias, routes, 2)
    operands = [(routes.share, [axis_index(0), axis_index(2)]), (bias, [*lead, axis_index(1)])]
    shift = builder.op("contract", [tokens, hidden, slots], operands, inner.dtype, reduced=1)
    return builder.elementwise("add", y, shift)


def _activated(context: Context, node: Node, x: Tensor) -> Tensor:
    builder = context.builder
    match node.text("activation_type", "relu"):
        case "relu":
            return builder.elementwise("relu", x)
        case "gelu":
            return gelu(context, x, tanh=True)
        case "silu":
            return builder.elementwise("mul", x, builder.elementwise("sigmoid", x))
        case "identity":
            return x
        case other:
            raise ModelError(f"activation_type {other!r} is not one of relu, gelu, silu, swiglu, identity")


def _swiglu(context: Context, node: Node, x: Tensor, third: Tensor | None) -> Tensor:
    """Gate * sigmoid(alpha gate) * (linear + beta), both clamped.

    swiglu_fusion says where they lie: apart (0, the third product is linear), in turns (1), in halves (2).
    """
    builder = context.builder
    fusion = node.integer("swiglu_fusion", 0)
    half = known(x.shape[2], "the inner size of an expert") // 2
    if fusion == 1:
        gate, linear = (slice_view(builder, x, 2, index, half, 2) for index in range(2))
    elif fusion == 2:
        gate, linear = (slice_view(builder, x, 2, index * half, half) for index in range(2))
    elif third is not None:
        gate, linear = x, third
    else:
        raise ModelError("swiglu_fusion 0 needs the weights of a third product")
    if node.has("swiglu_limit"):
        limit = node.number("swiglu_limit")
        gate = builder.elementwise("clip", gate, high=limit)
        linear = builder.elementwise("clip", linear, low=-limit, high=limit)
    scaled = builder.with_number("mul", gate, node.number("activation_alpha", 1.0))
    opened = builder.elementwise("mul", gate, builder.elementwise("sigmoid", scaled))
    beta = node.number("activation_beta", 0.0)
    shifted = linear if beta == 0.0 else builder.with_number("add", linear, beta)
    return builder.elementwise("mul", opened, shifted)


MIXTURES: Mapping[str, Build] = {"MoE": _moe, "QMoE": _quantized_moe}
