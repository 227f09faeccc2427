"""Loads and stores of lanes at affine indices: broadcast, contiguous, masked, gathered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tilewright.compiler_core.codegen import affine
from tilewright.compiler_core.codegen.affine import Affine, Variable
from tilewright.compiler_core.codegen.lanes.arithmetic import (
    STORED,
    Arithmetic,
    is_signed,
    kind_of,
    number_text,
)
from tilewright.compiler_core.codegen.places import Place
from tilewright.compiler_core.codegen.writer import Lane, Scalar
from tilewright.compiler_core.ir.dtypes import DType

LINE = 64
"""Elements of a line of padding that a read outside may be sent to, behind its first."""
AHEAD_BYTES = 4096
"""How far behind a load of a streamed value the next lines are asked for: a page, where the CPU's own
fetching stops. On an Emerald Rapids core 4 KiB beat 1, 2 and 8: docs/decisions, 0079.
"""


@dataclass(frozen=True)
class Inside:
    """A condition: 0 <= index < extent."""

    index: Affine
    extent: int


@dataclass(frozen=True)
class MemoryView:
    """A place at a pointer, its first element at the indices `lows`."""

    pointer: str
    place: Place
    lows: Mapping[int, Affine]
    is_streamed: bool = False
    """Elements lie in the order of their use, and are more than a near cache holds."""


class Addressing:
    """Writes index arithmetic, loads and stores into the writer of an Arithmetic."""

    def __init__(self, arithmetic: Arithmetic, lanes: int) -> None:
        self.arithmetic = arithmetic
        self.writer = arithmetic.writer
        self.lanes = lanes
        self.tail: Scalar | None = None
        """Lanes that count in the last vector of a loop, None: all."""
        self.tail_vector = 0
        self.scopes: list[dict[object, object]] = [{}]
        self._streamed: list[str] = []
        """Pointers of the loads from streamed values since `fetch_ahead`."""

    def fetch_ahead(self) -> None:
        """Ask for what lies a page behind the last loads of streamed values, after their step: between loads
        it would keep LLVM from making them operands of multiply-adds.
        """
        for pointer in self._streamed:
            ahead = self.writer.let(f"getelementptr i8, ptr {pointer}, i64 {AHEAD_BYTES}")
            self.writer.perform("llvm.prefetch.p0", [f"ptr {ahead}", "i32 0", "i32 3", "i32 1"])
        self._streamed.clear()

    # loads emitted before

    def known(self, key: object) -> object | None:
        """The value kept under `key` in this scope or one around it."""
        return next((scope[key] for scope in reversed(self.scopes) if key in scope), None)

    def remember(self, key: object, made: object) -> None:
        """Keep a value while this scope lasts."""
        self.scopes[-1][key] = made

    # indices

    def lanes_of(self, index: Affine) -> str:
        """An index as a vector of i32."""
        key = ("lanes", index)
        found = self.known(key)
        if isinstance(found, str):
            return found
        wide = f"<{self.lanes} x i32>"
        base = self.writer.number(replace(index, lane=0, varying=""))
        if isinstance(base, int):
            start = Lane(str(base), "i32")
        else:
            start = Lane(self.writer.let(f"trunc i64 {base} to i32"), "i32")
        total = self.arithmetic.spread(start, self.lanes).text
        if index.lane:
            steps = ", ".join(f"i32 {index.lane * lane}" for lane in range(self.lanes))
            total = self.writer.let(f"add {wide} {total}, <{steps}>")
        if index.varying:
            total = self.writer.let(f"add {wide} {total}, {index.varying}")
        self.remember(key, total)
        return total

    def sum(self, a: Affine, b: Affine) -> Affine:
        """A + b."""
        if not (a.varying and b.varying):
            return a.plus(b)
        wide = f"<{self.lanes} x i32>"
        both = self.writer.let(f"add {wide} {a.varying}, {b.varying}")
        return replace(a, varying="").plus(replace(b, varying=both))

    def multiple(self, a: Affine, factor: int) -> Affine:
        """A * factor."""
        if not a.varying or factor == 1:
            return a.times(factor) if factor != 1 else a
        if factor == 0:
            return affine.whole(0)
        wide = f"<{self.lanes} x i32>"
        factors = self.arithmetic.spread(Lane(str(factor), "i32"), self.lanes).text
        scaled = self.writer.let(f"mul {wide} {a.varying}, {factors}")
        return replace(replace(a, varying="").times(factor), varying=scaled)

    def divided(self, a: Affine, divisor: int) -> tuple[Affine, Affine]:
        """Quotient and remainder of the floor division, in closed form where there is one."""
        parts = a.divided(divisor)
        if parts is not None:
            return parts
        key = ("divided", a, divisor)
        found = self.known(key)
        if isinstance(found, tuple):
            return found
        made = self._uniform_parts(a, divisor) if a.is_uniform else self._varying_parts(a, divisor)
        self.remember(key, made)
        return made

    def _uniform_parts(self, a: Affine, divisor: int) -> tuple[Affine, Affine]:
        number = self.writer.number(a)
        quotient = self.writer.let(f"sdiv i64 {number}, {divisor}")
        rest = self.writer.let(f"srem i64 {number}, {divisor}")
        low, high = a.range
        if low < 0:
            below = self.writer.let(f"icmp slt i64 {rest}, 0")
            fewer = self.writer.let(f"sub i64 {quotient}, 1")
            quotient = self.writer.let(f"select i1 {below}, i64 {fewer}, i64 {quotient}")
            more = self.writer.let(f"add i64 {rest}, {divisor}")
            rest = self.writer.let(f"select i1 {below}, i64 {more}, i64 {rest}")
        return (
            affine.of(Variable(quotient, 1, low // divisor, high // divisor)),
            affine.of(Variable(rest, 1, 0, divisor - 1)),
        )

    def _varying_parts(self, a: Affine, divisor: int) -> tuple[Affine, Affine]:
        wide = f"<{self.lanes} x i32>"
        number = self.lanes_of(a)
        by = self.arithmetic.spread(Lane(str(divisor), "i32"), self.lanes).text
        quotient = self.writer.let(f"sdiv {wide} {number}, {by}")
        rest = self.writer.let(f"srem {wide} {number}, {by}")
        below = self.writer.let(f"icmp slt {wide} {rest}, zeroinitializer")
        sign = self.writer.let(f"sext <{self.lanes} x i1> {below} to {wide}")
        quotient = self.writer.let(f"add {wide} {quotient}, {sign}")
        lift = self.writer.let(f"and {wide} {sign}, {by}")
        rest = self.writer.let(f"add {wide} {rest}, {lift}")
        return Affine(lanes=self.lanes, varying=quotient), Affine(lanes=self.lanes, varying=rest)

    def element(self, memory: MemoryView, index: Sequence[Affine]) -> Affine:
        """The number of an element in its place."""
        total = affine.whole(0)
        for piece in memory.place.pieces:
            at = index[piece.dim]
            if piece.stride == 0:
                continue
            if piece.dim in memory.lows:
                at = self.sum(at, memory.lows[piece.dim].times(-1))
            if piece.divisor != 1:
                at = self.divided(at, piece.divisor)[0]
            if piece.modulus:
                at = self.divided(at, piece.modulus)[1]
            total = self.sum(total, self.multiple(at, piece.stride))
        return total

    # conditions

    def outside(self, index: Sequence[Affine], shape: Sequence[int]) -> tuple[Inside, ...]:
        """Conditions for an index to be in range, without those that always hold."""
        return tuple(
            Inside(place, extent)
            for place, extent in zip(index, shape, strict=True)
            if not (place.range[0] >= 0 and place.range[1] < extent)
        )

    def never(self, condition: Inside) -> bool:
        """Whether a condition cannot hold."""
        low, high = condition.index.range
        return high < 0 or low >= condition.extent

    def test(self, conditions: Sequence[Inside]) -> str:
        """An i1 of the conditions that are the same in all lanes; "" without any."""
        total = ""
        for each in dict.fromkeys(conditions):
            key = ("test", each)
            held = self.known(key)
            if not isinstance(held, str):
                held = self.writer.let(f"icmp ult i64 {self.writer.number(each.index)}, {each.extent}")
                self.remember(key, held)
            total = held if not total else self.writer.let(f"and i1 {total}, {held}")
        return total

    def mask(self, conditions: Sequence[Inside], *, tail: bool) -> str:
        """A vector of i1: lanes in which the conditions hold, and which count; "" without any."""
        total = self._tail_mask() if tail and self.tail is not None else ""
        bools = f"<{self.lanes} x i1>"
        for each in dict.fromkeys(conditions):
            key = ("mask", each)
            held = self.known(key)
            if not isinstance(held, str):
                wide = f"<{self.lanes} x i32>"
                most = self.arithmetic.spread(Lane(str(each.extent), "i32"), self.lanes).text
                held = self.writer.let(f"icmp ult {wide} {self.lanes_of(each.index)}, {most}")
                self.remember(key, held)
            total = held if not total else self.writer.let(f"and {bools} {total}, {held}")
        return total

    def _tail_mask(self) -> str:
        key = ("tail", self.tail, self.tail_vector)
        found = self.known(key)
        if isinstance(found, str):
            return found
        wide, first = f"<{self.lanes} x i32>", self.tail_vector * self.lanes
        if isinstance(self.tail, int):
            bits = ", ".join(f"i1 {int(first + lane < self.tail)}" for lane in range(self.lanes))
            return f"<{bits}>"
        count = Lane(self.writer.let(f"trunc i64 {self.tail} to i32"), "i32")
        ids = ", ".join(f"i32 {first + lane}" for lane in range(self.lanes))
        made = self.writer.let(f"icmp slt {wide} <{ids}>, {self.arithmetic.spread(count, self.lanes).text}")
        self.remember(key, made)
        return made

    def choice(self, conditions: Sequence[Inside], *, tail: bool) -> str:
        """As `mask`, to choose between values: worked out in another way than the mask of any load.

        LLVM 22 makes a masked load part of an operation whose result is chosen under the same mask, and may
        then take it out again without the mask, which reads beyond the end of memory.
        """
        parts: list[str] = []
        if tail and self.tail is not None:
            if isinstance(self.tail, int):
                return self.mask(conditions, tail=True)
            parts.append(self._first_lanes(self.writer.sub(self.tail, self.tail_vector * self.lanes)))
        for each in dict.fromkeys(conditions):
            if each.index.varying or each.index.lane != 1:
                return self.mask(conditions, tail=tail)
            base = self.writer.number(replace(each.index, lane=0))
            parts.append(self._first_lanes(self.writer.sub(each.extent, base)))
            before = self._first_lanes(self.writer.sub(0, base))
            parts.append(self.writer.let(f"xor i{self.lanes} {before}, -1"))
        total = parts[0]
        for other in parts[1:]:
            total = self.writer.let(f"and i{self.lanes} {total}, {other}")
        return self.writer.let(f"bitcast i{self.lanes} {total} to <{self.lanes} x i1>")

    def _first_lanes(self, count: Scalar) -> str:
        """Bits of so many lanes from the first on, however many or few they are."""
        least = self.writer.call("llvm.smax.i64", "i64", ["i64 0", f"i64 {count}"])
        kept = self.writer.minimum(least, self.lanes)
        power = self.writer.let(f"shl i64 1, {kept}")
        bits = self.writer.let(f"sub i64 {power}, 1")
        return self.writer.let(f"trunc i64 {bits} to i{self.lanes}")

    # memory

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
