"""`tune compile --annotated-onnx`: the user's own model, each node with the kernel it became and its cost."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tilewright.compiler_core.files.outputs import output
from tilewright.compiler_core.onnx_import.model_files.annotate import annotated_model
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.provenance import provenance_of


def write_annotated(compiled: CompiledNetwork, path: Path, inputs: Iterable[str | Path]) -> None:
    """Write the model of a compiled network with notes: kernel, stage, calls, time, tiles, how it is known.

    A node that several kernels share names them all. UsageError where the file cannot be written.
    """
    origin = provenance_of(compiled)
    of_nodes: dict[str, dict[str, str]] = {}
    for stage, calls in enumerate(origin["calls"]):
        for call in calls:
            notes = {"kernel": call["name"], "stage": str(stage), **_notes(call)}
            for node in call["nodes"]:
                known = of_nodes.setdefault(node, {})
                for key, value in notes.items():
                    known[key] = f"{known[key]}; {value}" if key in known else value
    of_model = {
        "target": f"{origin['target']['name']} {origin['target']['digest']}",
        "toolchain": origin["toolchain"],
        "verification": origin["verification"],
        "graph_digest": origin["model"]["graph_digest"],
    }
    if origin["latency_us"] is not None:
        of_model["latency_us"] = f"{origin['latency_us']:.3f}"
    with output(path, inputs) as stream:
        stream.write(annotated_model(compiled.opened.model.path, of_nodes, of_model))


def _notes(call: dict[str, Any]) -> dict[str, str]:
    if "config" not in call:
        return {"source": "host"}
    return {
        "source": call["source"],
        "latency_us": f"{call['latency_us']:.3f}",
        "tiles": ", ".join(f"{knob}={value}" for knob, value in call["config"].items()),
        "workload": call["workload_digest"],
    }
