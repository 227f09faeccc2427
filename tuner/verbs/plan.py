"""`tune plan`: the order in which a network's kernels need the least memory, proven, and where values lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilewright.compiler_core.lowering.kernel_order import crossing_of, in_order, least_peak, weight_bytes
from tilewright.compiler_core.lowering.memory.allocate import Arena, allocate
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.order.checker import check_plan
from tilewright.compiler_core.order.kernel_graph import KernelGraph, peak_of
from tilewright.compiler_core.order.traffic.bound import traffic_bound
from tilewright.compiler_core.order.traffic.count import compulsory_bytes, traffic_of
from tilewright.compiler_core.order.traffic.search import TrafficBudget, least_traffic
from tilewright.compiler_core.order.witness import PeakPlan
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.transforms.fuse import FusionPolicy, group_greedily
from tilewright.tuner.verbs.memory_map import memory_map

_MOVES, _KERNELS_MOVED = 20_000, 10_000_000
"""Local moves tried for traffic, and the most kernels that all of them may walk over: seconds at most."""


@dataclass(frozen=True)
class LimitedTraffic:
    """DRAM bytes with `capacity_bytes` of LLB; `bound_bytes` is a lower bound for all orders.

    `given_bytes` is the model's own order, `solved_bytes` the order of least peak, `least_bytes` the order of
    least traffic, `order`. Weights come on top, `weight_bytes` in any order; of these `prefetched_bytes` find
    room in the LLB while the kernel before theirs runs, in the order of least traffic.
    """

    capacity_bytes: int
    given_bytes: int
    solved_bytes: int
    least_bytes: int
    bound_bytes: int
    weight_bytes: int
    prefetched_bytes: int
    order: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True)
class MemoryPlan:
    """Memory between the kernels of a network, in its own order and in the solved one.

    `proof` has been accepted by compiler_core.order.checker. `names[t]` is the model's name of tensor t,
    `steps[s]` names the kernel that runs s-th in the solved order. `traffic` is None without a target
    that has an LLB.
    """

    model: str
    target: str | None
    given_peak_bytes: int
    proof: PeakPlan = field(repr=False)
    arena: Arena = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    steps: tuple[str, ...] = field(repr=False)
    compulsory_bytes: int
    traffic: LimitedTraffic | None

    @property
    def svg(self) -> str:
        """The memory map of the solved order."""
        stored = f" as {self.target} stores it" if self.target else ""
        title = f"{self.model}{stored}: arena {self.arena.arena_bytes:,} bytes"
        return memory_map(self.arena, self.names, self.steps, title)

    def to_json(self) -> dict[str, Any]:
        """Figures, the solved order by position in the model's own, and every value's place and steps."""
        proof, traffic = self.proof, self.traffic
        spans = [span for block in self.arena.blocks for span in block.spans]
        return {
            "model": self.model,
            "target": self.target,
            "kernels": len(self.steps),
            "given_peak_bytes": self.given_peak_bytes,
            "solved_peak_bytes": proof.peak_bytes,
            "bound_bytes": proof.bound_bytes,
            "status": proof.status,
            "gap": proof.gap,
            "witness": type(proof.witness).__name__,
            "arena_bytes": self.arena.arena_bytes,
            "live_bytes": self.arena.live_bytes,
            "compulsory_bytes": self.compulsory_bytes,
            "traffic": None
            if traffic is None
            else {
                "capacity_bytes": traffic.capacity_bytes,
                "given_bytes": traffic.given_bytes,
                "solved_bytes": traffic.solved_bytes,
                "least_bytes": traffic.least_bytes,
                "bound_bytes": traffic.bound_bytes,
                "weight_bytes": traffic.weight_bytes,
                "prefetched_bytes": traffic.prefetched_bytes,
                "order": list(traffic.order),
            },
            "order": list(proof.order),
            "steps": list(self.steps),
            "values": [
                {
                    "name": self.names[span.tensor],
                    "bytes": span.bytes,
                    "offset": self.arena.offsets[span.tensor],
                    "first_step": span.first_step,
                    "last_step": span.last_step,
                }
                for span in spans
            ],
        }


def plan(
    model: str | Path,
    target: str | Path | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
) -> MemoryPlan:
    """Solve the order of least peak memory of a network's kernels, check the proof, lay out the arena.

    Sizes are those of the target's storage dtypes, or the model's own without a target. UsageError while a
    dim has no value; CheckError should the checker refuse the proof.
    """
    chip = None if target is None else load_target(target)
    imported = import_bound(model, dims, inputs)
    graph = imported.graph
    groups = group_greedily(graph, FusionPolicy())
    crossing = crossing_of(graph, groups, chip)
    kernels = crossing.kernels
    proof = least_peak(kernels)
    check_plan(kernels, proof)
    traffic = None
    if chip is not None and chip.llb_bytes:
        traffic = _limited(kernels, weight_bytes(graph, groups, chip), proof, chip.llb_bytes)
    return MemoryPlan(
        model=imported.name,
        target=None if chip is None else chip.name,
        given_peak_bytes=peak_of(kernels, range(kernels.kernels)),
        proof=proof,
        arena=allocate(kernels, proof.order),
        names=tuple(graph.name_of(value) for value in crossing.values),
        steps=tuple(graph.kernel_name(group) for group in in_order(groups, proof.order)),
        compulsory_bytes=compulsory_bytes(kernels),
        traffic=traffic,
    )


def _limited(
    kernels: KernelGraph, weights: Sequence[int], proof: PeakPlan, capacity_bytes: int
) -> LimitedTraffic:
    budget = TrafficBudget(moves=min(_MOVES, _KERNELS_MOVED // max(1, kernels.kernels)))
    least = least_traffic(kernels, capacity_bytes, budget, known=(proof.order,))
    solved = traffic_of(kernels, proof.order, capacity_bytes)
    resident = traffic_of(kernels, least.order, capacity_bytes, least.streamed).resident_bytes
    fetched = zip(resident[:-1], least.order[1:], strict=True)
    return LimitedTraffic(
        capacity_bytes,
        given_bytes=least.given_bytes,
        solved_bytes=solved.total_bytes,
        least_bytes=least.total_bytes,
        bound_bytes=traffic_bound(kernels, capacity_bytes),
        weight_bytes=sum(weights),
        prefetched_bytes=sum(min(weights[kernel], capacity_bytes - held) for held, kernel in fetched),
        order=least.order,
    )
