"""Operators that fold axes, and those that look along one."""

from collections.abc import Mapping

import numpy as np

from tests.differential.standard.net import Net, NoFormError, Step, axes_of, axis_of

REDUCES = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
MOST_OF_TWO_BYTES = 256
"""Elements that are folded: the reference adds up bf16 in bf16."""


def _reduce(op_type: str) -> Step:
    def step(net: Net) -> None:
        # Logarithms of integers are cut off, squares of unsigned ones change their type in the reference.
        reals = [np.float32, np.float64, np.float16] if "Log" in op_type else None
        signed = [np.float32, np.float64, np.float16, np.int32, np.int64] if "Square" in op_type else None
        # A product of what came before leaves the integers.
        floats = [np.float32, np.float64] if op_type.endswith("Prod") and net.given is not None else None
        x = net.first(
            op_type, None, floats or reals or signed, least=0 if op_type.endswith("Prod") else -3, most=3
        )
        if x.dtype.itemsize == 2 and np.prod(x.shape) > MOST_OF_TWO_BYTES:
            raise NoFormError
        keep = net.draw.size(0, 1)
        axes = axes_of(net, x, 1) if x.rank and net.draw.flag(0.8) else None
        if net.version(op_type) < 18 and not (op_type == "ReduceSum" and net.opset >= 13):
            net.add(op_type, [x], keepdims=keep, **({} if axes is None else {"axes": axes}))
            return
        empty = net.draw.flag(0.15)
        given = None if axes is None else net.parameter([] if empty else axes)
        noop = {"noop_with_empty_axes": 1} if net.draw.flag(0.2) else {}
        net.add(op_type, [x, given], keepdims=keep, **noop)

    return step


def _arg(op_type: str) -> Step:
    def step(net: Net) -> None:
        x = net.first(op_type)
        last = {"select_last_index": net.draw.size(0, 1)} if net.opset >= 12 else {}
        net.add(op_type, [x], axis=axis_of(net, x), keepdims=net.draw.size(0, 1), **last)

    return step


def _along(op_type: str) -> Step:
    def step(net: Net) -> None:
        x = net.ranked(op_type, 1, 5)
        net.add(op_type, [x], axis=axis_of(net, x))

    return step


def _cum_sum(net: Net) -> None:
    x = net.ranked("CumSum", 1, 4)
    axis = net.parameter(axis_of(net, x), net.draw.one_of([np.int64, np.int32]))
    net.add("CumSum", [x, axis], exclusive=net.draw.size(0, 1), reverse=net.draw.size(0, 1))


def _top_k(net: Net) -> None:
    x = net.ranked("TopK", 1, 4)
    axis = axis_of(net, x)
    k = net.parameter([net.draw.size(1, x.shape[axis])])
    net.add("TopK", [x, k], outputs=2, axis=axis, largest=net.draw.size(0, 1), sorted=1)


def _lp_normalization(net: Net) -> None:
    # Sums of magnitudes are sums in the reference: f32, which onnxruntime takes too.
    x = net.ranked("LpNormalization", 1, 4, [np.float32])
    net.add("LpNormalization", [x], axis=axis_of(net, x), p=net.draw.size(1, 2))


def _mean_variance(net: Net) -> None:
    x = net.ranked("MeanVarianceNormalization", 4, 4)
    axes = {"axes": sorted({axis % 4 for axis in axes_of(net, x, 1)})} if net.draw.flag() else {}
    net.add("MeanVarianceNormalization", [x], **axes)


def _cum_prod(net: Net) -> None:
    if net.opset < 26:
        raise NoFormError
    x = net.ranked("CumProd", 1, 4)
    axis = net.parameter(axis_of(net, x))
    net.add("CumProd", [x, axis], exclusive=net.draw.size(0, 1), reverse=net.draw.size(0, 1))


REDUCING: Mapping[str, Step] = {
    **{f"Reduce{name}": _reduce(f"Reduce{name}") for name in REDUCES},
    "ArgMax": _arg("ArgMax"),
    "ArgMin": _arg("ArgMin"),
    "CumProd": _cum_prod,
    "CumSum": _cum_sum,
    "Hardmax": _along("Hardmax"),
    "LogSoftmax": _along("LogSoftmax"),
    "LpNormalization": _lp_normalization,
    "MeanVarianceNormalization": _mean_variance,
    "Softmax": _along("Softmax"),
    "TopK": _top_k,
}
