"""The walk: every node of every frame goes to its builder; functions and branches are entered.

Limits on what a file may make the importer do stand at the top.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import onnx
from onnx import AttributeProto

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.building import symbolic
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.context import Context, DataDecidesError, Result
from tilewright.compiler_core.onnx_import.building.frames import Frame, ordered, reads_of
from tilewright.compiler_core.onnx_import.building.node import Node, check_signature, printable, signature
from tilewright.compiler_core.onnx_import.building.tensor_data import constant_from
from tilewright.compiler_core.onnx_import.building.values import Value, tensor_of
from tilewright.compiler_core.onnx_import.model_files.load import opset_versions
from tilewright.compiler_core.onnx_import.model_files.texts import require_utf8
from tilewright.compiler_core.onnx_import.operators.sequences import SEQUENCES, Values
from tilewright.compiler_core.onnx_import.registry import BUILDERS
from tilewright.compiler_core.onnx_import.standard import MAY_BE_LATE, function_of, on_host

MAX_NODES = 150_000
"""Nodes of the graph itself."""
MAX_INLINED = 60_000
"""Nodes that come from inlined functions and entered branches."""
MAX_DEPTH = 64
"""Frames inside each other: function calls, branches, loop bodies."""

_STANDARD_DOMAIN = ""
_OFFICIAL_DOMAINS = ("", "ai.onnx.ml", "ai.onnx.preview")
"""Domains whose functions the onnx package defines."""


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


class ImportWalk:
    """Imports frames until none is left. `functions` are the model's own, by domain and name; `enter` has the
    operators whose nodes hold graphs, and how each is entered.
    """

    def __init__(
        self,
        context: Context,
        functions: Mapping[tuple[str, str], onnx.FunctionProto],
        enter: "Mapping[str, Enter]",
    ) -> None:
        self.context = context
        self.functions = functions
        self.enter = enter
        self.frames: list[Frame] = []
        self.nodes_left = MAX_INLINED
        self.label = ""

    def run(self, frame: Frame) -> None:
        """Import `frame` and every frame that it enters."""
        self.frames.append(frame)
        while self.frames:
            top = self.frames[-1]
            proto = next(top.nodes, None)
            if proto is None:
                self.frames.pop()
                self.context.builder.nodes = () if top.entered_by is None else (top.entered_by,)
                with self._blamed(top.label):
                    top.finish()
            else:
                self._step(top, proto)

    def push(self, frame: Frame) -> None:
        """Enter a frame; it runs before the rest of the present one."""
        if frame.depth > MAX_DEPTH:
            raise ModelError(f"functions or subgraphs are nested more than {MAX_DEPTH} deep")
        frame.label = self.label
        frame.standard = frame.standard or self.frames[-1].standard
        frame.entered_by = next(iter(self.context.builder.nodes), None)
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
        self.context.builder.nodes = (frame.origin_of(node),)
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
        values = [frame.lookup(name) if name else None for name in node.inputs]
        if node.domain == _STANDARD_DOMAIN:
            if node.op_type in self.enter:
                self.enter[node.op_type](self, frame, node, values)
                return
            if node.op_type in SEQUENCES:
                self.results(frame, node, SEQUENCES[node.op_type](self.context, node, values))
                return
        inputs = [None if v is None else tensor_of(v, f"input {index}") for index, v in enumerate(values)]
        if node.domain in _OFFICIAL_DOMAINS and (node.domain, node.op_type) not in BUILDERS:
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
        before = [len(things) for things in self.context.made()]
        try:
            return build(self.context, node, inputs)
        except DataDecidesError:
            if node.domain != _STANDARD_DOMAIN or node.op_type not in MAY_BE_LATE:
                raise
            for things, kept in zip(self.context.made(), before, strict=True):
                del things[kept:]
            return on_host(self.context, node, inputs)

    def results(self, frame: Frame, node: Node, built: Value | Sequence[Value]) -> None:
        """Bind a node's results to its output names."""
        values = list(built) if isinstance(built, Sequence) else [built]
        for index, name in enumerate(node.outputs):
            if not name:
                continue
            if index >= len(values):
                raise ModelError(f"output {index} ({printable(name)}) of this operator is not supported")
            self.define(frame, name, values[index])

    def define(self, frame: Frame, name: str, value: Value) -> None:
        """Bind one name, and keep it for reports where it is a tensor's name in the model's own graph."""
        frame.define(name, value)
        if frame.named and isinstance(value, Tensor):
            self.context.builder.names.setdefault(value.value, name)

    def _call(
        self,
        frame: Frame,
        node: Node,
        function: onnx.FunctionProto,
        defaults: Mapping[str, AttributeProto] | None = None,
    ) -> None:
        """Enter a function: one of the model, or one of the standard, with `defaults` of its attributes."""
        key = (node.domain, node.op_type)
        if key in frame.calls:
            raise ModelError("this function calls itself")
        if len(node.inputs) > len(function.input) or len(node.outputs) > len(function.output):
            raise ModelError("the call has more inputs or outputs than the function")
        attributes = {**(defaults or {}), **{a.name: a for a in function.attribute_proto}}
        attributes.update(node.attributes)
        nodes = ordered(function.node)
        inner = Frame(
            iter(nodes),
            # A function of the standard may leave out a domain that the model has.
            {**({} if defaults is None else frame.versions), **opset_versions(function)},
            call_attributes=attributes,
            calls=frame.calls | {key},
            reads=reads_of(nodes, function.output),
            depth=frame.depth + 1,
            standard=defaults is not None,
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
        require_utf8(graph)
        inner = graph_frame(graph, frame.versions, frame)
        for tensor in graph.initializer:
            inner.define(tensor.name, constant_from(tensor, self.context.builder, self.context.external))
        self.push(inner)
        return inner


Enter: TypeAlias = Callable[[ImportWalk, Frame, Node, Values], None]
"""Enters the graphs of a node, given the values of its inputs, and defines its results when they are done."""
