"""Rules between the numbers of a Target, each of which is legal alone."""

import re
from collections.abc import Iterator
from itertools import pairwise

from tilewright.compiler_core.ir.ops import OPS
from tilewright.compiler_core.target_model.target import CubeUnit, SimdUnit, SystolicUnit, Target, numbers_of


def broken_rules(target: Target) -> Iterator[tuple[str, str]]:
    """Pairs of a dotted key and the mistake in it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", target.name):
        yield "name", f"is {target.name!r}; use 1 to 64 letters, digits, _ and -"
    yield from _dtypes(target)
    for op, _ in target.vector.lane_ops:
        if op not in OPS:
            yield f"vector.lane_ops.{op}", f"is not an op; ops are {', '.join(sorted(OPS))}"
    known = {path for path, _ in numbers_of(target)}
    for path in target.assumed:
        if not any(f"{number}.".startswith(f"{path}.") for number in known):
            yield "assumed", f"names {path!r}, which is no key of this file; write it as in llb.gbps"


def _dtypes(target: Target) -> Iterator[tuple[str, str]]:
    listed = [stored for stored, _ in target.dtypes]
    if not listed:
        yield "dtypes", "is empty; name at least one dtype and its accumulator"
    for stored, sums in target.dtypes:
        if sums.bits < stored.bits or sums.is_float != stored.is_float:
            yield f"dtypes.{stored}", f"keeps its sums in {sums}, which is narrower or of another kind"
    matrix = target.matrix
    if isinstance(matrix, CubeUnit):
        taken = [(f"matrix.shapes.{index}.dtype", shape.dtype) for index, shape in enumerate(matrix.shapes)]
        taken += [
            (f"matrix.depthwise.{index}.dtype", shape.dtype) for index, shape in enumerate(matrix.depthwise)
        ]
    elif isinstance(matrix, SimdUnit):
        taken = [("matrix", dtype) for dtype in listed]
    else:
        taken = [(f"matrix.cycles_per_step.{dtype}", dtype) for dtype, _ in matrix.cycles_per_step]
    for key, dtype in taken:
        if dtype not in listed:
            yield key, f"is {dtype}, which [dtypes] does not list"
    if not any(dtype in listed for _, dtype in taken):
        yield "matrix", "takes none of [dtypes]; give it a shape for at least one"
    if isinstance(matrix, SystolicUnit) and matrix.operand_buffer_kib:
        for key, odd in (
            ("joins_taps", not matrix.joins_taps),
            ("swaps", matrix.swaps),
            ("units", matrix.units > 1),
        ):
            if odd:
                yield f"matrix.{key}", "does not go with operand_buffer_kib; leave one of them out"
    if isinstance(matrix, SimdUnit) and not target.caches:
        yield "caches", "is empty; a simd unit works out of caches, name at least the innermost"
    if any(inner.kib >= outer.kib for inner, outer in pairwise(target.caches)):
        yield "caches", "are not in order; list them from the innermost, each larger than the one before"
    if not target.energy.pj_per_mac:
        yield "energy.pj_per_mac", "is empty; name at least one dtype"
