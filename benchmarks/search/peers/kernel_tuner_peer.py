"""Kernel Tuner's own strategies on recorded tables, by its simulation mode (van Werkhoven, FGCS 2019).

The package asks for versions of numpy and scipy of its own, so it runs in another environment, which
`make kernel-tuner` builds; TILEWRIGHT_KERNEL_TUNER names another Python that has it. A strategy evaluates
what it likes, each configuration counting once; one that ends before the budget keeps its best.
"""

import os
from functools import cache
from pathlib import Path

from benchmarks.search.arena import SearchArena
from benchmarks.search.peers.table_process import TableProcess
from tilewright.compiler_core.errors import UsageError
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
    strategy = method.removeprefix(PREFIX)
    return _host(arena).latencies_us({"strategy": strategy, "seed": seed, "budget": budget})


@cache
def _host(arena: SearchArena) -> TableProcess:
    python = kernel_tuner_python()
    if python is None:
        raise UsageError(
            "Kernel Tuner is not installed in an environment of its own; `make kernel-tuner` does it"
        )
    return TableProcess(python, HOST, arena)
