"""Whether a model means here what it means to onnxruntime."""

import tempfile
from pathlib import Path

import numpy as np

from tests.compiler_core.onnx_import.against_onnxruntime import PLAIN, bindings, run_onnxruntime
from tests.differential.case import Case
from tests.onnx_models import Array, saved
from tilewright.compiler_core.ir.dtypes import dtype_of
from tilewright.compiler_core.meaning.interpret import interpret
from tilewright.compiler_core.onnx_import.importer import import_model

TOLERANCE = {"f64": 1e-8, "f32": 2e-5, "f16": 1e-2, "bf16": 3e-2}
"""Of a value's largest magnitude: what a few sums in another order may differ by."""


class RefusedError(Exception):
    """onnxruntime does not take the model: the case says nothing."""


def objection(case: Case) -> str:
    """Where the importer and onnxruntime differ; empty where they agree.

    Raises RefusedError where onnxruntime refuses the model, ModelError where the importer does.
    """
    names = [output.name for output in case.model.graph.output]
    try:
        judged = case.stand_in or case
        wanted = run_onnxruntime(judged.model, names, judged.feeds, PLAIN)
    except Exception as error:
        # onnxruntime's errors have no common base.
        raise RefusedError(" ".join(str(error).split())[:300]) from error
    with tempfile.TemporaryDirectory() as folder:
        imported = import_model(saved(case.model, Path(folder)))
        graph = imported.graph.bound_to(bindings(imported, case.feeds))
        own = interpret(graph, {value: case.feeds[name] for name, value in imported.inputs})
    for name, value in imported.outputs:
        found = _difference(own[value] if value in own else graph.constants[value], wanted[name], case)
        if found:
            return f"{name}: {found}"
    return ""


def _difference(own: Array, wanted: Array, case: Case) -> str:
    if own.shape != wanted.shape or own.dtype != wanted.dtype:
        return f"{own.dtype}{list(own.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if wanted.dtype.kind in "biu":
        gap = np.abs(own.astype(np.int64) - wanted.astype(np.int64)).max(initial=0)
        return f"{gap} steps off" if gap > case.steps else ""
    finite = np.isfinite(wanted)
    if not np.array_equal(np.isfinite(own), finite):
        return "infinite or undefined in other places"
    ours, theirs = own[finite].astype(np.float64), wanted[finite].astype(np.float64)
    gap = np.abs(ours - theirs).max(initial=0.0) / max(np.abs(theirs).max(initial=0.0), 1e-6)
    limit = case.tolerance or TOLERANCE[dtype_of(wanted.dtype)]
    return f"{gap:.2g} of the largest magnitude off, more than {limit:g}" if gap > limit else ""
