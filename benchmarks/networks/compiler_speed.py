"""How long the compiler takes: import, plan, compile and lowering of a transformer as exporters write it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.compiler_core.lowering.lower import lower_kernel
from tilewright.compiler_core.lowering.pipeline import (
    Plan,
    compile_graph,
    default_schedule,
    plan_graph,
    plan_groups,
)
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.target import Target
from tilewright.search_space.codec import tiling_of
from tilewright.search_space.moves import sample
from tilewright.search_space.rules import KnobLayout
from tilewright.search_space.validity import kernel_space

Row = dict[str, Any]
LAYERS, WIDTH, HEADS = 43, 256, 4
DIMS = {"batch": 1, "seq": 128}
BATCH = 256
KERNELS = 8


def compiler_speed(target: Target, seed: int, layers: int = LAYERS) -> Row:
    """Import with batch and seq unbound (its own process: seconds, MiB), compile of a given schedule, and the
    mean time to lower one Config of the largest kernels, BATCH random ones each.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transformer.onnx"
        nodes = write_transformer(path, layers)
        row: Row = {"model": "transformer", "nodes": nodes, **_imported_apart(path)}
        graph = import_model(path, DIMS).graph
    began = time.process_time()
    plan = plan_graph(graph, target)
    planned = time.process_time()
    schedule = default_schedule(plan, target)
    given = time.process_time()
    compile_graph(graph, schedule, target, plan_groups(graph, plan.groups, target))
    row |= {"plan_s": planned - began, "compile_s": time.process_time() - given}
    return row | {"lower_ms": _lowering_ms(plan, target, seed)}


def _imported_apart(path: Path) -> Row:
    program = (
        "import sys, time, json\n"
        "from pathlib import Path\n"
        "from tilewright.compiler_core.onnx_import.importer import import_model\n"
        "began = time.process_time()\n"
        "made = import_model(Path(sys.argv[1]))\n"
        "print(json.dumps([time.process_time() - began, len(made.graph.ops), sorted(made.graph.symbols)]))"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as answer:
        said = answer.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"the import ended with {child.returncode}")
    seconds, ops, symbols = json.loads(said)
    return {"import_s": seconds, "import_mib": usage.ru_maxrss / 1024, "ops": ops, "symbols": symbols}


def _lowering_ms(plan: Plan, target: Target, seed: int) -> float:
    """Of one Config; outlines are made anew, as at the start of a search."""
    rng = np.random.default_rng(seed)
    largest = sorted(plan.regions.values(), key=lambda regions: -regions.graph.macs)[:KERNELS]
    count, spent = 0, 0.0
    for regions in largest:
        space = kernel_space(KnobLayout(regions, target))
        drawn = [tiling_of(space.decode(row), regions) for row in sample(space, BATCH, rng, attempts=16)]
        regions.outlines.clear()
        began = time.process_time()
        for tiling, cores in drawn:
            lower_kernel(regions, tiling, cores, target)
        spent += time.process_time() - began
        count += len(drawn)
    return 1e3 * spent / max(1, count)


def write_transformer(path: Path, layers: int) -> int:
    """A decoder of `layers` layers, every shape computed and every norm spelled out; its number of nodes."""
    from onnx import TensorProto, helper, numpy_helper, save

    chance = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: dict[str, np.ndarray[Any, Any]] = {}

    def constant(array: np.ndarray[Any, Any]) -> str:
        name = f"w{len(weights)}"
        weights[name] = array
        return name

    def real(*shape: int) -> str:
        return constant(chance.normal(scale=0.02, size=shape).astype(np.float32))

    def put(kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        made = [f"v{len(nodes)}_{position}" for position in range(outputs)]
        nodes.append(helper.make_node(kind, inputs, made, **attributes))
        return made[0] if outputs == 1 else made

    number = {value: constant(np.array(value, np.float32)) for value in (0.044715, 0.5, 0.7978846, 1.0, 1e-5)}
    index = {value: constant(np.array(value, np.int64)) for value in (0, 1)}
    vector = {value: constant(np.array([value], np.int64)) for value in (0, WIDTH, HEADS, WIDTH // HEADS)}
    root = constant(np.array(np.sqrt(WIDTH // HEADS), np.float32))

    def norm(x: str) -> str:
        centred = put("Sub", x, put("ReduceMean", x, axes=[-1]))
        spread = put("ReduceMean", put("Mul", centred, centred), axes=[-1])
        unit = put("Div", centred, put("Sqrt", put("Add", spread, number[1e-5])))
        return str(put("Add", put("Mul", unit, real(WIDTH)), real(WIDTH)))

    def linear(x: str, wide: int, narrow: int) -> str:
        return str(put("Add", put("MatMul", x, real(wide, narrow)), real(narrow)))

    def shaped(x: str, *last: int) -> str:
        leading = [
            put("Unsqueeze", put("Gather", put("Shape", x), index[axis], axis=0), vector[0])
            for axis in (0, 1)
        ]
        return str(put("Reshape", x, put("Concat", *leading, *(vector[dim] for dim in last), axis=0)))

    def heads(x: str) -> str:
        return str(put("Transpose", shaped(x, HEADS, WIDTH // HEADS), perm=[0, 2, 1, 3]))

    def gelu(x: str) -> str:
        cube = put("Mul", put("Mul", x, x), x)
        inner = put("Mul", put("Add", x, put("Mul", cube, number[0.044715])), number[0.7978846])
        return str(put("Mul", put("Mul", x, put("Add", put("Tanh", inner), number[1.0])), number[0.5]))

    x = "x"
    for _ in range(layers):
        parts = put("Split", linear(norm(x), WIDTH, 3 * WIDTH), outputs=3, axis=-1)
        query, key, value = (heads(part) for part in parts)
        scores = put("Div", put("MatMul", query, put("Transpose", key, perm=[0, 1, 3, 2])), root)
        mixed = put("MatMul", put("Softmax", put("Add", scores, "mask"), axis=-1), value)
        joined = shaped(put("Transpose", mixed, perm=[0, 2, 1, 3]), WIDTH)
        x = put("Add", x, linear(joined, WIDTH, WIDTH))
        x = put("Add", x, linear(gelu(linear(norm(x), WIDTH, 4 * WIDTH)), 4 * WIDTH, WIDTH))
    given = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", WIDTH]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["seq", "seq"]),
    ]
    made = helper.make_tensor_value_info(x, TensorProto.FLOAT, None)
    arrays = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "transformer", given, [made], arrays)
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return len(nodes)
