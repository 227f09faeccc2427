"""The request of a search as one frozen value, for command line, jobs, forms and Python."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.db.service.leases import Guard
from tilewright.measure.objectives import Objective, read_objective
from tilewright.tuner.kernel.candidates import Candidate
from tilewright.tuner.network.events import Listener, silent
from tilewright.tuner.subject import Subject

TRIALS = {0: 0, 1: 0, 2: 512, 3: 4096}
"""Default budgets by level: -O0 default schedule, -O1 database or guess, -O2 and -O3 searches."""
REGRET = 0.02
"""-O3 stops where the best is within this of the optimum, with 95 % confidence."""
LOCAL_WORKERS = 2
TOGETHER = {
    "latency": Objective.LATENCY,
    "energy": Objective.ENERGY,
    "memory": Objective.MEMORY,
    "peak_bytes": Objective.MEMORY,
}
"""Objectives that may be combined, by name."""


MOST_TRIALS = 1_000_000
"""Of one run."""


@dataclass(frozen=True)
class PoolChoice:
    """The place of measurements: with `ray` "none" in this process, with "local" by `workers` processes
    of a local Ray, with HOST:PORT on a cluster. "auto" is this process, and a local Ray once the measuring
    has taken as long as its start.
    """

    workers: int = LOCAL_WORKERS
    ray: str = "auto"


LOCAL = PoolChoice()


@dataclass(frozen=True)
class TuneRequest:
    """Tune the network in `model` for `target`, a preset's name or the path of a TOML file.

    `level` is that of -O, 0 to 3. `trials` are measurements to spend, `time_limit_s` seconds of search; where
    they are absent, the level's own hold. Several `objectives` ask for a front; the best in the first of them
    is published. `dims` are sizes of symbolic dims; `ranges` has the least and the largest size of one more.
    `inputs` are values of inputs that the network depends on. `candidates` are measured first, where they fit
    a kernel; with them a run measures even where its budget was spent before. A search ends before its budget
    where it is within `regret` of the optimum (0.02 = 2 %) by its own estimate, which -O3 always asks for;
    with a regret and without `trials` it spends what that takes, up to the trials of -O3.
    `device` names a user's own device as module:factory, in place of the pool's. `lab` lets go wrong what a
    real lab does (measure/lab.py). `asynchronous` keeps a wide farm busy; the same seed does not measure the
    same trials then. Everything is recorded in `database`, the path of an SQLite file or a URL.

    UsageError for a level, trials, a time, objectives or a range that make no sense.
    """

    model: Path
    target: str | Path
    level: int = 2
    trials: int | None = None
    time_limit_s: float | None = None
    objectives: tuple[Objective, ...] = (Objective.LATENCY,)
    dims: Mapping[str, int] = field(default_factory=dict)
    sampler: str | None = None
    seed: int = 0
    device: str | None = None
    lab: str | None = None
    asynchronous: bool = False
    pool: PoolChoice = LOCAL
    database: str | Path = "tilewright.db"
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    inputs: Mapping[str, Given] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    regret: float | None = None

    def __post_init__(self) -> None:
        if self.level not in TRIALS:
            raise UsageError(f"-O {self.level} is not a level; choose from 0 to 3")
        if self.trials is not None and self.trials < 0:
            raise UsageError(f"--trials {self.trials} is negative; give 0 or more")
        if self.trials is not None and self.trials > MOST_TRIALS:
            raise UsageError(f"--trials {self.trials} is above the limit of {MOST_TRIALS}")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"--seed {self.seed} is not in 0 to 2**63 - 1; give another number")
        if self.time_limit_s is not None and not 0 < self.time_limit_s < float("inf"):
            raise UsageError(f"--time-limit {self.time_limit_s} is not a positive number of seconds")
        if self.front and self.budget == 0:
            raise UsageError(
                f"--objective {objectives_text(self.objectives)} needs measurements; give -O 2 or --trials"
            )

        if self.regret is not None and not 0.0 < self.regret < 1.0:
            raise UsageError(f"--regret {self.regret:g} is not between 0 and 1; give 2% or 0.02")
        if self.candidates and self.budget == 0:
            raise UsageError("--try asks for measurements; give -O 2 or --trials")
        for symbol in self.ranges:
            self._check_range(symbol)

    def _check_range(self, symbol: str) -> None:
        low, high = self.ranges[symbol]
        asked = f"--dim {symbol}={low}..{high}"
        if len(self.ranges) > 1:
            raise UsageError(f"one dim can be ranged at a time, not all of {', '.join(sorted(self.ranges))}")
        if symbol in self.dims:
            raise UsageError(f"--dim {symbol} is given twice, as {self.dims[symbol]} and a range")
        if not 0 <= low <= high:
            raise UsageError(f"{asked} is empty; give LO..HI with 0 <= LO <= HI")
        if self.front:
            named = objectives_text(self.objectives)
            raise UsageError(f"--objective {named} asks for a front; a range takes one objective")
        if self.budget == 0:
            raise UsageError(f"{asked} needs measurements; give -O 2 or --trials")

    @property
    def subject(self) -> Subject:
        """The network, target and objectives."""
        return Subject(self.model, self.target, self.objectives, self.dims, self.inputs, self.seed)

    @property
    def budget(self) -> int:
        """The measurements the request may spend. Where a regret is asked for and no number of trials, it is
        what that takes, up to the budget of -O3.
        """
        if self.trials is not None:
            return self.trials
        return TRIALS[3 if self.regret is not None and self.level >= 2 else self.level]

    @property
    def enough(self) -> float | None:
        """The expected distance from the optimum at which a search ends before its budget is out."""
        return REGRET if self.regret is None and self.level == 3 else self.regret

    @property
    def objective(self) -> Objective:
        """The first objective: the one an answer is published for."""
        return self.objectives[0]

    @property
    def front(self) -> bool:
        """Whether every schedule is wanted that no other beats in all objectives."""
        return len(self.objectives) > 1


@dataclass(frozen=True)
class Hooks:
    """Connections of a run to its caller. `on_event` gets its progress. `guard` is asked in every transaction
    that writes, `cancelled` between batches. `job` is the number of the service's job that the run belongs
    to.
    """

    on_event: Listener = silent
    guard: Guard | None = None
    job: str | None = None
    cancelled: Callable[[], bool] = lambda: False


def objectives_of(text: str) -> tuple[Objective, ...]:
    """`latency`, or `latency,energy,peak_bytes` for a front, as a tuple; UsageError for anything else."""
    return read_objectives(text) if "," in text else (read_objective(text),)


def read_objectives(text: str) -> tuple[Objective, ...]:
    """`latency,energy,peak_bytes` as objectives, memory last; UsageError unless they are two or three."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in TOGETHER]:
        raise UsageError(
            f"--objective {unknown[0]!r} cannot be part of a front; choose from {', '.join(TOGETHER)}"
        )
    objectives = tuple(dict.fromkeys(TOGETHER[name] for name in names))
    if len(objectives) != len(names) or len(names) < 2:
        raise UsageError(f"--objective {text!r} is no list of different objectives, as in latency,energy")
    # The plan decides about memory: kernels are searched, and an answer is published, for the others.
    return tuple(sorted(objectives, key=lambda objective: objective is Objective.MEMORY))


def objectives_text(objectives: tuple[Objective, ...]) -> str:
    """Inverse of `objectives_of`: a front calls memory peak_bytes."""
    if len(objectives) == 1:
        return objectives[0]
    return ",".join("peak_bytes" if each is Objective.MEMORY else each for each in objectives)


def objective_texts() -> tuple[str, ...]:
    """All texts of `objectives_text`: every objective alone, then every front."""
    together = dict.fromkeys(TOGETHER.values())
    lists = (some for length in range(2, len(together) + 1) for some in permutations(together, length))
    # Lists that differ only in where memory stands are one front.
    fronts = (read_objectives(objectives_text(some)) for some in lists)
    return (*map(str, Objective), *dict.fromkeys(objectives_text(front) for front in fronts))
