"""The bound is a bound: no simulated schedule of a kernel or a network is faster."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.property.random_graphs import graphs
from tests.property.test_law import schedules, targets
from tilewright.compiler_core.lowering.pipeline import compile_graph
from tilewright.compiler_core.lowering.program import KernelCall
from tilewright.compiler_core.target_model.file import load_target
from tilewright.cost_model.analytic import KernelModel, graph_bound_cycles, kernel_bound_cycles
from tilewright.cost_model.energy import kernel_bound_uj, network_bound_uj
from tilewright.measure.results import Status
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.measure.simulator.kernel import simulate_kernel
from tilewright.measure.simulator.program import simulate_program
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

SAME = 1.0 - 1e-9
"""Sums of as many numbers in another order."""
PRESETS = ("ascend910", "ethos_u55_256", "tpu_v4i", "gemmini16", "eyeriss")


@given(st.data())
def test_no_schedule_of_a_network_beats_its_bound(data: Any) -> None:
    graph, _ = data.draw(graphs())
    target = data.draw(st.one_of(targets(), st.sampled_from(PRESETS).map(load_target)))
    plan, schedule = data.draw(schedules(graph, target))
    program = compile_graph(graph, schedule, target, plan)
    timing = simulate_program(program, graph, target)
    assert timing.cycles >= graph_bound_cycles(graph, target)
    assert timing.energy_uj >= network_bound_uj(graph, target, timing.latency_us) * SAME
    for stage in program.stages:
        for call in stage:
            if isinstance(call, KernelCall):
                bound, alone = (
                    kernel_bound_cycles(call.kernel.workload, target),
                    simulate_kernel(call.program, target),
                )
                assert alone.cycles >= bound
                least_uj = kernel_bound_uj(call.kernel.workload, target, alone.latency_us)
                assert alone.energy_uj >= least_uj * SAME


@given(st.data())
def test_kernels_move_the_same_bytes_side_by_side_as_alone(data: Any) -> None:
    graph, _ = data.draw(graphs())
    target = data.draw(targets())
    plan, schedule = data.draw(schedules(graph, target))
    program = compile_graph(graph, schedule, target, plan)
    timing = simulate_program(program, graph, target)
    for stage, timed in zip(program.stages, timing.stages, strict=True):
        for call, span in zip(stage, timed.spans, strict=True):
            if not isinstance(call, KernelCall):
                continue
            assert span is not None
            alone, beside = simulate_kernel(call.program, target).span.work, span.work
            for each in (
                "llb_read_bytes",
                "llb_write_bytes",
                "dram_write_bytes",
                "l1_bytes",
                "lane_ops",
                "macs",
            ):
                assert getattr(beside, each) == getattr(alone, each), each
    spans = [span.work for timed in timing.stages for span in timed.spans if span is not None]
    assert timing.work.l1_bytes == sum(work.l1_bytes for work in spans)
    assert timing.work.llb_write_bytes == sum(work.llb_write_bytes for work in spans)


@given(st.data())
def test_no_measurement_beats_the_bound_of_its_row(data: Any) -> None:
    graph, _ = data.draw(graphs(most_steps=3))
    target = load_target(data.draw(st.sampled_from(PRESETS)))
    plan, _ = data.draw(schedules(graph, target))
    device = SimulatedDevice(target)
    for regions in plan.regions.values():
        layout = KnobLayout(regions, target)
        space = kernel_space(layout)
        rows = sample(space, 4, np.random.default_rng(data.draw(st.integers(0, 2**31))), attempts=8)
        if not len(rows):
            continue
        bounds = KernelModel(layout).bound_log(rows)
        answers = device.measure(regions.workload, [space.decode(row) for row in rows])
        for answer, bound in zip(answers, bounds, strict=True):
            assert answer.status is Status.OK, answer.reason
            assert answer.latency_us is not None
            assert np.log(answer.latency_us) >= bound - 1e-9
