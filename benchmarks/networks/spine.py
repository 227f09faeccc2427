"""The main path against chance: -O0 beside random schedules, a tuned network beside random search.

python -m benchmarks.networks.spine MODEL.onnx --target ascend910 --trials 512
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.simulator.device import SimulatedDevice
from tilewright.search_space.moves import sample
from tilewright.search_space.network import network_config, numbered
from tilewright.tuner.kernel.task import kernel_tasks
from tilewright.tuner.verbs.tune import tune


def bench_spine(model: Path, target_name: str, trials: int, seed: int) -> dict[str, Any]:
    """-O0 against the median of `trials` random schedules; tuned against random search, alike in all else."""
    target = load_target(target_name)
    graph = import_model(model).graph
    plan = plan_graph(graph, target)
    tasks = kernel_tasks(plan, target)
    network = numbered(graph)
    rng = np.random.default_rng(seed)
    drawn = {task.digest: sample(task.space, trials, rng) for task in tasks}
    device = SimulatedDevice(target)
    schedules = [
        network_config(
            plan,
            {t.digest: t.space.decode(drawn[t.digest][index % len(drawn[t.digest])]) for t in tasks},
            network,
        )
        for index in range(trials)
    ]
    random_us = [m.latency_us for m in device.measure(network.task, schedules) if m.latency_us is not None]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (
            tune(
                model,
                target_name,
                trials=trials,
                seed=seed,
                sampler=sampler,
                database=f"{folder}/{index}.db",
                ray="none",
            )
            for index, sampler in enumerate((None, "random"))
        )
    default = ours.default.latency_us
    median = float(np.median(random_us))
    return {
        "bench": "spine",
        "summary": {
            "default_over_random_median": _figure(default / median, 1.0),
            "tuned_over_default": _figure(ours.tuned.latency_us / default, 1.0),
            "tuned_over_random_search": _figure(ours.tuned.latency_us / theirs.tuned.latency_us, 1.0),
        },
        "rows": [
            {
                "model": str(model.name),
                "target": target_name,
                "target_digest": target.digest,
                "trials": trials,
                "seed": seed,
                "default_us": default,
                "tuned_us": ours.tuned.latency_us,
                "random_search_us": theirs.tuned.latency_us,
                "random_median_us": median,
                "random_best_us": float(np.min(random_us)),
                "bound_us": ours.bound.latency_us,
            }
        ],
    }


def _figure(value: float, goal: float) -> dict[str, Any]:
    return {"value": value, "goal": goal, "ok": value < goal}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path)
    parser.add_argument("--target", default="ascend910")
    parser.add_argument("--trials", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(json.dumps(bench_spine(asked.model, asked.target, asked.trials, asked.seed), indent=2))
