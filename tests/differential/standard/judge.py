"""Whether a model of the standard's operators means here what it means to onnxruntime and to the standard.

Where onnxruntime and the standard's reference agree, so must the importer. Where one of them refuses a model,
the other decides. Where they differ, the importer must agree with one of them; the docs say with which.
"""

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from benchmarks.operators.running import run_open
from tests.compiler_core.onnx_import.against_onnxruntime import PLAIN, run_onnxruntime
from tests.differential.case import Case
from tests.onnx_models import Array, saved
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType, dtype_of
from tilewright.compiler_core.ir.ops import Unit
from tilewright.compiler_core.meaning.bounded import Bounded, bounded
from tilewright.compiler_core.meaning.tolerance import is_rounded, relative_tolerance
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model
from tilewright.compiler_core.onnx_import.reference import is_misread

DOUBLE = 5e-7
"""What f64 may be off by: attributes are given in f32, and some kernels of peers compute in it."""
SMALLEST = 1e-2
"""The magnitude below which a value is judged as if it had that one: what is left where terms cancel."""
TIMES_ROUNDED = 4
"""Times that all values are rounded anew, to see whether results are numbers at all."""
ROUNDING = 2.0
"""Of those roundings, times what an op may be off by."""
ROUNDINGS = 16.0
"""Times what one op may be off by, of a value's largest magnitude: a few ops, and libraries of their own."""


@dataclass(frozen=True)
class Found:
    """What came of a case: `objection` where the importer is wrong; whether both peers ran and agreed."""

    objection: str = ""
    peers: str = "agree"
    """Whether both peers `agree`, `differ`, `one` alone runs the model, or they `refuse` it."""


def judge(case: Case) -> Found:
    """Run the model here, in onnxruntime and in the standard's reference."""
    names = [output.name for output in case.model.graph.output]
    peers = [values for values in (_onnxruntime(case, names), _reference(case, names)) if values is not None]
    if not peers:
        return Found(peers="refuse")
    try:
        own = _own(case)
    except ModelError as error:
        return Found(f"not imported: {error}", "agree" if len(peers) == 2 else "one")
    except Exception as error:  # noqa: BLE001 - a campaign goes on, whatever breaks
        return Found(f"breaks: {type(error).__name__} {error}", "agree" if len(peers) == 2 else "one")
    if case.tolerance is None and any(array.dtype == np.float64 for array in own.values()):
        case = replace(case, tolerance=DOUBLE)
    peers = [_by_type(peer, own) for peer in peers]
    objections = [difference(own, peer, case) for peer in peers]
    if all(objections) and any(_within_bounds(case, own, peer) for peer in peers):
        objections = [""]
    # Two peers that agree within the tolerance may stand on either side of what is right.
    objection = "; ".join(objections) if all(objections) else ""
    agreeing = len(peers) == 2 and not difference(peers[0], peers[1], case)
    if objection and (_is_undefined(case, agreeing) or _is_unstable(case, own)):
        objection = ""
    if len(peers) == 1:
        return Found(objection, "one")
    return Found(objection, "differ" if difference(peers[0], peers[1], case) else "agree")


def _by_type(peer: Mapping[str, Array], own: Mapping[str, Array]) -> dict[str, Array]:
    """What a peer gives; floats of eight bits come out of onnxruntime as their bytes."""
    return {
        name: array.view(own[name].dtype)
        if array.dtype == np.uint8 and own[name].dtype.kind == "V" and own[name].dtype.itemsize == 1
        else array
        for name, array in peer.items()
    }


def _is_undefined(case: Case, agreeing: bool) -> bool:
    """Whether numbers hang on what becomes of a NaN: as an integer, or where not even the peers agree."""
    values, outputs = _values(case)
    if not any(np.isnan(array).any() for array in values if array.dtype.kind in "fV"):
        return False
    return not agreeing or any(array.dtype.kind in "iub" for array in outputs)


def _is_unstable(case: Case, own: Mapping[str, Array]) -> bool:
    """Whether one rounding more of every value moves the results further than the case allows."""
    chance = np.random.default_rng(0)

    def rounded(made: Array) -> Array:
        kind = dtype_of(made.dtype)
        if not is_rounded(kind):
            return made
        step = DOUBLE if kind is DType.F64 else relative_tolerance(kind)
        by = ROUNDING * step * chance.standard_normal(made.shape)
        return (made.astype(np.float64) * (1 + by)).astype(made.dtype)

    for _ in range(TIMES_ROUNDED):
        try:
            moved = _run(replace(case, feeds={n: rounded(a) for n, a in case.feeds.items()}), rounded)[1]
        except ModelError:
            return False
        if difference(moved, own, case):
            return True
    return False


def _onnxruntime(case: Case, names: list[str]) -> dict[str, Array] | None:
    judged = case.stand_in or case
    try:
        return run_onnxruntime(judged.model, names, judged.feeds, PLAIN)
    except Exception:  # noqa: BLE001 - onnxruntime's errors have no common base
        return None


def _reference(case: Case, names: list[str]) -> dict[str, Array] | None:
    judged = case.stand_in or case
    version = max(opset.version for opset in judged.model.opset_import if not opset.domain)
    if any(is_misread(node, version) for node in judged.model.graph.node):
        return None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            made = ReferenceEvaluator(judged.model).run(names, dict(judged.feeds))
    except Exception:  # noqa: BLE001 - the reference's errors have no common base
        return None
    arrays = {name: np.asarray(value) for name, value in zip(names, made, strict=True)}
    # The reference forgets the type of some sums, and the rank of some windows.
    told = {info.name: info.type.tensor_type for info in _inferred(judged.model)}
    for name, array in arrays.items():
        kind = told[name]
        if kind.elem_type and helper.tensor_dtype_to_np_dtype(kind.elem_type) != array.dtype:
            return None
        if kind.HasField("shape") and len(kind.shape.dim) != array.ndim:
            return None
    return arrays


def _inferred(model: onnx.ModelProto) -> Sequence[onnx.ValueInfoProto]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(onnx.shape_inference.infer_shapes(model).graph.output)


def _read(case: Case, extents: Mapping[str, int]) -> ImportedModel:
    with tempfile.TemporaryDirectory() as folder:
        return import_model(saved(case.model, Path(folder)), extents)


def _extents(case: Case) -> dict[str, int]:
    """What the inputs say of extents that the model names."""
    return {
        dim.dim_param: case.feeds[info.name].shape[place]
        for info in case.model.graph.input
        for place, dim in enumerate(info.type.tensor_type.shape.dim)
        if dim.dim_param
    }


def _own(case: Case) -> dict[str, Array]:
    return _run(case)[1]


def _values(case: Case) -> tuple[list[Array], list[Array]]:
    """Every value, and the outputs."""
    made, outputs = _run(case)
    return list(made.values()), list(outputs.values())


def _run(
    case: Case, after: Callable[[Array], Array] = lambda made: made
) -> tuple[dict[int, Array], dict[str, Array]]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            imported, made = _run_with(case, {}, after)
        except ModelError:
            # Named extents differ from each other and from 1: a run binds those that do not before it reads.
            if not _extents(case):
                raise
            imported, made = _run_with(case, _extents(case), after)
    return made, {name: made[value] for name, value in imported.outputs}


def _run_with(
    case: Case, extents: Mapping[str, int], after: Callable[[Array], Array]
) -> tuple[ImportedModel, dict[int, Array]]:
    imported = _read(case, extents)
    feeds = {value: case.feeds[name] for name, value in imported.inputs}
    return imported, run_open(imported.graph, feeds, after)


def _within_bounds(case: Case, own: Mapping[str, Array], peer: Mapping[str, Array]) -> bool:
    """Whether every element is as near to a peer's as the running error bounds of both allow.

    A sum whose cosine is taken next is a number that any rounding before it turns into another.
    """
    imported = _read(case, _extents(case))
    graph = imported.graph
    if graph.symbols or any(op.row.unit is Unit.HOST for op in graph.ops):
        return False
    known = {value: Bounded(case.feeds[name]) for name, value in imported.inputs}
    with np.errstate(all="ignore"):
        for op in graph.ops:
            for access in op.operands:
                if access.value not in known:
                    known[access.value] = Bounded(graph.constants[access.value])
            operands = [known[access.value] for access in op.operands]
            kinds = [graph.values[access.value] for access in op.operands]
            box = [(0, extent) for extent in op.extents]
            known[op.result] = bounded(op, operands, kinds, graph.values[op.result], box)
    for name, value in imported.outputs:
        bound = known.get(value)
        if bound is None or bound.slack is None or own[name].shape != peer[name].shape:
            return False
        gap = np.abs(own[name].astype(np.float64) - peer[name].astype(np.float64))
        if not (np.nan_to_num(gap, nan=0.0) <= 2 * bound.slack).all():
            return False
    return True


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
    if gap <= limit * max(float(largest), SMALLEST):
        return ""
    return f"{gap / max(largest, 1e-30):.2g} of the largest magnitude off, more than {limit:.2g}"
