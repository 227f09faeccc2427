"""What onnxruntime's quantizers and optimum write: Q and DQ, integer operators, fused ones."""

from collections.abc import Mapping

import numpy as np

from tests.exported.form import Form

IMAGE = ({"n": 1, "h": 6, "w": 8}, {"n": 2, "h": 9, "w": 7})
TWO = ({"n": 1, "t": 4}, {"n": 3, "t": 7})
BYTES = np.random.default_rng(7)
SCALES = [0.01, 0.02, 0.01, 0.03, 0.01, 0.02]

QDQ_CONV = """main (float[n, 3, h, w] x, int8[4, 3, 3, 3] w_q, float[4] w_scales, int32[4] w_bias,
    float[4] w_both)
 => (float[a, b, c, d] y)
<float sx = {0.05}, uint8 zx = {120}, float sy = {0.1}, uint8 zy = {110}, int8[4] zw = {0, 0, 0, 0},
    int32[4] zb = {0, 0, 0, 0}> {
  q = QuantizeLinear (x, sx, zx)
  d = DequantizeLinear (q, sx, zx)
  w = DequantizeLinear <axis = 0> (w_q, w_scales, zw)
  b = DequantizeLinear <axis = 0> (w_bias, w_both, zb)
  c = Conv <pads = [1, 1, 1, 1]> (d, w, b)
  r = Relu (c)
  qy = QuantizeLinear (r, sy, zy)
  y = DequantizeLinear (qy, sy, zy)
}"""

DYNAMIC = """main (float[n, t, 8] x, int8[8, 6] w_q, float[6] w_scales, float[6] w_b) => (float[a, b, c] y) {
  q, s, z = DynamicQuantizeLinear (x)
  zero = Constant <value = int8[6] {0, 0, 0, 0, 0, 0}> ()
  i = MatMulInteger (q, w_q, z, zero)
  f = Cast <to = 1> (i)
  both = Mul (s, w_scales)
  r = Mul (f, both)
  y = Add (r, w_b)
}"""

DYNAMIC_CONV = """main (float[n, 3, h, w] x, uint8[4, 3, 3, 3] w_q) => (float[a, b, c, d] y)
<float sw = {0.01}, uint8 zw = {128}> {
  q, s, z = DynamicQuantizeLinear (x)
  i = ConvInteger <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (q, w_q, z, zw)
  f = Cast <to = 1> (i)
  both = Mul (s, sw)
  y = Mul (f, both)
}"""

QOPERATOR = """main (uint8[n, 4, h, w] x, uint8[n, 4, h, w] x2) => (uint8[a, b, c, d] y)
<float s = {0.1}, uint8 z = {128}, float s2 = {0.2}, uint8 z2 = {100}> {
  a = com.microsoft.QLinearAdd (x, s, z, x2, s2, z2, s2, z)
  m = com.microsoft.QLinearMul (a, s2, z, x, s, z, s2, z2)
  l = com.microsoft.QLinearLeakyRelu <alpha = 0.1> (m, s2, z2, s, z)
  g = com.microsoft.QLinearSigmoid (l, s, z, sg, zg)
  sg = Constant <value = float {0.00390625}> ()
  zg = Constant <value = uint8 {0}> ()
  c = com.microsoft.QLinearConcat <axis = 1> (s, z, g, sg, zg, x, s, z)
  p = com.microsoft.QLinearAveragePool <kernel_shape = [2, 2], channels_last = 0> (c, s, z, s, z)
  y = com.microsoft.QLinearGlobalAveragePool <channels_last = 0> (p, s, z, s, z)
}"""

QGEMM = """main (uint8[n, 8] x, int8[6, 8] w_q, float[6] w_scales, int32[6] w_bias) => (float[a, b] y)
<float s = {0.1}, uint8 z = {128}> {
  zero = Constant <value = int8[6] {0, 0, 0, 0, 0, 0}> ()
  y = com.microsoft.QGemm <transB = 1, alpha = 1.0> (x, s, z, w_q, w_scales, zero, w_bias)
}"""

WIDE_CODES = """main (float[n, t] x) => (float[a, b] y) <float s = {0.001}, uint16 z = {32000}> {
  q = com.microsoft.QuantizeLinear (x, s, z)
  y = com.microsoft.DequantizeLinear (q, s, z)
}"""

FUSED_DYNAMIC = """main (float[n, t, 8] x, int8[8, 6] w_q, float[6] w_scales, float[6] w_b) => (float[a, b,
    c] y) {
  y = com.microsoft.DynamicQuantizeMatMul (x, w_q, w_scales, , w_b)
}"""

TO_FLOAT = """main (uint8[n, t, 8] x, float sa, int8[8, 6] w_q, float[6] w_scales, uint8 za,
    float[6] w_b) => (float[a, b, c] y) {
  y = com.microsoft.MatMulIntegerToFloat (x, w_q, sa, w_scales, za, , w_b)
}"""

FOUR_BITS = """main (float[n, t, 8] x, float[8, 2] w_scales, int4[8, 6] w_q) => (float[a, b, c] y) {
  w = DequantizeLinear <axis = 1, block_size = 3> (w_q, w_scales)
  y = MatMul (x, w)
}"""

BERT = """main (int64[n, t] input_ids, int64[n, t] mask, float[9, 8] w_word, float[7, 8] w_place,
    float[8] w_g, float[8] w_h,
  float[8, 24] w_qkv, float[24] w_qb, float[8, 8] w_o, float[8] w_ob, float[8, 16] w_1, float[16] w_1b,
  float[16, 8] w_2, float[8] w_2b) => (float[a, b, c] y) {
  s = Cast <to = 6> (input_ids)
  m = Cast <to = 6> (mask)
  axes = Constant <value = int64[1] {1}> ()
  len = ReduceSum <keepdims = 0> (m, axes)
  e, i = com.microsoft.EmbedLayerNormalization <epsilon = 1e-6> (s, , w_word, w_place, , w_g, w_h, m)
  a = com.microsoft.Attention <num_heads = 2> (e, w_qkv, w_qb, i)
  o = MatMul (a, w_o)
  n = com.microsoft.SkipLayerNormalization <epsilon = 1e-6> (o, e, w_g, w_h, w_ob)
  f = MatMul (n, w_1)
  g = com.microsoft.BiasGelu (f, w_1b)
  d = MatMul (g, w_2)
  y = com.microsoft.SkipLayerNormalization (d, n, w_g, w_h, w_2b)
}"""


def _prefix(sizes: Mapping[str, int]) -> np.ndarray:
    return np.arange(sizes["t"]) < (sizes["t"] - np.arange(sizes["n"])[:, None])


QUANTIZED: Mapping[str, Form] = {
    "convolution between q and dq": Form(
        QDQ_CONV,
        13,
        IMAGE,
        {
            "w_scales": [0.01, 0.02, 0.03, 0.01],
            "w_both": [0.0005, 0.001, 0.0015, 0.0005],
            "w_bias": [3, -20, 50, 0],
            "w_q": BYTES.integers(-90, 90, (4, 3, 3, 3)),
        },
        tolerance=2e-2,
    ),
    "dynamic product": Form(
        DYNAMIC,
        13,
        TWO,
        {"w_q": BYTES.integers(-90, 90, (8, 6)), "w_scales": SCALES},
    ),
    "dynamic convolution": Form(DYNAMIC_CONV, 13, IMAGE, {"w_q": BYTES.integers(0, 255, (4, 3, 3, 3))}),
    "integer operators": Form(
        QOPERATOR,
        13,
        IMAGE,
        {
            "x": lambda sizes: BYTES.integers(0, 255, (sizes["n"], 4, sizes["h"], sizes["w"])),
            "x2": lambda sizes: BYTES.integers(0, 255, (sizes["n"], 4, sizes["h"], sizes["w"])),
        },
    ),
    "gemm of integers": Form(
        QGEMM,
        13,
        ({"n": 1}, {"n": 3}),
        {
            "x": lambda sizes: BYTES.integers(0, 255, (sizes["n"], 8)),
            "w_q": BYTES.integers(-90, 90, (6, 8)),
            "w_scales": SCALES,
            "w_bias": [3, -20, 50, 0, 9, 9],
        },
    ),
    "codes of 16 bits": Form(WIDE_CODES, 17, TWO),
    "dynamic product in one": Form(
        FUSED_DYNAMIC,
        13,
        TWO,
        {"w_q": BYTES.integers(-90, 90, (8, 6)), "w_scales": SCALES},
    ),
    "integer product to reals": Form(
        TO_FLOAT,
        13,
        TWO,
        {
            "x": lambda sizes: BYTES.integers(0, 255, (sizes["n"], sizes["t"], 8)),
            "w_q": BYTES.integers(-90, 90, (8, 6)),
            "w_scales": SCALES,
            "sa": 0.02,
            "za": 128,
        },
    ),
    "weights of 4 bits in blocks": Form(
        FOUR_BITS,
        21,
        TWO,
        {"w_q": BYTES.integers(-8, 8, (8, 6)), "w_scales": np.linspace(0.1, 0.5, 16).reshape(8, 2)},
        ir_version=10,
    ),
    "encoder in fused operators": Form(BERT, 14, TWO, {"mask": _prefix}),
}
