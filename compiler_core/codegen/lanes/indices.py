"""Index arithmetic of lanes: elements of a place by affine indices, conditions on indices, masks of lanes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tilewright.compiler_core.codegen import affine
from tilewright.compiler_core.codegen.affine import Affine, Variable
from tilewright.compiler_core.codegen.lanes.arithmetic import Arithmetic
from tilewright.compiler_core.codegen.places import Place
from tilewright.compiler_core.codegen.writer import Lane, Scalar


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


class Indices:
    """Writes index arithmetic and masks into the writer of an Arithmetic."""

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
