"""What torch.onnx writes of attention by way of TorchScript: masks, heads, positions, a greedy decoder."""

from collections.abc import Mapping

import numpy as np

from tests.exported.form import Form

TWO = ({"n": 1, "t": 4}, {"n": 3, "t": 7})

GPT2_MASK = """main (float[n, 3, t, 4] q, float[n, 3, t, 4] k) => (float[a, b, c, d] y) <bool[1, 1, 8,
    8] bias = {
 1,0,0,0,0,0,0,0, 1,1,0,0,0,0,0,0, 1,1,1,0,0,0,0,0, 1,1,1,1,0,0,0,0,
 1,1,1,1,1,0,0,0, 1,1,1,1,1,1,0,0, 1,1,1,1,1,1,1,0, 1,1,1,1,1,1,1,1}> {
  kt = Transpose <perm = [0, 1, 3, 2]> (k)
  scores = MatMul (q, kt)
  d = Constant <value = float {4.0}> ()
  half = Constant <value = float {0.5}> ()
  root = Pow (d, half)
  scaled = Div (scores, root)
  shape = Shape (scaled)
  m2 = Constant <value = int64 {-2}> ()
  m1 = Constant <value = int64 {-1}> ()
  nd = Gather <axis = 0> (shape, m2)
  ns = Gather <axis = 0> (shape, m1)
  first = Sub (ns, nd)
  axes = Constant <value = int64[1] {0}> ()
  f1 = Unsqueeze (first, axes)
  ns1 = Unsqueeze (ns, axes)
  two = Constant <value = int64[1] {2}> ()
  three = Constant <value = int64[1] {3}> ()
  one = Constant <value = int64[1] {1}> ()
  rows = Slice (bias, f1, ns1, two, one)
  zero = Constant <value = int64[1] {0}> ()
  square = Slice (rows, zero, ns1, three, one)
  low = Constant <value = float {-10000.0}> ()
  masked = Where (square, scaled, low)
  y = Softmax <axis = 3> (masked)
}"""

TRIU_MASK = """main (float[n, t] x) => (float[a, b] y) {
  s = Shape (x)
  one = Constant <value = int64 {1}> ()
  t = Gather <axis = 0> (s, one)
  axes = Constant <value = int64[1] {0}> ()
  t1 = Unsqueeze (t, axes)
  shape = Concat <axis = 0> (t1, t1)
  full = ConstantOfShape <value = float[1] {-3.4e38}> (shape)
  tri = Trilu <upper = 1> (full, one)
  zero = Constant <value = int64 {0}> ()
  steps = Range (zero, t, one)
  col = Add (steps, one)
  neg = Constant <value = int64[1] {-1}> ()
  last = Constant <value = int64[2] {-1, 1}> ()
  column = Reshape (col, last)
  above = Less (steps, column)
  off = Constant <value = float {0.0}> ()
  bias = Where (above, off, tri)
  xe = Unsqueeze (x, one_axis)
  sum = Add (xe, bias)
  soft = Softmax <axis = -1> (sum)
  y3 = MatMul (soft, column_x)
  y = Squeeze (y3, last_axis)
  one_axis = Constant <value = int64[1] {1}> ()
  last_axis = Constant <value = int64[1] {2}> ()
  column_x = Unsqueeze (x, last_axis)
}"""

SDPA = """main (float[n, 2, t, 4] q, float[n, 2, t, 4] k, float[n, 2, t, 4] v, bool[n, 1, 1, t] mask)
 => (float[a, b, c, d] y) {
  s = Shape (q)
  m1 = Constant <value = int64[1] {-1}> ()
  big = Constant <value = int64[1] {9223372036854775807}> ()
  d = Slice (s, m1, big)
  df = Cast <to = 1> (d)
  root = Sqrt (df)
  one = Constant <value = float[1] {1.0}> ()
  scale = Div (one, root)
  sc = Cast <to = 1> (scale)
  kt = Transpose <perm = [0, 1, 3, 2]> (k)
  r = Sqrt (sc)
  q2 = Mul (q, r)
  k2 = Mul (kt, r)
  qk = MatMul (q2, k2)
  zero = Constant <value = float {0.0}> ()
  low = Constant <value = float {-inf}> ()
  bias = Where (mask, zero, low)
  sum = Add (qk, bias)
  soft = Softmax <axis = -1> (sum)
  nan = IsNaN (soft)
  safe = Where (nan, zero, soft)
  y = MatMul (safe, v)
}"""

COMPLEX_ROPE = """main (float[n, t, 2, 6] x, int64[n, t] ids, float[16, 3] w_cos, float[16, 3] w_sin)
 => (float[a, b, c, d] y) {
  cos = Gather <axis = 0> (w_cos, ids)
  sin = Gather <axis = 0> (w_sin, ids)
  two = Constant <value = int64[1] {2}> ()
  c = Unsqueeze (cos, two)
  s = Unsqueeze (sin, two)
  shape = Constant <value = int64[5] {0, 0, 2, 3, 2}> ()
  pairs = Reshape (x, shape)
  i0 = Constant <value = int64 {0}> ()
  i1 = Constant <value = int64 {1}> ()
  re = Gather <axis = -1> (pairs, i0)
  im = Gather <axis = -1> (pairs, i1)
  rc = Mul (re, c)
  is = Mul (im, s)
  rs = Mul (re, s)
  ic = Mul (im, c)
  r2 = Sub (rc, is)
  i2 = Add (rs, ic)
  last = Constant <value = int64[1] {-1}> ()
  ru = Unsqueeze (r2, last)
  iu = Unsqueeze (i2, last)
  both = Concat <axis = -1> (ru, iu)
  back = Shape (x)
  y = Reshape (both, back)
}"""

T5_BUCKETS = """main (float[n, t] x, float[8, 2] w_e) => (float[a, b, c, d] y) {
  s = Shape (x)
  one = Constant <value = int64 {1}> ()
  t = Gather <axis = 0> (s, one)
  zero = Constant <value = int64 {0}> ()
  steps = Range (zero, t, one)
  a1 = Constant <value = int64[1] {1}> ()
  a0 = Constant <value = int64[1] {0}> ()
  context = Unsqueeze (steps, a1)
  memory = Unsqueeze (steps, a0)
  relative = Sub (memory, context)
  positive = Greater (relative, zero)
  pi = Cast <to = 7> (positive)
  half = Constant <value = int64 {4}> ()
  side = Mul (pi, half)
  away = Abs (relative)
  exact = Constant <value = int64 {2}> ()
  near = Less (away, exact)
  af = Cast <to = 1> (away)
  ef = Constant <value = float {2.0}> ()
  ratio = Div (af, ef)
  log = Log (ratio)
  base = Constant <value = float {2.0794415}> ()
  scaled = Div (log, base)
  times = Constant <value = float {2.0}> ()
  far = Mul (scaled, times)
  fi = Cast <to = 7> (far)
  fb = Add (fi, exact)
  shape = Shape (fb)
  most = Constant <value = int64[1] {3}> ()
  limit = Expand (most, shape)
  capped = Min (fb, limit)
  local = Where (near, away, capped)
  bucket = Add (side, local)
  bias = Gather (w_e, bucket)
  turned = Transpose <perm = [2, 0, 1]> (bias)
  b = Unsqueeze (turned, a0)
  xs = Unsqueeze (x, mid)
  mid = Constant <value = int64[2] {1, 2}> ()
  y = Add (b, xs)
}"""

REPEATED = """main (float[n, 2, t, 4] x) => (float[a, b, c, d] y) {
  two = Constant <value = int64[1] {2}> ()
  u = Unsqueeze (x, two)
  s = Shape (x)
  i0 = Constant <value = int64 {0}> ()
  i2 = Constant <value = int64 {2}> ()
  n = Gather (s, i0)
  t = Gather (s, i2)
  a0 = Constant <value = int64[1] {0}> ()
  n1 = Unsqueeze (n, a0)
  t1 = Unsqueeze (t, a0)
  heads = Constant <value = int64[1] {2}> ()
  times = Constant <value = int64[1] {3}> ()
  width = Constant <value = int64[1] {4}> ()
  wanted = Concat <axis = 0> (n1, heads, times, t1, width)
  flat = Constant <value = int64[1] {-1}> ()
  asked = Reshape (wanted, flat)
  ss = Shape (asked)
  ones = ConstantOfShape <value = int64[1] {1}> (ss)
  minus = Constant <value = int64 {-1}> ()
  negative = Mul (ones, minus)
  keeps = Equal (asked, negative)
  shape = Where (keeps, ones, asked)
  e = Expand (u, shape)
  all = Constant <value = int64[1] {6}> ()
  joined = Concat <axis = 0> (n1, all, t1, width)
  y = Reshape (e, joined)
}"""

GREEDY = """main (int64[n, t] ids, int64 steps, float[11, 6] w_e, float[6, 11] w_o) => (int64[n, u] y)
<bool go = {1}> {
  y = Loop (steps, go, ids) <body = step (int64 i, bool c, int64[n, v] before) => (bool c2, int64[n,
    w] after) {
    c2 = Identity (c)
    e = Gather (w_e, before)
    axes = Constant <value = int64[1] {1}> ()
    m = ReduceMean <axes = [1], keepdims = 0> (e)
    o = MatMul (m, w_o)
    best = ArgMax <axis = -1, keepdims = 1> (o)
    after = Concat <axis = 1> (before, best)
  }>
}"""

ATTENTION: Mapping[str, Form] = {
    "mask of gpt2": Form(GPT2_MASK, sizes=TWO),
    "mask by triu": Form(TRIU_MASK, sizes=TWO),
    "attention in parts": Form(
        SDPA,
        sizes=TWO,
        fed={
            "mask": lambda sizes: (
                np.arange(sizes["t"])[None, None, None] < np.arange(sizes["n"])[:, None, None, None]
            )
        },
    ),
    "rotary of pairs": Form(COMPLEX_ROPE, sizes=TWO),
    "buckets of t5": Form(T5_BUCKETS, 14, TWO),
    "heads repeated": Form(REPEATED, sizes=TWO),
    "greedy loop": Form(GREEDY, sizes=TWO, fed={"steps": 3}, given=("steps",)),
}
