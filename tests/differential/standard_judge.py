"""Whether a model of the standard's operators means here what it means to onnxruntime and to the standard.

Where onnxruntime and the standard's reference agree, so must the importer. Where one of them refuses a model,
the other decides. Where they differ, the importer must agree with one of them; the docs say with which.
"""

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx.reference import ReferenceEvaluator

from benchmarks.operators.running import run_open
from tests.compiler_core.onnx_import.against_onnxruntime import PLAIN, run_onnxruntime
from tests.differential.case import Case
from tests.onnx_models import Array, saved
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import dtype_of
from tilewright.compiler_core.meaning.tolerance import is_rounded, relative_tolerance
from tilewright.compiler_core.onnx_import.importer import import_model

ROUNDINGS = 16.0
"""Times what one op may be off by, of a value's largest magnitude: a few ops, and libraries of their own."""


@dataclass(frozen=True)
class Found:
    """What came of a case: `objection` where the importer is wrong; whether both peers ran and agreed."""

    objection: str = ""
    peers: str = "agree"


def judge(case: Case) -> Found:
    """Run the model here, in onnxruntime and in the standard's reference."""
    names = [output.name for output in case.model.graph.output]
    peers = [values for values in (_onnxruntime(case, names), _reference(case, names)) if values is not None]
    if not peers:
        return Found(peers="refuse")
    try:
        own = _own(case)
    except ModelError as error:
        return Found(f"not imported: {error}", peers="refused")
    except Exception as error:  # noqa: BLE001 - a campaign goes on, whatever breaks
        return Found(f"breaks: {type(error).__name__} {error}", peers="refused")
    if len(peers) == 2 and difference(peers[0], peers[1], case):
        both = [difference(own, peer, case) for peer in peers]
        return Found("" if not all(both) else f"neither peer: {both[0]}; {both[1]}", peers="differ")
    objections = [difference(own, peer, case) for peer in peers]
    # Two peers that agree within the tolerance may stand on either side of what is right.
    return Found("" if not all(objections) else objections[0], "agree" if len(peers) == 2 else "one")


def _onnxruntime(case: Case, names: list[str]) -> dict[str, Array] | None:
    judged = case.stand_in or case
    try:
        return run_onnxruntime(judged.model, names, judged.feeds, PLAIN)
    except Exception:  # noqa: BLE001 - onnxruntime's errors have no common base
        return None


def _reference(case: Case, names: list[str]) -> dict[str, Array] | None:
    judged = case.stand_in or case
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            made = ReferenceEvaluator(judged.model).run(names, dict(judged.feeds))
    except Exception:  # noqa: BLE001 - the reference's errors have no common base
        return None
    return {name: np.asarray(value) for name, value in zip(names, made, strict=True)}


def _own(case: Case) -> dict[str, Array]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        imported = import_model(saved(case.model, Path(folder)))
        own = run_open(imported.graph, {value: case.feeds[name] for name, value in imported.inputs})
    return {name: own[value] for name, value in imported.outputs}


def difference(one: Mapping[str, Array], other: Mapping[str, Array], case: Case) -> str:
    """Where two sets of values differ by more than the case allows; empty where they agree."""
    if one.keys() != other.keys():
        return f"{', '.join(one)} instead of {', '.join(other)}"
    for name, wanted in other.items():
        found = _differ(one[name], wanted, case)
        if found:
            return f"{name}: {found}"
    return ""


def _differ(own: Array, wanted: Array, case: Case) -> str:
    if own.shape != wanted.shape or own.dtype != wanted.dtype:
        return f"{own.dtype}{list(own.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    kind = dtype_of(wanted.dtype)
    ours, theirs = own.astype(np.float64), wanted.astype(np.float64)
    if not kind.is_float:
        gaps = np.abs(ours - theirs)
        return f"{gaps.max()} off" if gaps.max(initial=0) > case.steps else ""
    finite = np.isfinite(theirs)
    if not np.array_equal(
        np.where(finite, 0.0, theirs), np.where(np.isfinite(ours), 0.0, ours), equal_nan=True
    ):
        return "infinite or undefined in other places"
    gap = np.abs(ours[finite] - theirs[finite]).max(initial=0.0)
    largest = np.abs(theirs[finite]).max(initial=0.0)
    limit = case.tolerance or (ROUNDINGS * relative_tolerance(kind) if is_rounded(kind) else 0.0)
    if gap <= limit * max(float(largest), 1e-3):
        return ""
    return f"{gap / max(largest, 1e-30):.2g} of the largest magnitude off, more than {limit:.2g}"
