"""The walk over a model's nodes: graph, inlined functions and resolved subgraphs, one frame each.

A frame is a list of nodes with the scope that names live in. Calling a function or entering a branch pushes a
frame; when its nodes are done it is popped and `finish` carries its results to the caller. Nothing recurses,
so depth costs no Python stack.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import AttributeProto

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.names import MOST_PATH, Origin
from tilewright.compiler_core.onnx_import.building.node import Node, printable
from tilewright.compiler_core.onnx_import.building.values import Value


@dataclass
class Frame:
    """One list of nodes being imported.

    `outer` is the frame whose names are visible too (subgraphs; functions see none). `calls` holds the
    functions this frame is inside of, so that recursion is found, `label` and `entered_by` the node that
    entered it. A `standard` frame defines an operator: what its nodes make comes from the node itself.
    """

    nodes: Iterator[onnx.NodeProto]
    versions: Mapping[str, int]
    outer: "Frame | None" = None
    scope: dict[str, Value] = field(default_factory=dict)
    call_attributes: Mapping[str, AttributeProto] | None = None
    calls: frozenset[tuple[str, str]] = frozenset()
    reads: Mapping[str, int] = field(default_factory=dict)
    named: bool = False
    depth: int = 0
    finish: Callable[[], None] = lambda: None
    label: str = ""
    entered_by: Origin | None = None
    standard: bool = False

    def lookup(self, name: str) -> Value:
        """The value of a name, here or in an enclosing graph."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.scope:
                return frame.scope[name]
            frame = frame.outer
        raise ModelError(f"reads {printable(name)}, which nothing in the model produces")

    def origin_of(self, node: Node) -> Origin:
        """The origin of the values that a node of this frame makes."""
        if self.entered_by is None:
            return Origin(node.path[-MOST_PATH:], node.op_type)
        return self.entered_by if self.standard else self.entered_by.within(node.path, node.op_type)

    def define(self, name: str, value: Value) -> None:
        """Bind a name once; ModelError on a second definition."""
        if name in self.scope:
            raise ModelError(f"value {printable(name)} is produced twice")
        self.scope[name] = value


def reads_of(nodes: Iterable[onnx.NodeProto], results: Iterable[str]) -> dict[str, int]:
    """The number of reads of each name, graph outputs and subgraphs included."""
    reads: dict[str, int] = {}
    for name in results:
        reads[name] = reads.get(name, 0) + 1
    for node in nodes:
        for name in (*node.input, *captured(node)):
            reads[name] = reads.get(name, 0) + 1
    return reads


def captured(node: onnx.NodeProto) -> list[str]:
    """Every name that the subgraphs of a node read and do not make themselves.

    Exporters of merged decoders give the results of both branches the names of their If's results.
    """
    names: list[str] = []
    waiting = [(a.g, frozenset[str]()) for a in node.attribute if a.HasField("g")]
    while waiting:
        graph, around = waiting.pop()
        made = around.union(
            (each.name for each in (*graph.input, *graph.initializer)),
            (each.values.name for each in graph.sparse_initializer),
            (name for each in graph.node for name in each.output),
        )
        names.extend(output.name for output in graph.output if output.name not in made)
        for inner in graph.node:
            names.extend(name for name in inner.input if name not in made)
            waiting.extend((a.g, made) for a in inner.attribute if a.HasField("g"))
    return names


def ordered(nodes: Sequence[onnx.NodeProto]) -> Sequence[onnx.NodeProto]:
    """The nodes so that values come before their readers; ModelError naming a node on a cycle.

    Files are nearly always in order already, and then come back as they are.
    """
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [
        {producer[name] for name in (*node.input, *captured(node)) if name in producer} for node in nodes
    ]
    if all(before < index for index, sources in enumerate(needs) for before in sources):
        return nodes
    missing = [len(sources) for sources in needs]
    readers: list[list[int]] = [[] for _ in nodes]
    for index, sources in enumerate(needs):
        for source in sources:
            readers[source].append(index)
    ready = deque(index for index, count in enumerate(missing) if not count)
    order: list[onnx.NodeProto] = []
    while ready:
        index = ready.popleft()
        order.append(nodes[index])
        for reader in readers[index]:
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    if len(order) < len(nodes):
        stuck = next(nodes[index] for index, count in enumerate(missing) if count)
        name = next(filter(None, (stuck.name, *stuck.output)), stuck.op_type)
        raise ModelError(f"node {printable(name)} lies on or behind a cycle")
    return order
