"""Recurrences of known length as structured steps.

The product of the whole sequence with the input weights is one contraction; each step then adds the product
of its state with the recurrent weights and applies the gates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compiler_core.dims import Dim
from compiler_core.dtypes import DType
from compiler_core.index_map import axis_index, constant_index
from compiler_core.onnx_import.builder import Builder, Tensor
from compiler_core.onnx_import.context import Context, Inputs, optional, required
from compiler_core.onnx_import.movement import concat
from compiler_core.onnx_import.node import Node
from compiler_core.onnx_import.views import slice_view

MAX_STEPS = 128
"""Longest sequence that is written out step by step; a longer one runs on the host."""

STRUCTURED = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "softplus": "softplus"}
"""Activations that are one row of the structured-op table."""


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrence: its weights, biases and activations."""

    builder: Builder
    direction: int
    hidden: int
    recurrent: Tensor
    bias: Tensor | None
    peepholes: Tensor | None
    activations: Sequence[str]
    attributes: Mapping[str, object]

    def apply(self, kind: str, *tensors: Tensor) -> Tensor:
        """An elementwise op."""
        return self.builder.elementwise(kind, *tensors)

    def activate(self, at: int, x: Tensor) -> Tensor:
        """Activation number `at` of what the attribute clip leaves of x."""
        limit = self.attributes.get("clip")
        if isinstance(limit, float):
            x = self.builder.elementwise("clip", x, low=-limit, high=limit)
        return self.apply(STRUCTURED[self.activations[at]], x)

    def back(self, state: Tensor, first: int, count: int) -> Tensor:
        """State [batch, hidden] times `count` gates of the recurrent weights, from gate `first` on."""
        rows = slice_view(self.builder, self.recurrent, 1, first * self.hidden, count * self.hidden)
        domain = [state.shape[0], count * self.hidden, self.hidden]
        weights = [constant_index(self.direction), axis_index(1), axis_index(2)]
        exprs = [axis_index(0), axis_index(2)]
        return self.builder.op("contract", domain, [(state, exprs), (rows, weights)], state.dtype, reduced=1)

    def gate(self, gates: Tensor, at: int) -> Tensor:
        """Gate number `at` of gates [batch, gates * hidden]."""
        return slice_view(self.builder, gates, 1, at * self.hidden, self.hidden)

    def row(self, table: Tensor, at: int, count: int = 1) -> Tensor:
        """Entries at * hidden .. of this direction's row of a [directions, n] tensor."""
        exprs = [constant_index(self.direction), axis_index(0)]
        row = self.builder.view(table, [table.shape[1]], exprs)
        return slice_view(self.builder, row, 0, at * self.hidden, count * self.hidden)


Step = Callable[[Cell, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


def _lstm(cell: Cell, ahead: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    hidden, carry = state
    apply = cell.apply
    gates = apply("add", ahead, cell.back(hidden, 0, 4))
    i, o, f, c = (cell.gate(gates, at) for at in range(4))
    if cell.peepholes is not None:
        i = apply("add", i, apply("mul", carry, cell.row(cell.peepholes, 0)))
        f = apply("add", f, apply("mul", carry, cell.row(cell.peepholes, 2)))
    i = cell.activate(0, i)
    if cell.attributes.get("input_forget"):
        f = apply("sub", cell.builder.scalar(1.0, i.dtype), i)
    else:
        f = cell.activate(0, f)
    carry = apply("add", apply("mul", f, carry), apply("mul", i, cell.activate(1, c)))
    if cell.peepholes is not None:
        o = apply("add", o, apply("mul", carry, cell.row(cell.peepholes, 1)))
    shown = apply(STRUCTURED[cell.activations[2]], carry)
    return apply("mul", cell.activate(0, o), shown), carry


def _gru(cell: Cell, ahead: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (hidden,) = state
    apply = cell.apply
    gates = apply("add", slice_view(cell.builder, ahead, 1, 0, 2 * cell.hidden), cell.back(hidden, 0, 2))
    if cell.bias is not None:
        gates = apply("add", gates, cell.row(cell.bias, 3, 2))
    z, r = (cell.activate(0, cell.gate(gates, at)) for at in range(2))
    reset_last = bool(cell.attributes.get("linear_before_reset"))
    back = cell.back(hidden if reset_last else apply("mul", r, hidden), 2, 1)
    if cell.bias is not None:
        back = apply("add", back, cell.row(cell.bias, 5))
    if reset_last:
        back = apply("mul", r, back)
    candidate = cell.activate(1, apply("add", cell.gate(ahead, 2), back))
    kept = apply("sub", cell.builder.scalar(1.0, z.dtype), z)
    return (apply("add", apply("mul", kept, candidate), apply("mul", z, hidden)),)


def _rnn(cell: Cell, ahead: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (cell.activate(0, cell.apply("add", ahead, cell.back(state[0], 0, 1))),)


STEPS: Mapping[str, tuple[Step, Sequence[str]]] = {
    "gru": (_gru, ("sigmoid", "tanh")),
    "lstm": (_lstm, ("sigmoid", "tanh", "tanh")),
    "rnn": (_rnn, ("tanh",)),
}


def unrolled(
    context: Context, node: Node, inputs: Inputs, function: str, attributes: Mapping[str, object], gates: int
) -> list[Tensor] | None:
    """Results of a recurrence as steps; None where its length is not known, ragged or above the limit."""
    builder = context.builder
    x, w, r = (required(inputs, at) for at in range(3))
    layout = node.integer("layout", 0)
    steps, batch = (x.shape[1], x.shape[0]) if layout else (x.shape[0], x.shape[1])
    hidden = r.shape[2]
    step, default = STEPS[function]
    names = str(attributes.get("activations", "")).split(",")
    backward = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[node.text("direction", "forward")]
    names = names if names != [""] else [*default] * len(backward)
    if not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS or not isinstance(hidden, int):
        return None
    if optional(inputs, 4) is not None or any(name not in STRUCTURED for name in names):
        return None
    states = 2 if function == "lstm" else 1
    rows: list[Tensor] = []
    lasts: list[list[Tensor]] = [[] for _ in range(states)]
    for direction, reverse in enumerate(backward):
        first = direction * len(default)
        cell = Cell(
            builder,
            direction,
            hidden,
            r,
            optional(inputs, 3),
            optional(inputs, 7),
            names[first : first + len(default)],
            attributes,
        )
        ahead = _ahead(cell, x, w, gates, layout=layout, both_biases=function != "gru")
        state = tuple(
            _initial(builder, optional(inputs, 5 + at), direction, batch, hidden, x.dtype, layout)
            for at in range(states)
        )
        shown: list[Tensor] = []
        for time in reversed(range(steps)) if reverse else range(steps):
            exprs = [constant_index(time), axis_index(0), axis_index(1)]
            now = builder.view(ahead, [batch, gates * hidden], exprs)
            state = step(cell, now, state)
            shown.append(builder.reshape(state[0], (1, 1, batch, hidden)))
        rows.append(concat(builder, shown[::-1] if reverse else shown, 0))
        for at, value in enumerate(state):
            lasts[at].append(builder.reshape(value, (1, batch, hidden)))
    y = concat(builder, rows, 1)
    ends = [concat(builder, parts, 0) for parts in lasts]
    if layout:
        return [builder.transpose(y, (2, 0, 1, 3)), *[builder.transpose(end, (1, 0, 2)) for end in ends]]
    return [y, *ends]


def _ahead(cell: Cell, x: Tensor, w: Tensor, gates: int, *, layout: int, both_biases: bool) -> Tensor:
    """[steps, batch, gates * hidden]: the whole sequence times the input weights, biases added."""
    builder, rows = cell.builder, gates * cell.hidden
    steps, batch = (x.shape[1], x.shape[0]) if layout else (x.shape[0], x.shape[1])
    exprs = [axis_index(1 if layout else 0), axis_index(0 if layout else 1), axis_index(3)]
    weights = [constant_index(cell.direction), axis_index(2), axis_index(3)]
    domain = [steps, batch, rows, x.shape[2]]
    product = builder.op("contract", domain, [(x, exprs), (w, weights)], x.dtype, reduced=1)
    if cell.bias is None:
        return product
    bias = cell.row(cell.bias, 0, gates)
    if both_biases:
        bias = builder.elementwise("add", bias, cell.row(cell.bias, gates, gates))
    return builder.elementwise("add", product, bias)


def _initial(
    builder: Builder,
    given: Tensor | None,
    direction: int,
    batch: Dim,
    hidden: int,
    dtype: DType,
    layout: int,
) -> Tensor:
    """The state before the first step, [batch, hidden]."""
    if given is None:
        return builder.expand(builder.scalar(0.0, dtype), (batch, hidden))
    exprs = [constant_index(direction), axis_index(0), axis_index(1)]
    if layout:
        exprs[:2] = [axis_index(0), constant_index(direction)]
    return builder.view(given, (batch, hidden), exprs)
