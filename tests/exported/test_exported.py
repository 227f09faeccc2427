"""Models as exporters write them equal onnxruntime's, at every size, bound early or late."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.operators.running import run_open
from tests.compiler_core.onnx_import.against_onnxruntime import PLAIN, run_onnxruntime
from tests.exported.classical import CLASSICAL
from tests.exported.dynamo import DYNAMO
from tests.exported.files import FILES
from tests.exported.form import Form
from tests.exported.quantized import QUANTIZED
from tests.exported.tensorflow import TENSORFLOW
from tests.exported.torch_script import TORCH_SCRIPT
from tests.onnx_models import Array, saved
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.onnx_import.reference import reference_walk

FORMS: Mapping[str, Form] = {**TORCH_SCRIPT, **DYNAMO, **TENSORFLOW, **QUANTIZED, **CLASSICAL, **FILES}
NARROW = 10
"""Times the tolerance that reals of the model may be from those of 64 bits."""


def _check(own: Array, wanted: Array, tolerance: float) -> None:
    assert own.shape == wanted.shape
    assert own.dtype == wanted.dtype
    if wanted.dtype.kind in "biu":
        assert np.array_equal(own, wanted)
        return
    one, other = own.astype(np.float64), wanted.astype(np.float64)
    largest = np.abs(other[np.isfinite(other)]).max(initial=1e-2)
    assert np.allclose(one, other, rtol=0, atol=tolerance * largest, equal_nan=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", FORMS)
def test_it_means_what_it_means_to_onnxruntime(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    made = form.model()
    path = saved(made, tmp_path)
    names = [output.name for output in made.graph.output]
    for sizes in form.sizes:
        feeds = form.feeds(made, sizes)
        wanted = run_onnxruntime(made, names, feeds, PLAIN)
        bound = {given: feeds[given] for given in form.given}
        for dims in ({}, sizes):
            imported = import_model(path, dict(dims), bound)
            with np.errstate(all="ignore"):
                values = run_open(imported.graph, {value: feeds[each] for each, value in imported.inputs})
            assert [each for each, _ in imported.outputs] == names
            for each, value in imported.outputs:
                _check(values[value], wanted[each], form.tolerance)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", FORMS)
def test_the_reference_of_verify_means_the_same(name: str, tmp_path: Path) -> None:
    form = FORMS[name]
    made = form.model()
    feeds = form.feeds(made, form.sizes[-1])
    wanted = run_onnxruntime(made, [output.name for output in made.graph.output], feeds, PLAIN)
    kinds = {each: array.dtype for each, array in wanted.items()}
    with np.errstate(all="ignore"):
        for told in reference_walk(saved(made, tmp_path), kinds, feeds):
            known = wanted.pop(told.name)
            _check(told.array.astype(known.dtype), known, NARROW * form.tolerance)
    assert len(wanted) < len(made.graph.output)  # of constants nothing is told
