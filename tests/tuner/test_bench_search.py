"""The search bench on a made-up table: its rows, its figures and its goals."""

import json
from pathlib import Path

from benchmarks.search import bench_search
from tests.tuner.landscapes import T1, t4


def test_the_bench_answers_for_every_task_method_and_budget(tmp_path: Path) -> None:
    space, table = tmp_path / "space.T1.json", tmp_path / "gpu.T4.json"
    space.write_text(json.dumps(T1))
    table.write_text(json.dumps(t4()))
    outcome = bench_search([table], space, quick=True, methods=("tilewright", "prior", "random"))
    assert outcome["bench"] == "search"
    assert {(r["task"], r["method"], r["seed"]) for r in outcome["rows"]} == {
        ("gpu", method, seed) for method in ("tilewright", "random") for seed in range(3)
    }
    for row in outcome["rows"]:
        ratios = list(row["ratio"].values())
        assert ratios == sorted(ratios, reverse=True)
        assert ratios[-1] >= 1.0
    summary = outcome["summary"]
    assert summary["gpu/tilewright/100"]["value"] <= summary["gpu/random/100"]["value"]
    assert summary["gpu/tilewright/ms_per_trial"]["goal"] == 10.0
    assert summary["gpu/random/25"]["ok"] is None
