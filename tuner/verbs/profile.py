"""`tune profile`: the timeline of a network's Program, as a trace for Perfetto and as a picture.

The Program is the one `tune compile` writes. Without a database file it is the default one (-O0), and the
trace says so. A trace is bounded: the more kernels, the fewer instructions of each are listed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import compile_graph, default_schedule, plan_graph
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.program import ProgramTiming, simulate_program
from tilewright.measure.simulator.trace import MOST_INSTRUCTIONS, Slice, chrome_trace, slices_of
from tilewright.measure.simulator.trace_svg import svg_timeline
from tilewright.tuner.verbs.lookup import compile_known

MOST_LISTED = 60_000
LEAST_INSTRUCTIONS = 16


@dataclass(frozen=True, eq=False)
class Profile:
    """A timed Program. `sources` counts its distinct kernels by where their Configs came from."""

    model: str
    graph: Graph
    target: Target
    program: Program
    timing: ProgramTiming
    sources: Mapping[str, int]

    @property
    def most_instructions(self) -> int:
        """The number of instructions listed of one kernel; all kernels together list at most MOST_LISTED."""
        calls = sum(len(stage) for stage in self.program.stages)
        return min(MOST_INSTRUCTIONS, max(LEAST_INSTRUCTIONS, MOST_LISTED // max(1, calls)))

    def slices(self) -> Iterator[Slice]:
        """The timeline, stage by stage."""
        return slices_of(self.program, self.timing, self.graph, self.target, self.most_instructions)

    def trace(self) -> dict[str, Any]:
        """A Chrome trace object; `otherData` has the subject, and the kernels that were cut short."""
        made = chrome_trace(self.slices(), self.target)
        made["otherData"] |= {
            "model": self.model,
            "target_digest": self.target.digest,
            "latency_us": self.timing.latency_us,
            "energy_uj": self.timing.energy_uj,
            "kernels_from": dict(self.sources),
            "instructions_listed_per_kernel": self.most_instructions,
        }
        return made

    def svg(self) -> str:
        """The same timeline as one <svg>."""
        return svg_timeline(self.slices(), self.target)


def profile(
    model: str | Path,
    target: str | Path,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
) -> Profile:
    """Compile a network from the database (-O0 where there is no such file) and time it on the simulator."""
    if "://" not in str(database) and not Path(database).exists():
        return _default_profile(model, target, dims, inputs)
    compiled = compile_known(
        model, target, objective=objective, dims=dims, inputs=inputs, database=database, toolchain=toolchain
    )
    opened, graph = compiled.opened, compiled.graph
    chip = opened.target
    timing = simulate_program(compiled.program, graph, chip)
    sources = Counter(compiled.sources.values())
    return Profile(opened.model.name, graph, chip, compiled.program, timing, sources)


def _default_profile(
    model: str | Path,
    target: str | Path,
    dims: Mapping[str, int] | None,
    inputs: Mapping[str, Given] | None,
) -> Profile:
    chip, imported = load_target(target), import_bound(model, dims, inputs)
    graph = imported.graph
    plan = plan_graph(graph, chip)
    program = compile_graph(graph, default_schedule(plan, chip), chip, plan)
    timing = simulate_program(program, graph, chip)
    return Profile(imported.name, graph, chip, program, timing, {"default": len(plan.regions)})
