"""Transforms, the windows before them, and the filters behind them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.differential.standard.net import Net, NoFormError, Step

SINCE = 17
AXIS_IS_INPUT = 20
REALS = (np.float32, np.float32, np.float64)


def _fresh(net: Net) -> None:
    if net.opset < SINCE or net.given is not None:
        raise NoFormError


def _dft(net: Net) -> None:
    _fresh(net)
    late, kind = net.opset >= AXIS_IS_INPUT, net.draw.one_of(REALS)
    outer = [net.draw.size(1, 3) for _ in range(net.draw.size(1, 2))]
    axis = net.draw.size(0 if late else 1, len(outer))
    outer.insert(axis, net.draw.size(1, 9))
    inverse, one_sided = net.draw.size(0, 1), net.draw.size(0, 1)
    if inverse and one_sided:
        raise NoFormError  # few peers run it
    parts = 1 if one_sided else net.draw.size(1, 2)
    x = net.either(net.draw.reals(*outer, parts, dtype=kind), 0.2)
    length = net.parameter(net.draw.size(1, 10)) if net.draw.flag(0.4) else None
    attributes = {"inverse": inverse, "onesided": one_sided}
    net.tolerance = 1e-4
    told = axis - len(outer) - 1 if net.draw.flag(0.3) else axis
    if late:
        net.add("DFT", [x, length, net.hold(told, np.int64)], **attributes)
    else:
        net.add("DFT", [x, length], axis=told, **attributes)


def _stft(net: Net) -> None:
    _fresh(net)
    kind = net.draw.one_of(REALS)
    frame, frames, step = net.draw.size(2, 9), net.draw.size(1, 4), net.draw.size(1, 5)
    parts = net.draw.size(1, 2)
    length = frame + step * (frames - 1) + net.draw.size(0, step - 1)
    x = net.feed(net.draw.reals(net.draw.size(1, 2), length, parts, dtype=kind))
    window = net.either(net.draw.positive(frame, dtype=kind)) if net.draw.flag(0.7) else None
    told = net.parameter(frame) if window is None or net.draw.flag() else None
    one_sided = 0 if parts == 2 else net.draw.size(0, 1)
    net.tolerance = 1e-4
    net.add("STFT", [x, net.parameter(step), window, told], onesided=one_sided)


def _window(op_type: str) -> Step:
    def step(net: Net) -> None:
        _fresh(net)
        net.add(op_type, [net.parameter(net.draw.size(1, 9))], periodic=net.draw.size(0, 1))

    return step


def _mel(net: Net) -> None:
    _fresh(net)
    length = net.draw.one_of([16, 32, 64])
    numbers: list[tuple[Any, Any]] = [
        (net.draw.size(2, 6), np.int64),
        (length, np.int64),
        (8000, np.int64),
        (net.draw.one_of([0.0, 100.0]), np.float32),
        (net.draw.one_of([3000.0, 4000.0]), np.float32),
    ]
    net.add("MelWeightMatrix", [net.parameter(number, kind) for number, kind in numbers])


SIGNALS: Mapping[str, Step] = {
    "BlackmanWindow": _window("BlackmanWindow"),
    "DFT": _dft,
    "HammingWindow": _window("HammingWindow"),
    "HannWindow": _window("HannWindow"),
    "MelWeightMatrix": _mel,
    "STFT": _stft,
}
