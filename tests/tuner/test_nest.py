"""The loop nest of a kernel reads as it runs: no value is read before it is loaded; bytes fit the types."""

import re

import pytest

from tests.onnx_models import model, node, reals, saved, value
from tilewright.db.storage.session import open_database
from tilewright.tuner.explain.explain import explain


@pytest.fixture(scope="module")
def nest(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Attention in one kernel: its keys are made once, its queries tile by tile, from the same input."""
    folder = tmp_path_factory.mktemp("nest")
    nodes = [
        node("MatMul", "x wq", "q"),
        node("MatMul", "x wk", "k"),
        node("Transpose", "k", "t", perm=[0, 2, 1]),
        node("MatMul", "q t", "s"),
        node("Softmax", "s", "p", axis=-1),
        node("MatMul", "p k", "y"),
    ]
    weights = {"wq": reals(0, 32, 32), "wk": reals(1, 32, 32)}
    made = saved(model(nodes, [value("x", [1, 77, 32])], ["y"], weights), folder)
    open_database(folder / "empty.db").close()
    told = explain(made, "ethos_u55_256", database=folder / "empty.db")
    return max((each.nest for each in told.explained), key=len)


def test_what_a_step_reads_stands_above_it(nest: tuple[str, ...]) -> None:
    names = {line.split()[1].split("[")[0] for line in nest if line.lstrip().startswith("load")}
    loaded, kept = set[str](), 0
    for line in nest:
        if line.lstrip().startswith("load"):
            loaded.add(line.split()[1].split("[")[0])
        elif made := re.search(r"= \w+\((.*?)\)", line):
            assert set(made[1].split(", ")) & names <= loaded, line
            kept += "kept while this loop turns" in line
    assert kept, "the keys are made once"


def test_weights_that_stream_through_say_so(nest: tuple[str, ...]) -> None:
    streamed = [line for line in nest if "streamed through" in line]
    assert streamed
    assert all("i8 from constant" in line for line in streamed)
