"""Recurrences and control flow."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.differential.standard.net import Net, NoFormError, Step


def _recurrence(op_type: str, gates: int) -> Step:
    def step(net: Net) -> None:
        length, batch, width, hidden = (net.draw.size(1, 4) for _ in range(4))
        direction = net.draw.one_of(["forward", "reverse", "bidirectional"])
        directions = 2 if direction == "bidirectional" else 1
        if net.given is not None:
            if net.given.rank != 3:
                raise NoFormError
            length, batch, width = net.given.shape
        x = net.first(op_type, (length, batch, width), [np.float32])
        w = net.either(net.numbers((directions, gates * hidden, width), np.float32), 0.8)
        r = net.either(net.numbers((directions, gates * hidden, hidden), np.float32), 0.8)
        bias = (
            net.hold(net.numbers((directions, 2 * gates * hidden), np.float32)) if net.draw.flag() else None
        )
        ends = net.draw.integers(1, length, (batch,), np.int32)
        if net.draw.flag(0.7):
            ends[:] = length
        lengths = net.either(ends) if net.draw.flag(0.3) else None
        states = [
            net.either(net.numbers((directions, batch, hidden), np.float32)) if net.draw.flag(0.4) else None
            for _ in range(2 if op_type == "LSTM" else 1)
        ]
        attributes = {"hidden_size": hidden, "direction": direction}
        if net.draw.flag(0.2):
            attributes["clip"] = 0.7
        if op_type == "GRU":
            attributes["linear_before_reset"] = net.draw.size(0, 1)
        outputs = [True, net.draw.flag(), *([net.draw.flag()] if op_type == "LSTM" else [])]
        peepholes = None
        if op_type == "LSTM" and net.draw.flag(0.2):
            peepholes = net.hold(net.numbers((directions, 3 * hidden), np.float32))
        net.tolerance = 1e-4
        net.add(op_type, [x, w, r, bias, lengths, *states, peepholes], outputs=outputs, **attributes)

    return step


def _if(net: Net) -> None:
    """Both branches read the value from outside."""
    x = net.first("Add", dtypes=[np.float32, np.int64])
    condition = net.either(np.array(net.draw.flag()))
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    branches = {}
    for branch, op_type in (("then_branch", "Add"), ("else_branch", "Mul")):
        item = helper.make_node(op_type, [x.name, x.name], [branch])
        result = helper.make_tensor_value_info(branch, kind, None)
        branches[branch] = helper.make_graph([item], branch, [], [result])
    net.add("If", [condition], **branches)


def _loop(net: Net) -> None:
    """A running sum over the rows of a value: counted, ended by a condition, or both."""
    if net.opset < 13:
        raise NoFormError
    x = net.ranked("Add", 2, 3, [np.float32])
    kind = TensorProto.FLOAT
    trips = net.draw.size(0, x.shape[0])
    condition = net.draw.one_of(["always", "index", "data"])
    inner = [
        helper.make_node("Gather", [x.name, "i"], ["row"], axis=0),
        helper.make_node("Add", ["state", "row"], ["next"]),
        helper.make_node("Mul", ["next", "row"], ["kept"]),
    ]
    constants = []
    if condition == "always":
        inner.append(helper.make_node("Identity", ["going"], ["again"]))
    elif condition == "index":
        constants.append(onnx.numpy_helper.from_array(np.array(net.draw.size(0, 3)), "most"))
        inner.append(helper.make_node("Less", ["i", "most"], ["again"]))
    else:
        constants.append(onnx.numpy_helper.from_array(np.array(2.0, np.float32), "most"))
        inner.append(helper.make_node("ReduceMax", ["next"], ["greatest"], keepdims=0))
        inner.append(helper.make_node("Less", ["greatest", "most"], ["again"]))
    infos = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        helper.make_tensor_value_info("state", kind, x.shape[1:]),
    ]
    results = [
        helper.make_tensor_value_info("again", TensorProto.BOOL, []),
        helper.make_tensor_value_info("next", kind, x.shape[1:]),
        helper.make_tensor_value_info("kept", kind, x.shape[1:]),
    ]
    body = helper.make_graph(inner, "body", infos, results, constants)
    start = net.either(net.numbers(x.shape[1:], np.float32))
    net.add("Loop", [net.either(np.array(trips)), net.hold(np.array(True)), start], outputs=2, body=body)


def _scan(net: Net) -> None:
    x = net.ranked("Add", 2, 3, [np.float32])
    inner = [
        helper.make_node("Add", ["state", "row"], ["next"]),
        helper.make_node("Relu", ["next"], ["kept"]),
    ]
    kind = TensorProto.FLOAT
    axis = net.draw.size(0, x.rank - 1)
    shape = [extent for dim, extent in enumerate(x.shape) if dim != axis]
    infos = [helper.make_tensor_value_info(name, kind, shape) for name in ("state", "row")]
    results = [helper.make_tensor_value_info(name, kind, shape) for name in ("next", "kept")]
    body = helper.make_graph(inner, "body", infos, results)
    start = net.either(net.numbers(shape, np.float32))
    net.add(
        "Scan",
        [start, x],
        outputs=2,
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=[net.draw.size(0, 1)],
        scan_output_axes=[net.draw.size(0, len(shape))],
        scan_output_directions=[net.draw.size(0, 1)],
    )


RECURRING: Mapping[str, Step] = {
    "GRU": _recurrence("GRU", 3),
    "If": _if,
    "LSTM": _recurrence("LSTM", 4),
    "Loop": _loop,
    "RNN": _recurrence("RNN", 1),
    "Scan": _scan,
}
