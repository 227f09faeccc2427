"""A recorded Graph comes back as it was, and a made-up one is refused with its place."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from tests.property.random_graphs import graphs
from tests.small_networks import window_chain
from tilewright.compiler_core.errors import ModelError, RecordError
from tilewright.compiler_core.ir.dtypes import DType, TensorType
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.graph_json import (
    graph_from_json,
    graph_to_json,
    workload_from_json,
    workload_to_json,
)
from tilewright.compiler_core.ir.workload import Level, Workload

Damage = Callable[[Any], None]


@given(graphs())
def test_a_graph_comes_back_as_it_was(drawn: tuple[Graph, Any]) -> None:
    graph = drawn[0]
    again = graph_from_json(json.loads(json.dumps(graph_to_json(graph), allow_nan=False)))
    plain, wanted = ([replace(op, body=None) for op in g.ops] for g in (again, graph))
    assert (again.values, plain) == (graph.values, wanted)
    assert graph_to_json(again) == graph_to_json(graph)
    assert (again.inputs, again.outputs) == (graph.inputs, graph.outputs)


def test_a_workload_keeps_both_digests() -> None:
    workload = window_chain().kernel().workload
    again = workload_from_json(json.loads(json.dumps(workload_to_json(workload))))
    assert (again.digest, again.family_digest) == (workload.digest, workload.family_digest)
    elsewhere = Workload(workload.graph, (Level.HOST,) * len(workload.levels))
    assert workload_from_json(workload_to_json(elsewhere)).levels == elsewhere.levels


def test_only_bound_graphs_travel() -> None:
    from tilewright.compiler_core.ir.dims import symbol

    graph = Graph((TensorType((symbol("batch"),), DType.F32),), (), (0,), (0,))
    with pytest.raises(ModelError):
        graph_to_json(graph)


def _set(*path: Any, to: Any) -> Damage:
    def damage(form: Any) -> None:
        for key in path[:-1]:
            form = form[key]
        form[path[-1]] = to

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_set("values", 0, 0, to="f99"), "malformed: ValueError"),
        (_set("ops", 0, "axes", to="ppxx"), "malformed: KeyError"),
        (_set("ops", 0, "kind", to="eval"), "op 0 of a recorded graph is a 'eval'"),
        (_set("ops", 0, "domain", to=[1, 2]), "op 0 of a recorded graph has a malformed domain"),
        (_set("ops", 0, "domain", 0, to=-1), "op 0 of a recorded graph has a malformed domain"),
        (_set("ops", 1, "operands", 0, 0, to=99), "malformed|before it is made"),
        (_set("ops", 0, "operands", 0, 0, to=3), "op 0 of a recorded graph reads value 3 before it is made"),
        (_set("ops", 0, "operands", 0, 2, to=[]), "by a wrong map"),
        (_set("ops", 0, "operands", 0, 2, 0, to=[[[9, 1]], 0, 1, 0, -1]), "an index map outside its domain"),
        (_set("ops", 0, "operands", 0, 2, 0, to=[[], 0, 0, 0, -1]), "an index map outside its domain"),
        (_set("ops", 1, "result", to=1), "op 1 of a recorded graph makes value 1 again"),
        (_set("outputs", to=[50]), "never makes one of its outputs"),
        (_set("ops", to=None), "malformed: TypeError"),
    ],
)
def test_a_made_up_graph_is_refused_with_its_place(damage: Damage, message: str) -> None:
    form = json.loads(json.dumps(graph_to_json(window_chain().graph)))
    damage(form)
    with pytest.raises(RecordError, match=message):
        graph_from_json(form)


def test_a_workload_places_each_operand_once() -> None:
    form: Any = workload_to_json(window_chain().kernel().workload)
    form["levels"] = form["levels"][1:]
    with pytest.raises(RecordError, match="place each of its outer operands once"):
        workload_from_json(form)
