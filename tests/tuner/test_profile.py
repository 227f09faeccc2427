"""`tune profile`: a trace that Perfetto reads and a picture, of whatever the database knows."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.onnx_models import LIGHT, node, saved, small_cnn, value
from tests.onnx_models import model as onnx_model
from tilewright.api.cli.main import main
from tilewright.compiler_core.errors import UsageError
from tilewright.db.storage.session import open_database
from tilewright.measure.simulator.trace import STAGES
from tilewright.tuner.verbs.profile import LEAST_INSTRUCTIONS, MOST_LISTED, profile


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(small_cnn(), tmp_path_factory.mktemp("profile"))


def test_the_verb_writes_trace_and_picture(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, svg, none = tmp_path / "trace.json", tmp_path / "trace.svg", tmp_path / "none.db"
    arguments = ["profile", str(model), "--target", "ascend310", "-o", str(out), "--svg", str(svg)]
    assert main([*arguments, "--db", str(none)]) == 0
    assert "default" in capsys.readouterr().out
    assert not none.exists()
    trace = json.loads(out.read_text())
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    for event in events:
        assert event["ts"] >= 0.0
        assert event["dur"] > 0.0
        assert event["args"]["cycles"] > 0
    tracks = {event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert tracks >= {STAGES, "kernel", "load", "matrix", "vector", "store"}
    loads = [event for event in events if event["cat"] == "load"]
    assert all(event["name"].startswith("load ") for event in loads)
    assert all(event["args"]["bytes"] > 0 and "tile" in event["args"] for event in loads)
    assert any(event["name"].startswith("waits for ") for event in events if event["cat"] == "stall")
    end = max(event["ts"] + event["dur"] for event in events)
    assert end == pytest.approx(trace["otherData"]["latency_us"])
    assert ElementTree.fromstring(svg.read_text()).tag.endswith("svg")


def test_an_empty_database_has_kernels_guessed(model: Path, tmp_path: Path) -> None:
    open_database(tmp_path / "some.db").close()
    guessed = profile(model, "ascend310", database=tmp_path / "some.db")
    default = profile(model, "ascend310", database=tmp_path / "none.db")
    assert set(guessed.sources) == {"guessed"}
    assert set(default.sources) == {"default"}
    for made in (guessed, default):
        assert sum(made.sources.values()) == sum(map(len, made.program.stages))


def test_a_big_network_has_a_bounded_trace(tmp_path: Path) -> None:
    made = profile(LIGHT / "light_vgg19.onnx", "ethos_u55_128", database=tmp_path / "none.db")
    calls = sum(len(stage) for stage in made.program.stages)
    assert LEAST_INSTRUCTIONS <= made.most_instructions <= MOST_LISTED // calls
    slices = list(made.slices())
    assert len(slices) > MOST_LISTED // 4
    assert len(slices) <= 2 * MOST_LISTED + 4 * calls
    assert len(made.svg()) < 20_000_000


def test_a_model_with_free_dims_is_refused(tmp_path: Path) -> None:
    free = onnx_model([node("Relu", "x", "y")], [value("x", ["batch", 4])], ["y"])
    with pytest.raises(UsageError, match="--dim batch=1"):
        profile(saved(free, tmp_path), "ascend310", database=tmp_path / "none.db")
