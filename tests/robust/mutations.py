"""Seeded changes to ONNX models: what a broken exporter, a torn download or an attacker would send."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeAlias

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

Mutation: TypeAlias = Callable[[ModelProto, Random], None]

HUGE = (1 << 31, 1 << 40, (1 << 63) - 1)
NUMBERS = (*(-number for number in HUGE), -2, -1, 0, 1, 2, 3, 7, 1 << 16, *HUGE)
REALS = (float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e-30, 1e30)
TYPES = tuple(TensorProto.DataType.values())


def mutated(data: bytes, chance: Random) -> bytes:
    """The file `data` with one to three changes; of its bytes where it does not parse, or now and then."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # noqa: BLE001 - protobuf has errors of its own; the bytes are changed then
        return _torn(data, chance)
    if chance.random() < 0.25:
        return _torn(data, chance)
    for _ in range(chance.choice((1, 1, 2, 3))):
        try:
            chance.choice(MUTATIONS)(model, chance)
        except (IndexError, ValueError, TypeError):
            continue  # this model has nothing of the kind, or cannot hold the number
    changed: bytes = model.SerializeToString()
    return changed


def _torn(data: bytes, chance: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 4, 16))):
        at = chance.randrange(max(1, len(changed)))
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.choice((1, 8, 64))]
            case 2:
                changed[at:at] = chance.randbytes(chance.choice((1, 8)))
            case _:
                del changed[chance.randrange(max(1, len(changed))) :]
    return bytes(changed)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and every graph inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _graph(model: ModelProto, chance: Random) -> GraphProto:
    return chance.choice(list(_graphs(model.graph)))


def _node(model: ModelProto, chance: Random) -> NodeProto:
    functions = [node for function in model.functions for node in function.node]
    nodes: list[NodeProto] = [*functions, *(n for graph in _graphs(model.graph) for n in graph.node)]
    return chance.choice(nodes)


def _attribute(model: ModelProto, chance: Random) -> None:
    attribute = chance.choice(_node(model, chance).attribute)
    match attribute.type:
        case AttributeProto.INT:
            attribute.i = chance.choice((*NUMBERS, attribute.i + 1, attribute.i - 1))
        case AttributeProto.INTS:
            _one_of(attribute.ints, chance, NUMBERS)
        case AttributeProto.FLOAT:
            attribute.f = chance.choice(REALS)
        case AttributeProto.FLOATS:
            _one_of(attribute.floats, chance, REALS)
        case AttributeProto.STRING:
            attribute.s = chance.choice((b"", b"SAME_UPPER", b"\xff\xfe", b"linear", attribute.s * 3))
        case AttributeProto.TENSOR:
            _change_tensor(attribute.t, chance)


def _one_of(numbers: "Sequence[object]", chance: Random, choices: Sequence[object]) -> None:
    """Change, add or drop one entry of a repeated field."""
    match chance.randrange(3):
        case 0:
            numbers[chance.randrange(len(numbers))] = chance.choice(choices)  # type: ignore[index]  # repeated fields are mutable
        case 1:
            numbers.append(chance.choice(choices))  # type: ignore[attr-defined]  # repeated fields are mutable
        case _:
            del numbers[chance.randrange(len(numbers))]  # type: ignore[attr-defined]  # repeated fields are mutable


def _attribute_gone(model: ModelProto, chance: Random) -> None:
    attributes = _node(model, chance).attribute
    del attributes[chance.randrange(len(attributes))]


def _attribute_of_another_kind(model: ModelProto, chance: Random) -> None:
    attribute = chance.choice(_node(model, chance).attribute)
    name = attribute.name
    attribute.CopyFrom(onnx.helper.make_attribute(name, chance.choice((1, 1.5, "text", [1, 2], [0.5]))))


def _value_info(model: ModelProto, chance: Random) -> ValueInfoProto:
    graph = _graph(model, chance)
    told: list[ValueInfoProto] = [*graph.input, *graph.output, *graph.value_info]
    return chance.choice(told)


def _extent(model: ModelProto, chance: Random) -> None:
    dims = _value_info(model, chance).type.tensor_type.shape.dim
    dim = dims[chance.randrange(len(dims))]
    if chance.random() < 0.2:
        dim.dim_param = chance.choice(("batch", "N", "", "n - 1", "\n"))
    else:
        dim.dim_value = chance.choice((*NUMBERS, dim.dim_value + 1))


def _rank(model: ModelProto, chance: Random) -> None:
    dims = _value_info(model, chance).type.tensor_type.shape.dim
    if chance.random() < 0.5:
        del dims[chance.randrange(len(dims))]
    else:
        dims.add(dim_value=chance.choice((0, 1, 2)))


def _element_type(model: ModelProto, chance: Random) -> None:
    if chance.random() < 0.5:
        _value_info(model, chance).type.tensor_type.elem_type = chance.choice(TYPES)
    else:
        chance.choice(_graph(model, chance).initializer).data_type = chance.choice(TYPES)


def _initializer(model: ModelProto, chance: Random) -> None:
    _change_tensor(chance.choice(_graph(model, chance).initializer), chance)


def _change_tensor(tensor: TensorProto, chance: Random) -> None:
    match chance.randrange(4):
        case 0:
            _one_of(tensor.dims, chance, NUMBERS)
        case 1:
            tensor.raw_data = tensor.raw_data[: chance.randrange(len(tensor.raw_data) + 1)]
        case 2:
            tensor.data_type = chance.choice(TYPES)
        case _:
            _change_elements(tensor, chance)


def _change_elements(tensor: TensorProto, chance: Random) -> None:
    """Other numbers where shapes, axes and indices are written down, so that sizes get out of hand."""
    elements = onnx.numpy_helper.to_array(tensor).copy()
    choices = NUMBERS if elements.dtype.kind in "iu" else REALS
    elements.flat[chance.randrange(elements.size)] = chance.choice(choices)
    tensor.CopyFrom(onnx.numpy_helper.from_array(elements, tensor.name))


def _rewired(model: ModelProto, chance: Random) -> None:
    graph = _graph(model, chance)
    node = chance.choice(graph.node)
    made = [name for each in graph.node for name in each.output]
    names = [*made, *(each.name for each in (*graph.input, *graph.initializer)), "", "nowhere"]
    side = node.input if chance.random() < 0.7 else node.output
    if chance.random() < 0.2:
        side.append(chance.choice(names))
    elif chance.random() < 0.2:
        del side[-1]
    else:
        side[chance.randrange(len(side))] = chance.choice(names)


def _node_gone(model: ModelProto, chance: Random) -> None:
    nodes = _graph(model, chance).node
    del nodes[chance.randrange(len(nodes))]


def _node_twice(model: ModelProto, chance: Random) -> None:
    nodes = _graph(model, chance).node
    nodes.append(chance.choice(nodes))


def _other_operator(model: ModelProto, chance: Random) -> None:
    schemas = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
    _node(model, chance).op_type = chance.choice((*schemas, "Nonsense"))


def _version(model: ModelProto, chance: Random) -> None:
    if chance.random() < 0.3:
        model.ir_version = chance.choice((0, 3, 7, 14, 99))
    else:
        chance.choice(model.opset_import).version = chance.choice((0, 1, 7, 11, 13, 18, 21, 24, 99))


def _output_of_another(model: ModelProto, chance: Random) -> None:
    graph = model.graph
    made = [name for node in graph.node for name in node.output] + [each.name for each in graph.input]
    chance.choice(graph.output).name = chance.choice(made)


MUTATIONS: tuple[Mutation, ...] = (
    _attribute,
    _attribute,
    _attribute_gone,
    _attribute_of_another_kind,
    _extent,
    _extent,
    _rank,
    _element_type,
    _initializer,
    _initializer,
    _rewired,
    _rewired,
    _node_gone,
    _node_twice,
    _other_operator,
    _other_operator,
    _version,
    _output_of_another,
)
