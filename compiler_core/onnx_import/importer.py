"""ONNX file -> Graph: read, walk the nodes, build structured ops, simplify."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Shape, bind, symbol
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.meaning.constants import Constants, run
from tilewright.compiler_core.meaning.loops import stays_a_loop, written_out
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given, bound_input, sizes_from
from tilewright.compiler_core.onnx_import.building.builder import Builder, Tensor
from tilewright.compiler_core.onnx_import.building.context import Context, HostOp
from tilewright.compiler_core.onnx_import.building.external import ExternalData
from tilewright.compiler_core.onnx_import.building.inputs import DimNames, model_input
from tilewright.compiler_core.onnx_import.building.node import printable
from tilewright.compiler_core.onnx_import.building.tensor_data import constant_from, dense_from, element_type
from tilewright.compiler_core.onnx_import.building.values import (
    ABSENT,
    StackedSequence,
    TensorSequence,
    Value,
)
from tilewright.compiler_core.onnx_import.control.entering import ENTER
from tilewright.compiler_core.onnx_import.model_files.declared import contradictions
from tilewright.compiler_core.onnx_import.model_files.load import load_model, opset_versions
from tilewright.compiler_core.onnx_import.operators.sequences import unstacked
from tilewright.compiler_core.onnx_import.walk import ImportWalk, graph_frame
from tilewright.compiler_core.transforms.simplify import simplify

MAX_MESSAGE = 1000
MOST_SHAPES = 4
"""Inputs that a message describes."""
MOST_ELEMENTS = 1 << 44
"""Of one value."""
MOST_POINTS = 1 << 58
"""Of the domain of one op."""


@dataclass(frozen=True)
class ImportedModel:
    """A network read from the file at `path`.

    `inputs` and `outputs` pair the model's names with values of `graph`, in the model's order; an output may
    be an input or a constant. `host_ops` lists what runs on the host. `given` are the inputs that were bound
    to a value, constants of `graph`; `presumed` is what other inputs hold in a run of these extents.
    `dims` are the sizes that dims were bound to. `decided` are symbols of `graph` that depend on data;
    `bound_decided` has those that were bound, `drawn` those of them that a run on drawn inputs found
    (feeds.py). `misdeclared` has a line for each output that its nodes make in another shape than the file
    declares, and one where the file has none.
    """

    name: str
    graph: Graph
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    host_ops: tuple[HostOp, ...]
    path: Path
    given: Mapping[str, Array] = field(default_factory=dict)
    presumed: Mapping[str, Array] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    decided: frozenset[str] = frozenset()
    bound_decided: Mapping[str, int] = field(default_factory=dict)
    drawn: Mapping[str, int] = field(default_factory=dict)
    misdeclared: tuple[str, ...] = ()


def import_model(
    path: Path, dims: Mapping[str, int] | None = None, inputs: Mapping[str, Given] | None = None
) -> ImportedModel:
    """The Graph of an ONNX file, dims named in `dims` bound, the others kept as symbols.

    `inputs` binds inputs to values, by name: a number fills its input, lists or an array tell extents too.

    Raises ModelError, one line naming node and reason, where the file cannot be imported. Reads nothing but
    `path` and external tensor data beside it.
    """
    try:
        return _import(path, dict(dims or {}), inputs or {})
    except ModelError as error:
        raise ModelError(one_line(str(error))) from error
    except (MemoryError, RecursionError) as error:
        shown = one_line(str(path))
        raise ModelError(f"{shown!r} needs more memory or nesting than an import may use") from error


def one_line(text: str) -> str:
    """`text`, parts of which a model may have written, as one printable line of bounded length."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:MAX_MESSAGE])
    return shown if len(text) <= MAX_MESSAGE else shown + "..."


def _import(
    path: Path,
    dims: Mapping[str, int],
    given: Mapping[str, Given],
    called: Mapping[str, str] | None = None,
) -> ImportedModel:
    model = load_model(path)
    context = Context(Builder(), ExternalData(path), called=called or {})
    frame = graph_frame(model.graph, opset_versions(model), None)
    _define_constants(model.graph, context, frame.scope)
    infos = [info for info in model.graph.input if info.name not in frame.scope]
    names = DimNames(infos, sizes_from(infos, given, dims))
    bound: dict[str, Array] = {}

    def new_input(name: str, shape: Shape, elem_type: int) -> Tensor:
        if name in given:
            bound[name] = bound_input(name, given[name], shape, elem_type)
            tensor = context.builder.constant(bound[name])
        else:
            tensor = context.builder.new_value(shape, element_type(elem_type, name))
            context.inputs[tensor.value] = name
        context.builder.names[tensor.value] = name
        return tensor

    for info in infos:
        absent = info.type.WhichOneof("value") == "optional_type" and given.get(info.name, "") is None
        frame.define(info.name, ABSENT if absent else model_input(info, names, new_input))
    context.taken |= names.used
    walk = ImportWalk(context, {(f.domain, f.name): f for f in model.functions}, ENTER)
    try:
        walk.run(frame)
    except ModelError as error:
        raise _with_open_dims(error, sorted(names.used - dims.keys())) from error
    if called is None and (better := _named_by_outputs(model.graph.output, frame.scope, context)):
        return _import(path, dims, given, better)
    names_of_dims = names.used | context.decided
    unknown = sorted(set(dims) - names_of_dims)
    if unknown:
        shapes = {name: context.builder.values[value].shape for value, name in context.inputs.items()}
        had = dims_there(names_of_dims, shapes)
        raise ModelError(f"the model has no dimension called {unknown[0]!r}; it has {had}")
    outputs = _outputs(model.graph.output, frame.scope, context.builder)
    misdeclared = contradictions(model.graph.output, frame.scope)
    bound_to_runs = {name: extent for name, extent in dims.items() if name not in names.used}
    made = _imported(path, context, outputs, bound_to_runs)
    decided = made.graph.symbols & context.decided
    return replace(
        made,
        given=bound,
        dims=dims,
        decided=decided,
        bound_decided=bound_to_runs,
        misdeclared=misdeclared,
    )


def dims_there(names: Collection[str], shapes: Mapping[str, Shape]) -> str:
    """The dims of a model that have a name; of a model without one that its file fixes them, and what to do.

    `shapes` are those of its inputs, by name.
    """
    if names:
        return ", ".join(sorted(names))
    fixed = [f"{printable(name)} {' x '.join(map(str, shape))}" for name, shape in shapes.items() if shape]
    if not fixed:
        return "none"
    return (
        f"none: the file fixes every extent of {', '.join(fixed[:MOST_SHAPES])}; export it with that dim open"
    )


def _named_by_outputs(
    infos: Sequence[onnx.ValueInfoProto], scope: Mapping[str, Value], context: Context
) -> dict[str, str]:
    """The model's own names for extents that depend on data, where one of its outputs has them."""
    called: dict[str, str] = {}
    for info in infos:
        made = scope.get(info.name)
        declared = [dim.dim_param for dim in info.type.tensor_type.shape.dim]
        if not isinstance(made, Tensor) or made.rank != len(declared):
            continue
        for name, extent in zip(declared, made.shape, strict=True):
            own = next((each for each in context.decided if extent == symbol(each)), None)
            free = name not in context.taken and name not in called.values()
            if own is not None and own not in called and free and name.isidentifier():
                called[own] = name
    return called


def _with_open_dims(error: ModelError, open_dims: Sequence[str]) -> ModelError:
    """The error of a network whose ops may depend on sizes that are not given, saying which these are."""
    if not open_dims or "--dim" in str(error):
        return error
    asked = " ".join(f"--dim {name}=N" for name in open_dims)
    return ModelError(f"{error}; with sizes for its open dims it may be imported: {asked}")


def _define_constants(graph: onnx.GraphProto, context: Context, scope: dict[str, Value]) -> None:
    dense = [(t.name, constant_from(t, context.builder, context.external)) for t in graph.initializer]
    sparse = [
        (t.values.name, dense_from(t, context.builder, context.external)) for t in graph.sparse_initializer
    ]
    for name, tensor in dense + sparse:
        if name in scope:
            raise ModelError(f"initializer {printable(name)} is given twice")
        scope[name] = tensor
        context.builder.names[tensor.value] = name


def _outputs(
    infos: Sequence[onnx.ValueInfoProto], scope: Mapping[str, Value], builder: Builder
) -> tuple[tuple[str, int], ...]:
    """Names and values of the model's outputs: the elements of a sequence one by one, of optionals none."""
    outputs: list[tuple[str, int]] = []
    for info in infos:
        if info.name not in scope:
            raise ModelError(f"graph output {printable(info.name)} is not produced by any node")
        value = scope[info.name]
        if isinstance(value, StackedSequence) and isinstance(value.length, int):
            value = unstacked(builder, value)
        match value:
            case Tensor():
                outputs.append((info.name, value.value))
            case StackedSequence():
                outputs.append((info.name, value.stack.value))
            case TensorSequence():
                outputs += [(f"{info.name}[{index}]", t.value) for index, t in enumerate(value.elements)]
    return tuple(outputs)


def _require_countable(graph: Graph) -> None:
    """ModelError for ops so large that their bytes and cycles overflow 64 bits."""
    for value, kind in enumerate(graph.values):
        elements = prod(extent for extent in kind.shape if isinstance(extent, int))
        if elements > MOST_ELEMENTS:
            raise ModelError(
                f"value {printable(graph.name_of(value))} has {elements} elements, above the limit of"
                f" {MOST_ELEMENTS}"
            )
    for op in graph.ops:
        points = prod(extent for extent in op.domain if isinstance(extent, int))
        if points > MOST_POINTS:
            raise ModelError(
                f"what computes {printable(graph.name_of(op.result))} ({op.kind}) has {points} points, above"
                f" the limit of {MOST_POINTS}"
            )


def _simplified(graph: Graph) -> tuple[Graph, Mapping[int, int]]:
    """Simplified, loops of known length written out and simplified again, and where values went."""
    simple, places = simplify(graph)
    plain = written_out(simple)
    if plain is simple:
        return simple, places
    again, moved = simplify(plain)
    return again, {value: moved[place] for value, place in places.items() if place in moved}


def _imported(
    path: Path,
    context: Context,
    outputs: Sequence[tuple[str, int]],
    dims: Mapping[str, int],
) -> ImportedModel:
    """The built network; `dims` are sizes of extents that depend on data."""
    builder = context.builder
    graph = Graph(
        values=tuple(builder.values),
        ops=tuple(builder.ops),
        inputs=tuple(context.inputs),
        outputs=tuple(value for _, value in outputs),
        constants=Constants(builder.recipes),
        names=builder.names,
        origins=builder.origins,
        constraints=tuple(dict.fromkeys(builder.constraints)),
    )
    bound = graph.bound_to(dims) if dims else graph
    _require_countable(bound)
    simple, renumbered = _simplified(bound)
    host_ops = []
    stays = {op.result for op in simple.ops if stays_a_loop(op)}
    for op in (*context.host_ops, *context.loops):
        results = tuple(renumbered[value] for value in op.results if value in renumbered)
        if op in context.loops:
            results = tuple(value for value in results if value in stays)
        if results:
            host_ops.append(HostOp(op.node, op.op_type, results, bind(op.macs, dims)))
    presumed = {
        input_name: run(held.recipe, {})
        for input_name, held in context.presumed.items()
        if held.recipe is not None and not held.recipe.symbols
    }
    return ImportedModel(
        path.stem,
        simple,
        tuple((input_name, renumbered[value]) for value, input_name in context.inputs.items()),
        tuple((output_name, renumbered[value]) for output_name, value in outputs),
        tuple(host_ops),
        path,
        presumed=presumed,
    )
