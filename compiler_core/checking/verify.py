"""The verifier: rules that hold for every Program, from any producer. A broken rule gives a Finding that
names the kernel, the buffer or value, and the mistake. The rules are two tables: kernel_rules.py for one
lowered kernel, program_rules.py for the whole.
"""

from dataclasses import dataclass

from tilewright.compiler_core.checking.kernel_rules import KERNEL_RULES
from tilewright.compiler_core.checking.program_rules import PROGRAM_RULES
from tilewright.compiler_core.errors import VerifyError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.program import KernelCall, KernelProgram, Program
from tilewright.compiler_core.target_model.target import Target


@dataclass(frozen=True)
class Finding:
    """A broken rule: its name, the place, and the mistake."""

    rule: str
    where: str
    what: str


def verify_program(graph: Graph, program: Program, target: Target) -> list[Finding]:
    """Every broken rule of `program`: none when it is sound. Kernels that share a lowering count once."""
    found: list[Finding] = []
    seen: set[int] = set()
    for number, stage in enumerate(program.stages):
        for call in stage:
            if isinstance(call, KernelCall) and id(call.program) not in seen:
                seen.add(id(call.program))
                found.extend(verify_kernel(call.program, target, f"stage {number}"))
    for name, rule in PROGRAM_RULES.items():
        found.extend(Finding(name, "program", what) for what in rule(graph, program, target))
    return found


def verify_kernel(program: KernelProgram, target: Target, where: str = "kernel") -> list[Finding]:
    """Every broken kernel rule of one lowered kernel."""
    return [
        Finding(name, where, what) for name, rule in KERNEL_RULES.items() for what in rule(program, target)
    ]


def require_sound(graph: Graph, program: Program, target: Target) -> None:
    """VerifyError with the first finding, if there is one."""
    found = verify_program(graph, program, target)
    if found:
        first = found[0]
        raise VerifyError(f"{first.where} breaks rule {first.rule!r}: {first.what} ({len(found)} findings)")
