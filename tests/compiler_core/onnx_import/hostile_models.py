"""Models that are broken or mean harm: kind -> (what must happen, a function that writes the file)."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_models import model, node, reals, saved, value

Write = Callable[[Path], Path]
ACCEPT, REJECT, EITHER = "accept", "reject", "either"
X = value("x", [4, 4])


def _plain(*nodes: onnx.NodeProto, outputs: str = "y", x: onnx.ValueInfoProto = X, **more: Any) -> Write:
    return lambda folder: saved(model(list(nodes), [x], outputs.split(), **more), folder)


def _bytes(data: bytes) -> Write:
    def write(folder: Path) -> Path:
        path = folder / "model.onnx"
        path.write_bytes(data)
        return path

    return write


def _external(location: str, prepare: Callable[[Path], None], **entries: int) -> Write:
    def write(folder: Path) -> Path:
        prepare(folder)
        made = model([node("Add", "x w", "y")], [X], ["y"], {"w": reals(1, 4, 4)})
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, number in {"location": location, "offset": 0, "length": 64, **entries}.items():
            tensor.external_data.add(key=key, value=str(number))
        return saved(made, folder)

    return write


def _outside_link(folder: Path) -> None:
    (folder / "w.bin").symlink_to("/etc/passwd")


def _linked_folder(folder: Path) -> None:
    (folder / "sub").symlink_to("/etc")


def _weights_file(folder: Path) -> None:
    (folder / "w.bin").write_bytes(reals(2, 4, 4).tobytes())


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "w.bin")


def _pipe_model(folder: Path) -> Path:
    os.mkfifo(folder / "model.onnx")
    return folder / "model.onnx"


def _directory(folder: Path) -> Path:
    (folder / "model.onnx").mkdir()
    return folder / "model.onnx"


def _tensor(mutate: Callable[[TensorProto], None]) -> Write:
    def write(folder: Path) -> Path:
        made = model([node("Add", "x w", "y")], [X], ["y"], {"w": reals(1, 4, 4)})
        mutate(made.graph.initializer[0])
        return saved(made, folder)

    return write


def _claims_terabytes(tensor: TensorProto) -> None:
    tensor.dims[:] = [1 << 20, 1 << 20]


def _no_data(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")


def _float8(tensor: TensorProto) -> None:
    tensor.data_type = TensorProto.FLOAT8E4M3FN


def _unknown_type(tensor: TensorProto) -> None:
    tensor.data_type = 999


def _not_finite(tensor: TensorProto) -> None:
    tensor.raw_data = np.full((4, 4), np.nan, dtype=np.float32).tobytes()


def _mutated(mutate: Callable[[onnx.ModelProto], None]) -> Write:
    def write(folder: Path) -> Path:
        made = model([node("Relu", "x", "a"), node("Neg", "a", "y")], [X], ["y"])
        mutate(made)
        return saved(made, folder)

    return write


def _opset(version: int) -> Callable[[onnx.ModelProto], None]:
    def mutate(made: onnx.ModelProto) -> None:
        made.opset_import[0].version = version

    return mutate


def _input_twice(made: onnx.ModelProto) -> None:
    made.graph.input.append(made.graph.input[0])


def _negative_input(made: onnx.ModelProto) -> None:
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -7


def _sequence_input(made: onnx.ModelProto) -> None:
    made.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [4]))


def _control_characters(made: onnx.ModelProto) -> None:
    made.graph.node[0].op_type = "Relu\n\x1b[31mERROR\n"


def _long_name(made: onnx.ModelProto) -> None:
    made.graph.node[0].name = "n" * 1_000_000
    made.graph.node[0].op_type = "Nothing"


def _chain(op_type: str, length: int, **more: Any) -> Write:
    # Built when the file is written: these nodes took most of the time of collecting the tests.
    def write(folder: Path) -> Path:
        nodes = [node(op_type, f"v{step}", f"v{step + 1}") for step in range(length)]
        return _plain(*nodes, x=value("v0", [4, 4]), outputs=f"v{length}", **more)(folder)

    return write


def _constant_chain(length: int) -> Write:
    def write(folder: Path) -> Path:
        nodes = [node("Add", f"v{step} one", f"v{step + 1}") for step in range(length)]
        shape = node("Reshape", f"x v{length}", "y")
        constants = {"one": np.array([0], dtype=np.int64), "v0": np.array([16], dtype=np.int64)}
        return _plain(*nodes, shape, constants=constants)(folder)

    return write


def _exponential_functions(folder: Path) -> Path:
    functions = []
    for index in range(60):
        inner = [node("Neg", "a", "b"), node("Neg", "b", "c")]
        if index:
            inner = [node(f"F{index - 1}", "a", "b", "loc"), node(f"F{index - 1}", "b", "c", "loc")]
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("loc", 1)]
        functions.append(helper.make_function("loc", f"F{index}", ["a"], ["c"], inner, opsets))
    return saved(
        model([node("F59", "x", "y", "loc")], [X], ["y"], functions=functions, domains=["loc"]), folder
    )


def _mutual_recursion(folder: Path) -> Path:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("loc", 1)]
    functions = [
        helper.make_function("loc", name, ["a"], ["c"], [node(other, "a", "c", "loc")], opsets)
        for name, other in (("F", "G"), ("G", "F"))
    ]
    return saved(
        model([node("F", "x", "y", "loc")], [X], ["y"], functions=functions, domains=["loc"]), folder
    )


def _nested_if(depth: int) -> Write:
    def write(folder: Path) -> Path:
        leaf = helper.make_graph([node("Neg", "x", "r")], "leaf", [], [onnx.ValueInfoProto(name="r")])
        body = leaf
        for index in range(depth):
            inner = node("If", "t", f"r{index}", then_branch=body, else_branch=leaf)
            body = helper.make_graph([inner], "g", [], [onnx.ValueInfoProto(name=f"r{index}")])
        made = model([node("If", "t", "y", then_branch=body, else_branch=leaf)], [X], ["y"])
        made.graph.initializer.append(numpy_helper.from_array(np.array(True), "t"))
        return saved(made, folder)

    return write


def _endless_loop(folder: Path) -> Path:
    body = helper.make_graph(
        [node("Identity", "c", "c2"), node("Neg", "a", "b")],
        "body",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("a", [4, 4])],
        [value("c2", [], TensorProto.BOOL), value("b", [4, 4])],
    )
    constants = {"n": np.array(1 << 62), "t": np.array(True)}
    return saved(model([node("Loop", "n t x", "y", body=body)], [X], ["y"], constants), folder)


def _shape_product(folder: Path) -> Path:
    """The product of shapes squared again and again: a polynomial that doubles its degree at every node."""
    nodes = [node("Shape", "x", "s0"), node("ReduceSum", "s0", "p0")]
    nodes += [node("Mul", f"p{index} p{index}", f"p{index + 1}") for index in range(40)]
    nodes.append(node("Expand", "x p40", "y"))
    return saved(model(nodes, [value("x", ["a", "b"])], ["y"]), folder)


def _deep_pooling(folder: Path) -> Path:
    nodes = [
        node("MaxPool", f"v{index}", f"v{index + 1}", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for index in range(400)
    ]
    return saved(model(nodes, [value("v0", [1, 1, "h", "w"])], ["v400"]), folder)


def _wide_sum(folder: Path) -> Path:
    nodes = [node("Neg", "x", f"v{index}") for index in range(20_000)]
    return saved(
        model([*nodes, node("Sum", " ".join(f"v{index}" for index in range(20_000)), "y")], [X], ["y"]),
        folder,
    )


def _unknown_branches(folder: Path) -> Path:
    branches = [
        helper.make_graph([node("Flatten", "x", "r", axis=axis)], "g", [], [onnx.ValueInfoProto(name="r")])
        for axis in (0, 1)
    ]
    made = model(
        [node("If", "c", "y", then_branch=branches[0], else_branch=branches[1])],
        [X, value("c", [], TensorProto.BOOL)],
        ["y"],
    )
    return saved(made, folder)


_I = np.int64
KINDS: dict[str, tuple[str, Write]] = {
    "external file through a link": (REJECT, _external("w.bin", _outside_link)),
    "external file through a linked folder": (REJECT, _external("sub/passwd", _linked_folder)),
    "external file above the folder": (REJECT, _external("../w.bin", lambda folder: None)),
    "external absolute path": (REJECT, _external("/etc/passwd", lambda folder: None)),
    "external pipe": (REJECT, _external("w.bin", _pipe)),
    "external folder": (REJECT, _external(".", lambda folder: None)),
    "external offset past the end": (REJECT, _external("w.bin", _weights_file, offset=1 << 60)),
    "external length that does not fit": (REJECT, _external("w.bin", _weights_file, length=60)),
    "external as it should be": (ACCEPT, _external("w.bin", _weights_file)),
    "folder named .onnx": (REJECT, _directory),
    "pipe named .onnx": (REJECT, _pipe_model),
    "text file": (REJECT, _bytes(b"this is not a model\n")),
    "gzip": (REJECT, _bytes(gzip.compress(b"\0" * 10_000))),
    "length prefix of 2 GiB": (REJECT, _bytes(b"\x3a" + b"\xff\xff\xff\xff\x07")),
    "random bytes": (REJECT, _bytes(struct.pack("<64Q", *range(7, 7 + 64 * 10**15, 10**15)))),
    "tensor that claims terabytes": (REJECT, _tensor(_claims_terabytes)),
    "tensor without data": (REJECT, _tensor(_no_data)),
    "tensor of float8": (REJECT, _tensor(_float8)),
    "tensor of unknown type": (REJECT, _tensor(_unknown_type)),
    "weights that are not finite": (ACCEPT, _tensor(_not_finite)),
    "opset 0": (REJECT, _mutated(_opset(0))),
    "opset of the far future": (EITHER, _mutated(_opset(10_000))),
    "input given twice": (REJECT, _mutated(_input_twice)),
    "input with a negative extent": (REJECT, _mutated(_negative_input)),
    "sequence input": (REJECT, _mutated(_sequence_input)),
    "control characters in an operator": (REJECT, _mutated(_control_characters)),
    "name of a megabyte": (REJECT, _mutated(_long_name)),
    "string input": (REJECT, _plain(node("Identity", "x", "y"), x=value("x", [2], TensorProto.STRING))),
    "rank 300": (REJECT, _plain(node("Relu", "x", "y"), x=value("x", [1] * 300))),
    "value produced twice": (REJECT, _plain(node("Relu", "x", "y"), node("Neg", "x", "y"))),
    "cycle": (REJECT, _plain(node("Add", "x b", "a"), node("Neg", "a", "b"), outputs="b")),
    "read of nothing": (REJECT, _plain(node("Add", "x nothing", "y"))),
    "unknown operator": (REJECT, _plain(node("Frobnicate", "x", "y"))),
    "undeclared domain": (REJECT, _plain(node("Gelu", "x", "y", "com.microsoft"))),
    "attribute of the wrong type": (REJECT, _plain(node("LeakyRelu", "x", "y", alpha="much"))),
    "attribute missing": (REJECT, _plain(node("Concat", "x x", "y"))),
    "too many inputs": (REJECT, _plain(node("Relu", "x x", "y"))),
    "permutation that is none": (REJECT, _plain(node("Transpose", "x", "y", perm=[0, 0]))),
    "reshape that does not fit": (
        REJECT,
        _plain(node("Reshape", "x s", "y"), constants={"s": np.array([3, 5])}),
    ),
    "reshape to a negative extent": (
        REJECT,
        _plain(node("Reshape", "x s", "y"), constants={"s": np.array([-4, -4])}),
    ),
    "expand to 2**80 elements": (
        EITHER,
        _plain(node("Expand", "x s", "y"), constants={"s": np.array([1 << 40, 1 << 40, 4, 4])}),
    ),
    "tile beyond 2**63": (
        REJECT,
        _plain(node("Tile", "x s", "y"), constants={"s": np.array([1 << 62, 1 << 62])}),
    ),
    "range of 2**62": (
        REJECT,
        _plain(
            node("Range", "a b c", "r"),
            node("ReduceSum", "r", "s"),
            node("Add", "x s", "y"),
            constants={"a": np.array(0), "b": np.array(1 << 62), "c": np.array(1)},
        ),
    ),
    "shape learnt from a terabyte": (
        REJECT,
        _plain(
            node("ConstantOfShape", "s", "c"),
            node("NonZero", "c", "n"),
            node("ReduceSum", "n", "r"),
            node("Reshape", "x r", "y"),
            constants={"s": np.array([1 << 40])},
        ),
    ),
    "index out of range": (REJECT, _plain(node("Gather", "x i", "y"), constants={"i": np.array(9)})),
    "squeeze of an extent of 4": (
        REJECT,
        _plain(node("Squeeze", "x a", "y"), constants={"a": np.array([0])}),
    ),
    "split that does not sum": (
        REJECT,
        _plain(node("Split", "x p", "y z"), constants={"p": np.array([3, 3])}, outputs="y z"),
    ),
    "pad of 2**60": (REJECT, _plain(node("Pad", "x p", "y"), constants={"p": np.array([1 << 60] * 4)})),
    "pad below nothing": (REJECT, _plain(node("Pad", "x p", "y"), constants={"p": np.array([-3] * 4)})),
    "kernel of 2**40": (
        REJECT,
        _plain(node("MaxPool", "x", "y", kernel_shape=[1 << 40, 1]), x=value("x", [1, 1, 4, 4])),
    ),
    "einsum that is none": (REJECT, _plain(node("Einsum", "x x", "y", equation="ij,jk->i;k"))),
    "scale of zero": (
        REJECT,
        _plain(node("Resize", "x _ s", "y"), constants={"s": np.array([0.0, 1.0], dtype=np.float32)}),
    ),
    "scale of infinity": (
        REJECT,
        _plain(node("Resize", "x _ s", "y"), constants={"s": np.array([np.inf, 1.0], dtype=np.float32)}),
    ),
    "scale of a million": (
        EITHER,
        _plain(
            node("Resize", "x _ s", "y", mode="cubic"),
            constants={"s": np.array([1e6, 1.0], dtype=np.float32)},
        ),
    ),
    "k beyond the axis": (REJECT, _plain(node("TopK", "x k", "y i"), constants={"k": np.array([9])})),
    "functions that expand exponentially": (REJECT, _exponential_functions),
    "functions that call each other": (REJECT, _mutual_recursion),
    "branches 20 deep": (ACCEPT, _nested_if(20)),
    "loop of 2**62 turns": (REJECT, _endless_loop),
    "branches of different shapes": (ACCEPT, _unknown_branches),
    "chain of 100,000": (ACCEPT, _chain("Relu", 100_000)),
    "constant chain of 20,000": (ACCEPT, _constant_chain(20_000)),
    "chain of 200,000": (REJECT, _chain("Relu", 200_000)),
    "shape polynomial that explodes": (REJECT, _shape_product),
    "floor divisions 400 deep": (REJECT, _deep_pooling),
    "sum of 20,000": (ACCEPT, _wide_sum),
}
