"""Weights in files beside the model: folders of hubs, links that lead elsewhere, more than fits in memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.onnx_models import node, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.onnx_import.reference import reference_walk

ROWS, WIDTH, TABLES = 100_000, 2048, 3


def _tables(location: str, rows: int, width: int, tables: int) -> onnx.ModelProto:
    """y = sum of rows `ids` of tables in one file."""
    held, nodes, total = [], [], ""
    for index in range(tables):
        table = TensorProto(
            name=f"t{index}", data_type=1, dims=[rows, width], data_location=TensorProto.EXTERNAL
        )
        size = 4 * rows * width
        for key, number in (("location", location), ("offset", index * size), ("length", size)):
            table.external_data.add(key=key, value=str(number))
        held.append(table)
        nodes.append(node("Gather", f"t{index} ids", f"g{index}", axis=0))
        nodes.append(node("Add", f"{total or f'g{index}'} g{index}", f"s{index}"))
        total = f"s{index}"
    graph = helper.make_graph(
        nodes, "tables", [value("ids", [4], TensorProto.INT64)], [value(total, [4, width])], held
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _hub(folder: Path, data: Path) -> Path:
    """snapshots/REV/model.onnx and its data as links into blobs/; the data's link leads to `data`."""
    revision, blobs = folder / "snapshots" / "1f2e", folder / "blobs"
    revision.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "5d1c").write_bytes(_tables("model.onnx_data", 8, 4, 1).SerializeToString())
    (revision / "model.onnx").symlink_to(Path("../../blobs/5d1c"))
    (revision / "model.onnx_data").symlink_to(data)
    return revision / "model.onnx"


def test_links_of_a_hub_are_followed_into_its_own_tree(tmp_path: Path) -> None:
    numbers = np.arange(32, dtype=np.float32).reshape(8, 4)
    path = _hub(tmp_path, Path("../../blobs/90ab"))
    (tmp_path / "blobs" / "90ab").write_bytes(numbers.tobytes())
    imported = import_model(path)
    ids = np.array([1, 7, 0, 2])
    own = interpret(imported.graph, {imported.inputs[0][1]: ids})
    np.testing.assert_array_equal(own[imported.outputs[0][1]], 2 * numbers[ids])
    (told,) = reference_walk(path, {"s0": np.dtype(np.float32)}, {"ids": ids})
    np.testing.assert_array_equal(told.array, 2 * numbers[ids])


@pytest.mark.parametrize("kind", ["absolute", "relative", "through a folder"])
def test_links_that_lead_elsewhere_are_refused(kind: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_bytes(bytes(128))
    target = Path("../../../outside/data") if kind == "relative" else outside / "data"
    if kind == "through a folder":
        (tmp_path / "hub" / "blobs").mkdir(parents=True)
        (tmp_path / "hub" / "blobs" / "deep").symlink_to(outside)
        (tmp_path / "hub" / "blobs").rename(tmp_path / "kept")
        target = Path("../../../kept/deep/data")
    path = _hub(tmp_path / "hub2", target)
    with pytest.raises(ModelError, match="symbolic link out of the folder that holds the model"):
        import_model(path)


def test_more_weights_than_memory_should_hold(tmp_path: Path) -> None:
    """2.3 GiB in a sparse file: what nobody reads is not read, and what is mapped is not copied."""
    (tmp_path / "model.onnx").write_bytes(_tables("data", ROWS, WIDTH, TABLES).SerializeToString())
    with (tmp_path / "data").open("wb") as file:
        file.truncate(4 * ROWS * WIDTH * TABLES)
        file.seek(4 * 3 * WIDTH)
        file.write(np.ones(WIDTH, np.float32).tobytes())
    tracemalloc.start()
    imported = import_model(tmp_path / "model.onnx")
    own = interpret(imported.graph, {imported.inputs[0][1]: np.array([3, 0, 1, 99_999])})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(own[imported.outputs[0][1]][:, 0], [2.0, 0.0, 0.0, 0.0])
    assert peak < 1 << 26


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_tables("data", 8, 4, 1).SerializeToString())
    with pytest.raises(ModelError, match="needs those files in its folder"):
        import_model(tmp_path / "model.onnx")
