"""A reference for a model's numbers: every node of an ONNX file in float64, one after the other.

A node is run by onnxruntime where it has a kernel for float64, else by the standard's reference evaluator.
A node that neither can run in float64 is run by onnxruntime in the model's own dtype, and marked as rounded;
so is what the two compute differently, where either is right. A value that depends on no input of the model
is a constant: it is what the model's own dtype makes it.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_resize

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.external import ExternalData
from tilewright.compiler_core.onnx_import.building.frames import ordered
from tilewright.compiler_core.onnx_import.building.tensor_data import reader_of
from tilewright.compiler_core.onnx_import.importer import ImportedModel, one_line
from tilewright.compiler_core.onnx_import.model_files.load import load_model
from tilewright.compiler_core.onnx_import.widening import read_by, widened_function, widened_node

SLOW = ("AveragePool", "Col2Im", "ConvTranspose", "GridSample", "LpPool", "MaxPool", "RoiAlign")
"""Operators that the reference evaluator runs element by element in Python."""
SLOW_ELEMENTS = 1 << 16
"""Elements of an operand above which those are run by onnxruntime in the model's dtype instead."""
ALIKE = 100
"""Steps of the model's dtype, of the largest element, that two evaluations may be apart by rounding."""
UNFOLDED = 1 << 24
"""Elements that the reference evaluator may unfold the windows of one image of a convolution to."""


def named_values(imported: ImportedModel) -> dict[str, int]:
    """Values that the model's own graph makes under a name and that the Graph still holds, by name."""
    produced = {name for item in load_model(imported.path).graph.node for name in item.output}
    graph = imported.graph
    made = {op.result for op in graph.ops}
    inner = {name: value for value, name in graph.names.items() if value in made and name in produced}
    return {**inner, **dict(imported.outputs)}


@dataclass(frozen=True, eq=False)
class ReferenceValue:
    """A value of the model under its name. `rounded`: in the model's own dtype, not in float64; `other`: what
    the standard's evaluator makes, where onnxruntime makes something else of the same operands.
    """

    name: str
    array: Array
    rounded: bool = False
    other: Array | None = None


Run: TypeAlias = Callable[[NodeProto, Mapping[str, Any]], dict[str, Any] | None]


class RefusedError(ModelError):
    """No reference runs the node; the message names the node and the reason."""


def reference_walk(
    path: Path,
    wanted: Mapping[str, np.dtype[Any]],
    feeds: Mapping[str, Array],
    starts: Callable[[str], None] = lambda node: None,
) -> Iterator[ReferenceValue]:
    """The `wanted` values of the model in `path` on `feeds`, in the order in which its nodes make them.

    `wanted` gives their dtypes in the model, by name. Values are dropped after their last reader, and every
    value that is yielded may be replaced by sending another array in. `starts` is told of a node before it is
    run. RefusedError at the first node that nobody runs.
    """
    model = load_model(path)
    walk = _Walk(model, ExternalData(path), dict(wanted))
    walk.feed([info.name for info in model.graph.input], feeds)
    nodes = ordered(model.graph.node)
    last = {name: index for index, node in enumerate(nodes) for name in read_by(node)}
    for index, node in enumerate(nodes):
        starts(f"{node.op_type} of {one_line(next(iter(node.output), ''))!r}")
        for name in walk.run(node):
            if name in wanted and name not in walk.constants:
                yield ReferenceValue(
                    name, walk.values[name], name in walk.rounded, walk.others.pop(name, None)
                )
        for name in (*read_by(node), *node.output):
            if last.get(name, -1) <= index:
                walk.forget(name)


@dataclass(frozen=True)
class _Constants(MutableMapping[str, Any]):
    """Constants by name: those computed so far, and weights, which are read at their first use."""

    made: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Callable[[], Array]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.made[name] if name in self.made else self.weights[name]()

    def __setitem__(self, name: str, value: Any) -> None:
        self.made[name] = value

    def __delitem__(self, name: str) -> None:
        if name not in self.made and name not in self.weights:
            raise KeyError(name)
        self.made.pop(name, None)
        self.weights.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self.made or name in self.weights

    def __iter__(self) -> Iterator[str]:
        return iter({**self.made, **self.weights})

    def __len__(self) -> int:
        return len({**self.made, **self.weights})


RECURRENT = ("GRU", "LSTM", "RNN")
LENGTHS = 4
"""Which input of those holds the lengths of rows."""
OVER_ROWS, OF_ONE_AXIS = ("Hardmax", "LogSoftmax", "Softmax"), 13
"""Operators that took all axes from one on, until that opset."""


def is_misread(node: NodeProto, version: int) -> bool:
    """Whether the reference evaluator is known to mean something else by a node than the standard's text."""
    if node.op_type in RECURRENT:
        return bool(node.input[LENGTHS : LENGTHS + 1] and node.input[LENGTHS]) or any(
            attribute.name == "clip" for attribute in node.attribute
        )
    if node.op_type == "GridSample":
        return any(attribute.s in (b"cubic", b"bicubic") for attribute in node.attribute)
    if node.op_type == "ConvTranspose":
        return len(node.input) > 2 and any(a.name == "group" and a.i > 1 for a in node.attribute)
    if node.op_type == "LpNormalization":
        return any(attribute.name == "p" and attribute.i == 1 for attribute in node.attribute)
    if node.op_type == "LpPool":
        given = {attribute.name for attribute in node.attribute}
        return "ceil_mode" in given or {"auto_pad", "dilations"} <= given
    if node.op_type == "MaxPool" and len(node.output) > 1:
        return True
    if node.op_type == "MaxPool":
        return any(attribute.s == b"SAME_LOWER" for attribute in node.attribute)
    return node.op_type == "LRN" or (node.op_type in OVER_ROWS and version < OF_ONE_AXIS)


class _Walk:
    """Values so far: float64 and exact ones in `values`, constants as the model has them in `constants`."""

    def __init__(
        self, model: onnx.ModelProto, external: ExternalData, kinds: dict[str, np.dtype[Any]]
    ) -> None:
        self._narrow = _Runner(model)
        self._wide = _Runner(model, wide=True)
        self._kinds = kinds
        self._version = max((each.version for each in model.opset_import if not each.domain), default=0)
        self.values: dict[str, Any] = {}
        self.rounded: set[str] = set()
        self.others: dict[str, Array] = {}
        self.constants = _Constants()
        for tensor in model.graph.initializer:
            _, _, self.constants.weights[tensor.name] = reader_of(tensor, external)
        for sparse in model.graph.sparse_initializer:
            self.constants[sparse.values.name] = _dense(sparse)

    def feed(self, inputs: Sequence[str], feeds: Mapping[str, Array]) -> None:
        """Arrays for the model's inputs; `x[0]`, `x[1]`, ... for a sequence, nothing for what is absent."""
        for name in inputs:
            if name in feeds:
                self._kinds[name] = feeds[name].dtype
                self.values[name] = _in_float64(feeds[name])
            elif name not in self.constants:
                parts = takewhile(lambda part: part in feeds, (f"{name}[{index}]" for index in count()))
                elements = [_in_float64(feeds[part]) for part in parts]
                self.values[name] = elements or None

    def run(self, node: NodeProto) -> list[str]:
        """Run one node; the names that it makes."""
        read = read_by(node)
        names = [name for name in node.output if name]
        constant = all(name in self.constants for name in read)
        if constant:
            operands = {name: self.constants[name] for name in read}
            made = self._narrow.by_standard(node, operands) or self._narrow.by_runtime(node, operands)
            self.constants.update(made or self._refuse(node))
            return names
        operands = {name: self._operand(name) for name in read}
        made = self._wide.by_runtime(node, operands)
        if made is None:
            narrow = self._narrow.by_runtime(node, {n: self._as_model(n, a) for n, a in operands.items()})
            if not _is_slow(node, operands) and not is_misread(node, self._version):
                made = _by_image(node, operands, self._wide.by_standard)
            # Where the standard's evaluator and onnxruntime differ, later nodes read what users run.
            if made is None or (narrow is not None and not _alike(made, narrow)):
                self.others |= {n: a for n, a in (made or {}).items() if isinstance(a, np.ndarray)}
                made = narrow
                self.rounded |= set(names)
        made = made or self._refuse(node)
        given = next(
            (self._kinds[n] for n in read if n in self._kinds and _stands_for_real(self._kinds[n])), None
        )
        for name, array in made.items():
            if name not in self._kinds and isinstance(array, np.ndarray):
                self._kinds[name] = given if array.dtype == np.float64 and given is not None else array.dtype
            self.values[name] = _in_float64(array)
        return names

    def forget(self, name: str) -> None:
        """Nobody reads it any more."""
        for held in (self.values, self.constants, self.others):
            held.pop(name, None)

    def _operand(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        if name not in self.constants:
            raise RefusedError(f"value {one_line(name)!r} is read before any node makes it")
        return _in_float64(self.constants[name])

    def _as_model(self, name: str, array: Any) -> Any:
        """An operand in the model's own dtype."""
        if name in self.constants:
            return self.constants[name]
        kind = self._kinds.get(name)
        return array if kind is None or not isinstance(array, np.ndarray) else array.astype(kind, copy=False)

    def _refuse(self, node: NodeProto) -> dict[str, Any]:
        why = self._narrow.said or self._wide.said
        raise RefusedError(
            f"no reference runs {node.op_type} of {one_line(node.output[0])!r}: {one_line(why)}"
        )


def _alike(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Whether results in float64 and in the model's dtype differ by no more than rounding does."""
    for name, array in narrow.items():
        other = wide.get(name)
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not isinstance(other, np.ndarray):
            continue
        if array.shape != other.shape:
            return False
        most = float(np.max(np.abs(other), initial=0.0, where=np.isfinite(other)))
        apart = ALIKE * float(np.finfo(array.dtype).eps) * most
        if not np.allclose(array.astype(np.float64), other, rtol=0.0, atol=apart, equal_nan=True):
            return False
    return True


class Erf(OpRun):
    """The evaluator's own rounds to float32 for any type."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype),)


class Resize(op_resize.Resize):
    """The evaluator's own computes the weights of a cubic in float32, the type of an attribute."""

    op_domain = ""

    def _run(self, *args: Any, **options: Any) -> tuple[Array]:
        coefficient = options["cubic_coeff_a"]
        exact = None if coefficient is None else float(coefficient)
        made: tuple[Array] = super()._run(*args, **{**options, "cubic_coeff_a": exact})
        return made


class _Evaluator(ReferenceEvaluator):
    """With the operators above, in the bodies of functions too: those are run by the same class."""

    def __init__(self, proto: Any, **options: Any) -> None:
        super().__init__(proto, **{**options, "new_ops": [Erf, Resize]})


FLOAT8 = {
    f"tensor({name})": dtype.numpy
    for name, dtype in (
        ("float8e4m3fn", DType.F8E4M3FN),
        ("float8e4m3fnuz", DType.F8E4M3FNUZ),
        ("float8e5m2", DType.F8E5M2),
        ("float8e5m2fnuz", DType.F8E5M2FNUZ),
    )
}
"""Types of which onnxruntime gives the bits, as uint8."""


class _Runner:
    """Runs one node at a time, over float64 (`wide`) or as the model has it."""

    def __init__(self, model: onnx.ModelProto, *, wide: bool = False) -> None:
        self._wide = wide
        self._opsets = list(model.opset_import)
        self._functions = {(each.domain, each.name): each for each in model.functions}
        self._cannot: set[tuple[str, str]] = set()
        self.said = ""

    def by_standard(self, node: NodeProto, operands: Mapping[str, Any]) -> dict[str, Any] | None:
        """By the standard's reference evaluator; None where it cannot.

        Nor where it makes an integer of what no integer holds: what comes of that numpy leaves open.
        """
        try:
            model = self._model(node, [onnx.ValueInfoProto(name=n) for n in operands])
            evaluator = _Evaluator(model)
            with np.errstate(invalid="warn"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.filterwarnings("error", message=".*invalid value encountered in cast")
                made = evaluator.run(None, dict(operands))
        except Exception as error:  # noqa: BLE001
            # The evaluator's errors have no common base; after any of them there is no value to compare with.
            self.said = f"{type(error).__name__}: {error}"
            return None
        return dict(zip([name for name in node.output if name], made, strict=True))

    def by_runtime(self, node: NodeProto, operands: Mapping[str, Any]) -> dict[str, Any] | None:
        """By onnxruntime; None where it cannot."""
        # Its builds with telemetry report to their maker; they ask this variable when they are loaded.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        key = node.domain, node.op_type
        if key in self._cannot or not all(_is_array(array) for array in operands.values()):
            return None
        # Arrays of a type that numpy itself has not go in as constants.
        feeds = {name: np.asarray(array) for name, array in operands.items() if _is_plain(array)}
        held = [numpy_helper.from_array(a, n) for n, a in operands.items() if n not in feeds]
        typed = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feeds.items()
        ]
        options = onnxruntime.SessionOptions()
        if not self._wide:
            # Some kernels quantize per thread, so their numbers depend on the number of cores.
            options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            text = self._model(node, typed, held).SerializeToString()
            session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
            names = [name for name in node.output if name]
            made = dict(zip(names, session.run(names, feeds), strict=True))
            bits = [each for each in session.get_outputs() if each.type in FLOAT8]
            return made | {each.name: made[each.name].view(FLOAT8[each.type]) for each in bits}
        except Exception as error:  # noqa: BLE001
            # Nor have onnxruntime's.
            self.said = f"{type(error).__name__}: {error}"
            self._cannot |= {key} if "NOT_IMPLEMENTED" in str(error) else set()
            return None

    def _model(
        self,
        node: NodeProto,
        inputs: Sequence[onnx.ValueInfoProto],
        held: Sequence[onnx.TensorProto] = (),
    ) -> onnx.ModelProto:
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        functions = self._needed(node)
        if self._wide:
            node, functions = widened_node(node), [widened_function(each) for each in functions]
        graph = helper.make_graph([node], "node", list(inputs), outputs, list(held))
        return helper.make_model(graph, opset_imports=self._opsets, functions=functions, ir_version=10)

    def _needed(self, node: NodeProto) -> list[onnx.FunctionProto]:
        """The model's functions that a node calls, and those that they call."""
        found: dict[tuple[str, str], onnx.FunctionProto] = {}
        waiting = [node]
        while waiting:
            each = waiting.pop()
            key = each.domain, each.op_type
            if key in self._functions and key not in found:
                found[key] = self._functions[key]
                waiting.extend(found[key].node)
            for attribute in each.attribute:
                waiting.extend(attribute.g.node)
        return list(found.values())


def _is_array(array: Any) -> bool:
    return isinstance(array, np.ndarray | np.generic) and array.dtype.kind in "fiubV"


def _is_plain(array: Any) -> bool:
    return _is_array(array) and array.dtype.kind != "V"


def _is_slow(node: NodeProto, operands: Mapping[str, Any]) -> bool:
    sizes = [np.size(array) for array in operands.values() if isinstance(array, np.ndarray)]
    if node.op_type == "Conv" and len(sizes) > 1:
        images, filters = operands[node.input[0]].shape[0], operands[node.input[1]].shape[0]
        channels = operands[node.input[1]].shape[1]
        unfolded = sizes[0] // max(1, images) * (sizes[1] // max(1, filters * channels))
        return bool(unfolded > UNFOLDED)
    return node.op_type in SLOW and max(sizes, default=0) > SLOW_ELEMENTS


def _by_image(node: NodeProto, operands: Mapping[str, Any], run: Run) -> dict[str, Any] | None:
    """A node, a convolution one image after the other: all their windows together may not fit."""
    first = operands.get(node.input[0]) if node.op_type == "Conv" else None
    if not isinstance(first, np.ndarray) or first.shape[0] < 2:
        return run(node, operands)
    parts = []
    for index in range(first.shape[0]):
        made = run(node, {**operands, node.input[0]: first[index : index + 1]})
        if made is None:
            return None
        parts.append(made[node.output[0]])
    return {node.output[0]: np.concatenate(parts)}


def _stands_for_real(kind: np.dtype[Any]) -> bool:
    return kind.kind not in "iub" and kind.itemsize > 1


def _in_float64(array: Any) -> Any:
    if not isinstance(array, np.ndarray | np.generic):
        return array
    plain = np.asarray(array)
    return plain.astype(np.float64) if plain.dtype.kind in "fV" and plain.dtype.itemsize > 1 else plain


def _dense(sparse: onnx.SparseTensorProto) -> Array:
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    dense[tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, dense.shape)] = values
    return dense
