"""Networks whose check does not fit this machine are refused before anything is spent, and no others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx_models import Array, model, node, saved, small_cnn, value
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.tuner.answer import room
from tilewright.tuner.answer.room import checking_bytes, require_room

GB = 10**9
_RELU = node("Relu", "x", "a")
_LARGE: dict[str, tuple[list[Any], dict[str, Array]]] = {
    "a chain that doubles": (
        [node("Concat", f"{'x' if i == 0 else f'v{i}'} " * 2, f"v{i + 1}", axis=0) for i in range(31)],
        {},
    ),
    "terms of a fold": (
        [_RELU, node("Tile", "a r", "b"), node("ReduceMax", "b", "y")],
        {"r": np.array([2**31])},
    ),
    "more elements than bytes anywhere": (
        [_RELU, node("Expand", "a r", "b"), node("ReduceMax", "b", "y")],
        {"r": np.array([2**40])},
    ),
    "many values that wait for their reader": (
        [
            _RELU,
            *(node("Expand", "a r", f"b{i}") for i in range(40)),
            *(node("Relu", f"b{i}", f"c{i}") for i in range(40)),
            node("Sum", " ".join(f"c{i}" for i in range(40)), "y"),
        ],
        {"r": np.array([2**24])},
    ),
}


def _graph(nodes: list[Any], constants: dict[str, Array], folder: Path) -> Graph:
    output = nodes[-1].output[0]
    return import_model(saved(model(nodes, [value("x", [1])], [output], constants), folder)).graph


@pytest.mark.parametrize("case", _LARGE)
def test_what_does_not_fit_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_bytes", lambda: 16 * GB)
    with pytest.raises(UsageError, match=r"takes about \d+ GB, more than 50% of the 16 GB"):
        require_room(_graph(*_LARGE[case], tmp_path))


def test_small_networks_need_little(tmp_path: Path) -> None:
    graph = import_model(saved(small_cnn(), tmp_path)).graph
    require_room(graph)
    assert max(needed for _, needed in checking_bytes(graph)) < GB / 1000
