"""LLVM IR of a kernel's nest, as text. One mechanism for all ops: index maps, places, tiles, blockings.

The function is `void kernel(ptr operands, ptr scratch, i64 first, i64 last)`: pointers of the outer values in
the order of `KernelNest.outer`, scratch memory of the thread (64-byte aligned), and its parallel tiles.
`repeat` does the same so often.
"""

from collections.abc import Mapping, Sequence

from tilewright.compiler_core.codegen import affine
from tilewright.compiler_core.codegen.affine import Variable
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.stage_writer import StageWriter
from tilewright.compiler_core.codegen.tiles import Position
from tilewright.compiler_core.codegen.writer import Lane, Scalar, Writer
from tilewright.compiler_core.lowering.program import Loop

ENTRY, REPEAT = "kernel", "repeat"
STACK = 64
"""Alignment of the stack: registers that spill would else lie across lines, some across pages, at 100 cycles
each.
"""
REPEATED = (
    "entry:",
    "  br label %again",
    "again:",
    "  %i = phi i64 [ 0, %entry ], [ %n, %again ]",
    f"  call void @{ENTRY}(ptr %operands, ptr %scratch, i64 %first, i64 %last)",
    "  %n = add i64 %i, 1",
    "  %on = icmp slt i64 %n, %times",
    "  br i1 %on, label %again, label %done",
    "done:",
    "  ret void",
)


def emit(nest: KernelNest) -> str:
    """The module of one kernel."""
    return _Kernel(nest).module()


class _Kernel:
    """Writes the tile loops, and a stage after the other inside them."""

    def __init__(self, nest: KernelNest) -> None:
        self.nest = nest
        self.writer = Writer()
        self.position = Position(nest, self.writer)

    def module(self) -> str:
        outer = list(self.nest.outer)
        pointers = [f"%p{index}" for index in range(len(outer))]
        self._tile_loops(dict(zip(outer, pointers, strict=True)))
        self.writer.do("ret void")
        arguments = ", ".join(f"ptr noalias {p}" for p in (*pointers, "%scratch"))
        text = [
            f"{name} = private unnamed_addr constant {body}" for body, name in self.writer.constants.items()
        ]
        text += list(self.writer.declared.values())
        text += [f"define internal void @body({arguments}, i64 %first, i64 %last) #0 {{", "entry:"]
        text += [*self.writer.lines, "}"]
        text += [
            f"define void @{ENTRY}(ptr %operands, ptr %scratch, i64 %first, i64 %last) #1 {{",
            *self._arguments(len(outer)),
            "}",
            f"define void @{REPEAT}(ptr %operands, ptr %scratch, i64 %first, i64 %last, i64 %times) #1 {{",
            *REPEATED,
            "}",
            f"attributes #0 = {{ noinline nounwind alignstack={STACK} {self._target} }}",
            f"attributes #1 = {{ nounwind {self._target} }}",
        ]
        return "\n".join(text) + "\n"

    @property
    def _target(self) -> str:
        """No call of a library's function may be made of our loops: an image has no library."""
        machine = self.nest.machine
        return (
            f'"no-builtins" "target-cpu"="{machine.cpu}" "target-features"="{machine.features}" '
            f'"prefer-vector-width"="{machine.vector_bits}" "min-legal-vector-width"="{machine.vector_bits}"'
        )

    def _arguments(self, count: int) -> list[str]:
        lines = []
        for index in range(count):
            lines.append(f"  %q{index} = getelementptr ptr, ptr %operands, i64 {index}")
            lines.append(f"  %p{index} = load ptr, ptr %q{index}, align 8")
        given = ", ".join([f"ptr noalias %p{index}" for index in range(count)] + ["ptr noalias %scratch"])
        return [*lines, f"  call void @body({given}, i64 %first, i64 %last)", "  ret void"]

    def _tile_loops(self, pointers: Mapping[int, str]) -> None:
        program = self.nest.program
        parallel = [loop for loop in program.loops if loop.parallel]
        serial = [loop for loop in program.loops if not loop.parallel]

        def tile(number: str, _carried: list[Lane]) -> list[Lane]:
            rest: Scalar = number
            for loop in reversed(parallel):
                self.position.tiles[loop.dim] = affine.whole(0)
                if loop.count > 1:
                    at = self.writer.urem(rest, loop.count)
                    rest = self.writer.udiv(rest, loop.count)
                    self.position.tiles[loop.dim] = affine.of(Variable(str(at), 1, 0, loop.count - 1))
            self._serial(serial, pointers)
            return []

        self.writer.loop("%first", "%last", 1, [], tile)

    def _serial(self, loops: Sequence[Loop], pointers: Mapping[int, str]) -> None:
        if not loops:
            self._position(pointers)
            return
        first, *others = loops
        if first.count == 1:
            self.position.tiles[first.dim] = affine.whole(0)
            self._serial(others, pointers)
            return

        def step(number: str, _carried: list[Lane]) -> list[Lane]:
            self.position.tiles[first.dim] = affine.of(Variable(number, 1, 0, first.count - 1))
            self._serial(others, pointers)
            return []

        self.writer.loop(0, first.count, 1, [], step)

    def _position(self, pointers: Mapping[int, str]) -> None:
        """All stages at one position of the nest."""
        nest = self.nest
        self.position.enter(pointers)
        early = [n for n, stage in enumerate(nest.stages) if not stage.late]
        late = [n for n, stage in enumerate(nest.stages) if stage.late]
        for number in early:
            StageWriter(self.position, number).write()
        if not late:
            return
        test = self.position.is_end(first=False)

        def rest() -> list[Lane]:
            for number in late:
                StageWriter(self.position, number).write()
            return []

        if test:
            self.writer.branch(test, rest, list)
        else:
            rest()
