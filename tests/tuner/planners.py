"""Planners of small networks, as several tests of plans take them."""

from pathlib import Path

import onnx

from tests.onnx_models import saved
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.planning.prices import Prices


def imported(made: onnx.ModelProto, folder: Path) -> Graph:
    return import_model(saved(made, folder)).graph


def planner_of(graph: Graph, target: str = "ascend910") -> Planner:
    chip = load_target(target)
    return Planner(plan_graph(graph, chip), chip, Prices(chip, seed=0))


def studied_no_dearer(graph: Graph) -> Planner:
    """A planner after a study of the network's knobs, which promises no more than one without a study."""
    plain, studied = planner_of(graph), planner_of(graph)
    plain.replan()
    studied.studied = 8
    studied.replan()
    assert plain.grouping is not None
    assert studied.grouping is not None
    assert studied.grouping.price_us <= plain.grouping.price_us
    return studied
