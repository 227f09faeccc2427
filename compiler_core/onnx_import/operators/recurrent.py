"""RNN, LSTM and GRU: loops of structured steps; rows that end at lengths of their own run on the host."""

from collections.abc import Mapping

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.ops import AttributeValue
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Build, Context, Inputs, optional, required
from tilewright.compiler_core.onnx_import.building.node import Node
from tilewright.compiler_core.onnx_import.operators.recurrent_steps import (
    ACTIVATIONS,
    RealProducts,
    structured,
)
from tilewright.runtime.host.recurrences import ACTIVATIONS as ON_HOST


def _recurrence(function: str, gates: int, states: int) -> Build:
    """`gates` rows of weights a hidden unit, `states` arrays carried from step to step."""

    def build(context: Context, node: Node, inputs: Inputs) -> list[Tensor]:
        directions = check_shapes(context, node, inputs, gates, states)
        x, w, r = (required(inputs, index) for index in range(3))
        attributes = recurrence_attributes(node, r.shape[2])
        products = RealProducts(context.builder, w, r)
        as_loop = structured(context, node, inputs, function, attributes, products)
        if as_loop is not None:
            return as_loop
        _check_host(node, attributes)
        hidden, layout = r.shape[2], node.integer("layout", 0)
        steps, batch = (x.shape[1], x.shape[0]) if layout else (x.shape[0], x.shape[1])
        rows = (batch, steps, directions, hidden) if layout else (steps, directions, batch, hidden)
        last = (batch, directions, hidden) if layout else (directions, batch, hidden)
        results = [(shape, x.dtype) for shape in (rows, *[last] * states)]
        macs = steps * batch * directions * gates * hidden * (x.shape[2] + hidden)
        return context.host(node, function, inputs, results, macs=macs, **attributes)

    return build


def check_shapes(context: Context, node: Node, inputs: Inputs, gates: int, states: int) -> int:
    """The number of directions; ModelError where X, W, R and the initial states do not fit each other."""
    builder = context.builder
    x, w, r = (required(inputs, index) for index in range(3))
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise ModelError(f"X, W and R have ranks {x.rank}, {w.rank}, {r.rank}; all must have rank 3")
    layout = node.integer("layout", 0)
    direction = node.text("direction", "forward")
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(direction)
    if directions is None:
        raise ModelError(f"direction {direction!r} is not one of forward, reverse, bidirectional")
    hidden = r.shape[2]
    if node.has("hidden_size"):
        builder.equal(hidden, node.integer("hidden_size"), "hidden_size and the extent of R")
    builder.equal(w.shape[0], directions, "directions and the first extent of W")
    builder.equal(r.shape[0], directions, "directions and the first extent of R")
    builder.equal(w.shape[1], hidden * gates, "the second extent of W and its gates")
    builder.equal(r.shape[1], hidden * gates, "the second extent of R and its gates")
    builder.equal(w.shape[2], x.shape[2], "the input size of W and of X")
    batch = x.shape[0 if layout else 1]
    for index in range(states):
        initial = optional(inputs, 5 + index)
        if initial is not None:
            builder.equal(initial.shape[0 if layout else 1], batch, "the batch of X and of an initial state")
    return directions


def _check_host(node: Node, attributes: Mapping[str, AttributeValue]) -> None:
    """ModelError where a recurrence on the host has an activation that the host lacks."""
    for name in str(attributes.get("activations", "")).split(","):
        if name and (name not in ON_HOST or node.has("activation_alpha") or node.has("activation_beta")):
            raise ModelError(f"activation {name!r} together with sequence_lens is not supported")


def recurrence_attributes(node: Node, hidden: object) -> dict[str, AttributeValue]:
    """The parameters of a recurrence besides its weights; ModelError where an activation is unknown."""
    names = [name.lower() for name in node.texts("activations", [])]
    for name in names:
        if name not in ACTIVATIONS:
            raise ModelError(f"activation {name!r} is not supported")
    if not isinstance(hidden, int):
        raise ModelError("the hidden size must be known")
    attributes: dict[str, AttributeValue] = {
        "hidden_size": hidden,
        "direction": node.text("direction", "forward"),
        "layout": node.integer("layout", 0),
    }
    if names:
        attributes["activations"] = ",".join(names)
    if node.has("clip"):
        attributes["clip"] = node.number("clip")
    for name in ("linear_before_reset", "input_forget"):
        if node.has(name):
            attributes[name] = node.integer(name)
    return attributes


RECURRENT: Mapping[str, Build] = {
    "GRU": _recurrence("gru", 3, 1),
    "LSTM": _recurrence("lstm", 4, 2),
    "RNN": _recurrence("rnn", 1, 1),
}
