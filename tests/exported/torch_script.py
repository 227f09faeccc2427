"""What torch.onnx writes by way of TorchScript: extents taken apart and put together again."""

from collections.abc import Mapping

from tests.exported.form import Form
from tests.exported.torch_script_attention import ATTENTION, TWO

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

SORTED = """main (float[n, t] x) => (float[a, b] y, int64[c, d] i) {
  s = Shape (x)
  one = Constant <value = int64 {1}> ()
  t = Gather <axis = 0> (s, one)
  ax = Constant <value = int64[1] {0}> ()
  k = Unsqueeze (t, ax)
  y, i = TopK <axis = -1, largest = 0, sorted = 1> (x, k)
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
    **ATTENTION,
    "view": Form(VIEW, sizes=TWO),
    "pads computed": Form(PADDED, 13, IMAGE),
    "interpolated to another's size": Form(
        INTERPOLATED, 13, tuple({**each, "h2": 9, "w2": 10} for each in IMAGE)
    ),
    "upsampled by a computed scale": Form(UPSAMPLED, 9, IMAGE, ir_version=4),
    "group norm": Form(GROUP_NORM, 13, IMAGE),
    "index put": Form(INDEX_PUT, sizes=TWO),
    "indexed": Form(INDEXED, sizes=tuple({**each, "k": 2} for each in TWO)),
    "slice written": Form(WRITTEN_SLICE, sizes=TWO),
    "squeezed if one": Form(SQUEEZED, sizes=TWO),
    "states of extents": Form(LSTM_STATES, sizes=TWO),
    "unfolded": Form(UNFOLDED, sizes=WAVE),
    "rolled windows": Form(ROLLED, sizes=WAVE),
    "sorted": Form(SORTED, sizes=TWO),
    "standard deviation": Form(STD, sizes=TWO),
    "spectrum": Form(STFT, sizes=WAVE),
    "nan to num": Form(NAN_TO_NUM, sizes=TWO),
}
