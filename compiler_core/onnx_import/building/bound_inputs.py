"""Inputs whose values are given when a model is imported: constants of the network from then on."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx

from tilewright.compiler_core.errors import ModelError
from tilewright.compiler_core.ir.dims import Shape
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.building.node import printable
from tilewright.compiler_core.onnx_import.building.tensor_data import element_type

Given: TypeAlias = Any
"""A number, a truth value, nested lists of them, or an array; None for an optional that is not there."""
MOST_ELEMENTS = 1 << 24


def sizes_from(
    infos: Sequence[onnx.ValueInfoProto], given: Mapping[str, Given], dims: Mapping[str, int]
) -> dict[str, int]:
    """`dims`, and the named extents from the shapes of given values; ModelError where they contradict.

    Values for inputs that the model has not are refused. A number alone has no shape: it fills its input. An
    input of unknown rank in `infos` gets that of its value.
    """
    declared = {info.name: info.type for info in infos}
    sizes = dict(dims)
    for name, value in given.items():
        base, element = _parts(name)
        if base not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise ModelError(f"the model has no input called {printable(name)}; it has {known}")
        kind = declared[base]
        if value is None:
            if kind.WhichOneof("value") != "optional_type":
                raise ModelError(f"input {printable(name)} is not optional; give it a value")
            continue
        while kind.WhichOneof("value") in ("optional_type", "sequence_type"):
            kind = (kind.optional_type if kind.HasField("optional_type") else kind.sequence_type).elem_type
        extents = _array(name, value).shape
        if not extents:
            continue
        if not kind.tensor_type.HasField("shape"):
            # The value has the rank that the model leaves out.
            kind.tensor_type.shape.dim.extend([onnx.TensorShapeProto.Dimension()] * len(extents))
        shape = kind.tensor_type.shape.dim
        if len(extents) != len(shape):
            raise ModelError(f"input {printable(name)} takes rank {len(shape)}, got rank {len(extents)}")
        for index, (dim, extent) in enumerate(zip(shape, extents, strict=True)):
            symbol = f"{dim.dim_param}{element}" if dim.dim_param else f"{name}_dim_{index}"
            fixed = dim.HasField("dim_value") and dim.dim_value >= 0
            wanted = dim.dim_value if fixed else sizes.setdefault(symbol, extent)
            if wanted != extent:
                raise ModelError(
                    f"dim {index} of input {printable(name)} is {wanted}, the value has {extent}"
                )
    return sizes


def _parts(name: str) -> tuple[str, str]:
    """`boxes[2]`, an element of a sequence, as `boxes` and `[2]`; other names as they are."""
    found = re.fullmatch(r"(.+)(\[\d+\])", name, re.DOTALL)
    return (found[1], found[2]) if found else (name, "")


def bound_input(name: str, value: Given, shape: Shape, elem_type: int) -> Array:
    """The value of an input as an array of its type and shape; ModelError where it does not fit."""
    shown = f"input {printable(name)}"
    unknown = [str(extent) for extent in shape if not isinstance(extent, int)]
    if unknown:
        raise ModelError(f"{shown} gets a value, so bind {unknown[0]} too, with --dim NAME=VALUE")
    extents = tuple(extent for extent in shape if isinstance(extent, int))
    if np.prod(extents, dtype=np.float64) > MOST_ELEMENTS:
        raise ModelError(f"{shown} of shape {list(extents)} has more than {MOST_ELEMENTS} elements")
    array = _array(name, value)
    dtype = element_type(elem_type, shown)
    _check_range(array, dtype, shown)
    return np.broadcast_to(array.astype(dtype.numpy), extents).copy()


def _check_range(array: Array, dtype: DType, shown: str) -> None:
    if not array.size or array.dtype == dtype.numpy:
        return
    if dtype.is_float or dtype is DType.BOOL:
        if dtype is DType.BOOL and not np.isin(array, (0, 1)).all():
            raise ModelError(f"{shown} takes true or false, not {array.ravel()[0]}")
        return
    whole = np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_
    low, high = dtype.limits
    if not whole or int(array.min()) < low or int(array.max()) > high:
        raise ModelError(f"{shown} takes whole numbers from {low} to {high}")


def _array(name: str, value: Given) -> Array:
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        array = np.asarray("")
    if array.dtype.kind not in "bifuV":
        raise ModelError(
            f"the value of input {printable(name)} is not a number, true, false, or lists of equal length"
        )
    return array.astype(np.float32) if array.size == 0 and array.dtype == np.float64 else array
