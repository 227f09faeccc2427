"""ZigZag's cost model on loop orders of a layer, in an environment that has nothing of ours.

A line of JSON in, a line out:

    {"on": "edge_tpu_like", "layer": {"size": 56, ...}, "configs": [[2, 4, 7, "KCX", "XKC", "first"], ...]}
    {"tool": "zigzag-dse 3.9.1", "cycles": [112998.0, null, ...]}

A configuration is the inner part of the loops over filters (K), channels (C) and pixels (X: rows and
columns alike), the orders of the inner and of the outer parts, and where the window's taps stand: "first"
innermost, or "last". ZigZag puts the data of every order into the memories of the accelerator, a file of
its own. A null: an inner part does not divide its loop, or the order does not fit.
benchmarks/search/strangers/tool.py is the other end.
"""

import contextlib
import json
import logging
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zigzag.api as api
from zigzag.cost_model.cost_model import CostModelEvaluation
from zigzag.mapping.temporal_mapping import TemporalMappingType
from zigzag.opt.loma.memory_allocator import (
    MemoryAllocator,
    MemoryHierarchyTooSmallException,
    MemoryTooSmallException,
)
from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage

Config = tuple[int, int, int, str, str, str]


class _EnoughError(Exception):
    """The pipeline has got as far as it has to."""


class AskedLayer:
    """One layer on the accelerator, as the tool's own pipeline sets it up."""

    def __init__(self, accelerator: str, layer: dict[str, Any]) -> None:
        self._parts = _parts_of(accelerator, layer)
        unrolled = {str(dim): int(size) for dim, size in _spatial_sizes(self._parts).items()}
        self._loops = {
            str(dim): -(-int(size) // unrolled.get(str(dim), 1))
            for dim, size in self._parts["layer"].layer_dim_sizes.items()
        }
        self._dims = {str(dim): dim for dim in self._parts["layer"].layer_dim_sizes.layer_dims}

    def cycles(self, config: Config) -> float | None:
        """Latency of one configuration; None where it is none."""
        order = self._order(config)
        if order is None:
            return None
        parts = self._parts
        try:
            mapping = MemoryAllocator(
                parts["accelerator"],
                parts["layer"],
                parts["spatial_mapping"],
                order,
                TemporalMappingType.UNEVEN,
            ).run()
        except (MemoryHierarchyTooSmallException, MemoryTooSmallException):
            return None
        found = CostModelEvaluation(
            accelerator=parts["accelerator"],
            layer=parts["layer"],
            spatial_mapping=parts["spatial_mapping"],
            spatial_mapping_int=parts["spatial_mapping_int"],
            temporal_mapping=mapping,
            access_same_data_considered_as_no_access=True,
        )
        return float(found.latency_total2)

    def _order(self, config: Config) -> list[tuple[Any, int]] | None:
        """All loops from the innermost outwards, those of one step left out."""
        k, c, x, inner, outer, taps = config
        loops = self._loops
        inside = {"K": {"K": k}, "C": {"C": c}, "X": {"OX": x, "OY": x}}
        parts = {name: size for group in inside.values() for name, size in group.items()}
        if any(loops[name] % size for name, size in parts.items()):
            return None
        first = [(name, size) for letter in inner for name, size in inside[letter].items()]
        second = [(name, loops[name] // size) for letter in outer for name, size in inside[letter].items()]
        window = [("FX", loops["FX"]), ("FY", loops["FY"])]
        placed = [*window, *first, *second] if taps == "first" else [*first, *second, *window]
        return [(self._dims[name], size) for name, size in placed if size > 1]


def _spatial_sizes(parts: dict[str, Any]) -> dict[Any, float]:
    unrolled: dict[Any, float] = {}
    for dims in parts["layer"].spatial_mapping.data.values():
        for dim, size in dims.items():
            unrolled[dim] = unrolled.get(dim, 1) * size
    return unrolled


def _parts_of(accelerator: str, layer: dict[str, Any]) -> dict[str, Any]:
    """Accelerator, layer and spatial mapping, from a run of the pipeline up to its cost model."""
    inputs = Path(str(api.__file__)).parent / "inputs"
    stride, out = layer["stride"], -(-layer["size"] // layer["stride"])
    sizes = [1, layer["filters"], 1, layer["channels"], out, out, layer["window"], layer["window"]]
    workload = [
        {
            "id": 0,
            "operator_type": "Conv",
            "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
            "dimension_relations": [f"ix={stride}*ox+1*fx", f"iy={stride}*oy+1*fy"],
            "loop_dims": ["B", "K", "G", "C", "OY", "OX", "FY", "FX"],
            "loop_sizes": sizes,
            "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
            "operand_source": {"I": 0, "W": 0},
        }
    ]
    seen: dict[str, Any] = {}
    run = CostModelStage.run

    def watched(stage: Any) -> Any:
        seen.update(vars(stage))
        raise _EnoughError

    CostModelStage.run = watched
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_EnoughError):
            api.get_hardware_performance_zigzag(
                workload,
                str(inputs / "hardware" / f"{accelerator}.yaml"),
                str(inputs / "mapping" / f"{accelerator}.yaml"),
                opt="latency",
                lpf_limit=3,
                dump_folder=folder,
                loma_show_progress_bar=False,
            )
    finally:
        CostModelStage.run = run
    logging.disable(logging.CRITICAL)
    return seen


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever the package prints is no answer.
    os.dup2(2, 1)
    tool = f"zigzag-dse {version('zigzag-dse')}"
    layers: dict[str, AskedLayer] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = json.dumps([asked["on"], asked["layer"]], sort_keys=True)
        if key not in layers:
            layers[key] = AskedLayer(asked["on"], asked["layer"])
        cycles = [layers[key].cycles(tuple(config)) for config in asked["configs"]]
        answers.write(json.dumps({"tool": tool, "cycles": cycles}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
