"""Runs Kernel Tuner's strategies on a recorded table, in an environment of its own (`make kernel-tuner`).

A line of JSON in, a line out. First the table, a null where a configuration fails:

    {"knobs": {"block": [8, 16], ...}, "rows": [[8, ..., 1.5], [16, ..., null], ...]}

then any number of searches, each answered by the configurations it evaluated, in order, each once:

    {"strategy": "simulated_annealing", "seed": 0, "budget": 400}    ->    [[16, ...], [8, ...]]

It imports nothing of this project: benchmarks/peers/kernel_tuner_peer.py is the other end.
"""

import json
import os
import random
import sys
import tempfile
from typing import Any

import numpy as np
from kernel_tuner import tune_kernel

KERNEL = "recorded"
FREE = ("compile_time", "verification_time", "benchmark_time", "strategy_time", "framework_time")


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever the package prints is no answer.
    os.dup2(2, 1)
    table = json.loads(sys.stdin.readline())
    allowed = {tuple(row[:-1]) for row in table["rows"]}
    with tempfile.TemporaryDirectory() as folder:
        cache = os.path.join(folder, "table.json")
        with open(cache, "w", encoding="utf-8") as file:
            json.dump(cache_of(table), file)
        for line in sys.stdin:
            found = searched(json.loads(line), table["knobs"], allowed, cache)
            answers.write(json.dumps([row for row in dict.fromkeys(found) if row in allowed]) + "\n")
            answers.flush()


def cache_of(table: dict[str, Any]) -> dict[str, Any]:
    """The table as a cache file of Kernel Tuner."""
    names = list(table["knobs"])
    entries = {
        ",".join(map(str, row)): {
            **dict(zip(names, row, strict=True)),
            "time": "RuntimeFailedConfig" if value is None else value,
            **dict.fromkeys(FREE, 0.0),
            "timestamp": "",
        }
        for *row, value in table["rows"]
    }
    return {
        "device_name": KERNEL,
        "kernel_name": KERNEL,
        "problem_size": 1,
        "tune_params_keys": names,
        "tune_params": table["knobs"],
        "objective": "time",
        "cache": entries,
    }


def searched(
    asked: dict[str, Any], knobs: dict[str, list[Any]], allowed: set[tuple[Any, ...]], cache: str
) -> list[tuple[Any, ...]]:
    """What one search evaluated, in order."""

    def keeps(*row: Any, **named: Any) -> bool:
        return (row or tuple(named[name] for name in knobs)) in allowed

    random.seed(asked["seed"])
    np.random.seed(asked["seed"])  # noqa: NPY002  (the strategies draw from it)
    found, _ = tune_kernel(
        KERNEL,
        f"__global__ void {KERNEL}() {{}}",
        1,
        [],
        {name: list(values) for name, values in knobs.items()},
        restrictions=[keeps],
        lang="CUDA",
        strategy=asked["strategy"],
        strategy_options={"max_fevals": asked["budget"]},
        cache=cache,
        simulation_mode=True,
        objective="time",
        quiet=True,
    )
    return [tuple(result[name] for name in knobs) for result in found]


if __name__ == "__main__":
    main()
