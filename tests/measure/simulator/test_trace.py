"""Traces say what the timeline says."""

import json
from itertools import pairwise
from xml.etree import ElementTree

from tests.measure.simulator.test_by_hand import plain_chip, two_layers
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import compile_graph, default_schedule, plan_groups
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.simulator.program import ProgramTiming, simulate_program
from tilewright.measure.simulator.tables.layout import ENGINE_NAMES
from tilewright.measure.simulator.trace import Slice, chrome_trace, slices_of
from tilewright.measure.simulator.trace_svg import svg_timeline


def case() -> tuple[Graph, Program, Target, ProgramTiming]:
    graph, target = two_layers(), plain_chip(cores=2, launch_us=0.1, barrier=30, dispatch=7)
    plan = plan_groups(graph, [(0,), (1,)], target)
    program = compile_graph(graph, default_schedule(plan, target), target, plan)
    return graph, program, target, simulate_program(program, graph, target)


def all_slices() -> tuple[list[Slice], ProgramTiming, Target]:
    graph, program, target, timing = case()
    return list(slices_of(program, timing, graph, target)), timing, target


def test_engines_are_busy_as_long_as_the_timing_says() -> None:
    slices, timing, _ = all_slices()
    for engine, name in enumerate(ENGINE_NAMES):
        busy = sum(piece.cycles for piece in slices if piece.track == name and not piece.stall)
        assert busy == sum(
            span.busy_cycles[engine] for stage in timing.stages for span in stage.spans if span
        )
        waiting = sum(piece.cycles for piece in slices if piece.track == name and piece.stall)
        assert waiting == sum(
            sum(span.stall_cycles[engine]) for stage in timing.stages for span in stage.spans if span
        )


def test_an_engine_does_one_thing_at_a_time() -> None:
    slices, timing, _ = all_slices()
    for name in ENGINE_NAMES:
        own = [piece for piece in slices if piece.track == name]
        assert all(a.start_cycle + a.cycles <= b.start_cycle for a, b in pairwise(own))
        assert all(piece.start_cycle + piece.cycles <= timing.cycles for piece in own)


def test_chrome_trace_has_a_track_an_engine_and_lasts_as_long_as_the_program() -> None:
    slices, timing, target = all_slices()
    trace = json.loads(json.dumps(chrome_trace(iter(slices), target)))
    names = {event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "thread_name"}
    assert {"load", "vector", "store", "stages", "kernel"} <= names
    timed = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert max(event["ts"] + event["dur"] for event in timed) == timing.latency_us
    loads = [event for event in timed if event["cat"] == "load"]
    assert sum(event["args"]["bytes"] for event in loads) > 0
    kernels = [event["args"] for event in timed if event["cat"] == "kernel"]
    assert sum(kernel["dram_bytes"] for kernel in kernels) == timing.work.dram_bytes
    assert sum(kernel["llb_bytes"] for kernel in kernels) == timing.work.llb_bytes
    assert all(kernel["ops"] and kernel["tiles"] >= 1 for kernel in kernels)
    assert all(
        event["name"].startswith("waits for ")
        for event in timed
        if event["cat"] == "stall" and event["pid"] > 1
    )


def test_the_picture_is_well_formed_and_names_every_track() -> None:
    slices, _, target = all_slices()
    text = svg_timeline(slices, target)
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    for track in ("load", "vector", "store", "stages"):
        assert f" {track}</text>" in text
    for cause in {piece.stall for piece in slices if piece.stall}:
        assert f">{cause}</text>" in text
    assert "us</text>" in text
