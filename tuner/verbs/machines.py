"""The CPU that a library is built for: this one, or one that a target's file names in LLVM's words."""

import re
from dataclasses import replace

from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.library.driver import PAUSES
from tilewright.compiler_core.target_model.host import identity
from tilewright.compiler_core.target_model.target import SimdUnit, Target

_CODE = re.compile(r"([a-z0-9_]+)((?:-[a-z0-9_]+){1,3}) ([a-z0-9.-]+)((?: [+-][a-z0-9.-]+)*)")
SHAPE = 'code = "aarch64-unknown-linux-gnu neoverse-n1 +neon +dotprod"'


def is_own(target: Target) -> bool:
    """Whether a target is the CPU of this process."""
    return bool(target.identity) and target.identity == identity()


def machine_for(target: Target) -> Machine:
    """The CPU of a target for the generator; UsageError where its file names none."""
    if is_own(target):
        return host_machine()
    unit = target.matrix
    if not target.code or not isinstance(unit, SimdUnit):
        raise UsageError(
            f"a library is built for this CPU, --target host, or for a CPU that the target's file names:"
            f" {SHAPE}; {target.name} names none"
        )
    found = _CODE.fullmatch(target.code)
    if found is None or found[1] not in PAUSES:
        raise UsageError(
            f"target {target.name}: code is {target.code[:80]!r}; it names a triple of x86_64 or aarch64,"
            f" a CPU and its features: {SHAPE}"
        )
    features = ",".join(found[4].split())
    return Machine(found[1] + found[2], found[3], features, unit.bits, unit.registers)


def twin_of(machine: Machine) -> Machine:
    """This CPU with vectors and registers as on another: what is written for both computes the same."""
    mine = host_machine()
    bits = min(mine.vector_bits, machine.vector_bits)
    return replace(host_machine(vector_bits=bits), registers=machine.registers)
