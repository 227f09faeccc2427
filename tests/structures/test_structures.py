"""Whole structures with random weights equal onnxruntime, every named value included."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.compiler_core.onnx_import.against_onnxruntime import PLAIN, differences, run_onnxruntime
from tests.onnx_models import saved
from tests.structures import mixture, state_space
from tests.structures.detection import Yolo
from tests.structures.diffusion import Unet
from tests.structures.llama import Llama, llamas
from tests.structures.network import drawn_feeds
from tests.structures.speech import USE_CACHE, Decoder
from tests.structures.vision import Vision

PROMPT = {"batch": 2, "sequence": 5, "past": 0, "total": 5}
TOKEN = {"batch": 2, "sequence": 1, "past": 4, "total": 5}


@pytest.mark.parametrize("dims", [PROMPT, TOKEN], ids=["prompt", "token"])
@pytest.mark.parametrize("sizes", [sizes for _, sizes in llamas()], ids=[name for name, _ in llamas()])
def test_a_llama_equals_onnxruntime(sizes: Llama, dims: dict[str, int], tmp_path: Path) -> None:
    made: onnx.ModelProto = sizes.model()
    found = differences(saved(made, tmp_path), made, drawn_feeds(made, dims), value_by_value=True)
    assert len(found) > 12
    assert found[0].error <= (1e-2 if sizes.dtype is np.float16 else 1e-5)


@pytest.mark.parametrize("tokens", [1, 6])
@pytest.mark.parametrize("form", mixture.FORMS)
def test_a_mixture_of_experts_equals_onnxruntime(form: str, tokens: int, tmp_path: Path) -> None:
    made = mixture.Mixture(form).model()
    feeds = drawn_feeds(made, {"tokens": tokens})
    places = [item.output[0] for item in made.graph.node if item.op_type == "NonZero"]
    counted = run_onnxruntime(made, places, feeds, PLAIN) if places else {}
    counts = {f"{name}_count": places.shape[1] for name, places in counted.items()}
    found = differences(saved(made, tmp_path), made, feeds, value_by_value=True, dims=counts)
    assert found[0].error <= 1e-5


def test_a_vision_tower_equals_onnxruntime(tmp_path: Path) -> None:
    made = Vision(layers=2).model()
    feeds = drawn_feeds(made, {"patches": 12})
    found = differences(saved(made, tmp_path), made, feeds, value_by_value=True)
    assert len(found) > 30
    assert found[0].error <= 1e-5


def test_a_diffusion_unet_equals_onnxruntime(tmp_path: Path) -> None:
    made = Unet().model()
    feeds = drawn_feeds(made, {"batch": 2, "words": 5})
    found = differences(saved(made, tmp_path), made, feeds, value_by_value=True)
    assert len(found) > 100
    assert found[0].error <= 1e-5


@pytest.mark.parametrize("length", [1, 7])
@pytest.mark.parametrize("form", state_space.FORMS)
def test_a_state_space_model_equals_onnxruntime(form: str, length: int, tmp_path: Path) -> None:
    made = state_space.Mamba(form).model()
    feeds = drawn_feeds(made, {"batch": 2, "length": length})
    found = differences(saved(made, tmp_path), made, feeds, value_by_value=True)
    assert len(found) > 40
    assert found[0].error <= 1e-5


@pytest.mark.parametrize("past", [True, False])
def test_a_merged_decoder_of_speech_equals_onnxruntime(past: bool, tmp_path: Path) -> None:
    """Every value of the branch that a bound input chooses, and what comes out where nothing is bound."""
    decoder = Decoder()
    merged, branch = decoder.merged(), decoder.branch(past)
    path = saved(merged, tmp_path)
    dims = {"batch": 2, "tokens": 1 if past else 4, "frames": 6, "past": 3, "frames_past": 6}
    feeds = drawn_feeds(branch, dims)
    found = differences(path, branch, feeds, value_by_value=True, given={USE_CACHE: np.array([past])})
    assert len(found) > 40
    assert found[0].error <= 1e-5
    found = differences(path, merged, {**feeds, USE_CACHE: np.array([past])})
    assert len(found) == 1 + len(decoder.presents())
    assert found[0].error <= 1e-5


def test_a_detector_with_its_suppression_equals_onnxruntime(tmp_path: Path) -> None:
    made = Yolo().model()
    found = differences(saved(made, tmp_path), made, drawn_feeds(made, {}), value_by_value=True)
    assert len(found) > 60
    assert found[0].error <= 1e-5
