"""What is said while work goes on, where nobody sits at a terminal."""

import pytest

from tilewright.tuner.network.events import Measured, Phase
from tilewright.tuner.verbs.progress import watching


def measured(trials: int, best: float) -> Measured:
    return Measured(trials, 32, "conv", None, best, 1.0, "us", 3.0, 0.0, 0.0)


def test_the_last_batch_before_a_phase_is_always_told(capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as listener:
        for event in (measured(4, 9.0), measured(16, 5.0), measured(32, 4.0), Phase("verify", "now")):
            listener(event)
        listener(Phase("done", "all"))
    assert capsys.readouterr().err.splitlines() == [
        "measured 4/32  best 9.00 us, bound 1.00 us",
        "measured 32/32  best 4.00 us, bound 1.00 us",
        "verify: now",
        "done: all",
    ]
