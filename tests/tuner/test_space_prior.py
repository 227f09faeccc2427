"""Tables of other devices teach a search of the same space, and lose their say where they mislead."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tuner.landscapes import T1, space, t4
from tilewright.compiler_core.errors import RecordError
from tilewright.cost_model.learned.sources import weighed
from tilewright.measure.recorded.replay import SpaceTask, replay_device
from tilewright.tuner.kernel.prior import table_records
from tilewright.tuner.kernel.problem import Problem
from tilewright.tuner.verbs.space import tune_space


def upside_down(document: dict[str, Any]) -> dict[str, Any]:
    for entry in document["results"]:
        value = entry["measurements"][0]["value"]
        if not isinstance(value, str):
            entry["measurements"][0]["value"] = 1.0 / value
    return document


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    documents = {"own": t4(0), "alike": t4(1), "unlike": upside_down(t4(2)), "space": T1}
    made = {name: tmp_path / f"{name}.json" for name in documents}
    for name, document in documents.items():
        made[name].write_text(json.dumps(document))
    return made


def mean_ratio(files: dict[str, Path], priors: list[str], trials: int) -> float:
    chosen = [files[name] for name in priors]
    runs = (
        tune_space(files["space"], replay=files["own"], trials=trials, seed=seed, priors=chosen)
        for seed in range(2)
    )
    return float(np.mean([run.ratio or np.inf for run in runs]))


def test_a_device_alike_helps_and_one_unlike_loses_its_vote(files: dict[str, Path]) -> None:
    cold = mean_ratio(files, [], 8)
    assert mean_ratio(files, ["alike"], 8) < min(cold, 1.1)
    assert mean_ratio(files, ["alike", "unlike"], 20) < 1.15


def test_words_are_weighed_by_votes() -> None:
    words = np.array([[1.0, 2.0], [3.0, 6.0]])
    assert weighed(words, np.array([1.0, 1.0])).tolist() == [2.0, 4.0]
    assert weighed(words, np.array([0.0, 0.5])).tolist() == [1.5, 3.0]
    assert weighed(words, np.zeros(2)).tolist() == [0.0, 0.0]


def test_a_table_without_a_success_is_refused() -> None:
    document = t4(0)
    for entry in document["results"]:
        entry["invalidity"] = "runtime"
    with pytest.raises(RecordError, match="table gone holds no successful measurement"):
        table_records(Problem(SpaceTask(space()), space()), replay_device("gone", document, space()))
