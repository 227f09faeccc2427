"""Limits of a kernel: the least work of each resource, and the timeline of its engines on the nominal
simulator.
"""

from dataclasses import dataclass
from math import inf

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.program import KernelProgram
from tilewright.compiler_core.target_model.target import SimdUnit, Target
from tilewright.cost_model.analytic import LeastWork
from tilewright.measure.simulator.kernel import KernelTiming, simulate_kernel


@dataclass(frozen=True)
class Resource:
    """A resource and the least time that a kernel needs of it, all of it at work, in us."""

    name: str
    least_us: float


@dataclass(frozen=True)
class Roofline:
    """Multiply-accumulates a byte of the busiest port, and where the two roofs meet; `side` is the roof above
    the kernel.
    """

    macs_per_byte: float
    ridge_macs_per_byte: float
    side: str


@dataclass(frozen=True)
class Limits:
    """`resources`, the tightest first: the bound is the first, and one launch.

    `busy` are shares of the slowest core's time by engine, `waits` the waiting of its busiest engine by cause
    in us, most first, `span_us` that time. They are empty where the target is a machine, not simulated.
    """

    resources: tuple[Resource, ...]
    launch_us: float
    roofline: Roofline | None
    busy: tuple[tuple[str, float], ...] = ()
    waits: tuple[tuple[str, float], ...] = ()
    span_us: float = 0.0

    @property
    def spent_us(self) -> tuple[tuple[str, float], ...]:
        """Work and waits of the slowest core, in us."""
        did = [(f"{engine} busy", share * self.span_us) for engine, share in self.busy]
        return (*did, *((f"waiting for {cause}", us) for cause, us in self.waits))


def resources_of(least: LeastWork, target: Target) -> tuple[Resource, ...]:
    """The resources that a kernel of that least work needs, tightest first; each op on its faster unit."""
    units = {"matrix unit": 0.0, "vector unit": 0.0}
    for matrix, vector in least.units:
        units["matrix unit" if matrix <= vector else "vector unit"] += min(matrix, vector) / target.cores
    works = {**units, "LLB port": least.llb, "DRAM port": least.dram}
    found = [Resource(name, cycles / target.cycles_per_us) for name, cycles in works.items() if cycles > 0.0]
    return tuple(sorted(found, key=lambda each: -each.least_us))


def tightest(least: LeastWork, target: Target) -> str:
    """The largest part of a kernel's bound: a resource, or its launch."""
    first = next(iter(resources_of(least, target)), None)
    launch_us = target.launch_cycles / target.cycles_per_us
    return first.name if first is not None and first.least_us > launch_us else "launch"


def limits_of(least: LeastWork, kernel: KernelProgram, target: Target) -> Limits:
    """The limits of a lowered kernel on a target; `least` is its least work."""
    per_us = target.cycles_per_us
    resources, launch_us = resources_of(least, target), target.launch_cycles / per_us
    if isinstance(target.matrix, SimdUnit):
        return Limits(resources, launch_us, None)
    timing = simulate_kernel(kernel, target)
    span = max(1, timing.span.cycles)
    busy = tuple((engine, cycles / span) for engine, cycles in timing.busy_by_engine.items() if cycles)
    waits = sorted(timing.stalls_by_cause.items(), key=lambda each: -each[1])
    causes = tuple((cause, cycles / per_us) for cause, cycles in waits if cycles)
    roofline = _roofline(kernel.workload.graph, timing, target)
    return Limits(resources, launch_us, roofline, busy, causes, span / per_us)


def _roofline(graph: Graph, timing: KernelTiming, target: Target) -> Roofline | None:
    """A kernel's point under the roofs; None where it multiplies or moves nothing."""
    macs, work = graph.macs, timing.span.work
    ports = ((work.llb_bytes, target.llb_bytes_per_cycle), (work.dram_bytes, target.dram_bytes_per_cycle))
    moved, width = max(ports, key=lambda port: port[0] / port[1])
    contraction = next((op for op in graph.ops if op.row.contraction), None)
    if contraction is None or not macs or not moved or width == inf:
        return None
    stored = target.storage_dtype(graph.values[contraction.operands[0].value].dtype)
    ridge = target.peak_macs_per_cycle(stored) / width
    return Roofline(macs / moved, ridge, "compute" if macs / moved >= ridge else "bandwidth")
