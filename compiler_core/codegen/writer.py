"""Text of one LLVM function: numbered values, loops with carried values, branches with results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tilewright.compiler_core.codegen.affine import Affine, Variable

Scalar: TypeAlias = int | str
"""A whole number known now, or the name of an i64."""


@dataclass(frozen=True)
class Lane:
    """A value in IR: its text, its element type (float, double, i1, i8, ...), how many lanes it has."""

    text: str
    kind: str
    lanes: int = 1
    signed: bool = True

    @property
    def type(self) -> str:
        """Its LLVM type."""
        return self.kind if self.lanes == 1 else f"<{self.lanes} x {self.kind}>"

    @property
    def typed(self) -> str:
        """Type and text, as an operand is written."""
        return f"{self.type} {self.text}"

    @property
    def is_float(self) -> bool:
        """Whether elements are float or double."""
        return self.kind in ("float", "double")


class Writer:
    """Collects the lines of a function, and the declarations and constants it needs."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declared: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.label = "entry"
        self._names = 0

    def name(self) -> str:
        """A fresh name."""
        self._names += 1
        return f"%v{self._names}"

    def let(self, text: str) -> str:
        """Name the result of an instruction."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def call(self, function: str, result: str, operands: Sequence[str]) -> str:
        """Call an intrinsic, declaring it; `operands` with their types."""
        types = ", ".join(_type_of(operand) for operand in operands)
        self.declared[function] = f"declare {result} @{function}({types})"
        return self.let(f"call {result} @{function}({', '.join(operands)})")

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.label = label

    def fresh_label(self) -> str:
        """A label nobody has."""
        self._names += 1
        return f"b{self._names}"

    # whole numbers

    def perform(self, function: str, operands: Sequence[str]) -> None:
        """Call an intrinsic without a result, declaring it; `operands` with their types."""
        types = ", ".join(_type_of(operand) for operand in operands)
        self.declared[function] = f"declare void @{function}({types})"
        self.lines.append(f"  call void @{function}({', '.join(operands)})")

    def add(self, a: Scalar, b: Scalar) -> Scalar:
        """A + b."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        return a if b == 0 else self.let(f"add nsw i64 {a}, {b}")

    def sub(self, a: Scalar, b: Scalar) -> Scalar:
        """A - b."""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.let(f"sub nsw i64 {a}, {b}")

    def mul(self, a: Scalar, b: Scalar) -> Scalar:
        """A * b."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if 0 in (a, b):
            return 0
        if a == 1:
            return b
        return a if b == 1 else self.let(f"mul nsw i64 {a}, {b}")

    def udiv(self, a: Scalar, b: int) -> Scalar:
        """A // b of numbers that are not negative."""
        if isinstance(a, int):
            return a // b
        return a if b == 1 else self.let(f"udiv i64 {a}, {b}")

    def urem(self, a: Scalar, b: int) -> Scalar:
        """A % b of numbers that are not negative."""
        if isinstance(a, int):
            return a % b
        return 0 if b == 1 else self.let(f"urem i64 {a}, {b}")

    def minimum(self, a: Scalar, b: Scalar) -> Scalar:
        """The lesser."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.call("llvm.smin.i64", "i64", [f"i64 {a}", f"i64 {b}"])

    def number(self, index: Affine) -> Scalar:
        """An index, without its lanes, as an i64."""
        total: Scalar = index.constant
        for variable, factor in index.terms:
            if factor == int(factor):
                part = self.mul(variable.name, int(factor))
            else:
                scaled = self.mul(variable.name, factor.numerator)
                part = self.let(f"sdiv exact i64 {scaled}, {factor.denominator}")
            total = self.add(total, part)
        return total

    # control

    def loop(
        self,
        start: Scalar,
        stop: Scalar,
        step: int,
        carried: Sequence[Lane],
        body: Callable[[str, list[Lane]], Sequence[Lane]],
    ) -> list[Lane]:
        """`for i in range(start, stop, step)`: body(i, carried) -> carried of the next round; the last ones.

        Where start and stop are known there is no test before the first round.
        """
        known = isinstance(start, int) and isinstance(stop, int)
        if known and int(start) >= int(stop):
            return list(carried)
        before, head, after = self.label, self.fresh_label(), self.fresh_label()
        if known:
            self.do(f"br label %{head}")
        else:
            test = self.let(f"icmp slt i64 {start}, {stop}")
            self.do(f"br i1 {test}, label %{head}, label %{after}")
        self.start(head)
        at, held = self.name(), [Lane(self.name(), c.kind, c.lanes, c.signed) for c in carried]
        place = len(self.lines)
        made = list(body(at, held))
        following = self.let(f"add nuw nsw i64 {at}, {step}")
        again = self.let(f"icmp slt i64 {following}, {stop}")
        end = self.label
        self.do(f"br i1 {again}, label %{head}, label %{after}")
        phis = [f"  {at} = phi i64 [ {start}, %{before} ], [ {following}, %{end} ]"]
        phis += [
            f"  {h.text} = phi {h.type} [ {c.text}, %{before} ], [ {m.text}, %{end} ]"
            for h, c, m in zip(held, carried, made, strict=True)
        ]
        self.lines[place:place] = phis
        self.start(after)
        if known:
            return made
        return [
            Lane(
                self.let(f"phi {m.type} [ {c.text}, %{before} ], [ {m.text}, %{end} ]"),
                m.kind,
                m.lanes,
                m.signed,
            )
            for c, m in zip(carried, made, strict=True)
        ]

    def branch(
        self,
        test: str,
        then: Callable[[], Sequence[Lane]],
        otherwise: Callable[[], Sequence[Lane]],
    ) -> list[Lane]:
        """The result of `then` where the i1 `test` holds, else that of `otherwise`."""
        yes, no, after = self.fresh_label(), self.fresh_label(), self.fresh_label()
        self.do(f"br i1 {test}, label %{yes}, label %{no}")
        ends: list[tuple[str, Sequence[Lane]]] = []
        for label, part in ((yes, then), (no, otherwise)):
            self.start(label)
            made = part()
            ends.append((self.label, made))
            self.do(f"br label %{after}")
        self.start(after)
        (left, one), (right, other) = ends
        return [
            Lane(
                self.let(f"phi {a.type} [ {a.text}, %{left} ], [ {b.text}, %{right} ]"),
                a.kind,
                a.lanes,
                a.signed,
            )
            for a, b in zip(one, other, strict=True)
        ]

    def constant(self, text: str) -> str:
        """The name of a global constant `type value`, shared by all that ask for the same."""
        if text not in self.constants:
            self.constants[text] = f"@c{len(self.constants)}"
        return self.constants[text]


def _type_of(operand: str) -> str:
    """The type in `type value`; vectors and arrays hold spaces."""
    if operand.startswith("<"):
        return operand[: operand.index(">") + 1]
    return operand.split(" ", 1)[0]


def variable(name: str, multiple_of: int, low: int, high: int) -> Variable:
    """A loop variable; see Variable."""
    return Variable(name, multiple_of, low, high)
