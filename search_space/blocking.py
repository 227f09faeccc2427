"""The knobs of a CPU's registers: axes across lanes, vectors and rows at once, unrolling.

They are about the main stage of a kernel (its anchor's fold, else its last). Axes are those of its core.
"""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.codegen.blocking import main_stage, nest_of
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.nest import NO_AXIS, Blocking
from tilewright.compiler_core.codegen.stages import stages_of
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.ops import AxisKind
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.target import SimdUnit, Target
from tilewright.search_space.knobs import Config, Knob, KnobValue

VECTOR, VECTORS, ROW, ROWS = "vector_axis", "vectors", "row_axis", "rows"
UNROLL, INNER, FOLD_ORDER = "unroll", "inner", "fold_order"
VECTOR_COUNTS = (1, 2, 3, 4, 6, 8)
ROW_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28)
UNROLL_COUNTS = (1, 2, 4, 8)
MOST_FOLD_ORDERS = 6


def core_of(regions: Regions) -> Op:
    """The op that the blocking is about."""
    stages = stages_of(regions)
    return regions.graph.ops[stages[main_stage(stages, regions)].core]


def blocking_knobs(regions: Regions, unit: SimdUnit, lanes: int) -> Iterator[Knob]:
    """The knobs that a kernel offers on a unit, in column order."""
    op = core_of(regions)
    long = _long_axes(op)
    if not long:
        return
    yield Knob(VECTOR, long, ordered=False)
    most = max(-(-op.extents[axis] // lanes) for axis in long)
    yield Knob(VECTORS, tuple(n for n in VECTOR_COUNTS if n <= most and n < unit.registers) or (1,))
    rows = tuple(axis for axis in long if axis in op.result_axes)
    if rows and (op.row.reducer is not None or len(rows) > 1):
        yield Knob(ROW, rows, ordered=False)
        tallest = max(op.extents[axis] for axis in rows)
        yield Knob(ROWS, tuple(n for n in ROW_COUNTS if n <= tallest and n < unit.registers))
        yield Knob(INNER, (ROWS, VECTORS), ordered=False)
    folded = [axis for axis in op.reduction_axes if op.extents[axis] > 1]
    if folded:
        deepest = max(op.extents[axis] for axis in folded)
        yield Knob(UNROLL, tuple(n for n in UNROLL_COUNTS if n <= max(2, deepest)))
    if len(folded) > 1:
        orders = list(permutations(folded))[:MOST_FOLD_ORDERS]
        yield Knob(FOLD_ORDER, tuple(" ".join(map(str, order)) for order in orders), ordered=False)


def _long_axes(op: Op) -> tuple[int, ...]:
    kinds = zip(op.extents, op.axis_kinds, strict=True)
    return tuple(axis for axis, (n, kind) in enumerate(kinds) if n > 1 and kind is not AxisKind.SCAN)


def blocking_of(config: Config, regions: Regions) -> Blocking | None:
    """The Blocking that a Config names; None where it names none. ConfigError where it makes no sense."""
    values = dict(config.items)
    if VECTOR not in values:
        return None
    op = core_of(regions)
    vector, vectors = _number(values, VECTOR, NO_AXIS), _number(values, VECTORS, 1)
    row, rows = _number(values, ROW, NO_AXIS), _number(values, ROWS, 1)
    has_rows = row in op.result_axes and row != vector
    blocked = [axis for axis in (vector, row) if axis in op.result_axes]
    if values.get(INNER) == VECTORS:
        blocked.reverse()
    blocked = list(dict.fromkeys(blocked))
    named = _axes(values.get(FOLD_ORDER, ""))
    folded = (*(axis for axis in op.reduction_axes if axis not in named), *named)
    inner = [axis for axis in folded if axis != vector and op.extents[axis] > 1]
    unroll = _number(values, UNROLL, 1)
    return Blocking(
        vector,
        vectors,
        ((row, min(rows, op.extents[row])),) if has_rows else (),
        (*(axis for axis in op.result_axes if axis not in blocked), *blocked),
        folded,
        tuple((axis, min(unroll, op.extents[axis])) for axis in inner[-1:]),
    )


def _number(values: dict[str, KnobValue], name: str, default: int) -> int:
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"knob {name!r} is {value!r}; it takes a whole number")
    return value


def _axes(text: KnobValue) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in str(text).split())
    except ValueError:
        raise ConfigError(f"knob {FOLD_ORDER!r} is {text!r}; it takes axis numbers") from None


def machine_of(target: Target) -> Machine:
    """The figures of a target's simd unit that a blocking depends on."""
    unit = target.matrix
    assert isinstance(unit, SimdUnit), "only a simd unit has registers to block for"
    return Machine("", "", "", unit.bits, unit.registers)


def default_values(
    regions: Regions, program: KernelProgram, target: Target, knobs: tuple[Knob, ...]
) -> dict[str, KnobValue]:
    """The default blocking of a nest, as near as the knobs can express it."""
    nest = nest_of(regions, program, machine_of(target))
    chosen = nest.blockings[main_stage(nest.stages, regions)]
    row, rows = chosen.rows[0] if chosen.rows else (NO_AXIS, 1)
    wanted: dict[str, KnobValue] = {
        VECTOR: chosen.vector,
        VECTORS: chosen.vectors,
        ROW: row,
        ROWS: rows,
        UNROLL: chosen.unroll[0][1] if chosen.unroll else 1,
        INNER: ROWS,
    }
    return {knob.name: _nearest(knob, wanted.get(knob.name)) for knob in knobs if knob.name in NAMES}


NAMES = (VECTOR, VECTORS, ROW, ROWS, UNROLL, INNER, FOLD_ORDER)


def _nearest(knob: Knob, wanted: KnobValue | None) -> KnobValue:
    if wanted is not None and wanted in knob.values:
        return wanted
    below = [v for v in knob.values if isinstance(v, int) and isinstance(wanted, int) and v <= wanted]
    return max(below) if knob.ordered and below else knob.values[0]


def fits_registers(
    values: dict[str, npt.NDArray[np.int64]], op: Op, registers: int, lanes: int
) -> npt.NDArray[np.bool_]:
    """Whether rows of knob values keep their totals in registers, and no block is longer than its axis."""
    vector, vectors = values[VECTOR], values[VECTORS]
    extents = np.array([*op.extents], dtype=np.int64)
    good = vectors <= -(-extents[vector] // lanes)
    if ROWS not in values:
        return np.asarray(good & (vectors < registers))
    row, rows = values[ROW], values[ROWS]
    # A row axis that is the vector axis too means no rows at all, written in one way.
    good &= np.where(row == vector, rows == 1, rows <= extents[row])
    return np.asarray(good & (rows * vectors + np.minimum(rows, vectors) <= registers))
