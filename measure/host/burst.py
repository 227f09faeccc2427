"""Micro-kernels that measure the present speed of this core: multiply-adds alone, and plain reading."""

from functools import lru_cache

from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import Image, flat_image
from tilewright.compiler_core.codegen.machine.native import object_of

CHAINS = 12
"""Multiply-adds under way at the same time: more than latency times ports of any CPU."""
UNROLLED = 4
HEADROOM = 1.25
"""A target file names a clock so much above the one that was seen: bounds must hold for every sample.

Beside a busy neighbour bursts were up to 13 % slower than the kernel between them.
"""
HEAD = "define void @repeat(ptr %operands, ptr %scratch, i64 %first, i64 %last, i64 %times)"


def flops_of_round(machine: Machine, chains: int = CHAINS) -> int:
    """Floating-point operations of one round of a burst."""
    return 2 * chains * UNROLLED * machine.lanes(32)


@lru_cache(maxsize=16)
def burst_image(machine: Machine, chains: int = CHAINS) -> Image:
    """`times` rounds of independent multiply-adds; with one chain each waits for the one before."""
    kind = f"<{machine.lanes(32)} x float>"
    ones = ", ".join(["float 0x3FF0000000000000"] * machine.lanes(32))
    lines = [f"declare {kind} @llvm.fmuladd.v{machine.lanes(32)}f32({kind}, {kind}, {kind})"]
    lines += [f"{HEAD} #0 {{", "entry:", "  br label %head", "head:"]
    lines.append("  %i = phi i64 [ 0, %entry ], [ %n, %head ]")
    last = [f"%x{c}_{UNROLLED}" for c in range(chains)]
    for c in range(chains):
        lines.append(f"  %x{c}_0 = phi {kind} [ zeroinitializer, %entry ], [ {last[c]}, %head ]")
    lines.append(f"  %a = load volatile {kind}, ptr %scratch, align 64")
    for step in range(UNROLLED):
        for c in range(chains):
            lines.append(
                f"  %x{c}_{step + 1} = call {kind} @llvm.fmuladd.v{machine.lanes(32)}f32"
                f"({kind} %x{c}_{step}, {kind} %a, {kind} <{ones}>)"
            )
    lines += ["  %n = add i64 %i, 1", "  %again = icmp slt i64 %n, %times"]
    lines += ["  br i1 %again, label %head, label %done", "done:"]
    lines += [f"  store volatile {kind} {each}, ptr %scratch, align 64" for each in last]
    return _image([*lines, "  ret void", "}"], machine)


@lru_cache(maxsize=16)
def stream_image(machine: Machine) -> Image:
    """`times` times the vectors [first, last) of the first operand are read, eight at a time."""
    kind, size = f"<{machine.lanes(32)} x float>", machine.vector_bits // 8
    lines = [
        f"{HEAD} #0 {{",
        "entry:",
        "  %p = load ptr, ptr %operands, align 8",
        "  br label %again",
        "again:",
    ]
    lines += ["  %t = phi i64 [ 0, %entry ], [ %u, %next ]", "  br label %head", "head:"]
    lines.append("  %i = phi i64 [ %first, %again ], [ %n, %head ]")
    for index in range(8):
        lines.append(f"  %o{index} = add i64 %i, {index}")
        lines.append(f"  %b{index} = mul i64 %o{index}, {size}")
        lines.append(f"  %q{index} = getelementptr i8, ptr %p, i64 %b{index}")
        lines.append(f"  %v{index} = load volatile {kind}, ptr %q{index}, align 4")
    lines += ["  %n = add i64 %i, 8", "  %more = icmp slt i64 %n, %last"]
    lines += ["  br i1 %more, label %head, label %next", "next:", "  %u = add i64 %t, 1"]
    lines += ["  %on = icmp slt i64 %u, %times", "  br i1 %on, label %again, label %done", "done:"]
    return _image([*lines, "  ret void", "}"], machine)


def _image(lines: list[str], machine: Machine) -> Image:
    width = machine.vector_bits
    lines.append(
        f'attributes #0 = {{ nounwind "no-builtins" "target-cpu"="{machine.cpu}" '
        f'"target-features"="{machine.features}" "prefer-vector-width"="{width}" '
        f'"min-legal-vector-width"="{width}" }}'
    )
    return flat_image(object_of("\n".join(lines) + "\n", machine))


@lru_cache(maxsize=16)
def clock_image(machine: Machine) -> Image:
    """`times` rounds of a chain of multiplications, whose latency is known: the clock's rate."""
    lines = [f"{HEAD} #0 {{", "entry:", "  %s = load volatile i64, ptr %scratch, align 8", "  br label %head"]
    lines += ["head:", "  %i = phi i64 [ 0, %entry ], [ %n, %head ]"]
    lines.append(f"  %x0 = phi i64 [ %s, %entry ], [ %x{UNROLLED}, %head ]")
    lines += [f"  %x{index + 1} = mul i64 %x{index}, %x{index}" for index in range(UNROLLED)]
    lines += ["  %n = add i64 %i, 1", "  %again = icmp slt i64 %n, %times"]
    lines += ["  br i1 %again, label %head, label %done", "done:"]
    lines += [f"  store volatile i64 %x{UNROLLED}, ptr %scratch, align 8", "  ret void", "}"]
    return _image(lines, machine)
