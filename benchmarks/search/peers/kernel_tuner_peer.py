"""Kernel Tuner's own strategies on recorded tables, by its simulation mode (van Werkhoven, FGCS 2019).

The package asks for versions of numpy and scipy of its own, so it runs in another environment, which
`make kernel-tuner` builds; TILEWRIGHT_KERNEL_TUNER names another Python that has it. A strategy evaluates
what it likes, each configuration counting once; one that ends before the budget keeps its best.
"""

import contextlib
import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.arena import SearchArena
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.problem import Floats

PREFIX = "kernel_tuner/"
STRATEGIES = (
    "simulated_annealing",
    "adaptive_tabu_greywolf",
    "genetic_algorithm",
    "hybrid_vndx",
    "pso",
    "bayes_opt",
)
KERNEL_TUNER = tuple(PREFIX + name for name in STRATEGIES)
ENVIRONMENT = "TILEWRIGHT_KERNEL_TUNER"
BUILT = Path(__file__).parents[3] / ".venv-kernel-tuner" / "bin" / "python"
HOST = Path(__file__).with_name("kernel_tuner_host.py")


def kernel_tuner_python() -> Path | None:
    """The Python that has the package; None where nobody built one."""
    python = Path(os.environ.get(ENVIRONMENT, BUILT))
    return python if python.exists() else None


def run_strategy(arena: SearchArena, method: str, seed: int, budget: int) -> Floats:
    """Latencies of up to `budget` trials, microseconds in order, NaN where one failed."""
    space, strategy = arena.problem.space, method.removeprefix(PREFIX)
    found = _host(arena).ask({"strategy": strategy, "seed": seed, "budget": budget})[:budget]
    names = [knob.name for knob in space.knobs]
    configs = [Config(tuple(zip(names, values, strict=True))) for values in found]
    return arena.latencies_us(np.array([space.encode(config) for config in configs], dtype=np.int32))


class _Host:
    """The process on the other side, with one table."""

    def __init__(self, python: Path, table: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [python, HOST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._tell(table)

    def ask(self, search: dict[str, Any]) -> list[list[Any]]:
        """What one search evaluated; DeviceError when the process is gone."""
        self._tell(search)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DeviceError(f"Kernel Tuner ended in the middle of {search['strategy']}; is it version 1.5?")
        answer: list[list[Any]] = json.loads(line)
        return answer

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then no answer comes, and `ask` says so
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()


@cache
def _host(arena: SearchArena) -> _Host:
    python = kernel_tuner_python()
    if python is None:
        raise UsageError(
            "Kernel Tuner is not installed in an environment of its own; `make kernel-tuner` does it"
        )
    space, rows = arena.problem.space, arena.problem.whole
    if rows is None:
        raise UsageError(f"the space of {arena.key} is too large to be recorded for Kernel Tuner")
    latencies = arena.latencies_us(rows)
    return _Host(
        python,
        {
            "knobs": {knob.name: list(knob.values) for knob in space.knobs},
            "rows": [
                [*(value for _, value in space.decode(row)), None if np.isnan(us) else us]
                for row, us in zip(rows, latencies.tolist(), strict=True)
            ],
        },
    )
