"""Loads and stores of lanes at affine indices: broadcast, contiguous, masked, gathered."""

from collections.abc import Sequence
from dataclasses import replace

from tilewright.compiler_core.codegen.affine import Affine
from tilewright.compiler_core.codegen.lanes.arithmetic import (
    STORED,
    is_signed,
    kind_of,
    number_text,
)
from tilewright.compiler_core.codegen.lanes.indices import Indices, Inside, MemoryView
from tilewright.compiler_core.codegen.writer import Lane
from tilewright.compiler_core.ir.dtypes import DType

NEAR = 4
"""Lanes up to this many elements apart are loaded with all that lies between them."""
LINE = 64
"""Elements of a line of padding that a read outside may be sent to, behind its first."""
AHEAD_BYTES = 4096
"""How far behind a load of a streamed value the next lines are asked for: a page, where the CPU's own
fetching stops. On an Emerald Rapids core 4 KiB beat 1, 2 and 8: docs/decisions, 0079.
"""


class Addressing(Indices):
    """Writes loads and stores, too."""

    def fetch_ahead(self) -> None:
        """Ask for what lies a page behind the last loads of streamed values, after their step: between loads
        it would keep LLVM from making them operands of multiply-adds.
        """
        for pointer in self._streamed:
            ahead = self.writer.let(f"getelementptr i8, ptr {pointer}, i64 {AHEAD_BYTES}")
            self.writer.perform("llvm.prefetch.p0", [f"ptr {ahead}", "i32 0", "i32 3", "i32 1"])
        self._streamed.clear()

    def load(
        self, memory: MemoryView, index: Sequence[Affine], conditions: Sequence[Inside], pad: float
    ) -> Lane:
        """The element at an index, `pad` where a condition does not hold; one lane where lanes are alike."""
        at = self.element(memory, index)
        uniform = tuple(c for c in conditions if c.index.is_uniform)
        varying = tuple(c for c in conditions if not c.index.is_uniform)
        key = ("load", memory.pointer, at, uniform, varying, pad, self.tail, self.tail_vector)
        found = self.known(key)
        if isinstance(found, Lane):
            return found
        dtype = memory.place.dtype
        if at.is_uniform and not varying:
            made = self._one(self._pointer(memory, at, uniform, pad), dtype)
        else:
            made = self._many(memory, at, uniform, varying, pad)
        self.remember(key, made)
        return made

    def _pointer(self, memory: MemoryView, at: Affine, uniform: tuple[Inside, ...], pad: float) -> str:
        """A pointer to an element without its lane, or to padding where a condition does not hold."""
        stored = STORED[memory.place.dtype]
        fine = at.constant % LINE if at.terms else at.constant
        base = replace(at, constant=at.constant - fine, lane=0, varying="")
        key = ("pointer", memory.pointer, base, uniform, pad)
        start = self.known(key)
        if not isinstance(start, str):
            number = self.writer.number(base)
            start = memory.pointer
            if number != 0:
                start = self.writer.let(f"getelementptr {stored}, ptr {memory.pointer}, i64 {number}")
            test = self.test(uniform)
            if test:
                line = self._padding(stored, pad, fine if not at.terms else 0)
                start = self.writer.let(f"select i1 {test}, ptr {start}, ptr {line}")
            self.remember(key, start)
        if not fine:
            return start
        return self.writer.let(f"getelementptr {stored}, ptr {start}, i64 {fine}")

    def _padding(self, stored: str, pad: float, beyond: int) -> str:
        count = LINE + self.lanes + beyond
        item = f"{stored} {number_text(stored, pad)}"
        if stored.startswith("i") and abs(pad) == float("inf"):
            raise AssertionError("padding is in the range of its dtype")
        return self.writer.constant(f"[{count} x {stored}] [{', '.join([item] * count)}]")

    def _one(self, pointer: str, dtype: DType) -> Lane:
        stored = STORED[dtype]
        text = self.writer.let(f"load {stored}, ptr {pointer}, align {dtype.bytes}")
        return self._worked_on(Lane(text, stored, 1, is_signed(dtype)), dtype)

    def _worked_on(self, raw: Lane, dtype: DType) -> Lane:
        """Elements as loaded, in the type they are worked on in."""
        if dtype is DType.BOOL:
            return self.arithmetic.not_equal(raw, self.arithmetic.like(raw, 0))
        if raw.kind in ("half", "bfloat"):
            wide = Lane("", "float", raw.lanes)
            return replace(wide, text=self.writer.let(f"fpext {raw.typed} to {wide.type}"))
        return raw

    def _many(
        self,
        memory: MemoryView,
        at: Affine,
        uniform: tuple[Inside, ...],
        varying: tuple[Inside, ...],
        pad: float,
    ) -> Lane:
        dtype, lanes = memory.place.dtype, self.lanes
        stored = STORED[dtype]
        wide = f"<{lanes} x {stored}>"
        align = dtype.bytes
        fill = self.arithmetic.spread(Lane(number_text(stored, pad), stored), lanes).text
        if at.lane == 1 and not at.varying:
            mask = self.mask(varying, tail=True)
            pointer = self._pointer(memory, at, uniform, pad)
            if memory.is_streamed:
                self._streamed.append(pointer)
            if not mask:
                text = self.writer.let(f"load {wide}, ptr {pointer}, align {align}")
            else:
                name = f"llvm.masked.load.v{lanes}{_kind(stored)}.p0"
                operands = [f"ptr align {align} {pointer}", f"<{lanes} x i1> {mask}", f"{wide} {fill}"]
                self.writer.declared[name] = f"declare {wide} @{name}(ptr, <{lanes} x i1>, {wide})"
                text = self.writer.let(f"call {wide} @{name}({', '.join(operands)})")
        elif 1 < at.lane <= NEAR and not at.varying:
            text = self._apart(memory, at, uniform, varying, pad)
        else:
            mask = self.mask(varying, tail=True)
            pointer = self._pointer(memory, replace(at, lane=0, varying=""), uniform, pad)
            if uniform:
                # Padding is one line, so lanes may not leave it: those of a failed condition read their pad.
                test = Lane(self.test(uniform), "i1")
                alike = self.arithmetic.spread(test, lanes).text
                mask = alike if not mask else self.writer.let(f"and <{lanes} x i1> {mask}, {alike}")
            offsets = self.lanes_of(Affine(lane=at.lane, lanes=lanes, varying=at.varying))
            pointers = self.writer.let(f"getelementptr {stored}, ptr {pointer}, <{lanes} x i32> {offsets}")
            every = f"<{', '.join(['i1 true'] * lanes)}>"
            name = f"llvm.masked.gather.v{lanes}{_kind(stored)}.v{lanes}p0"
            self.writer.declared[name] = f"declare {wide} @{name}(<{lanes} x ptr>, <{lanes} x i1>, {wide})"
            text = self.writer.let(
                f"call {wide} @{name}(<{lanes} x ptr> align {align} {pointers}, "
                f"<{lanes} x i1> {mask or every}, {wide} {fill})"
            )
        return self._worked_on(Lane(text, stored, lanes, is_signed(dtype)), dtype)

    def _apart(
        self,
        memory: MemoryView,
        at: Affine,
        uniform: tuple[Inside, ...],
        varying: tuple[Inside, ...],
        pad: float,
    ) -> str:
        """Lanes a few elements apart: all that lies between them is loaded, and what is needed picked out."""
        dtype, lanes, step = memory.place.dtype, self.lanes, at.lane
        stored = STORED[dtype]
        wide, bools = f"<{lanes} x {stored}>", f"<{lanes} x i1>"
        fill = self.arithmetic.spread(Lane(number_text(stored, pad), stored), lanes).text
        counted = lanes
        if isinstance(self.tail, int):
            counted = max(0, min(lanes, self.tail - self.tail_vector * lanes))
        given = self.mask(varying, tail=not isinstance(self.tail, int))
        most = step * (counted - 1)
        parts: list[str] = []
        for first in range(0, step * lanes, lanes):
            if first > most:
                parts.append("poison")
                continue
            pointer = self._pointer(memory, replace(at, constant=at.constant + first), uniform, pad)
            mask = given and self._widened(given, first, step)
            if first + lanes - 1 > most:
                ends = ", ".join(f"i1 {int(first + lane <= most)}" for lane in range(lanes))
                mask = self.writer.let(f"and {bools} {mask}, <{ends}>") if mask else f"<{ends}>"
            if not mask:
                parts.append(self.writer.let(f"load {wide}, ptr {pointer}, align {dtype.bytes}"))
                continue
            name = f"llvm.masked.load.v{lanes}{_kind(stored)}.p0"
            operands = [f"ptr align {dtype.bytes} {pointer}", f"{bools} {mask}", f"{wide} {fill}"]
            self.writer.declared[name] = f"declare {wide} @{name}(ptr, {bools}, {wide})"
            parts.append(self.writer.let(f"call {wide} @{name}({', '.join(operands)})"))
        return self._picked(parts, step, wide)

    def _picked(self, parts: Sequence[str], step: int, wide: str) -> str:
        """Every so manieth element of vectors that follow each other."""
        held, lanes = parts[0], self.lanes
        for number, part in enumerate(parts[1:], start=1):
            places = []
            for lane in range(lanes):
                at = lane * step
                if at >= (number + 1) * lanes:
                    places.append("i32 poison")
                elif at >= number * lanes:
                    places.append(f"i32 {lanes + at - number * lanes}")
                else:
                    places.append(f"i32 {at if number == 1 else lane}")
            held = self.writer.let(
                f"shufflevector {wide} {held}, {wide} {part}, <{lanes} x i32> <{', '.join(places)}>"
            )
        return held

    def _widened(self, mask: str, first: int, step: int) -> str:
        """The mask of the elements from `first` on, of lanes so many elements apart."""
        key = ("widened", mask, first, step)
        found = self.known(key)
        if isinstance(found, str):
            return found
        picks = [divmod(first + lane, step) for lane in range(self.lanes)]
        order = ", ".join(f"i32 {self.lanes if rest else lane}" for lane, rest in picks)
        bools = f"<{self.lanes} x i1>"
        made = self.writer.let(
            f"shufflevector {bools} {mask}, {bools} zeroinitializer, <{self.lanes} x i32> <{order}>"
        )
        self.remember(key, made)
        return made

    def store(self, memory: MemoryView, index: Sequence[Affine], value: Lane) -> None:
        """Put lanes at an index; those behind the tail are left out."""
        dtype = memory.place.dtype
        at = self.element(memory, index)
        raw = self._as_stored(value, dtype)
        align = dtype.bytes
        if at.is_uniform:
            pointer = self._pointer(memory, at, (), 0.0)
            self.writer.do(f"store {raw.typed}, ptr {pointer}, align {align}")
            return
        raw = self.arithmetic.spread(raw, self.lanes)
        pointer = self._pointer(memory, replace(at, lane=0, varying=""), (), 0.0)
        mask = self.mask((), tail=True)
        bools = f"<{self.lanes} x i1>"
        if at.lane == 1 and not at.varying:
            if not mask:
                self.writer.do(f"store {raw.typed}, ptr {pointer}, align {align}")
                return
            name = f"llvm.masked.store.v{self.lanes}{_kind(raw.kind)}.p0"
            self.writer.declared[name] = f"declare void @{name}({raw.type}, ptr, {bools})"
            self.writer.do(f"call void @{name}({raw.typed}, ptr align {align} {pointer}, {bools} {mask})")
            return
        offsets = self.lanes_of(Affine(lane=at.lane, lanes=self.lanes, varying=at.varying))
        pointers = self.writer.let(f"getelementptr {raw.kind}, ptr {pointer}, <{self.lanes} x i32> {offsets}")
        every = f"<{', '.join(['i1 true'] * self.lanes)}>"
        name = f"llvm.masked.scatter.v{self.lanes}{_kind(raw.kind)}.v{self.lanes}p0"
        self.writer.declared[name] = f"declare void @{name}({raw.type}, <{self.lanes} x ptr>, {bools})"
        self.writer.do(
            f"call void @{name}({raw.typed}, <{self.lanes} x ptr> align {align} {pointers}, "
            f"{bools} {mask or every})"
        )

    def can_turn(self, memory: MemoryView, indices: Sequence[Sequence[Affine]]) -> bool:
        """Whether rows of lanes lie apart along their lanes, and next to each other from row to row."""
        if len(indices) < 4 or not (self.tail is None or isinstance(self.tail, int)):
            return False
        first = self.element(memory, indices[0])
        if first.varying or first.lane in (0, 1):
            return False
        rows = [self.element(memory, index) for index in indices[1:]]
        return all(row == first.plus(index + 1) for index, row in enumerate(rows))

    def store_turned(
        self, memory: MemoryView, indices: Sequence[Sequence[Affine]], rows: Sequence[Lane]
    ) -> None:
        """Store up to as many rows as there are lanes, transposed: each lane's elements lie together."""
        first = self.element(memory, indices[0])
        raw = [self.arithmetic.spread(self._as_stored(row, memory.place.dtype), self.lanes) for row in rows]
        spare = replace(raw[0], text="poison")
        turned = self.arithmetic.turned([*raw, *[spare] * (self.lanes - len(raw))])
        counted = self.lanes
        if self.tail is not None:
            assert isinstance(self.tail, int), "looked at by can_turn"
            counted = self.tail - self.tail_vector * self.lanes
        wide, bools = raw[0].type, f"<{self.lanes} x i1>"
        mask = ", ".join(f"i1 {int(index < len(rows))}" for index in range(self.lanes))
        name = f"llvm.masked.store.v{self.lanes}{_kind(raw[0].kind)}.p0"
        for lane, column in enumerate(turned[: max(0, min(self.lanes, counted))]):
            at = replace(first.plus(first.lane * lane), lane=0)
            pointer, align = self._pointer(memory, at, (), 0.0), memory.place.dtype.bytes
            if len(rows) == self.lanes:
                self.writer.do(f"store {column.typed}, ptr {pointer}, align {align}")
                continue
            self.writer.declared[name] = f"declare void @{name}({wide}, ptr, {bools})"
            self.writer.do(
                f"call void @{name}({column.typed}, ptr align {align} {pointer}, {bools} <{mask}>)"
            )

    def _as_stored(self, value: Lane, dtype: DType) -> Lane:
        value = self.arithmetic.converted(value, kind_of(dtype), is_signed(dtype))
        stored = STORED[dtype]
        if value.kind == stored:
            return value
        to = replace(value, kind=stored)
        how = "zext" if value.kind == "i1" else "fptrunc"
        return replace(to, text=self.writer.let(f"{how} {value.typed} to {to.type}"))


def _kind(stored: str) -> str:
    return {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}.get(stored, stored)
