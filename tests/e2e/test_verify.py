"""A tuned network against its file: weights and input seeded here, intermediates judged too."""

from pathlib import Path

import onnx
import pytest

from tests.onnx_models import LIGHT, SHARED, saved, seeded_weights
from tilewright.tuner.verbs.tune import tune
from tilewright.tuner.verbs.verify import verify


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = seeded_weights(onnx.load(LIGHT / "light_squeezenet.onnx"), seed=7)
    return saved(made, tmp_path_factory.mktemp("squeezenet"))


def test_tuned_squeezenet_equals_its_file(squeezenet: Path, tmp_path: Path) -> None:
    database = tmp_path / "tuning.db"
    report = tune(squeezenet, "ascend910", trials=90, database=database, ray="none")
    assert report.tuned.latency_us <= report.default.latency_us
    verdict = verify(squeezenet, "ascend910", seed=3, database=database)
    assert len(verdict.values) > 30
    assert verdict.ok, verdict.first_bad
    assert verdict.compared == len(verdict.values)
    assert max(value.max_rel for value in verdict.values) <= 1e-5
    assert verdict.caught["f32"].caught <= 1e-4


@pytest.mark.parametrize("name", ["stream_swiglu_64_128_256_f32", "timm_mobilenetv3_small"])
def test_real_networks_equal_their_files(name: str, tmp_path: Path) -> None:
    path = SHARED / "models" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is missing: the networks are not part of the project")
    dims = {"batch": 1} if "mobilenet" in name else None
    database = tmp_path / "tuning.db"
    tune(path, "ascend310", trials=60, database=database, ray="none", dims=dims)
    verdict = verify(path, "ascend310", seed=1, database=database, dims=dims)
    # A squeeze gate that magnifies rounding (onnxruntime is 3e-4 off the exact value there) is right too.
    assert verdict.ok, verdict.first_bad
