"""Every operator against the cases that the onnx package ships for it: a sample here, all in the campaign."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.operators.standard_cases import (
    GOAL,
    MOST_BOUND,
    judge,
    last_of_each,
    left_out,
    standard_cases,
)
from tests.onnx_models import Array
from tilewright.compiler_core.checking.judge_model import ModelJudged, judge_model
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.importer import import_model

REFUSED = ("ImageDecoder",)
EVERY = 6
"""Of the operators one in so many is judged in float64 too."""


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return standard_cases()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_case_of_every_operator(cases: list[Any], tmp_path: Path) -> None:
    judged = [judge(case, tmp_path) for case in last_of_each(cases)]
    assert not [row for row in judged if row.verdict == "wrong"]
    refused = [row for row in judged if row.verdict == "refused"]
    assert not [row for row in refused if not any(name in row.operator for name in REFUSED)]
    assert len(judged) > 200


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_operators_are_judged_right_in_float64(cases: list[Any], tmp_path: Path) -> None:
    judged = 0
    for case in last_of_each(cases)[::EVERY]:
        plain = all(not isinstance(given, list) and given is not None for given in case.data_sets[0][0])
        if left_out(case.model) or not plain:
            continue
        inputs = zip(case.model.graph.input, case.data_sets[0][0], strict=False)
        found = _judged_case(
            case.model.SerializeToString(), {i.name: np.asarray(a) for i, a in inputs}, tmp_path
        )
        if found is not None:
            assert found.wrong is None, (case.name, found.wrong)
            judged += bool(found.meant)
    assert judged > 20


def _judged_case(text: bytes, given: Mapping[str, Array], folder: Path) -> ModelJudged | None:
    """None where the case does not import; with its integers bound, where it needs that."""
    (folder / "case.onnx").write_bytes(text)
    small = {n: a for n, a in given.items() if a.dtype.kind in "iub" and a.size <= MOST_BOUND}
    for bound in ({}, small):
        try:
            made = import_model(folder / "case.onnx", {}, bound)
            if not made.graph.symbols:
                return judge_model(made, {name: given[name] for name, _ in made.inputs})
        except ModelError:
            continue
    return None


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_case(cases: list[Any], tmp_path: Path) -> None:
    judged = [judge(case, tmp_path) for case in cases]
    assert not [row for row in judged if row.verdict == "wrong"]
    assert sum(row.verdict == "agrees" for row in judged) >= GOAL
