"""Numpy meanings of the ONNX recurrences: RNN, LSTM and GRU, one or two directions, ragged lengths.

Inputs in the order of ONNX: X, W, R, B, sequence_lens, initial_h (then initial_c and P for LSTM). Attributes:
hidden_size, direction, activations (names joined by commas), clip, layout, linear_before_reset, input_forget.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Activation = Callable[[Array], Array]
Step = Callable[[Array, tuple[Array, ...]], tuple[Array, ...]]

ACTIVATIONS: Mapping[str, Activation] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "hardsigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
}


def lstm(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """Y, Y_h, Y_c. Gates in the order input, output, forget, cell."""
    peepholes = _at(inputs, 7)

    def stepper(direction: int, activations: Sequence[Activation]) -> Step:
        w, r, bias = _weights(inputs, direction, 4)
        f, g, h = activations
        p = None if peepholes is None else np.split(peepholes[direction], 3)

        def step(x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            hidden, cell = state
            gates = x @ w.T + hidden @ r.T + bias
            i, o, forget, c = np.split(gates, 4, axis=1)
            if p is not None:
                i, forget = i + p[0] * cell, forget + p[2] * cell
            i, forget = f(_clipped(i, attributes)), f(_clipped(forget, attributes))
            forget = 1 - i if attributes.get("input_forget", 0) else forget
            cell = forget * cell + i * g(_clipped(c, attributes))
            o = o if p is None else o + p[1] * cell
            return f(_clipped(o, attributes)) * h(cell), cell

        return step

    return _run(inputs, attributes, stepper, ["sigmoid", "tanh", "tanh"], states=2)


def gru(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """Y, Y_h. Gates in the order update, reset, hidden."""

    def stepper(direction: int, activations: Sequence[Activation]) -> Step:
        w, r, _ = _weights(inputs, direction, 3)
        f, g = activations
        given = _at(inputs, 3)
        size = r.shape[1]
        flat = np.zeros(6 * size, w.dtype) if given is None else given[direction]
        w_bias, r_bias = flat[: 3 * size], flat[3 * size :]

        def step(x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            (hidden,) = state
            ahead = x @ w.T + w_bias
            gates = ahead[:, : 2 * size] + hidden @ r[: 2 * size].T + r_bias[: 2 * size]
            update, reset = np.split(f(_clipped(gates, attributes)), 2, axis=1)
            if attributes.get("linear_before_reset", 0):
                back = reset * (hidden @ r[2 * size :].T + r_bias[2 * size :])
            else:
                back = (reset * hidden) @ r[2 * size :].T + r_bias[2 * size :]
            candidate = g(_clipped(ahead[:, 2 * size :] + back, attributes))
            return ((1 - update) * candidate + update * hidden,)

        return step

    return _run(inputs, attributes, stepper, ["sigmoid", "tanh"], states=1)


def rnn(inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """Y, Y_h of the plain recurrence."""

    def stepper(direction: int, activations: Sequence[Activation]) -> Step:
        w, r, bias = _weights(inputs, direction, 1)

        def step(x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            return (activations[0](_clipped(x @ w.T + state[0] @ r.T + bias, attributes)),)

        return step

    return _run(inputs, attributes, stepper, ["tanh"], states=1)


def _at(inputs: Sequence[Array | None], place: int) -> Array | None:
    return inputs[place] if place < len(inputs) else None


def _weights(inputs: Sequence[Array | None], direction: int, gates: int) -> tuple[Array, Array, Array]:
    """W, R and the sum of both biases of one direction."""
    w, r, bias = inputs[1], inputs[2], _at(inputs, 3)
    assert w is not None
    assert r is not None
    rows = gates * r.shape[2]
    both = np.zeros(rows, w.dtype) if bias is None else bias[direction][:rows] + bias[direction][rows:]
    return w[direction], r[direction], both


def _clipped(x: Array, attributes: Mapping[str, Any]) -> Array:
    limit = attributes.get("clip")
    return x if limit is None else np.clip(x, -limit, limit)


def _run(
    inputs: Sequence[Array | None],
    attributes: Mapping[str, Any],
    stepper: Callable[[int, Sequence[Activation]], Step],
    default: Sequence[str],
    states: int,
) -> Sequence[Array]:
    x = inputs[0]
    assert x is not None
    layout = int(attributes.get("layout", 0))
    x = np.swapaxes(x, 0, 1) if layout else x
    steps, batch = x.shape[:2]
    hidden = int(attributes["hidden_size"])
    directions = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[str(attributes["direction"])]
    names = str(attributes.get("activations", "")).lower().split(",")
    names = names if names != [""] else [*default] * len(directions)
    given = _at(inputs, 4)
    lengths = np.full(batch, steps) if given is None else given
    result = np.zeros((steps, len(directions), batch, hidden), x.dtype)
    last = [np.zeros((len(directions), batch, hidden), x.dtype) for _ in range(states)]
    for index, backward in enumerate(directions):
        step = stepper(
            index, [ACTIVATIONS[name] for name in names[index * len(default) : (index + 1) * len(default)]]
        )
        state = []
        for number in range(states):
            initial = _at(inputs, 5 + number)
            if initial is None:
                state.append(np.zeros((batch, hidden), x.dtype))
            else:
                state.append((np.swapaxes(initial, 0, 1) if layout else initial)[index])
        for time in range(steps):
            # A reversed row of length n runs n-1 .. 0; rows that have ended keep their state.
            places = np.where(lengths > time, lengths - 1 - time if backward else time, 0)
            alive = (lengths > time)[:, None]
            stepped = step(x[places, np.arange(batch)], tuple(state))
            state = [
                np.where(alive, new, old).astype(x.dtype) for new, old in zip(stepped, state, strict=True)
            ]
            rows = np.flatnonzero(alive[:, 0])
            result[places[rows], index, rows] = state[0][rows]
        for number in range(states):
            last[number][index] = state[number]
    if layout:
        return [result.transpose(2, 0, 1, 3), *[np.swapaxes(value, 0, 1) for value in last]]
    return [result, *last]
