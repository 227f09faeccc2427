"""Extents that only data decide: named after what they are, taken from drawn inputs, or cut and filled up."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.onnx_models import model, node, reals, saved, value
from tilewright.compiler_core.checking.judge_model import judge_model
from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.compiler_core.onnx_import.building import looping
from tilewright.compiler_core.onnx_import.feeds import contradiction, draw_feeds, extents_decided
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.onnx_import.sizes import import_bound, sizes_in_range
from tilewright.db.storage.session import open_database
from tilewright.tuner.verbs.tune import tune
from tilewright.tuner.verbs.verify import verify


def positive_rows(declared: list[str | int] | None) -> onnx.ModelProto:
    """The rows of x whose first element is positive, times a matrix; how many there are only data say."""
    nodes = [
        node("Gather", "x first", "column", axis=1),
        node("Greater", "column zero", "kept"),
        node("NonZero", "kept", "places"),
        node("Squeeze", "places axes", "rows"),
        node("Gather", "x rows", "picked", axis=0),
        node("MatMul", "picked w", "y"),
    ]
    constants = {
        "first": np.array(0),
        "zero": np.array(0.0, np.float32),
        "axes": np.array([0]),
        "w": reals(1, 8, 4),
    }
    made = model(nodes, [value("x", ["count", 8])], ["y"], constants)
    made.graph.output[0].CopyFrom(value("y", declared))
    return made


def stepped_until(bound: float, step: str = "Add") -> onnx.ModelProto:
    """v = v + v, or v - v, until its magnitudes sum to `bound`; only the last v comes out."""
    body = helper.make_graph(
        [
            node(step, "v v", "v2"),
            node("Abs", "v2", "size"),
            node("ReduceSum", "size", "sum", keepdims=0),
            node("Less", "sum bound", "go2"),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v", [3])],
        [value("go2", [], TensorProto.BOOL), value("v2", [3])],
    )
    constants = {"t": np.array(True), "bound": np.array(bound, np.float32)}
    return model([node("Loop", "_ t x", "y", body=body)], [value("x", [3])], ["y"], constants)


@pytest.mark.parametrize(
    ("declared", "name"), [(["found", 4], "found"), (None, "places_count"), (["count", 4], "places_count")]
)
def test_an_extent_has_the_models_own_name_where_it_gives_one(
    declared: list[str | int] | None, name: str, tmp_path: Path
) -> None:
    imported = import_model(saved(positive_rows(declared), tmp_path), {"count": 12})
    assert imported.decided == {name}


def test_it_is_taken_from_the_inputs_that_are_drawn(tmp_path: Path) -> None:
    path = saved(positive_rows(["found", 4]), tmp_path)
    bound = import_bound(path, {"count": 12})
    rows = int((draw_feeds(bound, 0)["x"][:, 0] > 0).sum())
    assert 0 < rows < 12
    assert bound.drawn == {"found": rows}
    assert bound.graph.shape(bound.outputs[0][1]) == (rows, 4)
    assert not contradiction(bound, draw_feeds(bound, 0))
    assert judge_model(bound, draw_feeds(bound, 0)).untold == ""


def test_every_check_runs_on_the_inputs_that_decided(tmp_path: Path) -> None:
    """A step of 0 that another seed draws would have no extent at all."""
    ends = [value(name, [], TensorProto.INT64) for name in ("start", "limit", "step")]
    made = model([node("Range", "start limit step", "y")], ends, [])
    made.graph.output.append(value("y", ["q"], TensorProto.INT64))
    path, database = saved(made, tmp_path), tmp_path / "known.db"
    bound = import_bound(path, None)
    assert bound.presumed.keys() == {"start", "limit", "step"}
    for seed in range(5):
        assert not contradiction(bound, draw_feeds(bound, seed))
    assert tune(path, "ascend310", trials=4, ray="none", database=database).verification == "value-exact"


@pytest.mark.parametrize("found", [0, 2, 12])
def test_bound_to_another_size_it_is_cut_or_filled_up(found: int, tmp_path: Path) -> None:
    path = saved(positive_rows(["found", 4]), tmp_path)
    bound = import_bound(path, {"count": 12, "found": found})
    assert bound.drawn == {}
    assert "bound to" in contradiction(bound, draw_feeds(bound, 0))
    database = tmp_path / "known.db"
    open_database(database).close()
    judged = verify(path, "ascend310", dims={"count": 12, "found": found}, database=database)
    assert judged.ok
    assert "found is" in judged.untold
    assert judged.compared == 0


def test_dims_of_inputs_still_need_a_size(tmp_path: Path) -> None:
    path = saved(positive_rows(["found", 4]), tmp_path)
    with pytest.raises(UsageError, match=r"without a value: count; give --dim count=1$"):
        import_bound(path, {})
    assert sizes_in_range(path, {}, "count", 0, 9) == range(10)
    with pytest.raises(UsageError, match="no dim 'found' to range; it has count"):
        sizes_in_range(path, {}, "found", 0, 9)


def test_a_loop_that_data_end_says_how_often_it_turns(tmp_path: Path) -> None:
    path = saved(stepped_until(100.0), tmp_path)
    bound = import_bound(path, None)
    (turns,) = bound.drawn.values()
    feeds = draw_feeds(bound, 0)
    assert float(np.abs(feeds["x"]).sum()) * 2.0 ** (turns - 1) < 100.0
    assert float(np.abs(feeds["x"]).sum()) * 2.0**turns >= 100.0
    assert judge_model(bound, feeds).wrong is None


def test_a_loop_without_an_end_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looping, "MOST_TURNS", 50)
    path = saved(stepped_until(1.0, "Sub"), tmp_path)
    imported = import_model(path)
    with pytest.raises(ModelError, match="on these inputs a loop does not end within 50 turns"):
        extents_decided(imported, draw_feeds(imported, 0))
    bound = import_bound(path, dict.fromkeys(imported.decided, 5))
    assert bound.graph.shape(bound.outputs[0][1]) == (3,)
