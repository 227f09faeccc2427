"""A few random models of the standard's operators beside onnxruntime and the standard's reference."""

from collections import Counter

import pytest

from tests.differential.case import drawn
from tests.differential.standard.campaign import main
from tests.differential.standard.judge import judge
from tests.differential.standard.table import CHAINS, STANDARD

SINGLES = sorted(STANDARD.keys() - {CHAINS})
CHAINED = 120
CAMPAIGN = 20_000


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("names", "cases"), [(SINGLES, 1), ([CHAINS], CHAINED)])
def test_models_mean_what_the_peers_agree_on(names: list[str], cases: int) -> None:
    wrong: dict[tuple[str, int], str] = {}
    peers: Counter[str] = Counter()
    for name in names:
        for number in range(cases):
            found = judge(drawn(STANDARD[name], name, 0, number))
            peers[found.peers] += 1
            if found.objection:
                wrong[name, number] = found.objection
    assert not wrong
    assert peers["agree"] > peers.total() // 2


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_campaign() -> None:
    assert main(["--cases", str(CAMPAIGN)]) == 0
