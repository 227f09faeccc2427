"""Weights of few bits: products with them, rows gathered of them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper

from tests.differential.case import Case, Draw, Family, Operator
from tests.differential.mixture_cases import packed


def _matmul_n_bits(draw: Draw) -> Case:
    bits, block = draw.one_of([2, 4, 8]), draw.one_of([16, 32, 64])
    dtype = draw.one_of([np.float32, np.float32, np.float16])
    depth, width = draw.size(1, 3 * block), draw.size(1, 40)
    blocks = -(-depth // block)
    chosen = Operator("MatMulNBits", attributes={"K": depth, "N": width, "bits": bits, "block_size": block})
    chosen.feed(draw.reals(*draw.one_of([(3,), (1,), (2, 3)]), depth, dtype=dtype))
    numbers = draw.integers(0, (1 << bits) - 1, (width, blocks * block))
    chosen.hold(packed(numbers, bits).reshape(width, blocks, -1))
    shape = draw.one_of([(width, blocks), (width * blocks,)])
    chosen.hold(draw.positive(*shape, dtype=dtype))
    # onnxruntime reorders columns of four bits only, and forgets packed zero points beside an order.
    ordered = bits == 4 and draw.flag(0.3)
    kind = draw.one_of(["none", "real"] if ordered else ["none", "packed", "real"])
    if kind == "packed":
        chosen.hold(packed(draw.integers(0, (1 << bits) - 1, (width, blocks)), bits))
    elif kind == "real" and bits < 8:
        chosen.hold(draw.positive(*shape, low=0, high=1 << bits, dtype=dtype))
    else:
        chosen.hold(None)
    order = draw.chance.permutation(np.arange(blocks * block) // block)[:depth].astype(np.int32)
    chosen.hold(order if ordered else None)
    chosen.hold(draw.reals(width, dtype=dtype) if draw.flag(0.4) else None)
    if draw.flag(0.3):
        chosen.attributes["accuracy_level"] = draw.one_of([0, 1, 4])
    case = chosen.case()
    return replace(case, tolerance=5e-2) if chosen.attributes.get("accuracy_level") == 4 else case


def _matmul_bnb4(draw: Draw) -> Case:
    block, depth, width = draw.one_of([16, 32, 64]), draw.size(1, 70), draw.size(1, 12)
    size = depth * width
    chosen = Operator("MatMulBnb4", attributes={"K": depth, "N": width, "block_size": block})
    chosen.attributes["quant_type"] = draw.size(0, 1)
    chosen.feed(draw.reals(*draw.one_of([(3,), (2, 3)]), depth))
    chosen.hold(draw.integers(0, 255, ((size + 1) // 2,), np.uint8))
    chosen.hold(draw.positive(-(-size // block)))
    return chosen.case()


def _gather_block_quantized(draw: Draw) -> Case:
    kind = draw.one_of(["bytes", "int4", "uint4"])
    bits = draw.one_of([2, 4, 8]) if kind == "bytes" else 4
    block = draw.one_of([16, 32])
    rank = draw.size(2, 3)
    axis = 0 if kind == "bytes" else draw.size(0, rank - 1)
    along = rank - 1 if kind == "bytes" else draw.size(0, rank - 1)
    shape = [draw.size(1, 6) for _ in range(rank)]
    shape[along] = draw.size(1, 9) * 8
    blocks = [-(-extent // block) if index == along else extent for index, extent in enumerate(shape)]
    chosen = Operator("GatherBlockQuantized", attributes={"block_size": block})
    chosen.attributes["gather_axis"] = draw.one_of([axis, axis - rank])
    chosen.attributes["quantize_axis"] = draw.one_of([along, along - rank])
    low, high = (-8, 7) if kind == "int4" else (0, (1 << bits) - 1)
    numbers, zeros = (draw.integers(low, high, extents) for extents in (shape, blocks))
    extent = shape[axis]
    spread = draw.one_of([0, 0, 2])
    indices = draw.integers(
        -extent - spread,
        extent - 1 + spread,
        draw.one_of([(), (3,), (2, 2)]),
        draw.one_of([np.int32, np.int64]),
    )
    scales = draw.positive(*blocks, dtype=draw.one_of([np.float32, np.float16]))
    pointed = draw.flag()
    if kind == "bytes":
        chosen.attributes["bits"] = bits
        chosen.hold(packed(numbers, bits))
    else:
        element = TensorProto.INT4 if kind == "int4" else TensorProto.UINT4
        chosen.hold(helper.make_tensor("data", element, shape, numbers.ravel().tolist()))
    chosen.either(draw, np.asarray(indices), held=0.2)
    chosen.hold(scales)
    if not pointed:
        return chosen.case()
    if kind == "bytes":
        chosen.hold(packed(zeros, bits))
    else:
        chosen.hold(helper.make_tensor("zeros", element, blocks, zeros.ravel().tolist()))
    return chosen.case()


PACKED: Mapping[str, Family] = {
    "GatherBlockQuantized": _gather_block_quantized,
    "MatMulBnb4": _matmul_bnb4,
    "MatMulNBits": _matmul_n_bits,
}
