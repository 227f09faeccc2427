"""What sklearn-onnx, Hummingbird and Paddle2ONNX write."""

from collections.abc import Mapping

import numpy as np

from tests.exported.form import Form

ROWS = ({"n": 1}, {"n": 5})
IMAGE = ({"n": 1, "h": 6, "w": 8}, {"n": 2, "h": 9, "w": 7})
BOXES = np.random.default_rng(3)

PIPELINE = """main (float[n, 4] x) => (int64[a] label, float[b, c] p) {
  filled = ai.onnx.ml.Imputer <imputed_value_floats = [0.5], replaced_value_float = 0.0> (x)
  scaled = ai.onnx.ml.Scaler <offset = [0.1, 0.2, 0.3, 0.4], scale = [1.0, 2.0, 0.5, 1.5]> (filled)
  normed = ai.onnx.ml.Normalizer <norm = "L2"> (scaled)
  label, p = ai.onnx.ml.LinearClassifier <classlabels_ints = [3, 5, 9], multi_class = 1,
    post_transform = "SOFTMAX",
    coefficients = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, 0.8, 0.9, -1.0, 0.2, 0.4], intercepts = [0.1, 0.0,
    -0.1]> (normed)
}"""

BINARY = """main (float[n, 3] x) => (int64[a] label, float[b, c] p) {
  label, p = ai.onnx.ml.LinearClassifier <classlabels_ints = [0, 1], multi_class = 1,
    post_transform = "LOGISTIC",
    coefficients = [-0.1, 0.2, -0.3, 0.1, -0.2, 0.3], intercepts = [0.1, -0.1]> (x)
}"""

REGRESSION = """main (float[n, 3] x, float[n, 1] z) => (float[a, b] y) {
  both = ai.onnx.ml.FeatureVectorizer <inputdimensions = [3, 1]> (x, z)
  r = ai.onnx.ml.LinearRegressor <coefficients = [0.1, 0.2, -0.3, 0.5], intercepts = [0.7],
    targets = 1> (both)
  y = Reshape (r, shape)
  shape = Constant <value = int64[2] {-1, 1}> ()
}"""

TREES = """main (float[n, 2] x) => (float[a, b] y) {
  y = ai.onnx.ml.TreeEnsembleRegressor <n_targets = 1, nodes_falsenodeids = [2, 0, 0, 2, 0, 0],
    nodes_featureids = [0, 0, 0, 1, 0, 0], nodes_hitrates = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    nodes_missing_value_tracks_true = [0, 0, 0, 0, 0, 0],
    nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
    nodes_nodeids = [0, 1, 2, 0, 1, 2], nodes_treeids = [0, 0, 0, 1, 1, 1],
    nodes_truenodeids = [1, 0, 0, 1, 0, 0], nodes_values = [0.1, 0.0, 0.0, -0.2, 0.0, 0.0],
    post_transform = "NONE", target_ids = [0, 0, 0, 0], target_nodeids = [1, 2, 1, 2],
    target_treeids = [0, 0, 1, 1], target_weights = [1.5, -0.5, 0.25, 2.0]> (x)
}"""

FOREST = """main (float[n, 2] x) => (int64[a] label, float[b, c] p) {
  label, p = ai.onnx.ml.TreeEnsembleClassifier <class_ids = [0, 1, 2, 0, 1, 2],
    class_nodeids = [1, 1, 1, 2, 2, 2], class_treeids = [0, 0, 0, 0, 0, 0],
    class_weights = [0.5, 0.25, 0.25, 0.1, 0.2, 0.7], classlabels_int64s = [4, 1, 7],
    nodes_falsenodeids = [2, 0, 0], nodes_featureids = [1, 0, 0], nodes_hitrates = [1.0, 1.0, 1.0],
    nodes_missing_value_tracks_true = [0, 0, 0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"],
    nodes_nodeids = [0, 1, 2], nodes_treeids = [0, 0, 0], nodes_truenodeids = [1, 0, 0],
    nodes_values = [0.3, 0.0, 0.0], post_transform = "NONE"> (x)
}"""

ONE_HOT = """main (int64[n, 1] x) => (float[a, b, c] y, int64[d, e] z) {
  y = ai.onnx.ml.OneHotEncoder <cats_int64s = [0, 1, 2, 7], zeros = 1> (x)
  z = ai.onnx.ml.LabelEncoder <keys_int64s = [0, 1, 2, 3], values_int64s = [10, 30, 20, 40],
    default_int64 = -1> (x)
}"""

KMEANS = """main (float[n, 3] x, float[4, 3] w_c, float[1, 4] w_n) => (int64[a] label, float[b, c] d) {
  s = ReduceSumSquare <axes = [1], keepdims = 1> (x)
  g = Gemm <alpha = -2.0, transB = 1> (x, w_c)
  z = Add (s, g)
  b = Add (z, w_n)
  pos = Abs (b)
  label = ArgMin <axis = 1, keepdims = 0> (b)
  d = Sqrt (pos)
}"""

NEIGHBOURS = """main (float[n, 3] x, float[6, 3] w_t) => (int64[a, b] i, float[c, d] y) {
  d = com.microsoft.CDist <metric = "sqeuclidean"> (x, w_t)
  k = Constant <value = int64[1] {2}> ()
  minus = Neg (d)
  v, i = TopK <axis = -1> (minus, k)
  y = Neg (v)
}"""

GEMM_TREE = """main (float[n, 4] x, float[3, 4] w_a, float[3, 1] w_b, float[4, 3] w_c, float[2, 4] w_e)
    => (int64[a] label, float[b, c] p)
<float[4, 1] d = {2.0, 1.0, 1.0, 0.0}> {
  g = Gemm <transB = 1, alpha = 1.0> (w_a, x)
  lt = Less (g, w_b)
  f = Cast <to = 1> (lt)
  paths = MatMul (w_c, f)
  r = Round (paths)
  hit = Equal (r, d)
  h = Cast <to = 1> (hit)
  out = MatMul (w_e, h)
  t = Transpose <perm = [1, 0]> (out)
  p = Softmax <axis = 1> (t)
  label = ArgMax <axis = 1, keepdims = 0> (p)
}"""

TRAVERSAL = """main (float[n, 4] x) => (float[a, b] y)
<int64[3] feature = {1, 0, 3}, float[3] limit = {0.1, -0.2, 0.3}, float[4] leaf = {1.0, 2.0, 3.0, 4.0},
    int64[1] root = {0}> {
  s = Shape (x)
  z = Constant <value = int64[1] {0}> ()
  o = Constant <value = int64[1] {1}> ()
  n = Slice (s, z, o)
  zero = Constant <value = int64 {0}> ()
  at0 = Expand (zero, n)
  f0 = Gather (feature, at0)
  c0 = Unsqueeze (f0, o)
  v0 = GatherElements <axis = 1> (x, c0)
  r0 = Squeeze (v0, o)
  l0 = Gather (limit, at0)
  g0 = GreaterOrEqual (r0, l0)
  i0 = Cast <to = 7> (g0)
  one = Constant <value = int64 {1}> ()
  two = Constant <value = int64 {2}> ()
  at1 = Add (i0, one)
  f1 = Gather (feature, at1)
  c1 = Unsqueeze (f1, o)
  v1 = GatherElements <axis = 1> (x, c1)
  r1 = Squeeze (v1, o)
  l1 = Gather (limit, at1)
  g1 = GreaterOrEqual (r1, l1)
  i1 = Cast <to = 7> (g1)
  twice = Mul (i0, two)
  leafs = Add (twice, i1)
  w = Gather (leaf, leafs)
  y = Unsqueeze (w, o)
}"""

HARD_SWISH = """main (float[n, 3, h, w] x, float[6, 3, 1, 1] w_k, float[6] w_b, float[2, 6, 1, 1] w_s)
    => (float[a, b, c, d] y) {
  c = Conv <kernel_shape = [1, 1]> (x, w_k, w_b)
  three = Constant <value = float {3.0}> ()
  p = Add (c, three)
  lo = Constant <value = float {0.0}> ()
  hi = Constant <value = float {6.0}> ()
  cl = Clip (p, lo, hi)
  m = Mul (c, cl)
  sw = Div (m, hi)
  g = GlobalAveragePool (sw)
  q = Conv <kernel_shape = [1, 1]> (g, w_s)
  hs = HardSigmoid <alpha = 0.2, beta = 0.5> (q)
  a, b = Split <axis = 1> (sw, parts)
  parts = Constant <value = int64[2] {2, 4}> ()
  y = Mul (a, hs)
}"""

PADDLE_RESIZE = """main (float[n, 2, h, w] x, float[n, 2, h2, w2] like) => (float[a, b, c, d] y) {
  s = Shape (like)
  s32 = Cast <to = 6> (s)
  z = Constant <value = int64[1] {0}> ()
  two = Constant <value = int64[1] {2}> ()
  four = Constant <value = int64[1] {4}> ()
  hw = Slice (s32, two, four, z)
  one = Constant <value = int64[2] {1, 1}> ()
  h, w = Split <axis = 0> (hw, one)
  sz = Concat <axis = 0> (h, w)
  wide = Cast <to = 7> (sz)
  sx = Shape (x)
  first = Slice (sx, z, two)
  all = Concat <axis = 0> (first, wide)
  roi = Constant <value = float[0] {}> ()
  r = Resize <coordinate_transformation_mode = "asymmetric", mode = "nearest", nearest_mode = "floor"> (x,
    roi, roi, all)
  y = Concat <axis = 1> (r, like)
}"""

NMS = """main (float[1, 12, 4] boxes, float[1, 12, 3] scores) => (float[k, f] y, int32[m] number) {
  st = Transpose <perm = [0, 2, 1]> (scores)
  most = Constant <value = int64[1] {4}> ()
  iou = Constant <value = float[1] {0.4}> ()
  least = Constant <value = float[1] {0.2}> ()
  sel = NonMaxSuppression (boxes, st, most, iou, least)
  axes = Constant <value = int64[1] {1}> ()
  a0 = Constant <value = int64 {1}> ()
  a2 = Constant <value = int64 {2}> ()
  cls = Gather <axis = 1> (sel, a0)
  box = Gather <axis = 1> (sel, a2)
  twelve = Constant <value = int64 {12}> ()
  base = Mul (cls, twelve)
  flat = Add (base, box)
  neg = Constant <value = int64[1] {-1}> ()
  rows = Reshape (st, neg)
  score = Gather (rows, flat)
  quad = Constant <value = int64[2] {-1, 4}> ()
  table = Reshape (boxes, quad)
  corner = Gather (table, box)
  s1 = Unsqueeze (score, axes)
  cf = Cast <to = 1> (cls)
  c1 = Unsqueeze (cf, axes)
  all = Concat <axis = 1> (c1, s1, corner)
  k = Constant <value = int64[1] {1}> ()
  v, i = TopK <axis = 0> (score, k)
  y = Gather <axis = 0> (all, i)
  number = Cast <to = 6> (k)
}"""

CLASSICAL: Mapping[str, Form] = {
    "pipeline": Form(PIPELINE, 15, ROWS),
    "two classes": Form(BINARY, 15, ROWS),
    "regression": Form(REGRESSION, 15, ROWS),
    "trees": Form(TREES, 15, ROWS),
    "forest": Form(FOREST, 15, ROWS),
    "categories": Form(ONE_HOT, 15, ROWS),
    "k-means": Form(KMEANS, 15, ROWS),
    "neighbours": Form(NEIGHBOURS, 15, ROWS),
    "trees as products": Form(GEMM_TREE, 15, ROWS),
    "trees as gathers": Form(TRAVERSAL, 15, ROWS),
    "hard swish": Form(HARD_SWISH, 13, IMAGE),
    "resized by another's size": Form(
        PADDLE_RESIZE, 13, tuple({**each, "h2": 12, "w2": 11} for each in IMAGE)
    ),
    "boxes suppressed": Form(
        NMS,
        13,
        fed={
            "boxes": np.concatenate(
                [low := BOXES.uniform(0, 1, (1, 12, 2)), low + BOXES.uniform(0.1, 0.5, (1, 12, 2))], -1
            ),
            "scores": BOXES.uniform(0, 1, (1, 12, 3)),
        },
    ),
}
