"""The simulator bench answers for every figure, and notices a fold that is off by one."""

import json
from pathlib import Path

import pytest

from benchmarks.simulator import bench
from benchmarks.simulator.bench import bench_simulator
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import UsageError

HEADER = (
    "version,mode,dataflow,rows,cols,layer,kind,H,W,R,S,Cin,Cout,stride,M,K,N,compute_cycles,"
    "sram_kb_if_fi_of,bw_words_per_cycle,total_cycles"
)
PRODUCT = "3.0.0,CALC,{flow},16,16,product,gemm,,,,,,,,33,129,17,{cycles},,,"
# What SCALE-Sim 2.0.2 says of four folds whose operands are fetched four times over.
STALLED = "2.0.2,USER,os,32,32,square,gemm,,,,,,,,64,64,64,504,4/4/4,1,{total}"
# 6 x 6 windows of 3 x 3 x 4 over 8 filters: 36 rows, a reduction of 36
CONVOLUTION = "3.0.0,CALC,os,16,16,conv,conv,8,8,3,3,4,8,1,,,,{cycles},,,"


def reference(folder: Path, off: int = 0, total: int = 14450) -> Path:
    rows = [
        PRODUCT.format(flow="os", cycles=3 * 2 * (129 + 16 + 16 - 2)),
        PRODUCT.format(flow="ws", cycles=9 * 2 * (33 + 2 * 16 + 16 - 2)),
        PRODUCT.format(flow="is", cycles=9 * 3 * (17 + 2 * 16 + 16 - 2)),
        CONVOLUTION.format(cycles=3 * (36 + 16 + 16 - 2) + off),
        STALLED.format(total=total),
    ]
    (folder / "scalesim.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KERNELS", 2), ("QUICK_CONFIGS", 60), ("QUICK_REPEATS", 1)):
        monkeypatch.setattr(bench, name, value)


def test_folds_are_exact_and_the_draft_ranks(tmp_path: Path) -> None:
    found = bench_simulator(reference(tmp_path), quick=True, say=lambda line: None)
    summary = found["summary"]
    assert summary["folds_exact"] == {"value": 1.0, "goal": 1.0, "ok": True}
    assert summary["scalesim_2.0.2_totals_within_5%"] == {"value": 1.0, "goal": 0.75, "ok": True}
    assert summary["scalesim_2.0.2_totals_error_p90"]["value"] == 0.0
    assert summary["draft_rho_nominal_least"]["value"] > 0.8
    assert summary["draft_rho_skewed_least"]["value"] > 0.8
    assert len([row for row in found["rows"] if row["task"] == "draft"]) == 8
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_wrong_fold_is_a_missed_goal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = reference(tmp_path, off=1)
    assert main(["bench", "simulator", "--reference", str(folder), "--quick"]) == 1
    out = capsys.readouterr().out
    assert "method 3.0.0/CALC/os/16/16/conv  cycles 198  reference 199  ok False" in out
    assert next(line for line in out.splitlines() if line.startswith("folds_exact")).endswith("MISSED")


def test_a_folder_without_the_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"scalesim\.csv is missing"):
        bench_simulator(tmp_path)


def test_stalls_that_are_not_met_are_a_missed_goal(tmp_path: Path) -> None:
    path = reference(tmp_path, total=20000) / "scalesim.csv"
    (row,) = bench._totals(path)
    assert (row["cycles"], row["error"], row["ok"]) == (14450, -0.2775, False)
    shares = bench._total_errors([row])
    assert not shares["scalesim_2.0.2_totals_within_20%"]["ok"]
