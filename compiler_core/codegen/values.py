"""Values of a kernel at a point: loaded where they have memory, else worked out from their operands."""

from dataclasses import replace
from math import inf

import numpy as np

from tilewright.compiler_core.codegen import affine
from tilewright.compiler_core.codegen.affine import Affine, Variable
from tilewright.compiler_core.codegen.lanes.arithmetic import is_signed, kind_of
from tilewright.compiler_core.codegen.lanes.expressions import Expressions
from tilewright.compiler_core.codegen.lanes.indices import Inside
from tilewright.compiler_core.codegen.memory import Addressing
from tilewright.compiler_core.codegen.stages import Stage
from tilewright.compiler_core.codegen.tiles import Position
from tilewright.compiler_core.codegen.writer import Lane
from tilewright.compiler_core.ir.dims import known
from tilewright.compiler_core.ir.dtypes import DType
from tilewright.compiler_core.ir.graph import Op
from tilewright.compiler_core.ir.index_map import Access, IndexExpr


class Values:
    """Reads values for one stage. `held` is the total of its fold, while the ops after it run."""

    def __init__(self, kernel: Position, stage: Stage) -> None:
        nest = kernel.nest
        self.kernel = kernel
        self.nest = nest
        self.stage = stage
        self.core: Op = nest.graph.ops[stage.core]
        self.writer = kernel.writer
        self.math = Expressions(self.writer)
        self.math.fuses = nest.machine.fuses
        self.math.scales = "+avx512f" in nest.machine.features and nest.machine.vector_bits == 512
        self.memory = Addressing(self.math, nest.lanes)
        self.kept = {nest.graph.ops[index].result for each in nest.stages for index in each.filled}
        self.held: Lane | None = None
        self.assumed: list[Inside] = []

    def _operands(self, op: Op, index: list[Affine], conditions: tuple[Inside, ...]) -> list[Lane]:
        """The operands of an op at a point; later ones first, since a data-dependent index lies behind."""
        made: list[Lane] = []
        for access in reversed(op.operands):
            others = {len(op.operands) - len(made) + position: lane for position, lane in enumerate(made)}
            made.insert(0, self._read(access, index, conditions, others))
        return made

    def _read(
        self, access: Access, at: list[Affine], conditions: tuple[Inside, ...], others: dict[int, Lane]
    ) -> Lane:
        graph = self.nest.graph
        shape = graph.shape(access.value)
        index = [
            self._indexed(others[expr.source], extent, access.pad is None)
            if expr.source >= 0
            else self._index(expr, at)
            for expr, extent in zip(access.exprs, shape, strict=True)
        ]
        pad = self._pad(access)
        outside = () if access.pad is None else self.memory.outside(index, shape)
        own = tuple(each for each in outside if each not in self.assumed)
        if any(self.memory.never(each) for each in own):
            dtype = graph.values[access.value].dtype
            made = self.math.constant(kind_of(dtype), pad)
            return replace(made, signed=is_signed(dtype))
        maker = graph.producer.get(access.value)
        if maker == self.stage.core and self.held is not None:
            return self.held
        if maker is None or (access.value in self.kept and maker not in self.stage.filled):
            return self.memory.load(self.kernel.memories[access.value], index, (*conditions, *own), pad)
        made = self._worked_out(maker, index, (*conditions, *own))
        if maker in self.stage.passing:
            self.memory.store(self.kernel.memories[access.value], index, made)
        return self._padded(made, own, pad)

    def _pad(self, access: Access) -> float:
        dtype = self.nest.graph.values[access.value].dtype
        pad = access.pad or 0.0
        if abs(pad) == inf and not dtype.is_float:
            if dtype is DType.BOOL:
                return float(pad > 0)
            limits = np.iinfo(str(dtype.numpy))
            return int(limits.max if pad > 0 else limits.min)
        return pad

    def _padded(self, made: Lane, own: tuple[Inside, ...], pad: float) -> Lane:
        """The computed value, `pad` where the index lies outside."""
        uniform = [each for each in own if each.index.is_uniform]
        varying = [each for each in own if not each.index.is_uniform]
        fill = Lane(self.math.constant(made.kind, pad).text, made.kind, 1, made.signed)
        if uniform:
            made = self.math.select(Lane(self.memory.test(uniform), "i1"), made, fill)
        if varying:
            mask = Lane(self.memory.choice(varying, tail=False), "i1", self.nest.lanes)
            made = self.math.select(mask, made, fill)
        return made

    def _worked_out(self, at: int, index: list[Affine], conditions: tuple[Inside, ...]) -> Lane:
        """The value of an op at a point, rounded to its dtype."""
        key = ("value", at, tuple(index), conditions, self.memory.tail, self.memory.tail_vector, self.held)
        found = self.memory.known(key)
        if isinstance(found, Lane):
            return found
        op = self.nest.graph.ops[at]
        made = self.math.body(op, self._operands(op, index, conditions))
        made = self.math.rounded(made, self.nest.graph.values[op.result].dtype)
        self.memory.remember(key, made)
        self._show(op.result, index, made)
        return made

    def _show(self, value: int, index: list[Affine], made: Lane) -> None:
        """Store an inner value for a check."""
        if value in self.kernel.shown:
            self.memory.store(self.kernel.shown[value], index, made)

    def _index(self, expr: IndexExpr, at: list[Affine]) -> Affine:
        total = affine.whole(known(expr.offset, "an offset"))
        for axis, coefficient in expr.terms:
            total = self.memory.sum(
                total, self.memory.multiple(at[axis], known(coefficient, "a coefficient"))
            )
        divisor, modulus = known(expr.divisor, "a divisor"), known(expr.modulus, "a modulus")
        if divisor != 1:
            total = self.memory.divided(total, divisor)[0]
        return self.memory.divided(total, modulus)[1] if modulus else total

    def _indexed(self, number: Lane, extent: int, clamped: bool) -> Affine:
        """An index from data: from the end where negative, kept in range."""
        whole = self.math.converted(number, "i64" if number.lanes == 1 else "i32")
        if whole.signed:
            behind = self.math.add(whole, self.math.like(whole, extent))
            whole = self.math.select(self.math.less(whole, self.math.like(whole, 0)), behind, whole)
        if clamped:
            whole = self.math.maximum(whole, self.math.like(whole, 0))
            whole = self.math.minimum(whole, self.math.like(whole, max(0, extent - 1)))
        wide = 1 << 40
        low, high = (0, max(0, extent - 1)) if clamped else (-wide, wide)
        if whole.lanes == 1:
            return affine.of(Variable(whole.text, 1, low, high))
        return Affine(lanes=self.nest.lanes, varying=whole.text)
