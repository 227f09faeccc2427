"""`tune db optuna`: recorded runs as Optuna studies, in a storage of their own, for optuna-dashboard."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tilewright.compiler_core.errors import UsageError
from tilewright.db.records import RunRow, TrialRow
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import KnobValue


def export_to_optuna(
    output: str | Path, runs: Sequence[str] = (), *, database: str | Path = "tilewright.db"
) -> tuple[int, int]:
    """Writes each run's search trials, a study a kernel; (studies, trials). All where `runs`, whose
    uids may be cut short, names none.

    `output` is a new SQLite file, or the URL of a database for Optuna alone: its tables have general names.
    """
    url = str(output) if "://" in str(output) else f"sqlite:///{output}"
    if "://" not in str(output) and Path(output).exists():
        raise UsageError(f"{output} exists; Optuna's storage is written to a new file")
    opened = open_database(database, read_only=True)
    repository = Repository(opened)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    studies = written = 0
    try:
        chosen = [repository.run_called(uid) for uid in runs] or repository.runs(limit=1_000_000)
        storage = optuna.storages.RDBStorage(url)
        for run in chosen:
            rows = sorted(repository.trials_of_run(run.uid), key=lambda row: row.key.workload_digest)
            for digest, same in groupby(rows, key=lambda row: row.key.workload_digest):
                trials = list(same)
                _write(storage, run, digest, trials)
                studies, written = studies + 1, written + len(trials)
    finally:
        opened.close()
    return studies, written


def _write(
    storage: optuna.storages.BaseStorage, run: RunRow, workload: str, trials: Sequence[TrialRow]
) -> None:
    study = optuna.create_study(
        storage=storage,
        study_name=f"{run.uid[:16]} {workload[:16]}",
        direction=StudyDirection.MINIMIZE,
    )
    asked = run.asked
    for name, value in (
        ("run", run.uid),
        ("workload", workload),
        ("target", asked.target_digest),
        ("toolchain", asked.toolchain),
        ("objective", str(asked.objective)),
    ):
        study.set_user_attr(name, value)
    distributions = _distributions(trials)
    study.add_trials([_frozen(row, distributions, asked.objective) for row in trials])


def _distributions(trials: Sequence[TrialRow]) -> dict[str, BaseDistribution]:
    """Every knob as a choice among the values it was given."""
    values: dict[str, dict[tuple[str, KnobValue], None]] = {}
    for row in trials:
        for knob, value in row.trial.config.items:
            values.setdefault(knob, {})[(type(value).__name__, value)] = None
    return {
        knob: CategoricalDistribution([value for _, value in sorted(found)])  # by type first
        for knob, found in values.items()
    }


def _frozen(row: TrialRow, distributions: dict[str, BaseDistribution], objective: Objective) -> FrozenTrial:
    trial, measured = row.trial, row.trial.measurement
    value = objective.of(measured)
    params = dict(trial.config.items)
    at = datetime.fromtimestamp(row.created_at_s)  # Optuna's clock is local and naive
    frozen = optuna.trial.create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params=params,
        distributions={knob: distributions[knob] for knob in params},
        user_attrs={
            "number": trial.number,
            "status": str(measured.status),
            "reason": measured.reason,
            "worker": measured.worker,
            "bound_us": trial.bound_us,
            "verification": str(trial.verification),
        },
    )
    frozen.datetime_start = frozen.datetime_complete = at
    return frozen
