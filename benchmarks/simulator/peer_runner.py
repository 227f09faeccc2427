"""SCALE-Sim or ZigZag on some layers, timed. Runs in an environment that has them, and nothing of ours.

    python peer_runner.py scalesim|zigzag < layers.json

Layers are objects with the keys of ConvolutionLayer (vela.py) and a name. Every line of the output is
the JSON of one: name, tool, processor seconds of the run, cycles, evaluations made. What the tools print
themselves goes to stderr.
"""

import contextlib
import importlib
import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ARRAY, BUFFER_KIB, WORDS = 32, 64, 16
"""Side of SCALE-Sim's array, its buffers, and words a cycle to each."""
ACCELERATOR, LOOPS = "ascend_like", 4
"""ZigZag's accelerator, and the prime factors that its search leaves together."""

CONFIG = """[general]
run_name = layer
[architecture_presets]
ArrayHeight: {array}
ArrayWidth: {array}
IfmapSramSzkB: {kib}
FilterSramSzkB: {kib}
OfmapSramSzkB: {kib}
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: os
Bandwidth: {words}
MemoryBanks: 1
[run_presets]
InterfaceBandwidth: USER
"""


def scalesim(layer: dict[str, Any], folder: Path) -> tuple[float, int, float]:
    """Seconds, evaluations and cycles of a layer whose borders are padded beforehand."""
    tool = importlib.import_module("scalesim.scale_sim")
    side = layer["size"] + layer["window"] - 1
    shape = [
        side,
        side,
        layer["window"],
        layer["window"],
        layer["channels"],
        layer["filters"],
        layer["stride"],
    ]
    (folder / "array.cfg").write_text(CONFIG.format(array=ARRAY, kib=BUFFER_KIB, words=WORDS))
    (folder / "layer.csv").write_text(
        "Layer, H, W, R, S, Channels, Filters, Stride,\nlayer, " + ", ".join(map(str, shape)) + ",\n"
    )
    start = time.process_time()
    run = tool.scalesim(
        save_disk_space=True,
        verbose=False,
        config=str(folder / "array.cfg"),
        topology=str(folder / "layer.csv"),
        input_type_gemm=False,
    )
    run.run_scale(top_path=str(folder))
    seconds = time.process_time() - start
    report = (folder / "layer" / "COMPUTE_REPORT.csv").read_text().splitlines()[1]
    return seconds, 1, float(report.split(",")[1])


def zigzag(layer: dict[str, Any], folder: Path) -> tuple[float, int, float]:
    """Seconds, cost model evaluations and cycles of the best mapping of a layer."""
    api = importlib.import_module("zigzag.api")
    evaluation = importlib.import_module("zigzag.cost_model.cost_model").CostModelEvaluation
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
    evaluations = 0
    begin = evaluation.__init__

    def counted(*arguments: Any, **named: Any) -> None:
        nonlocal evaluations
        evaluations += 1
        begin(*arguments, **named)

    evaluation.__init__ = counted
    start = time.process_time()
    try:
        _, cycles, *_ = api.get_hardware_performance_zigzag(
            workload,
            str(inputs / "hardware" / f"{ACCELERATOR}.yaml"),
            str(inputs / "mapping" / f"{ACCELERATOR}.yaml"),
            opt="latency",
            lpf_limit=LOOPS,
            dump_folder=str(folder),
            loma_show_progress_bar=False,
        )
    finally:
        evaluation.__init__ = begin
    return time.process_time() - start, evaluations, float(cycles)


def main() -> None:
    """Run every layer from standard input."""
    run, package = {"scalesim": (scalesim, "scalesim"), "zigzag": (zigzag, "zigzag-dse")}[sys.argv[1]]
    tool = f"{package} {version(package)}"
    for layer in json.load(sys.stdin):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            seconds, evaluations, cycles = run(layer, Path(folder))
        answer = {"name": layer["name"], "tool": tool, "seconds": seconds, "cycles": cycles}
        answer["evaluations"] = evaluations
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
