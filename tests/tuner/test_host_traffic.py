"""What ops on the host read and make is no traffic of the device: no bound is above a time."""

from pathlib import Path

import numpy as np
import pytest

from tests.onnx_models import model, node, saved, value
from tilewright.api.cli.main import main
from tilewright.compiler_core.target_model.file import list_targets
from tilewright.tuner.verbs.tune import tune


@pytest.mark.parametrize("target", list_targets())
def test_the_bound_of_a_network_with_ops_on_the_host_holds(target: str, tmp_path: Path) -> None:
    nodes = [node("TopK", "x count", "v i"), node("Sigmoid", "v", "y")]
    made = model(nodes, [value("x", [2, 50])], ["y", "i"], {"count": np.array([50])})
    report = tune(saved(made, tmp_path), target, trials=4, database=tmp_path / "t.db", ray="none")
    assert report.bound.latency_us is not None
    assert report.tuned.latency_us is not None
    assert report.bound.latency_us <= report.tuned.latency_us
    # The time of the host is in all three numbers, not in the answer alone.
    assert 0.0 < report.host_us <= report.sum_of_kernels_us
    assert report.sum_of_kernels_us == pytest.approx(report.tuned.latency_us, rel=0.3)
    assert report.bound.latency_us > 0.25 * report.host_us
    assert min(report.gap.host_us, report.gap.rest_us) >= 0.0


def test_lookup_and_explain_tell_the_time_of_the_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [node("TopK", "x count", "v i"), node("Sigmoid", "v", "y")]
    made = model(nodes, [value("x", [2, 50])], ["y", "i"], {"count": np.array([50])})
    path, database = saved(made, tmp_path), tmp_path / "t.db"
    report = tune(path, "ascend310", trials=4, database=database, ray="none")
    asked = (str(path), "--target", "ascend310", "--db", str(database))
    assert main(("lookup", *asked)) == 0
    assert f"host     {report.host_us:.2f} us of it" in capsys.readouterr().out
    assert main(("explain", *asked)) == 0
    assert f"{report.host_us:.2f} us beside them: ops that run on the host" in capsys.readouterr().out
