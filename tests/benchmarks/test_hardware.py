"""The hardware bench: equal peaks, fusion that pays, pictures that repeat, rows that are not made twice."""

import json
from pathlib import Path

import onnx
import pytest

from benchmarks.networks import hardware
from benchmarks.networks.files import Network
from benchmarks.networks.hardware import EDGES, bench_hardware, gpu_like, with_cube_edge
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.target_model.file import load_target

CHAIN = """<ir_version: 8, opset_import: ["": 17]>
chain (float[1, 16, 28, 28] x, float[32, 16, 3, 3] v, float[16, 32, 1, 1] w) => (float[1, 16, 28, 28] y) {
  a = Conv <pads = [1, 1, 1, 1]> (x, v)
  b = Relu (a)
  c = Conv (b, w)
  y = Add (c, x)
}"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "chain.onnx"
    onnx.save(onnx.parser.parse_model(CHAIN), path)
    monkeypatch.setattr(hardware, "light_networks", lambda: [Network(path, False)])
    monkeypatch.setattr(hardware, "QUICK", ("chain",))
    return tmp_path


def test_cuts_of_the_chip_have_equal_totals() -> None:
    base = load_target("ascend910")
    cuts = [with_cube_edge(base, edge) for edge in EDGES]
    assert [cut.cores for cut in cuts] == [128, 32, 8, 2]
    for stored in (DType.F16, DType.I8):
        assert {cut.peak_macs_per_cycle(stored) for cut in cuts} == {base.peak_macs_per_cycle(stored)}
    assert {cut.cores * cut.l1_bytes for cut in cuts} == {base.cores * base.l1_bytes}
    assert {cut.cores * cut.dma.bytes_per_cycle for cut in cuts} == {base.cores * base.dma.bytes_per_cycle}
    assert {cut.cores * cut.vector.bits for cut in cuts} == {base.cores * base.vector.bits}
    assert cuts[EDGES.index(16)].digest == base.digest
    assert len({cut.digest for cut in cuts} | {gpu_like(base).digest}) == 1 + len(EDGES)


def test_fusion_pays_and_most_where_launches_are_dear(small: Path) -> None:
    found = bench_hardware(quick=True, plots=small / "plots", say=lambda line: None)
    assert [row["cores"] for row in found["rows"]] == [32, 32, 128, 8, 2]
    for row in found["rows"]:
        assert row["fused_us"] <= row["epilogues_us"] < row["unfused_us"]
        assert row["fused_kernels"] < row["unfused_kernels"] == 4
    summary = found["summary"]
    fused = "unfused_over_fused"
    assert summary[f"ascend910_gpu_like_{fused}"]["value"] > summary[f"ascend910_{fused}"]["value"] > 1.0
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    pictures = [(small / "plots" / name).read_text() for name in ("fusion.svg", "core_size.svg")]
    assert all(picture.rstrip().endswith("</svg>") for picture in pictures)


def test_rows_of_a_journal_are_not_made_again(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = small / "rows.jsonl"
    first = bench_hardware(quick=True, journal=journal, plots=small / "a", say=lambda line: None)
    monkeypatch.delattr(hardware, "fused_and_not")
    again = bench_hardware(quick=True, journal=journal, plots=small / "b", say=lambda line: None)
    assert again == first
    for name in ("fusion.svg", "core_size.svg"):
        assert (small / "a" / name).read_bytes() == (small / "b" / name).read_bytes()
