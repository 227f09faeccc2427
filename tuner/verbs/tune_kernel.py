"""The search of one kernel by itself, without a network around it: what compilers asked for by `ask`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.db.answering.describe import row_of
from tilewright.db.records import Best, Key, NewRun, Purpose, TargetRow, Trial, Verification
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.check import KernelCheck
from tilewright.tuner.devices import simulated_pool
from tilewright.tuner.kernel.problem import SearchTrial, trial_seed
from tilewright.tuner.kernel.search import KernelSearch, search_kernel
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.prices import Prices
from tilewright.tuner.request import PoolChoice

TRIALS = 128
CHECKED = 4
"""The most of the best Configs that are checked before the default is taken instead."""


@dataclass(frozen=True)
class TunedKernel:
    """The answer of a kernel's search; None where no Config may be published."""

    best: Best | None
    trials: int
    stop_reason: str


def tune_kernel(
    workload: Workload,
    target: str | Path,
    *,
    objective: Objective = Objective.LATENCY,
    trials: int = TRIALS,
    time_limit_s: float | None = None,
    seed: int = 0,
    database: str | Path = "tilewright.db",
    pool: PoolChoice | None = None,
) -> TunedKernel:
    """Search the Configs of a kernel, check and confirm the best, and publish it.

    Every batch is committed before it is learned from. DeviceError when nothing can be measured.
    """
    chip, text, choice = load_target(target), target_text(target), pool or PoolChoice(ray="none")
    repository = Repository(open_database(database))
    try:
        with simulated_pool(chip.name, text, choice.workers, choice.ray) as measuring:
            measuring.start()
            info = measuring.info()
            repository.put_target(TargetRow(chip.digest, chip.name, text))
            repository.put_workloads([row_of(workload)])
            asked = NewRun(
                target_digest=chip.digest,
                toolchain=info.toolchain,
                objective=objective,
                seed=seed,
                device=info.name,
                protocol=info.protocol,
                trials_budget=trials,
                settings='{"verb":"kernel"}',
            )
            run = repository.start_run(asked).uid
            book = _KernelBook(repository, KernelTask(Regions(workload), chip), run, seed)
            search = KernelSearch(book.task.problem(), run)
            rule = StopRule(max_trials=trials, time_limit_s=time_limit_s)
            found = search_kernel(search, measuring, rule, commit=book.commit)
            ranked = sorted(
                (trial for trial in found.trials if objective.of(trial.measurement) is not None),
                key=lambda trial: (objective.of(trial.measurement), trial.config.digest),
            )
            if not ranked:
                raise DeviceError("nothing of the kernel could be measured")
            default = Prices(chip, seed).default(book.task)
            for config in dict.fromkeys((default, *_sound(book, ranked))):
                checked = Verification.NONE if config == default else Verification.VALUE_EXACT
                if config == default and not book.objection(default):
                    checked = Verification.VALUE_EXACT
                book.confirm(config, measuring.confirm(workload, config), checked, config == default)
            repository.finish_run(run, str(found.reason))
            key = Key(workload.digest, chip.digest, info.toolchain, objective)
            return TunedKernel(repository.best(key), len(found.trials), str(StopReason(found.reason)))
    finally:
        repository.database.close()


def _sound(book: "_KernelBook", ranked: Sequence[SearchTrial]) -> list[Config]:
    """The best Config that computes the right numbers, if one of the first does."""
    for trial in ranked[:CHECKED]:
        if not book.objection(trial.config):
            return [trial.config]
    return []


class _KernelBook:
    """Commits the trials of a kernel's run, and its confirmations."""

    def __init__(self, repository: Repository, task: KernelTask, run: str, seed: int) -> None:
        self.task = task
        self._repository = repository
        self._run = run
        self._check = KernelCheck(task.regions, task.target, seed)
        self._confirmed = 0

    def objection(self, config: Config) -> str:
        """Why a Config must not be published; empty when it may."""
        return self._check.objection(config)

    def commit(self, trials: Sequence[SearchTrial]) -> None:
        """Append a batch; durable when this returns."""
        self._repository.commit_trials(
            [self._trial(each.number, each.config, each.measurement, Purpose.SEARCH) for each in trials]
        )

    def confirm(
        self, config: Config, measured: Sequence[Measurement], checked: Verification, default: bool
    ) -> None:
        """Commit the confirmations of a Config, from which its answer is derived."""
        rows = [
            self._trial(self._confirmed + index, config, each, Purpose.CONFIRMATION, checked, default)
            for index, each in enumerate(measured)
        ]
        self._confirmed += len(rows)
        self._repository.commit_trials(rows)

    def _trial(
        self,
        number: int,
        config: Config,
        measured: Measurement,
        purpose: Purpose,
        checked: Verification = Verification.NONE,
        default: bool = False,
    ) -> Trial:
        return Trial(
            run=self._run,
            number=number,
            workload_digest=self.task.digest,
            space_digest=self.task.space.digest,
            config=config,
            measurement=measured,
            seed=trial_seed(self._run, number),
            purpose=purpose,
            bound_us=self.task.bound_us,
            verification=checked,
            default=default,
        )
