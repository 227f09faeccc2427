"""Every operator against the cases that the onnx package ships for it: a sample here, all in the campaign."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.operators.standard_cases import judge, standard_cases

LEAST_AGREEING = 1820
"""Of the cases of the pinned onnx; what is refused or left out is text, random, training or pictures."""
REFUSED = ("ImageDecoder",)


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return standard_cases()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_case_of_every_operator(cases: list[Any], tmp_path: Path) -> None:
    by_operator: dict[str, Any] = {}
    for case in cases:
        # The last of each: later cases tend to hold more of an operator's attributes.
        by_operator["+".join(sorted({item.op_type for item in case.model.graph.node}))] = case
    judged = [judge(case, tmp_path) for case in by_operator.values()]
    assert not [row for row in judged if row.verdict == "wrong"]
    refused = [row for row in judged if row.verdict == "refused"]
    assert not [row for row in refused if not any(name in row.operator for name in REFUSED)]
    assert len(judged) > 200


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_case(cases: list[Any], tmp_path: Path) -> None:
    judged = [judge(case, tmp_path) for case in cases]
    assert not [row for row in judged if row.verdict == "wrong"]
    assert sum(row.verdict == "agrees" for row in judged) >= LEAST_AGREEING
