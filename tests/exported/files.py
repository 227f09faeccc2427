"""Peculiarities of files: old opsets, names, functions, weights that are inputs, captured values."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.exported.form import Form

TWO = ({"n": 1, "t": 4}, {"n": 3, "t": 7})
IMAGE = ({"n": 1, "h": 6, "w": 8}, {"n": 2, "h": 9, "w": 7})

OPSET_7 = """main (float[n, 4, h, w] x, float[4] w_g, float[4] w_b, float[4] w_m, float[4] var)
    => (float[a, b, c, d] y) {
  n0 = BatchNormalization <epsilon = 1e-5, momentum = 0.9, spatial = 1> (x, w_g, w_b, w_m, var)
  d = Dropout <ratio = 0.5> (n0)
  u = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 2.0]> (d)
  p = Pad <mode = "constant", pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 0.5> (u)
  c = Clip <min = -1.0, max = 1.5> (p)
  y = Slice <axes = [2, 3], starts = [1, -5], ends = [9223372036854775807, -1]> (c)
}"""

OPSET_8 = """main (float[n, t] x) => (float[a, b] y, int64[c, d] i) {
  one = Constant <value = int64[2] {1, 6}> ()
  shape = Constant <value = int64[2] {0, -1}> ()
  r = Reshape (x, shape)
  m = Max (r, r)
  su = Sum (m, x, r)
  f = Flatten <axis = 1> (su)
  y, i = TopK <axis = 1, k = 2> (f)
}"""

OPSET_9 = """main (float[n, t, 4] x, int64[n, t, 4] at) => (float[a, b, c] y) {
  s = Scatter <axis = 1> (x, zero_at, x)
  z = Cast <to = 7> (x)
  half = Constant <value = float {0.0}> ()
  zf = Mul (x, half)
  zero_at = Cast <to = 7> (zf)
  r = ReduceSum <axes = [1], keepdims = 1> (x)
  sq = Squeeze <axes = [1]> (r)
  un = Unsqueeze <axes = [1]> (sq)
  w = Where (c, un, x)
  c = Greater (x, half)
  y = Neg (w)
}"""

OPSET_10 = """main (float[n, 3, h, w] x) => (float[a, b, c, d] y)
<float[4] scales = {1.0, 1.0, 2.0, 0.5}, int64[2] starts = {0, 1}, int64[2] ends = {1000, 1000},
    int64[2] axes = {2, 3}, int64[2] steps = {1, 2}> {
  r = Resize <mode = "nearest"> (x, scales)
  p = AveragePool <kernel_shape = [2, 2], ceil_mode = 1, strides = [2, 1]> (r)
  y = Slice (p, starts, ends, axes, steps)
}"""

PLAIN = """main (float[n, t] x, float[7] w_a, float[1] w_s) => (float[a, b] y) {
  s = Shape (x)
  one = Constant <value = int64 {1}> ()
  t = Gather (s, one)
  ax = Constant <value = int64[1] {0}> ()
  t1 = Unsqueeze (t, ax)
  cut = Slice (w_a, ax, t1)
  a = Add (x, cut)
  b = Mul (a, w_s)
  y = Softmax <axis = 1> (b)
}"""

CAPTURES = """main (float[n, t] x, float[1] w_s, bool p, bool q) => (float[a, b] y) {
  h = Mul (x, w_s)
  y = If (p) <
    then_branch = then () => (float[a, b] r) {
      inner = Relu (h)
      r = If (q) <
        then_branch = deep () => (float[a, b] r2) { r2 = Add (inner, x) },
        else_branch = deeper () => (float[a, b] r3) { r3 = Sub (inner, h) }>
    },
    else_branch = otherwise () => (float[a, b] u) { u = Mul (h, w_s) }>
}"""

OPTIONALS = """main (float[n, t, 5] x, float[1, 16, 5] w_i, float[1, 16, 4] w_h, float[2] w_lim)
    => (float[a, b, c] y) {
  o, h, c = LSTM <hidden_size = 4, layout = 0> (x, w_i, w_h, , , , )
  z = Constant <value = int64[1] {1}> ()
  s = Squeeze (o, z)
  up = Constant <value = float {0.4}> ()
  k = Clip (s, , up)
  y = Resize <mode = "linear"> (k, , scale)
  scale = Constant <value = float[3] {1.0, 1.0, 2.0}> ()
}"""

NESTED = """main (float[n, t, 6] x, float[6] w_s) => (float[a, b, c] y) {
  y = local.Block <rate = 0.25> (x, w_s)
}
<domain: "local", opset_import: ["" : 17, "local" : 1]>
Block <rate: float = 0.5, axis: int = -1> (x, scale, shift) => (out) {
  n = local.Norm <axis: int = @axis> (x, scale)
  out = LeakyRelu <alpha: float = @rate> (n)
}
<domain: "local", opset_import: ["" : 17]>
Norm <axis: int = -1> (x, scale) => (out) {
  s = Softmax <axis: int = @axis> (x)
  out = Mul (s, scale)
}"""

PASSED_ON = """main (float[n, t] x, float[2, 3] w_a) => (float[a, b] y, float[c, d] w_a, float[e, f] z) {
  y = Identity (x)
  z = Identity (w_a)
}"""

UNIQUE = """main (int64[t] x) => (int64[a] y, int64[b] i, int64[t] back, int64[d] times) {
  y, i, back, times = Unique <sorted = 1> (x)
}"""

NON_ZERO = """main (float[n, t] x) => (float[a] y, int64 k) {
  z = Constant <value = float {0.0}> ()
  p = Greater (x, z)
  at = NonZero (p)
  tr = Transpose (at)
  y = GatherND (x, tr)
  s = Shape (y)
  i = Constant <value = int64 {0}> ()
  k = Gather (s, i)
}"""


def _renamed(name_of: Callable[[str], str]) -> Callable[[onnx.ModelProto], None]:
    """Values but inputs and outputs under other names."""

    def change(made: onnx.ModelProto) -> None:
        graph = made.graph
        kept = {info.name for info in (*graph.input, *graph.output)} | {""}
        for tensor in graph.initializer:
            tensor.name = name_of(tensor.name)
        for node in graph.node:
            node.input[:] = [name if name in kept else name_of(name) for name in node.input]
            node.output[:] = [name if name in kept else name_of(name) for name in node.output]
            node.name = node.output[0]

    return change


def _weights_are_inputs(made: onnx.ModelProto) -> None:
    for tensor in made.graph.initializer:
        made.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def _weights_are_nodes(made: onnx.ModelProto) -> None:
    nodes = [
        helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in made.graph.initializer
    ]
    del made.graph.initializer[:]
    rest = list(made.graph.node)
    del made.graph.node[:]
    made.graph.node.extend([*nodes, *rest])


def _alias(made: onnx.ModelProto) -> None:
    """The standard's domain under its long name."""
    for opset in made.opset_import:
        opset.domain = opset.domain or "ai.onnx"
    for node in made.graph.node:
        node.domain = node.domain or "ai.onnx"


def _sparse(made: onnx.ModelProto) -> None:
    """The longest weight as a sparse one."""
    tensor = max(made.graph.initializer, key=lambda each: int(np.prod(each.dims)))
    array = numpy_helper.to_array(tensor).copy()
    array[::2] = 0
    places = np.flatnonzero(array)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(array.ravel()[places], tensor.name),
        numpy_helper.from_array(places.astype(np.int64)),
        list(array.shape),
    )
    made.graph.initializer.remove(tensor)
    made.graph.sparse_initializer.append(sparse)


def _decorated(made: onnx.ModelProto) -> None:
    """What tools leave: words, properties, shapes of values in between, an output twice read."""
    made.producer_name, made.doc_string = "tool", "words \u00e9\u4e2d\u6587 " * 50
    helper.set_model_props(made, {"author": "x", "json": '{"a": [1, 2]}'})
    made.graph.node[0].doc_string = "File model.py, line 12, in forward"
    inferred = onnx.shape_inference.infer_shapes(made)
    made.graph.value_info.extend(inferred.graph.value_info)


FILES: Mapping[str, Form] = {
    "opset 7": Form(
        OPSET_7, 7, IMAGE, {"var": [0.5, 1.0, 1.5, 2.0]}, ir_version=3, changed=_weights_are_inputs
    ),
    "opset 8": Form(OPSET_8, 8, TWO, ir_version=3),
    "opset 9": Form(OPSET_9, 9, TWO, ir_version=4),
    "opset 10": Form(OPSET_10, 10, IMAGE, ir_version=5),
    "plain": Form(PLAIN, sizes=TWO),
    "names with slashes": Form(
        PLAIN, sizes=TWO, changed=_renamed(lambda name: f"/model/layers.0/{name}_output_0")
    ),
    "names of other alphabets": Form(
        PLAIN, sizes=TWO, changed=_renamed(lambda name: f"\u5c42 {name}:0 \u00fc\u2192")
    ),
    "names of numbers": Form(PLAIN, sizes=TWO, changed=_renamed(lambda name: str(sum(name.encode())))),
    "weights listed as inputs": Form(PLAIN, sizes=TWO, changed=_weights_are_inputs),
    "weights as nodes": Form(PLAIN, sizes=TWO, changed=_weights_are_nodes),
    "domain by its long name": Form(PLAIN, sizes=TWO, changed=_alias),
    "sparse weights": Form(PLAIN, sizes=TWO, changed=_sparse),
    "decorated": Form(PLAIN, sizes=TWO, changed=_decorated),
    "captured by branches": Form(CAPTURES, sizes=TWO),
    "captured by bound branches": Form(CAPTURES, sizes=TWO, given=("p",)),
    "inputs left out": Form(OPTIONALS, 17, TWO),
    "functions in functions": Form(NESTED, 17, TWO, domains={"local": 1}, ir_version=9),
    "passed on": Form(PASSED_ON, sizes=TWO),
    "unique": Form(UNIQUE, sizes=({"t": 4}, {"t": 9})),
    "not zero": Form(NON_ZERO, sizes=TWO),
}
