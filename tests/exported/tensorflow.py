"""What tf2onnx and Keras write: images with their channels last, extents cast to i32 and packed again."""

from collections.abc import Mapping

from tests.exported.form import Form

IMAGE = ({"n": 1, "h": 6, "w": 8}, {"n": 2, "h": 9, "w": 7})
TWO = ({"n": 1, "t": 4}, {"n": 3, "t": 7})

CHANNELS_LAST = """main (float[n, h, w, 3] x, float[4, 3, 3, 3] w_k, float[4] w_g, float[4] w_b, float[4] w_m,
  float[4] var, float[4, 2] w_d) => (float[a, b] y) {
  xt = Transpose <perm = [0, 3, 1, 2]> (x)
  c = Conv <auto_pad = "SAME_UPPER", kernel_shape = [3, 3], strides = [2, 2]> (xt, w_k)
  n0 = BatchNormalization <epsilon = 0.001> (c, w_g, w_b, w_m, var)
  r = Clip (n0, zero, six)
  zero = Constant <value = float {0.0}> ()
  six = Constant <value = float {6.0}> ()
  back = Transpose <perm = [0, 2, 3, 1]> (r)
  m = ReduceMean <axes = [1, 2], keepdims = 0> (back)
  y = MatMul (m, w_d)
}"""

PACKED_SHAPE = """main (float[n, h, w, 3] x) => (float[a, b, c] y) {
  s = Shape (x)
  s32 = Cast <to = 6> (s)
  z = Constant <value = int64[1] {0}> ()
  o = Constant <value = int64[1] {1}> ()
  t = Constant <value = int64[1] {2}> ()
  th = Constant <value = int64[1] {3}> ()
  n0 = Slice (s32, z, o, z)
  n = Squeeze (n0, z)
  h0 = Slice (s32, o, t, z)
  h = Squeeze (h0, z)
  w0 = Slice (s32, t, th, z)
  w = Squeeze (w0, z)
  hw = Mul (h, w)
  n1 = Unsqueeze (n, z)
  hw1 = Unsqueeze (hw, z)
  c1 = Constant <value = int32[1] {3}> ()
  packed = Concat <axis = 0> (n1, hw1, c1)
  shape = Cast <to = 7> (packed)
  y = Reshape (x, shape)
}"""

RESIZED = """main (float[n, h, w, 3] x) => (float[a, b, c, d] y) {
  s = Shape (x)
  o = Constant <value = int64[1] {1}> ()
  th = Constant <value = int64[1] {3}> ()
  z = Constant <value = int64[1] {0}> ()
  hw = Slice (s, o, th, z)
  c = Cast <to = 6> (hw)
  two = Constant <value = int32[2] {2, 2}> ()
  twice = Mul (c, two)
  wide = Cast <to = 7> (twice)
  xt = Transpose <perm = [0, 3, 1, 2]> (x)
  st = Shape (xt)
  first = Slice (st, z, t2, z)
  t2 = Constant <value = int64[1] {2}> ()
  sizes = Concat <axis = 0> (first, wide)
  r = Resize <coordinate_transformation_mode = "half_pixel", mode = "linear", nearest_mode = "floor"> (xt,
    , , sizes)
  y = Transpose <perm = [0, 2, 3, 1]> (r)
}"""

STRIDED = """main (float[n, t, 6] x) => (float[a, b, c] y) {
  b = Constant <value = int32[2] {0, 1}> ()
  e = Constant <value = int32[2] {2147483647, 6}> ()
  ax = Constant <value = int32[2] {0, 2}> ()
  st = Constant <value = int32[2] {1, 2}> ()
  cut = Slice (x, b, e, ax, st)
  one = Constant <value = int64[1] {1}> ()
  new = Unsqueeze (cut, one)
  flat = Squeeze (new, one)
  i = Constant <value = int32[3] {2, 0, 1}> ()
  y = Gather <axis = 2> (flat, i)
}"""

WHILE = """main (float[n, 4] x) => (float[a, b] y, int32 i) <int32 start = {0}, int32 limit = {5},
    int64 most = {2147483647}> {
  go = Less (start, limit)
  i, y = Loop (most, go, start, x) <body = while (int64 turn, bool cond, int32 k, float[n, 4] v)
   => (bool again, int32 k2, float[n, 4] v2) {
    one = Constant <value = int32 {1}> ()
    k2 = Add (k, one)
    half = Constant <value = float {0.5}> ()
    h = Mul (v, half)
    kf = Cast <to = 1> (k2)
    v2 = Add (h, kf)
    again = Less (k2, limit)
  }>
}"""

TENSOR_ARRAY = """main (float[t, n, 3] x, float[3, 3] w_r) => (float[a, b, c] y) {
  s = Shape (x)
  z = Constant <value = int64[1] {0}> ()
  o = Constant <value = int64[1] {1}> ()
  tr = Slice (s, z, o, z)
  trips = Squeeze (tr, z)
  nn = Slice (s, o, t2, z)
  t2 = Constant <value = int64[1] {2}> ()
  th = Constant <value = int64[1] {3}> ()
  shape = Concat <axis = 0> (nn, th)
  h0 = ConstantOfShape <value = float[1] {0.0}> (shape)
  go = Constant <value = bool {1}> ()
  last, y = Loop (trips, go, h0) <body = cell (int64 i, bool c, float[n, 3] h) => (bool c2, float[n, 3] h2,
    float[n, 3] out) {
    row = Gather <axis = 0> (x, i)
    r = MatMul (h, w_r)
    sum = Add (row, r)
    h2 = Tanh (sum)
    out = Identity (h2)
    c2 = Identity (c)
  }>
}"""

KERAS_LSTM = """main (float[n, t, 5] x, float[2, 16, 5] w_i, float[2, 16, 4] w_h, float[2, 32] w_b)
 => (float[a, b, c] y) {
  xt = Transpose <perm = [1, 0, 2]> (x)
  out = LSTM <hidden_size = 4, direction = "bidirectional"> (xt, w_i, w_h, w_b)
  back = Transpose <perm = [2, 0, 1, 3]> (out)
  shape = Constant <value = int64[3] {0, 0, 8}> ()
  y = Reshape (back, shape)
}"""

KERAS_GRU = """main (float[n, t, 5] x, float[1, 12, 5] w_i, float[1, 12, 4] w_h, float[1, 24] w_b)
    => (float[a, b] y) {
  xt = Transpose <perm = [1, 0, 2]> (x)
  out, last = GRU <hidden_size = 4, linear_before_reset = 1, activations = ["Sigmoid", "Tanh"]> (xt, w_i,
    w_h, w_b)
  z = Constant <value = int64[1] {0}> ()
  y = Squeeze (last, z)
}"""

DEPTHWISE = """main (float[n, h, w, 4] x, float[4, 1, 3, 3] w_k) => (float[a, b, c, d] y) {
  xt = Transpose <perm = [0, 3, 1, 2]> (x)
  pads = Constant <value = int64[8] {0, 0, 0, 0, 0, 0, 1, 1}> ()
  p = Pad (xt, pads)
  c = Conv <group = 4, kernel_shape = [3, 3], strides = [2, 2]> (p, w_k)
  a = LeakyRelu <alpha = 0.2> (c)
  s = Softplus (a)
  t = Tanh (s)
  mish = Mul (a, t)
  y = Transpose <perm = [0, 2, 3, 1]> (mish)
}"""

OLD_SOFTMAX = """main (float[n, h, w, 3] x) => (float[a, b, c, d] y) {
  s = Softmax <axis = 3> (x)
  lo = Log (s)
  ex = Exp (lo)
  su = ReduceSum <axes = [3], keepdims = 1> (ex)
  y = Div (ex, su)
}"""

ONE_HOT = """main (int32[n, t] ids) => (float[a, b, c] y) <int64[1] depth = {5}, float[2] values = {0.0,
    1.0}> {
  wide = Cast <to = 7> (ids)
  hot = OneHot <axis = -1> (wide, depth, values)
  c = CumSum (hot, one)
  one = Constant <value = int32 {1}> ()
  y = Mul (c, hot)
}"""

TRANSPOSED = """main (float[n, h, w, 3] x, float[3, 2, 4, 4] w_k, float[2] w_b) => (float[a, b, c, d] y) {
  xt = Transpose <perm = [0, 3, 1, 2]> (x)
  c = ConvTranspose <kernel_shape = [4, 4], strides = [2, 2], auto_pad = "SAME_UPPER"> (xt, w_k, w_b)
  back = Transpose <perm = [0, 2, 3, 1]> (c)
  y = Sigmoid (back)
}"""

TENSORFLOW: Mapping[str, Form] = {
    "channels last": Form(CHANNELS_LAST, 13, IMAGE, {"var": [0.5, 1.0, 1.5, 2.0]}),
    "shape packed": Form(PACKED_SHAPE, 13, IMAGE),
    "resized by its own size": Form(RESIZED, 13, IMAGE),
    "strided slice": Form(STRIDED, 13, TWO),
    "while": Form(WHILE, 13, ({"n": 1}, {"n": 3})),
    "tensor array": Form(TENSOR_ARRAY, 13, TWO),
    "both ways": Form(KERAS_LSTM, 13, TWO),
    "gated": Form(KERAS_GRU, 13, TWO),
    "depthwise": Form(DEPTHWISE, 13, IMAGE),
    "softmax of opset 9": Form(OLD_SOFTMAX, 9, IMAGE, ir_version=4),
    "one hot": Form(ONE_HOT, 13, TWO),
    "transposed": Form(TRANSPOSED, 11, IMAGE, ir_version=6),
}
