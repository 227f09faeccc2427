"""A few random models of the standard's operators beside onnxruntime and the standard's reference."""

import pytest

from tests.differential.case import drawn
from tests.differential.resize_cases import RESIZE
from tests.differential.standard_judge import judge

CASES = 40


@pytest.mark.parametrize("name", RESIZE)
def test_operator_means_what_its_peers_agree_on(name: str) -> None:
    found = [judge(drawn(RESIZE[name], name, 0, number)) for number in range(CASES)]
    assert not [(number, each.objection) for number, each in enumerate(found) if each.objection]
    assert sum(each.peers == "agree" for each in found) > CASES // 3
