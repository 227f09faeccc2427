"""Recurrences as loops of structured steps.

The product of the whole sequence with the input weights is one contraction; each step then adds the product
of its state with the recurrent weights and applies the gates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tilewright.compiler_core.ir.dims import Dim, known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import axis_index, constant_index
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.looping import begin_loop, reversed_view
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.movement import concat
from tilewright.compiler_core.onnx_import.operators.views import slice_view

Activation = Callable[[Builder, Tensor, float, float], Tensor]


def _row(kind: str) -> Activation:
    return lambda builder, x, alpha, beta: builder.elementwise(kind, x)


def _affine(builder: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    return builder.with_number("add", builder.with_number("mul", x, alpha), beta)


def _scaled_tanh(builder: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    curve = builder.elementwise("tanh", builder.with_number("mul", x, beta))
    return builder.with_number("mul", curve, alpha)


def _softsign(builder: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    size = builder.with_number("add", builder.elementwise("abs", x), 1.0)
    return builder.elementwise("div", x, size)


def _thresholded_relu(builder: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    above = builder.elementwise("less", builder.scalar(alpha, x.dtype), x, dtype=DType.BOOL)
    return builder.elementwise("where", above, x, builder.scalar(0.0, x.dtype), dtype=x.dtype)


ACTIVATIONS: Mapping[str, tuple[Activation, float | None, float | None]] = {
    "relu": (_row("relu"), None, None),
    "tanh": (_row("tanh"), None, None),
    "sigmoid": (_row("sigmoid"), None, None),
    "softplus": (_row("softplus"), None, None),
    "softsign": (_softsign, None, None),
    "affine": (_affine, 1.0, 0.0),
    "leakyrelu": (lambda b, x, alpha, beta: b.elementwise("leaky_relu", x, alpha=alpha), 0.01, None),
    "elu": (lambda b, x, alpha, beta: b.elementwise("elu", x, alpha=alpha), 1.0, None),
    "thresholdedrelu": (_thresholded_relu, 1.0, None),
    "scaledtanh": (_scaled_tanh, 1.0, 1.0),
    "hardsigmoid": (
        lambda b, x, alpha, beta: b.elementwise("hard_sigmoid", x, alpha=alpha, beta=beta),
        0.2,
        0.5,
    ),
}
"""Activations of the recurrences by name, with the defaults of alpha and beta where they take them."""


def activations_of(node: Node, names: Sequence[str]) -> list[Callable[[Builder, Tensor], Tensor]]:
    """The activations called `names`; each takes its alpha and beta from the node's lists, in order."""
    alphas = iter(node.numbers("activation_alpha", []))
    betas = iter(node.numbers("activation_beta", []))
    found: list[Callable[[Builder, Tensor], Tensor]] = []
    for name in names:
        function, alpha, beta = ACTIVATIONS[name]
        first = 0.0 if alpha is None else next(alphas, alpha)
        second = 0.0 if beta is None else next(betas, beta)
        found.append(partial(_activated, function, first, second))
    return found


def _activated(function: Activation, alpha: float, beta: float, builder: Builder, x: Tensor) -> Tensor:
    return function(builder, x, alpha, beta)


class Products(Protocol):
    """The products of a recurrence with its weights: in reals, or in integers."""

    def ahead(self, x: Tensor, direction: int) -> Tensor:
        """[.., gates * hidden] of the whole input [.., size], biases left out."""

    def back(self, state: Tensor, direction: int, first: int, count: int) -> Tensor:
        """[batch, count] of a state [batch, hidden] and rows first.. of the recurrent weights."""


@dataclass(frozen=True)
class RealProducts:
    """Weights [directions, gates * hidden, size] and [directions, gates * hidden, hidden]."""

    builder: Builder
    weights: Tensor
    recurrent: Tensor

    def ahead(self, x: Tensor, direction: int) -> Tensor:
        """One contraction over the whole sequence."""
        exprs = [axis_index(0), axis_index(1), axis_index(3)]
        rows = [constant_index(direction), axis_index(2), axis_index(3)]
        domain = [x.shape[0], x.shape[1], self.weights.shape[1], x.shape[2]]
        return self.builder.op("contract", domain, [(x, exprs), (self.weights, rows)], x.dtype, reduced=1)

    def back(self, state: Tensor, direction: int, first: int, count: int) -> Tensor:
        """One contraction a step."""
        rows = slice_view(self.builder, self.recurrent, 1, first, count)
        domain = [state.shape[0], count, state.shape[1]]
        weights = [constant_index(direction), axis_index(1), axis_index(2)]
        exprs = [axis_index(0), axis_index(2)]
        return self.builder.op("contract", domain, [(state, exprs), (rows, weights)], state.dtype, reduced=1)


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrence: its products, biases and activations."""

    builder: Builder
    direction: int
    hidden: int
    products: "Products"
    bias: Tensor | None
    peepholes: Tensor | None
    activations: Sequence[Callable[[Builder, Tensor], Tensor]]
    attributes: Mapping[str, object]

    def apply(self, kind: str, *tensors: Tensor) -> Tensor:
        """An elementwise op."""
        return self.builder.elementwise(kind, *tensors)

    def activate(self, at: int, x: Tensor) -> Tensor:
        """Activation number `at` of x clipped by the attribute clip."""
        limit = self.attributes.get("clip")
        if isinstance(limit, float):
            x = self.builder.elementwise("clip", x, low=-limit, high=limit)
        return self.activations[at](self.builder, x)

    def back(self, state: Tensor, first: int, count: int) -> Tensor:
        """State [batch, hidden] times `count` gates of the recurrent weights, from gate `first` on."""
        return self.products.back(state, self.direction, first * self.hidden, count * self.hidden)

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
    i, o, f, c = (cell.gate(gates, index) for index in range(4))
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
    shown = cell.activations[2](cell.builder, carry)
    return apply("mul", cell.activate(0, o), shown), carry


def _gru(cell: Cell, ahead: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (hidden,) = state
    apply = cell.apply
    gates = apply("add", slice_view(cell.builder, ahead, 1, 0, 2 * cell.hidden), cell.back(hidden, 0, 2))
    if cell.bias is not None:
        gates = apply("add", gates, cell.row(cell.bias, 3, 2))
    z, r = (cell.activate(0, cell.gate(gates, index)) for index in range(2))
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


def structured(
    context: Context,
    node: Node,
    inputs: Inputs,
    function: str,
    attributes: Mapping[str, object],
    products: Products,
) -> list[Tensor] | None:
    """Results of a recurrence as a loop of structured steps; None where rows end at lengths of their own."""
    builder = context.builder
    x, r = required(inputs, 0), required(inputs, 2)
    layout = node.integer("layout", 0)
    steps, batch = (x.shape[1], x.shape[0]) if layout else (x.shape[0], x.shape[1])
    hidden = r.shape[2]
    step, default = STEPS[function]
    names = str(attributes.get("activations", "")).split(",")
    backward = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[node.text("direction", "forward")]
    names = names if names != [""] else [*default] * len(backward)
    if steps == 0 or not isinstance(hidden, int):
        return None
    if _ends_early(context, optional(inputs, 4), steps):
        return None
    functions = activations_of(node, names)
    sequence = builder.transpose(x, (1, 0, 2)) if layout else x
    states = 2 if function == "lstm" else 1
    rows: list[Tensor] = []
    lasts: list[list[Tensor]] = [[] for _ in range(states)]
    for direction, reverse in enumerate(backward):
        first = direction * len(default)
        cell = Cell(
            builder,
            direction,
            hidden,
            products,
            optional(inputs, 3),
            optional(inputs, 7),
            functions[first : first + len(default)],
            attributes,
        )
        ahead = _ahead(cell, sequence, both_biases=function != "gru")
        ahead = reversed_view(builder, ahead) if reverse else ahead
        initial = [
            _initial(builder, optional(inputs, 5 + index), direction, batch, hidden, x.dtype, layout)
            for index in range(states)
        ]
        loop = begin_loop(context, node, initial, [ahead])
        state = step(cell, loop.elements[0], loop.state)
        *ends, shown = loop.finish(steps, state, state[:1])
        shown = reversed_view(builder, shown) if reverse else shown
        rows.append(
            builder.view(shown, (steps, 1, batch, hidden), [axis_index(index) for index in (0, 2, 3)])
        )
        for index, value in enumerate(ends):
            lasts[index].append(builder.reshape(value, (1, batch, hidden)))
    y = concat(builder, rows, 1)
    ends = [concat(builder, parts, 0) for parts in lasts]
    if layout:
        return [builder.transpose(y, (2, 0, 1, 3)), *[builder.transpose(end, (1, 0, 2)) for end in ends]]
    return [y, *ends]


def _ends_early(context: Context, lengths: Tensor | None, steps: Dim) -> bool:
    """Whether rows of the batch may end before the last step."""
    if lengths is None:
        return False
    content = context.builder.content(lengths)
    return content is None or any(length != steps for length in content.ravel().tolist())


def _ahead(cell: Cell, x: Tensor, *, both_biases: bool) -> Tensor:
    """[steps, batch, gates * hidden] of x [steps, batch, size]: its products, biases added."""
    builder = cell.builder
    product = cell.products.ahead(x, cell.direction)
    if cell.bias is None:
        return product
    gates = known(product.shape[2], "the gates of a recurrence") // cell.hidden
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
