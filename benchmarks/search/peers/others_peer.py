"""SMAC3 and pyATF on recorded tables, in an environment of their own (`make search-peers`).

SMAC3: Bayesian optimisation with random forests (Lindauer et al., JMLR 2022). pyATF: the auto-tuning
framework with its AUC bandit over techniques (Rasch et al., ACM TACO 2021). TILEWRIGHT_SEARCH_PEERS names
another Python that has them.
"""

import os
from functools import cache
from pathlib import Path

from benchmarks.search.arena import SearchArena
from benchmarks.search.peers.table_process import TableProcess
from tilewright.compiler_core.errors import UsageError
from tilewright.tuner.kernel.problem import Floats

OTHERS = ("smac", "pyatf")
ENVIRONMENT = "TILEWRIGHT_SEARCH_PEERS"
BUILT = Path(__file__).parents[3] / "build" / "search-peers" / "bin" / "python"
HOST = Path(__file__).with_name("others_host.py")


def others_python() -> Path | None:
    """The Python that has the packages; None where nobody built one."""
    python = Path(os.environ.get(ENVIRONMENT, BUILT))
    return python if python.exists() else None


def run_other(arena: SearchArena, method: str, seed: int, budget: int) -> Floats:
    """Latencies of up to `budget` trials, microseconds in order, NaN where one failed."""
    return _host(arena).latencies_us({"strategy": method, "seed": seed, "budget": budget})


@cache
def _host(arena: SearchArena) -> TableProcess:
    python = others_python()
    if python is None:
        raise UsageError(
            "SMAC3 and pyATF are not installed in an environment of their own; `make search-peers` does it"
        )
    return TableProcess(python, HOST, arena)
