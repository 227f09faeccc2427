"""Names of kernels: readable, deterministic, short, and part of no digest."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.names import MOST_NAME, Origin, name_of_group, scopes_of
from tilewright.compiler_core.ir.workload import graph_digest
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target

BLOCK = [
    ("/layer1/layer1.0/conv1/Conv", "Conv", "x w1", "a"),
    ("/layer1/layer1.0/bn1/BatchNormalization", "BatchNormalization", "a s s s s", "b"),
    ("/layer1/layer1.0/relu/Relu", "Relu", "b", "c"),
    ("/layer1/layer1.0/conv2/Conv", "Conv", "c w1", "d"),
    ("/layer1/layer1.0/Add", "Add", "d x", "e"),
    ("/layer1/layer1.0/relu_1/Relu", "Relu", "e", "f"),
    ("/head/Softmax", "Softmax", "f", "y"),
]


def block(nodes: list[tuple[str, str, str, str]], folder: Path) -> Graph:
    """A residual block of these nodes: name, operator, inputs, output."""
    made = [helper.make_node(op, into.split(), [out], name=name) for name, op, into, out in nodes]
    weights = [
        helper.make_tensor("w1", TensorProto.FLOAT, [8, 8, 1, 1], [1.0] * 64),
        helper.make_tensor("s", TensorProto.FLOAT, [8], [1.0] * 8),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 6, 6]) for name in "xy"]
    graph = helper.make_graph(made, "block", ends[:1], ends[1:], weights)
    path = folder / "block.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return import_model(path).graph


def names_of(graph: Graph) -> list[str]:
    return list(plan_graph(graph, load_target("ascend910")).names)


def test_kernels_are_named_after_the_nodes_of_the_model(tmp_path: Path) -> None:
    names = names_of(block(BLOCK, tmp_path))
    assert names[:2] == ["layer1.0.conv1 + relu", "layer1.0.conv2 + Add + relu_1"]
    # The parts of an operator that is several kernels say which part they are.
    assert all(name.startswith("head [") for name in names[2:])
    assert len(set(names)) == len(names)


def test_every_node_that_costs_something_is_an_origin(tmp_path: Path) -> None:
    graph = block(BLOCK, tmp_path)
    nodes = {origin.path for origin in graph.nodes_of(range(len(graph.ops)))}
    assert nodes == {name for name, *_ in BLOCK}  # the normalization is folded into its convolution


def test_nodes_without_names_show_operator_and_output(tmp_path: Path) -> None:
    names = names_of(block([("", *rest) for _, *rest in BLOCK], tmp_path))  # type: ignore[misc]
    assert names[0] == "Conv a + Relu c"


def test_the_modules_that_an_exporter_keeps_name_the_kernels(tmp_path: Path) -> None:
    block([(f"node_{index}", *rest) for index, (_, *rest) in enumerate(BLOCK)], tmp_path)  # type: ignore[misc]
    exported = onnx.load(tmp_path / "block.onnx")
    for index, (made, (path, op_type, *_)) in enumerate(zip(exported.graph.node, BLOCK, strict=True)):
        module = ".".join(Origin(path, op_type).parts[:-1])
        scopes = ["", module, f"value_{index}"]
        made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
    exported.ir_version = 10
    onnx.save(exported, tmp_path / "exported.onnx")
    names = names_of(import_model(tmp_path / "exported.onnx").graph)
    assert names[:2] == ["layer1.0.conv1 + relu", "layer1.0.conv2 + value_4 + relu_1"]


def test_no_digest_depends_on_a_name(tmp_path: Path) -> None:
    graph = block(BLOCK, tmp_path)
    other = block([(f"n{index}", *rest) for index, (_, *rest) in enumerate(BLOCK)], tmp_path)  # type: ignore[misc]
    plans = [plan_graph(each, load_target("ascend910")) for each in (graph, other)]
    assert plans[0].names != plans[1].names
    assert list(plans[0].counts) == list(plans[1].counts)
    assert graph_digest(graph) == graph_digest(other) == graph_digest(replace(graph, origins={}))


def test_a_scope_that_a_kernel_holds_whole_stands_for_its_nodes() -> None:
    inside = [
        Origin(f"/encoder/encoder.0/attention/{name}", name) for name in ("MatMul", "Softmax", "MatMul_1")
    ]
    scopes = scopes_of(
        [*inside, Origin("/encoder/encoder.0/output/MatMul", "MatMul"), Origin("/head", "Gemm")]
    )
    assert name_of_group(scopes, [(origin, "contract") for origin in inside]) == "encoder.0.attention"
    assert name_of_group(scopes, [(origin, "contract") for origin in inside[:2]]) == (
        "encoder.0.attention.MatMul + Softmax"
    )


def test_what_all_nodes_share_is_left_out() -> None:
    origins = [Origin("/model/conv", "Conv"), Origin("/model/fc/Gemm", "Gemm")]
    assert [name_of_group(scopes_of(origins), [(each, "")]) for each in origins] == ["conv", "fc"]


@pytest.mark.parametrize("text", ["x" * 100_000, "a\nb\x1b[31m\u202e", "<script>", "/" * 500, ".", ""])
def test_names_are_one_short_printable_line(text: str) -> None:
    origins = [Origin(text, "Conv"), Origin(f"{text}/1", "Relu"), Origin(f"{text}/2", "Add")]
    name = name_of_group(scopes_of(origins), [(each, "map") for each in origins])
    assert 0 < len(name) <= MOST_NAME
    assert name.isprintable()
