"""Ops that run on the host, for a model: meanings of the runtime, and those that another room brings."""

from collections.abc import Mapping, Sequence
from typing import Any

from tilewright.compiler_core.errors import ModelError
from tilewright.runtime.host.meanings import MEANINGS, REFUSALS, Array, Meaning

_BROUGHT: dict[str, Meaning] = {}


def run(function: str, args: Sequence[Array], attributes: Mapping[str, Any]) -> Sequence[Array]:
    """All results of host op `function`; ModelError where operands do not fit, KeyError for another name."""
    meaning = MEANINGS.get(function) or _BROUGHT[function]
    try:
        return meaning(args, attributes)
    except REFUSALS as error:
        said = f"operator {function!r} on the host refuses the data that it reads: {error}"
        raise ModelError(f"{said}; give its inputs values with --input or --dim") from error


def register(function: str, meaning: Meaning) -> None:
    """Add a meaning that another room brings, as the importer does with those of onnx's reference."""
    _BROUGHT[function] = meaning
