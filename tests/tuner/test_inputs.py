"""`--input NAME=VALUE` in the verbs and over the wire."""

from pathlib import Path

import pytest
from onnx import parser
from pydantic import ValidationError

from tests.compiler_core.onnx_import.test_bound_inputs import RATES
from tests.onnx_models import saved
from tilewright.api.cli.options import read_inputs
from tilewright.api.schemas.jobs import MOST_NESTED, JobSpec
from tilewright.compiler_core.errors import ModelError, UsageError
from tilewright.tuner.jobs.request import read_request, request_to_json
from tilewright.tuner.verbs.lookup import compile_known, lookup
from tilewright.tuner.verbs.plan import plan
from tilewright.tuner.verbs.tune import tune
from tilewright.tuner.verbs.verify import verify

CHIP = "gemmini16"


def test_every_verb_takes_a_value_for_an_input(tmp_path: Path) -> None:
    path, database = saved(parser.parse_model(RATES), tmp_path), tmp_path / "t.db"
    dims, inputs = {"n": 64}, {"rate": 8000}
    with pytest.raises(ModelError, match="--input rate=VALUE"):
        plan(path, CHIP, dims=dims)
    report = tune(path, CHIP, level=0, dims=dims, inputs=inputs, database=database)
    assert lookup(path, CHIP, dims=dims, inputs=inputs, database=database).graph_digest == report.graph_digest
    assert compile_known(path, CHIP, dims=dims, inputs=inputs, database=database).graph.outputs
    assert verify(path, CHIP, dims=dims, inputs=inputs, database=database).ok
    assert plan(path, CHIP, dims=dims, inputs=inputs).model == path.stem


def test_values_travel_with_a_job() -> None:
    spec = JobSpec(target=CHIP, inputs={"rate": 16000, "sizes": [[1, 2.5], [3, 4]], "fast": True})
    request = spec.request("net")
    assert read_request(request_to_json(request)) == request
    assert JobSpec.of(request, 0).inputs == spec.inputs
    nested: object = 1
    for _ in range(MOST_NESTED + 1):
        nested = [nested]
    for bad in (nested, "text", {"a": 1}, ["text"]):
        with pytest.raises(ValidationError):
            JobSpec.model_validate({"target": CHIP, "inputs": {"rate": bad}})


def test_texts_of_values() -> None:
    assert read_inputs(["rate=16000", "fast=true", "sizes=[1, 2]"]) == {
        "rate": 16000, "fast": True, "sizes": [1, 2],
    }  # fmt: skip
    for text in ("rate", "=1", "rate=x", 'rate="x"', 'rate={"a": 1}', "rate=" + "[" * 100_000):
        with pytest.raises(UsageError, match="is not NAME=VALUE"):
            read_inputs([text])
    with pytest.raises(UsageError, match="given twice"):
        read_inputs(["rate=1", "rate=2"])
