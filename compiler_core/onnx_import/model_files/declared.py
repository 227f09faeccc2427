"""The declared outputs of a file, compared with the results of its nodes."""

from collections.abc import Mapping, Sequence

import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.onnx_import.building.builder import Tensor
from tilewright.compiler_core.onnx_import.building.node import printable
from tilewright.compiler_core.onnx_import.building.tensor_data import DTYPES
from tilewright.compiler_core.onnx_import.building.values import Value


def contradictions(infos: Sequence[onnx.ValueInfoProto], made: Mapping[str, Value]) -> tuple[str, ...]:
    """A line for each output that is made in another shape than it is declared; symbols fit any extent. One
    line where there are no outputs.

    ModelError where it is made of another element type. onnxruntime warns of the one and refuses the other.
    """
    lines = [] if infos else ["the model has no outputs, so nothing runs"]
    for info in infos:
        value, declared = made.get(info.name), info.type.tensor_type
        if not isinstance(value, Tensor) or not info.type.HasField("tensor_type"):
            continue
        kind = DTYPES.get(declared.elem_type)
        if kind is not None and kind is not value.dtype:
            raise ModelError(
                f"graph output {printable(info.name)} is declared {kind}, its nodes make {value.dtype}"
            )
        extents = [dim.dim_value if dim.HasField("dim_value") else None for dim in declared.shape.dim]
        if declared.HasField("shape") and _differ(extents, value.shape):
            shown = ", ".join("?" if extent is None else str(extent) for extent in extents)
            made_as = ", ".join(map(str, value.shape))
            lines.append(
                f"graph output {printable(info.name)} is declared [{shown}], its nodes make [{made_as}]"
            )
    return tuple(lines)


def _differ(declared: Sequence[int | None], made: Sequence[object]) -> bool:
    return len(declared) != len(made) or any(
        extent is not None and isinstance(other, int) and extent != other
        for extent, other in zip(declared, made, strict=True)
    )
