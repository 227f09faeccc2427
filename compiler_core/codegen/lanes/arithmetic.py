"""Arithmetic on lanes: one instruction or intrinsic each, numpy's meaning of the corner cases.

Operands of one lane are spread over the lanes of the other. Short floats are worked on as float and rounded
where a value of the graph ends (`rounded`).
"""

import struct
from dataclasses import replace
from math import inf, isnan

from tilewright.compiler_core.codegen.writer import Lane, Writer
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.ir.dtypes import DType


class _Stored(dict[DType, str]):
    """A type that is not in the table has no native form."""

    def __missing__(self, dtype: DType) -> str:
        raise ConfigError(f"elements of type {dtype} have no native form")


STORED = _Stored({
    DType.F64: "double", DType.F32: "float", DType.F32_SUM: "float", DType.F16: "half",
    DType.BF16: "bfloat", DType.I64: "i64", DType.I32: "i32", DType.I16: "i16", DType.I8: "i8",
    DType.U64: "i64", DType.U32: "i32", DType.U16: "i16", DType.U8: "i8", DType.BOOL: "i8",
})  # fmt: skip
"""The LLVM type of an element in memory."""
SHORT = {DType.F16: "half", DType.BF16: "bfloat"}
BITS = {"float": 32, "double": 64, "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
INTRINSIC = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}


def kind_of(dtype: DType) -> str:
    """The element type in which a dtype is worked on."""
    if dtype is DType.BOOL:
        return "i1"
    return "float" if dtype in SHORT else STORED[dtype]


def is_signed(dtype: DType) -> bool:
    """Whether numbers of the dtype have a sign."""
    return dtype not in (DType.U8, DType.U16, DType.U32, DType.U64, DType.BOOL)


def number_text(kind: str, number: float) -> str:
    """A constant of an element type: floats exactly, as the bits of a double."""
    if kind == "i1":
        return "true" if number else "false"
    if kind not in ("float", "double", "half", "bfloat"):
        return str(int(number))
    if kind == "float" and abs(number) < inf and not isnan(number):
        number = struct.unpack("f", struct.pack("f", number))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


class Arithmetic:
    """Writes arithmetic into a Writer."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    # constants, widths and conversions

    def constant(self, kind: str, number: float) -> Lane:
        """A number in one lane."""
        return Lane(number_text(kind, number), kind)

    def like(self, lane: Lane, number: float) -> Lane:
        """A number of the element type of `lane`."""
        return Lane(number_text(lane.kind, number), lane.kind, 1, lane.signed)

    def spread(self, lane: Lane, lanes: int) -> Lane:
        """The same number in every lane."""
        if lane.lanes == lanes:
            return lane
        wide = f"<{lanes} x {lane.kind}>"
        if not lane.text.startswith("%"):
            text = f"<{', '.join([f'{lane.kind} {lane.text}'] * lanes)}>"
            return Lane(text, lane.kind, lanes, lane.signed)
        first = self.writer.let(f"insertelement {wide} poison, {lane.typed}, i64 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        text = self.writer.let(f"shufflevector {wide} {first}, {wide} poison, {zeros}")
        return Lane(text, lane.kind, lanes, lane.signed)

    def alike(self, *parts: Lane) -> list[Lane]:
        """All with as many lanes as the widest."""
        lanes = max(part.lanes for part in parts)
        return [self.spread(part, lanes) for part in parts]

    def _cast(self, how: str, x: Lane, kind: str, signed: bool = True) -> Lane:
        to = replace(x, kind=kind, signed=signed)
        return replace(to, text=self.writer.let(f"{how} {x.typed} to {to.type}"))

    def bits(self, x: Lane, kind: str) -> Lane:
        """The same bits as another type of the same width."""
        return self._cast("bitcast", x, kind)

    def converted(self, x: Lane, kind: str, signed: bool = True) -> Lane:
        """The number as another element type, as numpy's astype does."""
        if x.kind == kind:
            return replace(x, signed=signed)
        if kind == "i1":
            return self.not_equal(x, self.like(x, 0))
        if x.is_float and kind in ("float", "double"):
            return self._cast("fpext" if kind == "double" else "fptrunc", x, kind)
        if x.is_float:
            wide = kind if BITS[kind] >= 32 else "i32"
            to = Lane("", wide, x.lanes, signed or wide != kind)
            name = f"llvm.fpto{'si' if to.signed else 'ui'}.sat.{_suffix(to)}.{_suffix(x)}"
            return self.converted(replace(to, text=self.writer.call(name, to.type, [x.typed])), kind, signed)
        plain = x.signed and x.kind != "i1"
        if kind in ("float", "double"):
            return self._cast("sitofp" if plain else "uitofp", x, kind)
        if BITS[kind] < BITS[x.kind]:
            return self._cast("trunc", x, kind, signed)
        if BITS[kind] == BITS[x.kind]:
            return replace(x, signed=signed)
        return self._cast("sext" if plain else "zext", x, kind, signed)

    def rounded(self, x: Lane, dtype: DType) -> Lane:
        """The number as a value of `dtype`."""
        x = self.converted(x, kind_of(dtype), is_signed(dtype))
        if dtype not in SHORT:
            return x
        return self._cast("fpext", self._cast("fptrunc", x, SHORT[dtype]), "float")

    # instructions

    def _two(self, floating: str, integer: str, a: Lane, b: Lane) -> Lane:
        a, b = self.alike(a, b)
        text = self.writer.let(f"{floating if a.is_float else integer} {a.type} {a.text}, {b.text}")
        return replace(a, text=text)

    def _intrinsic(self, name: str, *parts: Lane) -> Lane:
        parts = tuple(self.alike(*parts))
        full = f"llvm.{name}.{_suffix(parts[0])}"
        text = self.writer.call(full, parts[0].type, [part.typed for part in parts])
        return replace(parts[0], text=text)

    def add(self, a: Lane, b: Lane) -> Lane:
        """A + b; of truths, or."""
        return self._two("fadd", "or" if a.kind == "i1" else "add", a, b)

    def sub(self, a: Lane, b: Lane) -> Lane:
        """A - b."""
        return self._two("fsub", "sub", a, b)

    def mul(self, a: Lane, b: Lane) -> Lane:
        """A * b; of truths, and."""
        return self._two("fmul", "and" if a.kind == "i1" else "mul", a, b)

    def fma(self, a: Lane, b: Lane, c: Lane) -> Lane:
        """A * b + c, of floats rounded once where the machine can."""
        return self._intrinsic("fmuladd", a, b, c) if a.is_float else self.add(self.mul(a, b), c)

    def quotient(self, a: Lane, b: Lane) -> Lane:
        """A / b of floats."""
        return self._two("fdiv", "", a, b)

    def select(self, test: Lane, a: Lane, b: Lane) -> Lane:
        """A where `test` holds, else b."""
        a, b = self.alike(a, b)
        if test.lanes > a.lanes:
            test, a, b = self.alike(test, a, b)
        return replace(a, text=self.writer.let(f"select {test.typed}, {a.typed}, {b.typed}"))

    def _compare(self, floating: str, integer: str, a: Lane, b: Lane) -> Lane:
        a, b = self.alike(a, b)
        if a.is_float:
            text = f"fcmp {floating} {a.type} {a.text}, {b.text}"
        else:
            order = (
                integer
                if integer in ("eq", "ne")
                else ("s" if a.signed and a.kind != "i1" else "u") + integer
            )
            text = f"icmp {order} {a.type} {a.text}, {b.text}"
        return Lane(self.writer.let(text), "i1", a.lanes, signed=False)

    def equal(self, a: Lane, b: Lane) -> Lane:
        """A == b."""
        return self._compare("oeq", "eq", a, b)

    def not_equal(self, a: Lane, b: Lane) -> Lane:
        """A != b."""
        return self._compare("une", "ne", a, b)

    def less(self, a: Lane, b: Lane) -> Lane:
        """A < b."""
        return self._compare("olt", "lt", a, b)

    def less_equal(self, a: Lane, b: Lane) -> Lane:
        """A <= b."""
        return self._compare("ole", "le", a, b)

    def unordered(self, a: Lane, b: Lane) -> Lane:
        """Whether a or b is NaN; floats."""
        return self._compare("uno", "", a, b)

    def any_lane(self, test: Lane) -> Lane:
        """Whether a test holds in any lane."""
        if test.lanes == 1:
            return test
        bits = self.writer.let(f"bitcast {test.typed} to i{test.lanes}")
        return Lane(self.writer.let(f"icmp ne i{test.lanes} {bits}, 0"), "i1", 1, signed=False)

    def is_nan(self, a: Lane) -> Lane:
        """Whether a is not a number."""
        return self.not_equal(a, a) if a.is_float else self._compare("", "ne", a, a)

    def maximum(self, a: Lane, b: Lane) -> Lane:
        """The greater; NaN where either is NaN."""
        return self._extreme(a, b, above=True)

    def minimum(self, a: Lane, b: Lane) -> Lane:
        """The lesser; NaN where either is NaN."""
        return self._extreme(a, b, above=False)

    def beyond(self, a: Lane, b: Lane, *, above: bool) -> Lane:
        """B where it is greater (`above`) or less than a, else a: also where b is NaN. One instruction."""
        return self.select(self._compare("ogt" if above else "olt", "gt" if above else "lt", b, a), b, a)

    def _extreme(self, a: Lane, b: Lane, *, above: bool) -> Lane:
        if a.kind == "i1":
            return self._two("", "or" if above else "and", a, b)
        if _is_number(a):
            a, b = b, a
        # With the number first, one instruction keeps a NaN of the second.
        best = self.beyond(a, b, above=above)
        if not a.is_float or _is_number(b):
            return best
        return self.select(self.is_nan(b), b, best)

    def absolute(self, a: Lane) -> Lane:
        """|a|."""
        if a.is_float:
            return self._intrinsic("fabs", a)
        if not a.signed or a.kind == "i1":
            return a
        return self.select(self.less(a, self.like(a, 0)), self.sub(self.like(a, 0), a), a)

    def negative(self, a: Lane) -> Lane:
        """-a."""
        if a.is_float:
            return replace(a, text=self.writer.let(f"fneg {a.typed}"))
        return self.sub(self.like(a, 0), a)

    def sign_of(self, size: Lane, sign: Lane) -> Lane:
        """`size` with the sign of `sign`; floats."""
        return self._intrinsic("copysign", size, sign)

    def floor(self, a: Lane) -> Lane:
        """The greatest whole number that is not above a."""
        return self._intrinsic("floor", a) if a.is_float else a

    def ceil(self, a: Lane) -> Lane:
        """The least whole number that is not below a."""
        return self._intrinsic("ceil", a) if a.is_float else a

    def round(self, a: Lane) -> Lane:
        """To the nearest whole number, halves to even."""
        return self._intrinsic("roundeven", a) if a.is_float else a

    def truncate(self, a: Lane) -> Lane:
        """Toward zero."""
        return self._intrinsic("trunc", a) if a.is_float else a

    def sqrt(self, a: Lane) -> Lane:
        """The square root, correctly rounded."""
        return self._intrinsic("sqrt", a)

    def both(self, a: Lane, b: Lane) -> Lane:
        """Bitwise and."""
        return self._two("", "and", a, b)

    def either(self, a: Lane, b: Lane) -> Lane:
        """Bitwise or."""
        return self._two("", "or", a, b)

    def differ(self, a: Lane, b: Lane) -> Lane:
        """Bitwise exclusive or."""
        return self._two("", "xor", a, b)

    def shifted(self, a: Lane, b: Lane, *, left: bool) -> Lane:
        """A shifted by b bits; by its width or more, as in numpy: 0, or -1 for negatives."""
        most = self.like(b, BITS[a.kind] - 1)
        over = self._compare("", "gt", replace(b, signed=False), replace(most, signed=False))
        kept = self.select(over, most, b)
        right = "ashr" if a.signed else "lshr"
        moved = self._two("", "shl" if left else right, a, kept)
        if not left and a.signed:
            return moved
        return self.select(over, self.like(a, 0), moved)

    def whole_quotient(self, a: Lane, b: Lane) -> tuple[Lane, Lane]:
        """Quotient toward zero and remainder of whole numbers; by zero both are zero."""
        none = self.equal(b, self.like(b, 0))
        if a.signed:
            # The one quotient that overflows traps: -a does not.
            none = self.either(none, self.equal(b, self.like(b, -1)))
        divisor = self.select(none, self.like(b, 1), b)
        quotient = self._two("", "sdiv" if a.signed else "udiv", a, divisor)
        zero = self.equal(b, self.like(b, 0))
        if a.signed:
            minus = self.equal(b, self.like(b, -1))
            quotient = self.select(minus, self.negative(a), quotient)
        quotient = self.select(zero, self.like(a, 0), quotient)
        rest = self.select(zero, self.like(a, 0), self.sub(a, self.mul(quotient, b)))
        return quotient, rest

    # lanes among each other

    def halves(self, x: Lane) -> tuple[Lane, Lane]:
        """The lower and the upper half of the lanes."""
        half = x.lanes // 2
        parts = []
        for first in (0, half):
            mask = ", ".join(f"i32 {first + index}" for index in range(half))
            text = self.writer.let(f"shufflevector {x.typed}, {x.type} poison, <{half} x i32> <{mask}>")
            parts.append(Lane(text, x.kind, half, x.signed))
        low, high = parts
        return (low, high) if half > 1 else (self._first(low), self._first(high))

    def turned(self, rows: list[Lane]) -> list[Lane]:
        """The transpose of as many rows as there are lanes: single lanes change places, then pairs, fours."""
        rows = list(rows)
        step = 1
        while step < len(rows):
            for index in range(len(rows)):
                if not index & step:
                    rows[index], rows[index | step] = self.exchanged(rows[index], rows[index | step], step)
            step *= 2
        return rows

    def exchanged(self, a: Lane, b: Lane, step: int) -> tuple[Lane, Lane]:
        """Lanes with the bit `step` of a, and those without it of b, change places: a0 b0 .., a1 b1 .."""
        lanes = range(a.lanes)
        low = [lane if not lane & step else a.lanes + (lane ^ step) for lane in lanes]
        high = [lane | step if not lane & step else a.lanes + lane for lane in lanes]
        return self._mixed(a, b, low), self._mixed(a, b, high)

    def separate(self, x: Lane) -> list[Lane]:
        """Every lane by itself."""
        if x.lanes == 1:
            return [x]
        texts = [self.writer.let(f"extractelement {x.typed}, i64 {index}") for index in range(x.lanes)]
        return [Lane(text, x.kind, 1, x.signed) for text in texts]

    def _mixed(self, a: Lane, b: Lane, places: list[int]) -> Lane:
        """Lanes of a (below their number) and of b."""
        if a.text == b.text == "poison":
            return a
        mask = ", ".join(f"i32 {place}" for place in places)
        text = self.writer.let(f"shufflevector {a.typed}, {b.typed}, <{len(places)} x i32> <{mask}>")
        return replace(a, text=text)

    def _first(self, x: Lane) -> Lane:
        text = self.writer.let(f"extractelement <1 x {x.kind}> {x.text}, i64 0")
        return Lane(text, x.kind, 1, x.signed)


def _is_number(lane: Lane) -> bool:
    """Whether a lane is a constant, and so no NaN."""
    return not lane.text.startswith("%")


def _suffix(lane: Lane) -> str:
    kind = INTRINSIC.get(lane.kind, lane.kind)
    return kind if lane.lanes == 1 else f"v{lane.lanes}{kind}"
