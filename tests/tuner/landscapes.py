"""Small made-up spaces with a recorded table each: T1 and T4 documents as strangers write them."""

from typing import Any

import numpy as np

from tilewright.measure.recorded.replay import ReplayDevice, SpaceTask, replay_device
from tilewright.search_space.moves import enumerate_rows
from tilewright.search_space.space import Space
from tilewright.search_space.t1 import space_from_t1
from tilewright.tuner.kernel.problem import Problem

T1: dict[str, Any] = {
    "ConfigurationSpace": {
        "TuningParameters": [
            {"Name": "block", "Type": "int", "Values": "[8 * i for i in range(1, 13)]"},
            {"Name": "rows", "Type": "int", "Values": "[1, 2, 4, 8]"},
            {"Name": "tile", "Type": "int", "Values": "list(range(1, 5))"},
            {"Name": "cache", "Type": "string", "Values": "['none', 'shared', 'texture']"},
            {"Name": "unroll", "Type": "int", "Values": [0, 1]},
        ],
        "Conditions": [
            {"Expression": "block * rows <= 256", "Parameters": ["block", "rows"]},
            {"Expression": "cache != 'shared' or block * tile < 300", "Parameters": ["cache"]},
        ],
    }
}


def space() -> Space:
    return space_from_t1(T1)


def latency_ms(config: dict[str, Any], seed: int) -> float | None:
    """A smooth valley with a ripple of its own per configuration; a few fail."""
    rng = np.random.default_rng([seed, config["block"], config["rows"], config["tile"], len(config["cache"])])
    if config["cache"] == "texture" and config["tile"] == 4 and config["rows"] > 2:
        return None
    threads = config["block"] * config["rows"]
    cost = (
        1.0 + abs(np.log2(threads / 96)) + 0.4 * abs(config["tile"] - 3) + 0.3 * (config["block"] % 32 != 0)
    )
    cost *= {"none": 1.5, "shared": 1.0, "texture": 1.2}[config["cache"]] * (1.0 - 0.05 * config["unroll"])
    return float(cost * np.exp(rng.normal(0.0, 0.03)))


def t4(seed: int = 0) -> dict[str, Any]:
    made = space()
    rows = enumerate_rows(made)
    assert rows is not None
    results = []
    for row in rows:
        config = dict(made.decode(row).items)
        value = latency_ms(config, seed)
        results.append(
            {
                "configuration": config,
                "invalidity": "correct" if value is not None else "runtime",
                "correctness": 1 if value is not None else 0,
                "measurements": [{"name": "time", "value": value or "RuntimeFailedConfig", "unit": ""}],
                "objectives": ["time"],
            }
        )
    return {"metadata": {"timeunit": "miliseconds"}, "schema_version": "1.0.0", "results": results}


def problem_and_device(seed: int = 0) -> tuple[Problem, ReplayDevice]:
    made = space()
    return Problem(SpaceTask(made), made), replay_device("made-up", t4(seed), made)
