"""DynamicQuantizeLSTM: directions, states, peepholes, weights of both signs, scales of columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.differential.case import Case, Draw, Family, Operator


def _dynamic_quantize_lstm(draw: Draw) -> Case:
    steps, batch, size, hidden = draw.size(1, 4), draw.size(1, 3), draw.size(1, 5), draw.size(1, 6)
    direction = draw.one_of(["forward", "reverse", "bidirectional"])
    directions = 2 if direction == "bidirectional" else 1
    kinds: list[Any] = [np.int8, np.uint8]
    kind = draw.one_of(kinds)
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    chosen = Operator("DynamicQuantizeLSTM")
    chosen.attributes.update(hidden_size=hidden, direction=direction)
    if draw.flag(0.3):
        chosen.attributes["clip"] = 0.5
    if draw.flag(0.3):
        chosen.attributes["activations"] = ["Sigmoid", "Tanh", draw.one_of(["Tanh", "Sigmoid"])] * directions
    chosen.feed(draw.reals(steps, batch, size))
    for rows in (size, hidden):
        chosen.hold(draw.integers(low, high, (directions, rows, 4 * hidden), kind))
    chosen.hold(draw.reals(directions, 8 * hidden) if draw.flag() else None)
    chosen.hold(np.full(batch, steps, np.int32) if draw.flag(0.2) else None)
    for _ in range(2):
        chosen.feed(draw.reals(directions, batch, hidden) if draw.flag(0.4) else None)
    chosen.hold(draw.reals(directions, 3 * hidden) if draw.flag(0.3) else None)
    # onnxruntime wants zero points of columns to be zero, whatever they are called.
    columns = draw.flag()
    shape = (directions, 4 * hidden) if columns else (directions,)
    middle = 0 if kind is np.int8 else 128
    for _ in range(2):
        chosen.hold(draw.positive(*shape, low=0.005, high=0.02))
        zeros = draw.integers(middle - 4, middle + 4, shape, np.int64).clip(low, high).astype(kind)
        chosen.hold(np.zeros_like(zeros) if columns else zeros)
    return chosen.case([True, draw.flag(), draw.flag()], tolerance=5e-3)


RECURRENT: Mapping[str, Family] = {"DynamicQuantizeLSTM": _dynamic_quantize_lstm}
