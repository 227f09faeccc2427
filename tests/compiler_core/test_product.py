"""Which axes of a contraction a matrix unit takes as what."""

from pathlib import Path

import pytest

from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.product import product_axes

MATRIX = load_target("tpu_v4i").matrix


@pytest.mark.parametrize(
    ("group", "extents"),
    [
        (1, (1, 7, 7, 12, 9, 8)),
        (4, (4, 7, 7, 3, 9, 2)),  # channels of a group are depth: they share an index, but with a batch axis
        (8, (8, 7, 7, 1, 9, 1)),
    ],
)
def test_convolutions(group: int, extents: tuple[int, ...], tmp_path: Path) -> None:
    """(batch, m_outer, m, n, taps, k) of 8 channels in, 3 x 3, on 7 x 7 pixels."""
    width = 8 if group == 8 else 12
    made = model(
        [node("Conv", "x w", "y", pads=[1, 1, 1, 1], group=group)],
        [value("x", [1, 8, 7, 7])],
        ["y"],
        {"w": reals(1, width, 8 // group, 3, 3)},
    )
    graph = import_model(saved(made, tmp_path)).graph
    (op,) = [op for op in graph.ops if op.row.contraction]
    assert product_axes(op, MATRIX).extents(op.extents) == extents
