"""What torch.onnx writes by way of TorchScript: extents taken apart and put together again."""

from collections.abc import Mapping

import numpy as np

from tests.exported.form import Form

TWO = ({"n": 1, "t": 4}, {"n": 3, "t": 7})

VIEW = """main (float[n, t, 12] x, float[12, 12] w_q) => (float[a, b, c, d] y) {
  q = MatMul (x, w_q)
  s0 = Shape (q)
  zero = Constant <value = int64 {0}> ()
  n = Gather <axis = 0> (s0, zero)
  s1 = Shape (q)
  one = Constant <value = int64 {1}> ()
  t = Gather <axis = 0> (s1, one)
  axes = Constant <value = int64[1] {0}> ()
  n1 = Unsqueeze (n, axes)
  t1 = Unsqueeze (t, axes)
  heads = Constant <value = int64[1] {3}> ()
  rest = Constant <value = int64[1] {4}> ()
  shape = Concat <axis = 0> (n1, t1, heads, rest)
  split = Reshape (q, shape)
  y = Transpose <perm = [0, 2, 1, 3]> (split)
}"""

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

PADDED = """main (float[n, 2, h, w] x) => (float[a, b, c, d] y) {
  pads = Constant <value = int64[4] {1, 2, 0, 3}> ()
  size = Constant <value = int64[1] {4}> ()
  rank2 = Constant <value = int64 {8}> ()
  four = Constant <value = int64 {4}> ()
  more = Sub (rank2, four)
  m1 = Unsqueeze (more, axes0)
  axes0 = Constant <value = int64[1] {0}> ()
  zeros = ConstantOfShape <value = int64[1] {0}> (m1)
  all = Concat <axis = 0> (pads, zeros)
  pairs = Constant <value = int64[2] {-1, 2}> ()
  table = Reshape (all, pairs)
  start = Constant <value = int64[1] {-1}> ()
  end = Constant <value = int64[1] {-9223372036854775807}> ()
  ax = Constant <value = int64[1] {0}> ()
  step = Constant <value = int64[1] {-1}> ()
  flipped = Slice (table, start, end, ax, step)
  turned = Transpose <perm = [1, 0]> (flipped)
  flat = Constant <value = int64[1] {-1}> ()
  row = Reshape (turned, flat)
  cast = Cast <to = 7> (row)
  fill = Constant <value = float {1.5}> ()
  y = Pad <mode = "constant"> (x, cast, fill)
}"""

INTERPOLATED = """main (float[n, 2, h, w] x, float[n, 2, h2, w2] like) => (float[a, b, c, d] y) {
  s = Shape (like)
  two = Constant <value = int64[1] {2}> ()
  four = Constant <value = int64[1] {4}> ()
  zero = Constant <value = int64[1] {0}> ()
  size = Slice (s, two, four, zero)
  sx = Shape (x)
  first = Slice (sx, zero, two, zero)
  c = Cast <to = 7> (size)
  sizes = Concat <axis = 0> (first, c)
  up = Resize <coordinate_transformation_mode = "half_pixel", cubic_coeff_a = -0.75, mode = "linear",
               nearest_mode = "floor"> (x, , , sizes)
  y = Add (up, like)
}"""

UPSAMPLED = """main (float[n, 2, h, w] x) => (float[a, b, c, d] y) {
  s = Shape (x)
  i2 = Constant <value = int64 {2}> ()
  h = Gather <axis = 0> (s, i2)
  hf = Cast <to = 1> (h)
  f2 = Constant <value = float {2.0}> ()
  h2 = Mul (hf, f2)
  h3 = Cast <to = 1> (h2)
  hfl = Floor (h3)
  ratio = Div (hfl, hf)
  r1 = Unsqueeze <axes = [0]> (ratio)
  ones = Constant <value = float[2] {1.0, 1.0}> ()
  two = Constant <value = float[1] {2.0}> ()
  scales = Concat <axis = 0> (ones, r1, two)
  y = Upsample <mode = "nearest"> (x, scales)
}"""

GROUP_NORM = """main (float[n, 6, h, w] x, float[6, 1, 1] w_s, float[6, 1, 1] w_b) => (float[a, b, c, d] y)
<float[3] ones = {1, 1, 1}, float[3] zeros = {0, 0, 0}> {
  shape = Constant <value = int64[3] {0, 3, -1}> ()
  grouped = Reshape (x, shape)
  normed = InstanceNormalization <epsilon = 1e-5> (grouped, ones, zeros)
  s = Shape (x)
  back = Reshape (normed, s)
  scaled = Mul (back, w_s)
  y = Add (scaled, w_b)
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

INDEX_PUT = """main (float[n, t] x, bool[n, t] where, float[n, t] fresh) => (float[a, b] y) {
  places = NonZero (where)
  at = Transpose (places)
  found = NonZero (where)
  rows = Transpose (found)
  updates = GatherND (fresh, rows)
  y = ScatterND (x, at, updates)
}"""

INDEXED = """main (float[n, t, 3] x, int64[k] rows) => (float[a, b, c] y) {
  zero = Constant <value = int64[1] {0}> ()
  top = Constant <value = int64[1] {2}> ()
  ax = Constant <value = int64[1] {2}> ()
  cut = Slice (x, zero, top, ax)
  y = Gather <axis = 1> (cut, rows)
}"""

WRITTEN_SLICE = """main (float[n, t, 4] x, float[n, 1, 4] row) => (float[a, b, c] y) {
  s = Shape (x)
  flat = Constant <value = int64[1] {-1}> ()
  size = Size (x)
  zero = Constant <value = int64 {0}> ()
  one = Constant <value = int64 {1}> ()
  all = Range (zero, size, one)
  numbered = Reshape (all, s)
  a1 = Constant <value = int64[1] {1}> ()
  a2 = Constant <value = int64[1] {2}> ()
  picked = Slice (numbered, a1, a2, a1)
  places = Reshape (picked, flat)
  up = Reshape (row, flat)
  whole = Reshape (x, flat)
  col = Constant <value = int64[2] {-1, 1}> ()
  at = Reshape (places, col)
  put = ScatterND (whole, at, up)
  y = Reshape (put, s)
}"""

SQUEEZED = """main (float[n, t, 1] x) => (float[a, b] y) {
  s = Shape (x)
  two = Constant <value = int64 {2}> ()
  d = Gather <axis = 0> (s, two)
  one = Constant <value = int64 {1}> ()
  is = Equal (d, one)
  axes = Constant <value = int64[1] {2}> ()
  y = If (is) <then_branch = then () => (float[a, b] p) { p = Squeeze (x, axes) },
               else_branch = otherwise () => (float[c, d, e] q) { q = Identity (x) }>
}"""

LSTM_STATES = """main (float[n, t, 5] x, float[1, 16, 5] w_i, float[1, 16, 4] w_h, float[1, 32] w_b)
 => (float[a, b, c] y, float[d, e, f] h) {
  s = Shape (x)
  zero = Constant <value = int64 {0}> ()
  n = Gather <axis = 0> (s, zero)
  ax = Constant <value = int64[1] {0}> ()
  n1 = Unsqueeze (n, ax)
  one = Constant <value = int64[1] {1}> ()
  four = Constant <value = int64[1] {4}> ()
  shape = Concat <axis = 0> (one, n1, four)
  h0 = Expand (nil, shape)
  nil = Constant <value = float {0.0}> ()
  xt = Transpose <perm = [1, 0, 2]> (x)
  out, h, c = LSTM <hidden_size = 4> (xt, w_i, w_h, w_b, , h0, h0)
  dim = Constant <value = int64[1] {1}> ()
  sq = Squeeze (out, dim)
  y = Transpose <perm = [1, 0, 2]> (sq)
}"""

UNFOLDED = """main (float[n, 2, 6, 7] x) => (float[a, b, c] y) {
  r = Constant <value = int64[1, 4] {0, 1, 2, 3}> ()
  dr = Constant <value = int64[3, 1] {0, 1, 2}> ()
  rows = Add (r, dr)
  c = Constant <value = int64[1, 3] {0, 2, 4}> ()
  dc = Constant <value = int64[3, 1] {0, 1, 2}> ()
  cols = Add (c, dc)
  g1 = Gather <axis = 2> (x, rows)
  g2 = Gather <axis = 4> (g1, cols)
  t = Transpose <perm = [0, 1, 2, 4, 3, 5]> (g2)
  shape = Constant <value = int64[3] {0, 18, -1}> ()
  s0 = Shape (x)
  i0 = Constant <value = int64 {0}> ()
  n = Gather <axis = 0> (s0, i0)
  ax = Constant <value = int64[1] {0}> ()
  n1 = Unsqueeze (n, ax)
  rest = Constant <value = int64[2] {18, -1}> ()
  full = Concat <axis = 0> (n1, rest)
  y = Reshape (t, full)
}"""

ROLLED = """main (float[n, 4, 6, 3] x) => (float[a, b, c] y) {
  a = Constant <value = int64[1] {1}> ()
  s2 = Constant <value = int64[1] {2}> ()
  zero = Constant <value = int64[1] {0}> ()
  big = Constant <value = int64[1] {9223372036854775807}> ()
  back = Slice (x, s2, big, a)
  front = Slice (x, zero, s2, a)
  rolled = Concat <axis = 1> (back, front)
  sh = Shape (rolled)
  i0 = Constant <value = int64 {0}> ()
  n = Gather <axis = 0> (sh, i0)
  n1 = Unsqueeze (n, zero)
  parts = Constant <value = int64[5] {2, 2, 3, 2, 3}> ()
  shape = Concat <axis = 0> (n1, parts)
  windows = Reshape (rolled, shape)
  turned = Transpose <perm = [0, 1, 3, 2, 4, 5]> (windows)
  flat = Constant <value = int64[3] {-1, 4, 3}> ()
  y = Reshape (turned, flat)
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

SORTED = """main (float[n, t] x) => (float[a, b] y, int64[c, d] i) {
  s = Shape (x)
  one = Constant <value = int64 {1}> ()
  t = Gather <axis = 0> (s, one)
  ax = Constant <value = int64[1] {0}> ()
  k = Unsqueeze (t, ax)
  y, i = TopK <axis = -1, largest = 0, sorted = 1> (x, k)
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

STD = """main (float[n, t, 5] x) => (float[a, b] y) {
  m = ReduceMean <axes = [2], keepdims = 1> (x)
  s = Shape (x)
  two = Constant <value = int64[1] {2}> ()
  e = Gather <axis = 0> (s, two)
  count = ReduceProd <keepdims = 0> (e)
  d = Sub (x, m)
  q = Mul (d, d)
  v = ReduceMean <axes = [2], keepdims = 0> (q)
  cf = Cast <to = 1> (count)
  w = Mul (v, cf)
  one = Constant <value = float {1.0}> ()
  less = Sub (cf, one)
  u = Div (w, less)
  y = Sqrt (u)
}"""

STFT = """main (float[n, 40] x, float[9, 3] w_mel, float[8] w_win) => (float[a, b, c] y) {
  one = Constant <value = int64[1] {1}> ()
  u = Unsqueeze (x, one)
  pads = Constant <value = int64[6] {0, 0, 8, 0, 0, 8}> ()
  p = Pad <mode = "reflect"> (u, pads)
  sq = Squeeze (p, one)
  hop = Constant <value = int64 {4}> ()
  length = Constant <value = int64 {16}> ()
  front = Constant <value = int64[2] {4, 4}> ()
  win = Pad (w_win, front)
  f = STFT <onesided = 1> (sq, hop, win, length)
  i0 = Constant <value = int64 {0}> ()
  i1 = Constant <value = int64 {1}> ()
  re = Gather <axis = 3> (f, i0)
  im = Gather <axis = 3> (f, i1)
  r2 = Mul (re, re)
  i2 = Mul (im, im)
  power = Add (r2, i2)
  mel = MatMul (power, w_mel)
  eps = Constant <value = float {1e-6}> ()
  pos = Abs (mel)
  floor = Max (pos, eps)
  y = Log (floor)
}"""

NAN_TO_NUM = """main (float[n, t] x) => (float[a, b] y) {
  zero = Constant <value = float {0.0}> ()
  q = Div (x, zero)
  isnan = IsNaN (q)
  a = Where (isnan, zero, q)
  inf = IsInf <detect_negative = 0> (a)
  big = Constant <value = float {7.0}> ()
  b = Where (inf, big, a)
  ninf = IsInf <detect_positive = 0> (b)
  low = Constant <value = float {-7.0}> ()
  y = Where (ninf, low, b)
}"""

WAVE = ({"n": 1}, {"n": 3})
IMAGE = ({"n": 1, "h": 5, "w": 6}, {"n": 2, "h": 8, "w": 4})

TORCH_SCRIPT: Mapping[str, Form] = {
    "view": Form(VIEW, sizes=TWO),
    "mask of gpt2": Form(GPT2_MASK, sizes=TWO),
    "mask by triu": Form(TRIU_MASK, sizes=TWO),
    "pads computed": Form(PADDED, 13, IMAGE),
    "interpolated to another's size": Form(
        INTERPOLATED, 13, tuple({**each, "h2": 9, "w2": 10} for each in IMAGE)
    ),
    "upsampled by a computed scale": Form(UPSAMPLED, 9, IMAGE, ir_version=4),
    "group norm": Form(GROUP_NORM, 13, IMAGE),
    "attention in parts": Form(
        SDPA,
        sizes=TWO,
        fed={
            "mask": lambda sizes: (
                np.arange(sizes["t"])[None, None, None] < np.arange(sizes["n"])[:, None, None, None]
            )
        },
    ),
    "index put": Form(INDEX_PUT, sizes=TWO),
    "indexed": Form(INDEXED, sizes=tuple({**each, "k": 2} for each in TWO)),
    "slice written": Form(WRITTEN_SLICE, sizes=TWO),
    "squeezed if one": Form(SQUEEZED, sizes=TWO),
    "states of extents": Form(LSTM_STATES, sizes=TWO),
    "unfolded": Form(UNFOLDED, sizes=WAVE),
    "rolled windows": Form(ROLLED, sizes=WAVE),
    "rotary of pairs": Form(COMPLEX_ROPE, sizes=TWO),
    "buckets of t5": Form(T5_BUCKETS, 14, TWO),
    "sorted": Form(SORTED, sizes=TWO),
    "heads repeated": Form(REPEATED, sizes=TWO),
    "greedy loop": Form(GREEDY, sizes=TWO, fed={"steps": 3}, given=("steps",)),
    "standard deviation": Form(STD, sizes=TWO),
    "spectrum": Form(STFT, sizes=WAVE),
    "nan to num": Form(NAN_TO_NUM, sizes=TWO),
}
