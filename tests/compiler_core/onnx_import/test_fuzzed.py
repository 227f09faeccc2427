"""What fuzzing found: texts that are no UTF-8, nodes without names. Each ends in one line."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.onnx_import.model_files.annotate import annotated_model
from tilewright.compiler_core.onnx_import.model_files.beside import files_beside

TEXTS = [
    "thegraph",
    "thedomain",
    "thefunction",
    "inner_in",
    "inner_out",
    "batchdim",
    "seqin",
    "seqdim",
    "innergraph",
    "innername",
    "branchdim",
    "otherval",
    "theweight",
    "location",
    "data.bin",
    "offset",
    "modelkey",
    "modelval",
    "nodekey",
    "nodeval",
    "thenode",
    "Sigmoid",
    "alpha",
    "then_branch",
    "float_data",
    "producer",
    "infoname",
    "infodim",
    "constname",
    "value",
]


def everything() -> bytes:
    """A model with a text in every place."""
    weight = numpy_helper.from_array(np.ones(4, np.float32), "theweight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "data.bin"), ("offset", "0")):
        weight.external_data.add(key=key, value=text)
    constant = numpy_helper.from_array(np.ones(4, np.float32), "constname")
    inner = helper.make_graph(
        [node("Add", "x theweight", "innername"), node("Constant", "", "constout", value=constant)],
        "innergraph",
        [],
        [value("innername", ["branchdim"])],
        value_info=[value("otherval", ["otherdim"])],
    )
    function = helper.make_function(
        "thedomain",
        "thefunction",
        ["inner_in"],
        ["inner_out"],
        [node("Elu", "inner_in", "inner_out", alpha=1.0)],
        [helper.make_opsetid("", 18)],
    )
    nodes = [
        node("If", "cond", "y", then_branch=inner, else_branch=inner),
        helper.make_node("Sigmoid", ["y"], ["z"], name="thenode"),
        node("thefunction", "z", "out", domain="thedomain"),
    ]
    nodes[1].metadata_props.add(key="nodekey", value="nodeval")
    sequence = helper.make_tensor_sequence_value_info("seqin", TensorProto.FLOAT, ["seqdim"])
    graph = helper.make_graph(
        nodes,
        "thegraph",
        [value("x", ["batchdim"]), value("cond", [], TensorProto.BOOL), sequence],
        [onnx.ValueInfoProto(name="out")],
        [weight],
        value_info=[value("infoname", ["infodim"])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("thedomain", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=[function])
    made.metadata_props.add(key="modelkey", value="modelval")
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_no_utf8_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(16))
    path = tmp_path / "model.onnx"
    path.write_bytes(everything().replace(text.encode(), b"\xff" * len(text)))
    for verb in (
        lambda: import_model(path),
        lambda: import_model(path, {"batchdim": 4, "seqin_length": 1}, {"cond": True}),
        lambda: files_beside(path),
        lambda: annotated_model(path, {"thenode": {"a": "b"}}, {"c": "d"}),
    ):
        with suppress(ModelError):
            verb()


def test_all_of_it_is_read_where_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(16))
    path = tmp_path / "model.onnx"
    path.write_bytes(everything())
    import_model(path, {"batchdim": 4, "seqin_length": 1}, {"cond": True})
    assert set(files_beside(path)) == {"data.bin"}


def test_a_cycle_of_nodes_without_names_is_one_line(tmp_path: Path) -> None:
    nodes = [node("Add", "x b", "a"), node("Add", "a x", "b"), node("Print", "b", "")]
    nodes[2].ClearField("output")
    path = saved(model([nodes[2], *nodes[:2]], [value("x", [4])], ["a"]), tmp_path)
    with pytest.raises(ModelError, match=r"node 'Print' lies on or behind a cycle"):
        import_model(path)


@pytest.mark.parametrize("op", ["Expand", "Reshape", "ConstantOfShape", "Slice"])
def test_a_shape_of_very_many_extents_is_one_line(op: str, tmp_path: Path) -> None:
    """170 bytes that took all memory: the length of a shape that data decide is a rank."""
    inputs = {"ConstantOfShape": "shape", "Slice": "x shape shape"}.get(op, "x shape")
    given = [value("x", [1, 3, 1]), value("shape", [1 << 31], TensorProto.INT64)]
    path = saved(model([node(op, inputs, "y")], given, ["y"]), tmp_path)
    with pytest.raises(ModelError, match="above the limit of 32"):
        import_model(path)
