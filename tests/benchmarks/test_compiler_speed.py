"""The bench of the compiler's speed writes a transformer that imports with batch and seq unbound."""

from pathlib import Path

from benchmarks.networks.compiler_speed import DIMS, compiler_speed, write_transformer
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target


def test_the_transformer_is_one(tmp_path: Path) -> None:
    path = tmp_path / "transformer.onnx"
    assert write_transformer(path, layers=2) == 160
    imported = import_model(path)
    assert imported.graph.symbols == set(DIMS)
    assert not imported.host_ops
    assert imported.graph.bound_to(DIMS).macs == 2 * (12 * 256 * 256 * 128 + 2 * 256 * 128 * 128)


def test_every_figure_is_there() -> None:
    row = compiler_speed(load_target("gemmini16"), seed=0, layers=1)
    assert row["symbols"] == ["batch", "seq"]
    assert min(row[name] for name in ("import_s", "import_mib", "plan_s", "compile_s", "lower_ms")) > 0
