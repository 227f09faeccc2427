"""A model of a version that is not known yet is refused in one line, not read as if it were an older one."""

from pathlib import Path

import onnx
import pytest

from tests.onnx_models import model, node, saved, value
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.importer import import_model


def relu() -> onnx.ModelProto:
    return model([node("Relu", "x", "y")], [value("x", [2])], ["y"], opset=onnx.defs.onnx_opset_version())


def test_the_newest_versions_are_read(tmp_path: Path) -> None:
    newest = relu()
    newest.ir_version = onnx.IR_VERSION
    assert import_model(saved(newest, tmp_path)).graph.ops


def test_a_later_ir_version_is_refused(tmp_path: Path) -> None:
    later = relu()
    later.ir_version = onnx.IR_VERSION + 1
    with pytest.raises(ModelError, match=f"version {later.ir_version}; the newest known here is"):
        import_model(saved(later, tmp_path))


@pytest.mark.parametrize(("domain", "newest"), [("", onnx.defs.onnx_opset_version()), ("com.microsoft", 1)])
def test_a_later_opset_is_refused(domain: str, newest: int, tmp_path: Path) -> None:
    later = relu()
    del later.opset_import[:]
    later.opset_import.add(domain=domain, version=newest + 1)
    with pytest.raises(ModelError, match=f"the newest known here is {newest};"):
        import_model(saved(later, tmp_path))


def test_a_later_opset_of_a_function_is_refused(tmp_path: Path) -> None:
    opsets = [onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version() + 1)]
    own = onnx.helper.make_function("own", "Act", ["a"], ["b"], [node("Relu", "a", "b")], opsets)
    made = model([node("Act", "x", "y", "own")], [value("x", [2])], ["y"], functions=[own], domains=["own"])
    with pytest.raises(ModelError, match="the newest known here is"):
        import_model(saved(made, tmp_path))
