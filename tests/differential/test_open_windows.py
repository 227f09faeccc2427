"""Windows over axes of open extent: the extents are bound after the import."""

from tests.differential.case import Case
from tests.differential.standard.judge import judge
from tests.onnx_models import model, node, reals, value


def test_an_output_larger_than_the_products_ends_in_zeros() -> None:
    made = model(
        [node("ConvTranspose", "x w", "y", output_shape=[6, 12], strides=[2, 3])],
        [value("x", ["n", "c", "h", "w"])],
        ["y"],
        {"w": reals(0, 2, 3, 3, 1)},
    )
    found = judge(Case(made, {"x": reals(1, 2, 2, 3, 4)}))
    assert (found.objection, found.peers) == ("", "one")
