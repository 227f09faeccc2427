"""What torch.onnx writes by way of torch.export: its own functions, Shape from start to end."""

from collections.abc import Mapping

import numpy as np

from tests.exported.form import Form

TWO = ({"n": 1, "t": 4}, {"n": 3, "t": 7})
LIB = {"pkg.onnxscript.torch_lib": 1, "pkg.onnxscript.torch_lib.common": 1}

SYM_SIZES = """main (float[n, t, 12] x, float[12, 12] w_q) => (float[a, b, c, d] y) {
  n = Shape <start = 0, end = 1> (x)
  t = Shape <start = 1, end = 2> (x)
  val_0 = MatMul (x, w_q)
  three = Constant <value_ints = [3]> ()
  four = Constant <value_ints = [4]> ()
  val_1 = Concat <axis = 0> (n, t, three, four)
  view = Reshape <allowzero = 1> (val_0, val_1)
  y = Transpose <perm = [0, 2, 1, 3]> (view)
}"""

SCALAR_SIZES = """main (float[n, t] x) => (float[a, b] y) {
  val_0 = Shape <end = 1, start = 0> (x)
  sym_size_int = Squeeze (val_0)
  val_1 = Shape <end = 2, start = 1> (x)
  t = Squeeze (val_1)
  two = Constant <value_int = 2> ()
  mul = Mul (t, two)
  neg = Constant <value_ints = [-1]> ()
  n1 = Reshape (sym_size_int, neg)
  t1 = Reshape (mul, neg)
  shape = Concat <axis = 0> (n1, t1)
  cat = Concat <axis = -1> (x, x)
  y = Reshape <allowzero = 1> (cat, shape)
}"""

STATIC_CACHE = """main (float[n, 2, 9, 4] cache, float[n, 2, t, 4] fresh, int64[t] position) => (float[a,
    b, c, d] y) {
  val_0 = Transpose <perm = [2, 1, 0, 3]> (cache)
  val_1 = Transpose <perm = [2, 1, 0, 3]> (fresh)
  neg = Constant <value_ints = [-1]> ()
  val_2 = Unsqueeze (position, neg)
  val_3 = ScatterND <reduction = "none"> (val_0, val_2, val_1)
  y = Transpose <perm = [2, 1, 0, 3]> (val_3)
}"""

FUNCTIONS = """main (float[n, t, 6] x, float[6] w_s) => (float[a, b, c] y) {
  normed = pkg.onnxscript.torch_lib.aten_rms <eps = 1e-5> (x, w_s)
  y = pkg.onnxscript.torch_lib.aten_gelu <approximate = "none"> (normed)
}
<domain: "pkg.onnxscript.torch_lib", opset_import: ["" : 18, "pkg.onnxscript.torch_lib.common": 1]>
aten_rms <eps> (x, weight) => (result) {
  two = Constant <value = float {2.0}> ()
  squares = Pow (x, two)
  axes = Constant <value_ints = [-1]> ()
  mean = ReduceMean <keepdims = 1> (squares, axes)
  e = Constant <value_float: float = @eps> ()
  plus = Add (mean, e)
  root = Sqrt (plus)
  r = Reciprocal (root)
  scaled = Mul (x, r)
  result = Mul (scaled, weight)
}
<domain: "pkg.onnxscript.torch_lib", opset_import: ["" : 18, "pkg.onnxscript.torch_lib.common": 1]>
aten_gelu <approximate> (self) => (result) {
  rank = pkg.onnxscript.torch_lib.common.Rank (self)
  zero = Constant <value = int64 {0}> ()
  scalar = Equal (rank, zero)
  result = If (scalar) <
    then_branch = then () => (p) { p = Relu (self) },
    else_branch = otherwise () => (q) {
      half = Constant <value = float {0.5}> ()
      root = Constant <value = float {1.4142135}> ()
      one = Constant <value = float {1.0}> ()
      d = Div (self, root)
      e = Erf (d)
      s = Add (e, one)
      h = Mul (half, s)
      q = Mul (self, h)
    }>
}
<domain: "pkg.onnxscript.torch_lib.common", opset_import: ["" : 18]>
Rank (input) => (r) {
  s = Shape (input)
  r = Size (s)
}"""

INDEX_PUT = """main (float[n, t, 4] x, int64[k] rows, float[n, k, 4] fresh) => (float[a, b, c] y) {
  neg = Constant <value_ints = [-1]> ()
  val_0 = Unsqueeze (rows, neg)
  val_1 = Transpose <perm = [1, 0, 2]> (x)
  val_2 = Transpose <perm = [1, 0, 2]> (fresh)
  val_3 = ScatterND <reduction = "add"> (val_1, val_0, val_2)
  y = Transpose <perm = [1, 0, 2]> (val_3)
}"""

SELECTED = """main (float[n, t, 4] x) => (float[a, b] y, float[c, d, e] z) {
  one = Constant <value_int = 1> ()
  y = Gather <axis = 1> (x, one)
  starts = Constant <value_ints = [-2]> ()
  ends = Constant <value_ints = [9223372036854775807]> ()
  axes = Constant <value_ints = [1]> ()
  steps = Constant <value_ints = [1]> ()
  last = Slice (x, starts, ends, axes, steps)
  p, q = Split <axis = 2, num_outputs = 2> (last)
  z = Mul (p, q)
}"""

CAUSAL_IN_EAGER = """main (int64[n, t] mask, float[n, 2, t, t] scores) => (float[a, b, c, d] y) {
  val_0 = Shape <start = 1, end = 2> (mask)
  t = Squeeze (val_0)
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  arange = Range (zero, t, one)
  neg = Constant <value_ints = [-1]> ()
  ones2 = Constant <value_ints = [-1, 1]> ()
  rows = Reshape <allowzero = 1> (arange, ones2)
  causal = LessOrEqual (arange, rows)
  nshape = Shape <start = 0, end = 1> (mask)
  oneq = Constant <value_ints = [1]> ()
  full = Concat <axis = 0> (nshape, oneq, val_0, val_0)
  wide = Expand (causal, full)
  ax = Constant <value_ints = [1, 2]> ()
  flag = Cast <to = 9> (mask)
  pad = Unsqueeze (flag, ax)
  both = And (wide, pad)
  low = Constant <value_float = -3.4028234663852886e+38> ()
  off = Constant <value_float = 0.0> ()
  bias = Where (both, off, low)
  sum = Add (scores, bias)
  y = Softmax <axis = -1> (sum)
}"""

LATEST = """main (float[n, t, 12] x, float[12] w_s, float[12, 12] w_q, float[12, 12] w_k, float[12, 12] w_v,
  int64[n, t] ids, float[16, 2] w_cos, float[16, 2] w_sin) => (float[a, b, c] y) {
  normed = RMSNormalization <axis = -1, epsilon = 1e-5> (x, w_s)
  q = MatMul (normed, w_q)
  k = MatMul (normed, w_k)
  v = MatMul (normed, w_v)
  qr = RotaryEmbedding <num_heads = 3> (q, w_cos, w_sin, ids)
  kr = RotaryEmbedding <num_heads = 3> (k, w_cos, w_sin, ids)
  y = Attention <q_num_heads = 3, kv_num_heads = 3, is_causal = 1, scale = 0.5> (qr, kr, v)
}"""

ANY_ALL = """main (float[n, t] x) => (bool[a] y, float[b] z, int64 i) {
  zero = Constant <value_float = 0.0> ()
  pos = Greater (x, zero)
  as = Cast <to = 7> (pos)
  axes = Constant <value_ints = [1]> ()
  most = ReduceMax <keepdims = 0> (as, axes)
  y = Cast <to = 9> (most)
  z = ReduceL2 <keepdims = 0> (x, axes)
  flat = Reshape (x, neg)
  neg = Constant <value_ints = [-1]> ()
  i = ArgMax <axis = 0, keepdims = 0> (flat)
}"""

COND = """main (float[n, t] x) => (float[a, b] y) {
  zero = Constant <value_float = 0.0> ()
  sum = ReduceSum <keepdims = 0> (x)
  positive = Greater (sum, zero)
  y = If (positive) <
    then_branch = true_graph_0 () => (float[n, t] p) { p = Cos (x) },
    else_branch = false_graph_0 () => (float[n, t] q) { q = Sin (x) }>
}"""

DYNAMO: Mapping[str, Form] = {
    "sizes of one": Form(SYM_SIZES, 18, TWO, ir_version=10),
    "sizes as numbers": Form(SCALAR_SIZES, 18, TWO, ir_version=10),
    "static cache": Form(
        STATIC_CACHE, 18, TWO, {"position": lambda sizes: np.arange(1, 1 + sizes["t"])}, ir_version=10
    ),
    "functions of its own": Form(FUNCTIONS, 18, TWO, ir_version=10, domains=LIB),
    "index put that adds": Form(INDEX_PUT, 18, tuple({**each, "k": 3} for each in TWO), {"rows": [0, 2, 2]}),
    "select and split": Form(SELECTED, 18, TWO, ir_version=10),
    "mask of a causal model": Form(
        CAUSAL_IN_EAGER,
        18,
        TWO,
        {"mask": lambda sizes: np.tril(np.ones((sizes["n"], sizes["t"])), sizes["t"] - 2)},
    ),
    "operators of opset 23": Form(LATEST, 23, TWO, ir_version=10),
    "any and all": Form(ANY_ALL, 18, TWO, ir_version=10),
    "a choice by data": Form(COND, 20, TWO, ir_version=10),
}
