"""The standard's own cases of its operators: small models, inputs, and the numbers that must come out.

A case runs as it stands, and again with its integer inputs bound to their values, where the first way needs
it or the operator takes parameters as inputs. Both must give the standard's numbers.
"""

import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from benchmarks.operators.running import run_open
from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dtypes import DType, dtype_of
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.importer import ImportedModel, import_model

RANDOM = frozenset(
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
)
TEXT = frozenset(
    ["LabelEncoder", "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"]
)
TRAINING = "ai.onnx.preview.training"
GOAL = 1820
"""Cases of onnx 1.23 that must come out; the others are text, random, training or pictures."""
MOST_REFUSED = 10
MOST_BOUND = 4096
"""Elements of an integer input that is bound to its value."""


@dataclass(frozen=True)
class CaseOutcome:
    """What became of a case: "agrees", "refused", "wrong", or "left out" (text, random, training)."""

    case: str
    operator: str
    verdict: str
    reason: str = ""


def standard_cases() -> list[Any]:
    """All node cases of the installed onnx package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [case for case in collect_testcases(None) if case.model is not None]


def judge(case: Any, folder: Path) -> CaseOutcome:
    """Import and run one case; its model is written to `folder`."""
    operator = _operator(case)
    kind = left_out(case.model)
    if kind:
        return CaseOutcome(case.name, operator, "left out", kind)
    inputs, outputs = case.data_sets[0]
    infos = list(case.model.graph.input)
    sequences = {info.name: len(v) for info, v in zip(infos, inputs, strict=False) if isinstance(v, list)}
    given = dict(
        pair for info, v in zip(infos, inputs, strict=False) for pair in _tensors(info.name, v).items()
    )
    wanted = dict(
        pair
        for info, v in zip(case.model.graph.output, outputs, strict=False)
        for pair in _tensors(info.name, v).items()
    )
    path = folder / "case.onnx"
    path.write_bytes(case.model.SerializeToString())
    absent = {name: None for name, array in given.items() if array is None}
    integers = {
        name: array
        for name, array in given.items()
        if array is not None and array.dtype.kind in "iub" and array.size <= MOST_BOUND
    }
    dims = {f"{name}_length": length for name, length in sequences.items()}
    refusals = []
    agreed = False
    for bound in (absent, {**absent, **integers}) if integers else (absent,):
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                trouble = _trouble(import_model(path, dims, bound), given, wanted, case)
        except ModelError as error:
            refusals.append(str(error))
            continue
        except Exception as error:  # noqa: BLE001 - a bench goes on, whatever breaks
            trouble = f"breaks: {type(error).__name__} {error}"
        if trouble:
            how = "with its integer inputs bound: " if bound else ""
            return CaseOutcome(case.name, operator, "wrong", how + trouble)
        agreed = True
    return CaseOutcome(case.name, operator, "agrees" if agreed else "refused", "; ".join(refusals))


def _tensors(name: str, given: Any) -> dict[str, Array | None]:
    """A value of a case under its name, the elements of a sequence under names of their own."""
    if isinstance(given, list):
        return {f"{name}[{index}]": np.asarray(element) for index, element in enumerate(given)}
    if given is None:
        return {name: None}
    return {name: numpy_helper.to_array(given) if isinstance(given, TensorProto) else np.asarray(given)}


def _trouble(
    imported: ImportedModel, given: Mapping[str, Array | None], wanted: Mapping[str, Array | None], case: Any
) -> str:
    """What differs from the standard's numbers; nothing where all agree."""
    feeds = {value: array for name, value in imported.inputs if (array := given[name]) is not None}
    got = run_open(imported.graph, feeds)
    made = {name: got[value] for name, value in imported.outputs}
    there = {name: array for name, array in wanted.items() if array is not None}
    if made.keys() != there.keys():
        return f"gives {', '.join(made)}, not {', '.join(there)}"
    for name, array in there.items():
        trouble = difference(made[name], array, case.rtol, case.atol)
        if trouble:
            return f"{name} {trouble}"
    return ""


def difference(own: Array, wanted: Array, rtol: float, atol: float) -> str:
    """What is different about `own`; nothing where it is equal within the tolerances or steps of its type.

    Where terms cancel, what is left is a rounding of them: one step of the largest magnitude is none.
    """
    if own.dtype != wanted.dtype:
        return f"is {own.dtype}, not {wanted.dtype}"
    if own.shape != wanted.shape:
        return f"has shape {list(own.shape)}, not {list(wanted.shape)}"
    kind = dtype_of(own.dtype)
    one, other = own.astype(np.float64), wanted.astype(np.float64)
    if kind.is_float:
        rtol = max(rtol, 2 * step_of(kind))
        atol = max(atol, step_of(kind) * float(np.abs(other[np.isfinite(other)]).max(initial=0.0)))
        close = np.isclose(one, other, rtol=rtol, atol=atol, equal_nan=True)
    else:
        close = own == wanted
    if bool(close.all()):
        return ""
    at = int(np.flatnonzero(~close.ravel())[0])
    return (
        f"differs in {int((~close).sum())} of {close.size}, first {one.ravel()[at]} not {other.ravel()[at]}"
    )


def step_of(kind: DType) -> float:
    """The relative step of a float type."""
    bits = kind.numpy.type(1).astype(kind.numpy)
    return float(np.nextafter(bits, kind.numpy.type(2))) - 1.0


def _operator(case: Any) -> str:
    """The operator a case is about, also where its model is the expansion of that into others."""
    nodes = [
        f"{item.domain}.{item.op_type}" if item.domain else item.op_type for item in case.model.graph.node
    ]
    return nodes[0] if len(nodes) == 1 else f"{nodes[-1]} and {len(nodes) - 1} before"


def left_out(model: onnx.ModelProto) -> str:
    """Why a case is none of a compiler's: text, random, training; nothing where it is."""
    for item in _nodes(model):
        if item.op_type in RANDOM:
            return "random"
        if item.op_type in TEXT:
            return "text"
        if item.domain == TRAINING or any(a.name == "training_mode" and a.i for a in item.attribute):
            return "training"
        if item.op_type == "Dropout" and len(item.input) > 2:
            return "training"
    infos = [*model.graph.input, *model.graph.output]
    text = any(info.type.tensor_type.elem_type == TensorProto.STRING for info in infos)
    return "text" if text else ""


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def bench_operators(quick: bool = False, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Judges every node case; `quick`: the last of every operator's."""
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for case in last_of_each(standard_cases()) if quick else standard_cases():
            rows.append(judge(case, Path(folder)))
            if rows[-1].verdict in ("wrong", "refused"):
                say(f"{rows[-1].verdict:<9}{rows[-1].case:<52}{rows[-1].reason[:120]}")
    found = Counter(row.verdict for row in rows)
    summary = {
        "agrees": {"value": found["agrees"], "goal": 0 if quick else GOAL},
        "wrong": {"value": found["wrong"], "goal": 0},
        "refused": {"value": found["refused"], "goal": MOST_REFUSED},
    }
    for name, figure in summary.items():
        least = name == "agrees"
        figure["ok"] = figure["value"] >= figure["goal"] if least else figure["value"] <= figure["goal"]
    return {"bench": "operators", "summary": summary, "rows": [asdict(row) for row in rows]}


def last_of_each(cases: list[Any]) -> list[Any]:
    """The last case of every operator: later ones tend to hold more of its attributes."""
    return list(
        {"+".join(sorted({n.op_type for n in case.model.graph.node})): case for case in cases}.values()
    )
