"""Questions to a confined process about a file or a text, and the bounds of its answers."""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONGEST_ERROR = 600
LONGEST_PLACE = 200
MOST_FAULTS = 20
MOST_SYMBOLS, LONGEST_SYMBOL = 256, 200


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one question: facts, or `error`, a line for the sender of the file."""
    match question:
        case {"kind": "model", "path": str(path), **sizes}:
            return _model(Path(path), sizes.get("dims", {}), sizes.get("ranges", {}), sizes.get("inputs", {}))
        case {"kind": "spec", "text": str(text)}:
            return _spec(text)
    return {"error": "the question is of no known kind"}


def bounded(said: Any) -> dict[str, Any]:
    """The line `said` of a confined process as an answer; ValueError where it has not the shape of one. A
    file may have taken the process over, so texts are shortened and unprintable characters escaped.
    """
    match said:
        case {"error": str(text), **rest} if not rest:
            return {"error": plain(text, LONGEST_ERROR)}
        case {"ops": int(ops), "symbols": list(symbols), **rest} if (
            not rest and ops >= 0 and len(symbols) <= MOST_SYMBOLS and all(map(_is_symbol, symbols))
        ):
            return {"ops": ops, "symbols": symbols}
        case {"faults": list(faults), **rest} if not rest and 0 < len(faults) <= MOST_FAULTS:
            return {"faults": [_fault(each) for each in faults]}
        case {"name": str(name), **rest} if not rest:
            return {"name": plain(name, LONGEST_SYMBOL)}
    raise ValueError("the answer has no known shape")


def plain(text: str, most: int) -> str:
    """At most so many printable signs of `text` on one line; controls and overrides are spelled out."""
    line = " ".join(text[: 4 * most].split())
    shown = (each if _prints(each) else ascii(each)[1:-1] for each in line)
    return "".join(shown)[:most]


def _prints(sign: str) -> bool:
    return sign.isprintable() and unicodedata.category(sign) not in ("Cf", "Co", "Cn")


def _fault(said: Any) -> tuple[str, str]:
    match said:
        case [str(where), str(why)]:
            return plain(where, LONGEST_PLACE), plain(why, LONGEST_ERROR)
    raise ValueError("the answer has no known shape")


def _is_symbol(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_SYMBOL and all(map(_prints, name))


def _model(
    path: Path, dims: dict[str, int], ranges: dict[str, list[int]], inputs: dict[str, Any]
) -> dict[str, Any]:
    """The network with its dims bound, a ranged one at the least size that it can have; which are open."""
    from tilewright.compiler_core.errors import ModelError, UsageError
    from tilewright.compiler_core.onnx_import.importer import import_model
    from tilewright.compiler_core.onnx_import.sizes import OpenDimsError, sizes_in_range

    try:
        least = {
            name: sizes_in_range(path, dims, name, *ends, inputs=inputs)[0] for name, ends in ranges.items()
        }
        model = import_model(path, {**dims, **least}, inputs)
    except OpenDimsError as error:
        return {"ops": 0, "symbols": sorted(error.names)}
    except (ModelError, UsageError) as error:
        return {"error": str(error).replace(repr(str(path)), "the model")}
    return {"ops": len(model.graph.ops), "symbols": sorted(model.graph.symbols - model.decided)}


def _spec(text: str) -> dict[str, Any]:
    """Name of the target that a JobSpec asks for; or what is wrong with it, by place."""
    from pydantic import ValidationError

    from tilewright.api.schemas.faults import faults_of
    from tilewright.api.schemas.jobs import JobSpec
    from tilewright.compiler_core.errors import TargetError
    from tilewright.tuner.jobs.request import name_of, target_of

    try:
        return {"name": name_of(target_of(JobSpec.model_validate_json(text).target))}
    except TargetError as error:
        return {"error": str(error)}
    except ValidationError as error:
        return {"faults": [list(fault) for fault in faults_of(error)[:MOST_FAULTS]]}
