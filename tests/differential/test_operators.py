"""A few random models of every operator; campaign.py runs as many as one likes."""

import pytest

from tests.differential.campaign import outcome_of
from tests.differential.families import FAMILIES

CASES = 24


@pytest.mark.parametrize("name", FAMILIES)
def test_operator_means_what_it_means_to_onnxruntime(name: str) -> None:
    outcome = outcome_of(name, FAMILIES[name], seed=0, numbers=range(CASES))
    assert not outcome.differences
    assert len(outcome.refused) <= CASES // 8
