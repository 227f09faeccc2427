"""Whole networks equal onnxruntime, every named intermediate included."""

import csv
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from tests.compiler_core.onnx_import.against_onnxruntime import differences
from tests.onnx_models import LIGHT, SHARED, Array, saved, seeded_weights, small_cnn
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.meaning.constants import Constants
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model

MODELS = SHARED / "models"
needs_shared = pytest.mark.skipif(
    not MODELS.is_dir(), reason=f"{MODELS} is not there: real networks not checked"
)

IN_SECONDS = [
    "hf_bert_tiny.onnx",
    "hf_gpt2_kv.onnx",
    "light_squeezenet_seeded.onnx",
    "ppocr_cls_mobile_v2.onnx",
    "randwire_ws32.onnx",
    "silero_vad_16k_sequence.onnx",
    "stream_swiglu_64_128_256_f32.onnx",
    "timm_mobilenetv3_small.onnx",
    "timm_hrnet_w18_small.onnx",
    "timm_vit_tiny_dynamo.onnx",
    "ultraface_rfb_320.onnx",
    "unet_resnet18.onnx",
    "zigzag_resnet18.onnx",
]
IN_MINUTES = ["stream_fsrcnn_f32.onnx"]


def _rehydrate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rehydrate", MODELS / "rehydrate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run_shapes(name: str) -> dict[str, list[int]]:
    with (MODELS / "manifest.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["file"] == name)
    found = re.findall(r"([^:;]+):(\[[^\]]*\])", row["run_shapes"])
    return {input_name: json.loads(shape) for input_name, shape in found}


def _feeds(made: onnx.ModelProto, shapes: dict[str, list[int]]) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    feeds: dict[str, Array] = {}
    for info in made.graph.input:
        if info.name not in shapes:
            continue
        shape = shapes[info.name]
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            feeds[info.name] = rng.standard_normal(shape).astype(np.float32)
        elif "mask" in info.name:
            feeds[info.name] = np.ones(shape, dtype=np.int64)
        else:
            feeds[info.name] = rng.integers(0, 8, shape)
    return feeds


def _shared_model(name: str) -> tuple[onnx.ModelProto, dict[str, Array]]:
    made = _rehydrate().rehydrate(onnx.load(MODELS / name))
    return made, _feeds(made, _run_shapes(name))


@needs_shared
@pytest.mark.parametrize("name", IN_SECONDS)
def test_shared_network_equals_onnxruntime(name: str) -> None:
    made, feeds = _shared_model(name)
    assert differences(MODELS / name, made, feeds)[0].error <= 1e-4


@needs_shared
@pytest.mark.campaign
@pytest.mark.parametrize("name", IN_MINUTES)
def test_large_shared_network_equals_onnxruntime(name: str) -> None:
    made, feeds = _shared_model(name)
    assert differences(MODELS / name, made, feeds)[0].error <= 1e-4


@needs_shared
def test_int8_network_is_within_one_step_value_by_value() -> None:
    made, feeds = _shared_model("timm_resnet18_qdq_int8.onnx")
    found = differences(MODELS / "timm_resnet18_qdq_int8.onnx", made, feeds, value_by_value=True)
    assert found[0].error <= 1e-3
    assert len(found) > 50


@needs_shared
@pytest.mark.parametrize("name", IN_MINUTES)
def test_large_shared_network_imports(name: str) -> None:
    assert import_model(MODELS / name).graph.macs > 0


@pytest.mark.parametrize("name", sorted(path.name for path in LIGHT.glob("*.onnx")))
def test_light_network_imports_without_weights(name: str) -> None:
    imported = import_model(LIGHT / name)
    assert imported.graph.macs > 100_000_000
    assert not imported.host_ops
    assert isinstance(imported.graph.constants, Constants)
    assert not imported.graph.constants.computed


def test_squeezenet_with_seeded_weights_equals_onnxruntime(tmp_path: Path) -> None:
    made = seeded_weights(onnx.load(LIGHT / "light_squeezenet.onnx"), 0)
    feeds = {"data_0": np.random.default_rng(2).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    assert differences(saved(made, tmp_path), made, feeds)[0].error <= 1e-4


def test_small_network_folds_its_batch_normalization(tmp_path: Path) -> None:
    made = small_cnn()
    feeds = {"x": np.random.default_rng(3).standard_normal((1, 3, 12, 12)).astype(np.float32)}
    path = saved(made, tmp_path)
    assert differences(path, made, feeds)[0].error <= 1e-5
    kinds = [op.kind for op in import_model(path).graph.ops]
    assert kinds.count("mul") == 0
    assert kinds.count("contract") == 3


@needs_shared
def test_gpt2_binds_at_any_size_without_a_second_import() -> None:
    imported = import_model(MODELS / "hf_gpt2_kv.onnx")
    assert imported.graph.symbols == {"batch", "past", "seq"}
    for batch, past, seq in ((1, 0, 4), (3, 7, 1), (2, 5, 3)):
        bound = imported.graph.bound_to({"batch": batch, "past": past, "seq": seq})
        shapes = {name: bound.shape(value) for name, value in imported.outputs}
        assert shapes["logits"] == (batch, seq, 1000)
        assert shapes["present_key_0"] == (batch, 4, past + seq, 32)


@needs_shared
def test_gpt2_refuses_conflicting_sizes() -> None:
    with pytest.raises(ModelError, match="past\\+seq"):
        import_model(MODELS / "hf_gpt2_kv.onnx", {"batch": 1, "past": 2, "seq": 3, "past+seq": 9})
    with pytest.raises(ModelError, match="no dimension called 'sequence'"):
        import_model(MODELS / "hf_gpt2_kv.onnx", {"sequence": 9})


@needs_shared
def test_binding_early_and_late_give_the_same_numbers() -> None:
    _, feeds = _shared_model("hf_bert_tiny.onnx")
    path = MODELS / "hf_bert_tiny.onnx"
    early, late = import_model(path, {"batch": 2, "seq": 11}), import_model(path)
    bound = late.graph.bound_to({"batch": 2, "seq": 11})
    one = interpret(early.graph, {value: feeds[name] for name, value in early.inputs})
    two = interpret(bound, {value: feeds[name] for name, value in late.inputs})
    for (_, a), (_, b) in zip(early.outputs, late.outputs, strict=True):
        np.testing.assert_allclose(one[a], two[b], rtol=1e-5, atol=1e-5)
