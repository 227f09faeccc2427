"""The walk: every node of every frame goes to its builder; functions and branches are entered.

Limits on what a file may make the importer do stand at the top.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import onnx
from onnx import AttributeProto

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import import control
from tilewright.compiler_core.onnx_import.building import symbolic
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Context, Result
from tilewright.compiler_core.onnx_import.building.frames import Frame, ordered, reads_of
from tilewright.compiler_core.onnx_import.building.node import Node, check_signature, printable, signature
from tilewright.compiler_core.onnx_import.building.tensor_data import constant_from
from tilewright.compiler_core.onnx_import.load import opset_versions
from tilewright.compiler_core.onnx_import.registry import BUILDERS
from tilewright.compiler_core.onnx_import.standard import function_of

MAX_NODES = 150_000
"""Nodes of the graph itself."""
MAX_INLINED = 60_000
"""Nodes that come from inlined functions and entered branches."""
MAX_DEPTH = 64
"""Frames inside each other: function calls, branches, loop bodies."""

_STANDARD_DOMAIN = ""


def graph_frame(graph: onnx.GraphProto, versions: Mapping[str, int], outer: Frame | None) -> Frame:
    """A frame for a graph's nodes; a subgraph sees the names of `outer`."""
    if len(graph.node) > MAX_NODES:
        raise ModelError(f"the graph has {len(graph.node)} nodes, above the limit of {MAX_NODES}")
    nodes = ordered(graph.node)
    return Frame(
        iter(nodes),
        versions,
        outer=outer,
        reads=reads_of(nodes, [output.name for output in graph.output]),
        named=outer is None or outer.named,
        call_attributes=outer.call_attributes if outer else None,
        calls=outer.calls if outer else frozenset(),
        depth=outer.depth + 1 if outer else 0,
    )


class Walk:
    """Imports frames until none is left. `functions` are the model's own, by domain and name."""

    def __init__(self, context: Context, functions: Mapping[tuple[str, str], onnx.FunctionProto]) -> None:
        self.context = context
        self.functions = functions
        self.frames: list[Frame] = []
        self.nodes_left = MAX_INLINED
        self.label = ""

    def run(self, frame: Frame) -> None:
        """Import `frame` and whatever it enters."""
        self.frames.append(frame)
        while self.frames:
            top = self.frames[-1]
            proto = next(top.nodes, None)
            if proto is None:
                self.frames.pop()
                with self._blamed(top.label):
                    top.finish()
            else:
                self._step(top, proto)

    def push(self, frame: Frame) -> None:
        """Enter a frame; it runs before the rest of the present one."""
        if frame.depth > MAX_DEPTH:
            raise ModelError(f"functions or subgraphs are nested more than {MAX_DEPTH} deep")
        frame.label = self.label
        self.frames.append(frame)

    @contextmanager
    def _blamed(self, label: str) -> Iterator[None]:
        """Errors name the node in whose work they come up, `label`, which frames pushed meanwhile inherit."""
        self.label = label
        try:
            yield
        except ModelError as error:
            text = str(error)
            raise ModelError(text if not label or text.startswith("node ") else f"{label}: {text}") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # A builder met operands that its checks do not foresee: still the model's fault, still one line.
            reason = (str(error).splitlines() or [""])[0]
            raise ModelError(f"{label}: malformed ({type(error).__name__}: {reason})") from error

    def _step(self, frame: Frame, proto: onnx.NodeProto) -> None:
        if frame.depth:
            self.nodes_left -= 1
            if self.nodes_left < 0:
                raise ModelError(f"functions and branches make more than {MAX_INLINED} nodes when inlined")
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        node = Node(proto, frame.versions.get(domain, 0), frame.call_attributes)
        with self._blamed(node.label):
            self._import_node(frame, node)

    def _import_node(self, frame: Frame, node: Node) -> None:
        function = self.functions.get((node.domain, node.op_type))
        if function is not None:
            self._call(frame, node, function)
            return
        if not node.version:
            raise ModelError(f"domain {printable(node.domain)} is not among the model's opset_import")
        known = signature(node.op_type, node.version, node.domain)
        if known is not None:
            check_signature(node, known)
        inputs = [frame.lookup(name) if name else None for name in node.inputs]
        if node.domain == _STANDARD_DOMAIN and node.op_type in control.ENTER:
            control.ENTER[node.op_type](self, frame, node, inputs)
            return
        if node.domain == _STANDARD_DOMAIN and (node.domain, node.op_type) not in BUILDERS:
            defined = function_of(node, inputs)
            if defined is not None:
                self._call(frame, node, *defined)
                return
        self.results(frame, node, self._built(frame, node, inputs))

    def _built(self, frame: Frame, node: Node, inputs: Sequence[Tensor | None]) -> Result:
        builder = self.context.builder
        present = [tensor for tensor in inputs if tensor is not None]
        if any(tensor.content is not None and tensor.content.dtype == object for tensor in present):
            contents = [builder.content(tensor) for tensor in present]
            if all(content is not None for content in contents):
                folded = symbolic.fold(
                    node, [c for c in contents if c is not None], [tensor.dtype for tensor in present]
                )
                if folded is not None:
                    elements, dtype = folded
                    return builder.extents(elements.ravel().tolist(), elements.shape, dtype)
        build = BUILDERS.get((node.domain, node.op_type))
        if build is None:
            raise ModelError("this operator is not supported")
        self.context.reads = lambda name: frame.reads.get(name, 0)
        return build(self.context, node, inputs)

    def results(self, frame: Frame, node: Node, built: Result) -> None:
        """Bind a node's results to its output names."""
        tensors = [built] if isinstance(built, Tensor) else list(built)
        for at, name in enumerate(node.outputs):
            if not name:
                continue
            if at >= len(tensors):
                raise ModelError(f"output {at} ({printable(name)}) of this operator is not supported")
            self.define(frame, name, tensors[at])

    def define(self, frame: Frame, name: str, tensor: Tensor) -> None:
        """Bind one name, and keep it for reports where it is a name of the model's own graph."""
        frame.define(name, tensor)
        if frame.named:
            self.context.builder.names.setdefault(tensor.value, name)

    def _call(
        self,
        frame: Frame,
        node: Node,
        function: onnx.FunctionProto,
        defaults: Mapping[str, AttributeProto] = MappingProxyType({}),
    ) -> None:
        key = (node.domain, node.op_type)
        if key in frame.calls:
            raise ModelError("this function calls itself")
        if len(node.inputs) > len(function.input) or len(node.outputs) > len(function.output):
            raise ModelError("the call has more inputs or outputs than the function")
        attributes = {**defaults, **{a.name: a for a in function.attribute_proto}}
        attributes.update(node.attributes)
        nodes = ordered(function.node)
        inner = Frame(
            iter(nodes),
            opset_versions(function),
            call_attributes=attributes,
            calls=frame.calls | {key},
            reads=reads_of(nodes, function.output),
            depth=frame.depth + 1,
        )
        for name, outer_name in zip(function.input, node.inputs, strict=False):
            if outer_name:
                inner.define(name, frame.lookup(outer_name))

        def finish() -> None:
            for name, outer_name in zip(function.output, node.outputs, strict=False):
                if outer_name:
                    self.define(frame, outer_name, inner.lookup(name))

        inner.finish = finish
        self.push(inner)

    def enter_graph(self, frame: Frame, graph: onnx.GraphProto) -> Frame:
        """Enter a subgraph of the present node: its frame, constants defined; the caller sets `finish`."""
        inner = graph_frame(graph, frame.versions, frame)
        for tensor in graph.initializer:
            inner.define(tensor.name, constant_from(tensor, self.context.builder, self.context.external))
        self.push(inner)
        return inner
