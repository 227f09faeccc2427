"""The context of an op's builder, and the type of such a builder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir import host_ops
from tilewright.compiler_core.ir.dims import LOCAL, Dim, SymDim, minimum, symbol, symbols_of
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.index_map import IndexExpr
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor, integers
from tilewright.compiler_core.onnx_import.building.external import ExternalData
from tilewright.compiler_core.onnx_import.building.node import Node

Inputs: TypeAlias = Sequence[Tensor | None]

MOST_NAMED = 4
"""Inputs that a message names."""


class DataDecidesError(ModelError):
    """A parameter that an operator's structured form must know is computed from data."""


@dataclass(frozen=True)
class HostOp:
    """An op of the model that runs on the host: its node, its operator, the values it makes, its MACs."""

    node: str
    op_type: str
    results: tuple[int, ...]
    macs: Dim = 0


@dataclass
class Context:
    """The Graph under construction and the facts around the node at hand.

    `reads` says how many readers a value of the current graph has, graph outputs included. `loops` is what of
    loops runs on the host unless they are written out. `open_loops` is how many bodies the node lies in,
    `local` the symbols that each step of a loop decides, `decided` those that depend on data, under their
    names in `called` where they have one. `inputs` has the model's inputs' names, `presumed` what some of
    them hold in a run that the file's shapes describe.
    """

    builder: Builder
    external: ExternalData
    reads: Callable[[str], int] = lambda name: 2
    host_ops: list[HostOp] = field(default_factory=list)
    loops: list[HostOp] = field(default_factory=list)
    open_loops: int = 0
    local: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    decided: set[str] = field(default_factory=set)
    called: Mapping[str, str] = field(default_factory=dict)
    inputs: dict[int, str] = field(default_factory=dict)
    presumed: dict[str, Tensor] = field(default_factory=dict)

    def made(self) -> tuple[list[Any], ...]:
        """The state of the construction, to be undone, or moved into the body of a loop."""
        return self.builder.ops, self.host_ops, self.loops, self.builder.constraints, self.local

    def require_one(self, extent: Dim) -> None:
        """Keep that an open extent has to be 1 or more; one that data decide may be 0."""
        names = symbols_of(extent)
        data_decide = names & self.decided or any(name.startswith(LOCAL) for name in names)
        if not data_decide and (one := minimum(extent, 1)) != 1:
            self.builder.constraints.append((one, 1))

    def origins(self, tensor: Tensor) -> list[str]:
        """The names of the model's inputs that a tensor is computed from, in the model's order."""
        needed = {tensor.value}
        for op in reversed(self.builder.ops):
            if op.result in needed:
                needed.update(access.value for access in op.operands)
        return [name for value, name in self.inputs.items() if value in needed]

    def presume(self, tensor: Tensor, held: Tensor) -> None:
        """Keep that a run gives `tensor` the numbers of the constant `held`: an input itself holds them.

        The integers it is computed from, where it is computed, are masks of which nothing is left out: ones.
        """
        direct = self.inputs.get(tensor.value)
        if direct is not None:
            self.presumed.setdefault(direct, held)
            return
        names = self.origins(tensor)
        for value, name in self.inputs.items():
            kind = self.builder.values[value]
            if name in names and not kind.dtype.is_float:
                ones = self.builder.expand(self.builder.scalar(1, kind.dtype), kind.shape)
                self.presumed.setdefault(name, ones)

    def undecided(self, tensor: Tensor, what: str) -> str:
        """The message that `what` is not known while the model is read, and what to bind."""
        dims = sorted(tensor.recipe.symbols) if tensor.recipe is not None else []
        hints = [f"--input {name}=VALUE" for name in self.origins(tensor)[:MOST_NAMED]]
        hints += [f"--dim {name}=VALUE" for name in dims[:MOST_NAMED] if not name.startswith(LOCAL)]
        text = f"{what} is computed from {'data' if not dims else 'extents'}"
        return f"{text}; bind the inputs that it depends on with {' '.join(hints)}" if hints else text

    def data_decides(self, tensor: Tensor, what: str) -> DataDecidesError:
        """The error that `what` must be known, with the inputs to bind."""
        return DataDecidesError(self.undecided(tensor, what))

    def fresh(self, node: Node, at: str, output: str = "") -> SymDim:
        """A new named symbol for an extent that depends on data; a local one in a loop.

        It is named after the `output` of the node that has it, or after the node.
        """
        if self.open_loops:
            return self.fresh_local()
        base = f"{output or node.name}_{at}"
        name, count = base, 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        shown = self.called.get(name, name)
        self.decided.add(shown)
        return symbol(shown)

    def fresh_local(self) -> SymDim:
        """A new symbol for an extent that each step of a loop decides anew; its name is no node's."""
        self.local.append(f"{LOCAL}{len(self.local)}")
        return symbol(self.local[-1])

    def host(
        self,
        node: Node,
        function: str,
        inputs: Inputs,
        results: Sequence[tuple[Sequence[Dim], DType]],
        macs: Dim = 0,
        **attributes: Any,
    ) -> list[Tensor]:
        """One host op an output: `function` of ir.host_ops over whole operands.

        `macs` are the multiply-accumulates of the whole operator, for the report.
        """
        given = [tensor for tensor in inputs if tensor is not None]
        present = "".join("1" if tensor is not None else "0" for tensor in inputs)
        contents = [self.builder.content(tensor) for tensor in given]
        if all(content is not None and content.dtype != np.object_ for content in contents):
            # All inputs are known, so the operator is run here for the extents that depend on data.
            arrays = [content for content in contents if content is not None]
            found = host_ops.run(function, arrays, {**attributes, "present": present})
            return [
                self.builder.constant(np.asarray(array).astype(dtype.numpy, copy=False))
                for array, (_, dtype) in zip(found, results, strict=False)
            ]
        whole = IndexExpr(source=0)
        made = [
            self.builder.op(
                "host",
                shape,
                [(tensor, [whole] * tensor.rank) for tensor in given],
                dtype,
                function=function,
                output=output,
                present=present,
                **attributes,
            )
            for output, (shape, dtype) in enumerate(results)
        ]
        self.host_ops.append(HostOp(node.name, node.op_type, tuple(tensor.value for tensor in made), macs))
        return made


Result: TypeAlias = Tensor | Sequence[Tensor]
Build: TypeAlias = Callable[[Context, Node, Inputs], Result]


def required(inputs: Inputs, at: int) -> Tensor:
    """Input `at`; ModelError where the model leaves it out."""
    tensor = optional(inputs, at)
    if tensor is None:
        raise ModelError(f"input {at} is missing")
    return tensor


def optional(inputs: Inputs, at: int) -> Tensor | None:
    """Input `at`, or None where the model leaves it out."""
    return inputs[at] if at < len(inputs) else None


def known_integers(context: Context, node: Node, inputs: Inputs, at: int, name: str) -> list[int] | None:
    """The integers that older opsets give as attribute `name` and newer ones as constant input `at`.

    None where neither is there; ModelError where the input is not a constant.
    """
    tensor = optional(inputs, at)
    if tensor is None:
        return node.integers(name) if node.has(name) else None
    content = context.builder.content(tensor)
    if content is None:
        raise context.data_decides(tensor, f"input {at} ({name})")
    return integers(content, name)


def known_dims(context: Context, tensor: Tensor, what: str) -> list[Dim]:
    """The elements of a constant integer tensor as extents, symbolic ones included."""
    content = context.builder.content(tensor)
    if content is None:
        raise context.data_decides(tensor, what)
    return [dim if isinstance(dim, SymDim) else int(dim) for dim in content.ravel().tolist()]


def known_number(context: Context, tensor: Tensor, what: str) -> float:
    """The one element of a constant tensor."""
    content = context.builder.content(tensor)
    if content is None:
        raise context.data_decides(tensor, what)
    if content.size != 1 or content.dtype == np.object_:
        raise ModelError(f"{what} must be a constant of one element")
    return float(content.ravel()[0])


def checked_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front; ModelError outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} lies outside a rank of {rank}")
    return axis % rank


def checked_axes(axes: Sequence[int], rank: int) -> list[int]:
    """Axes counted from the front, each once."""
    checked = [checked_axis(axis, rank) for axis in axes]
    if len(set(checked)) != len(checked):
        raise ModelError(f"axes {list(axes)} name a dim twice")
    return checked
