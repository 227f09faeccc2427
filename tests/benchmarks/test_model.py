"""The model bench holds tasks back as it says, and answers for its figures."""

import numpy as np
import pytest

import benchmarks.search.cost_model as model
from benchmarks.search.kernel_tasks import CASES
from tilewright.cost_model.learned.residual import TaskRecords


def test_it_answers_for_both_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [case for case in CASES if case.key in ("gemmini16/bert_base_scores", "tpu_v4i/gpt2_ffn")]
    monkeypatch.setattr(model, "CASES", chosen)
    monkeypatch.setattr(model, "CONFIGS", 16)
    monkeypatch.setattr(model, "FOLDS", 2)
    result = model.bench_model(say=lambda line: None)
    assert {row["split"] for row in result["rows"]} == {"shapes", "targets"}
    assert set(result["summary"]["shapes/tilewright/top5"]) == {"value", "goal", "ok"}
    assert all(0.0 < row["top5"] <= 1.0 for row in result["rows"])


def test_a_task_is_never_on_both_sides() -> None:
    none, no_features = np.zeros(0), np.zeros((0, 1), dtype=np.float32)
    samples = [
        model.Sample(case.target, case.key, TaskRecords(case.key, no_features, none, none), no_features)
        for case in CASES
    ]
    for folds in model._splits(samples).values():
        assert sum(len(held) for _, held in folds) == len(samples)
        for taught, held in folds:
            assert not {s.kernel for s in taught} & {s.kernel for s in held}
