"""One node of a model as the importer reads it: names, attributes by type, the check against its schema."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, defs

from tilewright.compiler_core.errors import ModelError

_MISSING = object()
NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""What PyTorch's exporter keeps of the modules around a node: their paths from the outside in, then the name
of the node in its own graph."""
MOST_SCOPES = 4096


class Node:
    """A NodeProto with its attributes resolved (a function's attribute references replaced by its call's)."""

    __slots__ = ("attributes", "domain", "inputs", "name", "op_type", "outputs", "path", "version")

    def __init__(
        self, proto: onnx.NodeProto, version: int, call_attributes: Mapping[str, AttributeProto] | None = None
    ) -> None:
        given = [attribute.name for attribute in proto.attribute]
        for text in (proto.op_type, proto.domain, proto.name, *proto.input, *proto.output, *given):
            if not isinstance(text, str):
                raise ModelError(f"a name of node {proto.name!r} is not UTF-8: {text!r}")
        self.op_type: str = proto.op_type
        self.domain: str = "" if proto.domain == "ai.onnx" else proto.domain
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self.path = path_of(proto)
        self.name: str = proto.name or (self.outputs[0] if self.outputs else "")
        self.version = version
        self.attributes: dict[str, AttributeProto] = {}
        for attribute in proto.attribute:
            if attribute.ref_attr_name:
                if call_attributes is not None and attribute.ref_attr_name in call_attributes:
                    self.attributes[attribute.name] = call_attributes[attribute.ref_attr_name]
            else:
                self.attributes[attribute.name] = attribute

    @property
    def label(self) -> str:
        """The name of this node in messages."""
        op = f"{self.domain}.{self.op_type}" if self.domain else self.op_type
        return f"node {printable(self.name)} ({op})"

    def has(self, name: str) -> bool:
        """Whether the model gives this attribute."""
        return name in self.attributes

    def integer(self, name: str, default: Any = _MISSING) -> int:
        """An INT attribute; ModelError where it is required and absent."""
        return int(self._value(name, "i", default))

    def number(self, name: str, default: Any = _MISSING) -> float:
        """A FLOAT attribute; its default too is a number of 32 bits."""
        return float(np.float32(self._value(name, "f", default)))

    def text(self, name: str, default: Any = _MISSING) -> str:
        """A STRING attribute."""
        value = self._value(name, "s", default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def integers(self, name: str, default: Any = _MISSING) -> list[int]:
        """An INTS attribute."""
        return list(self._value(name, "ints", default))

    def numbers(self, name: str, default: Any = _MISSING) -> list[float]:
        """A FLOATS attribute."""
        return list(self._value(name, "floats", default))

    def texts(self, name: str, default: Any = _MISSING) -> list[str]:
        """A STRINGS attribute."""
        return [
            t.decode("utf-8", "replace") if isinstance(t, bytes) else t
            for t in self._value(name, "strings", default)
        ]

    def tensor(self, name: str) -> onnx.TensorProto:
        """A TENSOR attribute."""
        tensor: onnx.TensorProto = self._value(name, "t", _MISSING)
        return tensor

    def graph(self, name: str) -> onnx.GraphProto:
        """A GRAPH attribute."""
        graph: onnx.GraphProto = self._value(name, "g", _MISSING)
        return graph

    def _value(self, name: str, field: str, default: Any) -> Any:
        if name in self.attributes:
            return getattr(self.attributes[name], field)
        if default is _MISSING:
            raise ModelError(f"attribute {name!r} is missing")
        return default


class Signature:
    """The signature in a schema: numbers of inputs and outputs, attributes and their types."""

    def __init__(self, schema: defs.OpSchema) -> None:
        self.inputs = (schema.min_input, schema.max_input)
        self.outputs = (schema.min_output, schema.max_output)
        self.attributes = {name: _number(a.type) for name, a in schema.attributes.items()}
        self.required = sorted(name for name, a in schema.attributes.items() if a.required)


def _number(kind: defs.OpSchema.AttrType) -> int:
    # The enum comes from C++, and its stub lacks `value`.
    return int(kind.value)  # type: ignore[attr-defined]


@lru_cache(maxsize=4096)
def signature(op_type: str, version: int, domain: str) -> Signature | None:
    """The schema of an op of the ONNX standard at an opset; None where the standard has no such op."""
    try:
        return Signature(defs.get_schema(op_type, max_inclusive_version=version, domain=domain))
    except defs.SchemaError:
        return None


def check_signature(node: Node, known: Signature) -> None:
    """ModelError where a node has inputs, outputs or attributes that its schema does not allow."""
    _check_count("inputs", len(node.inputs), known.inputs)
    _check_count("outputs", len(node.outputs), known.outputs)
    for name, attribute in node.attributes.items():
        if name not in known.attributes:
            raise ModelError(f"{node.op_type} has no attribute {printable(name)} at opset {node.version}")
        if attribute.type != known.attributes[name]:
            raise ModelError(f"attribute {name!r} has the wrong type")
    for name in known.required:
        if name not in node.attributes:
            raise ModelError(f"attribute {name!r} is missing")


def _check_count(what: str, count: int, allowed: Sequence[int]) -> None:
    low, high = allowed
    if not low <= count <= high:
        raise ModelError(f"{count} {what} where the operator takes {low} to {high}")


def path_of(proto: onnx.NodeProto) -> str:
    """The path of a node in the exported model: its name, with the modules around it if the file has them.

    node_linear_1, name_scopes ['', 'blocks.0', 'blocks.0.qkv', 'linear_1']   ->   blocks.0.qkv/linear_1
    """
    name = str(proto.name or (proto.output[0] if proto.output else ""))
    for entry in proto.metadata_props:
        if entry.key == NAME_SCOPES and isinstance(entry.value, str):
            scopes = re.findall(r"['\"]([^'\"]*)['\"]", entry.value[:MOST_SCOPES])
            return "/".join(filter(None, scopes[-2:])) or name
    return name


def printable(name: str) -> str:
    """A name from a model in one line: quoted, control characters escaped, cut at 120 characters."""
    shown = repr(name)
    return shown if len(shown) <= 120 else shown[:117] + "..."
