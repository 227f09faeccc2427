"""`tune run` as a Python function: its options are the fields of a TuneRequest."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.tuner.answer.report import Report
from tilewright.tuner.kernel.candidates import candidates_of
from tilewright.tuner.network.events import Listener
from tilewright.tuner.request import LOCAL_WORKERS, Hooks, PoolChoice, TuneRequest, objectives_of
from tilewright.tuner.run import run
from tilewright.tuner.verbs.progress import watching
from tilewright.tuner.verbs.ranges import RangeReport, run_range


def tune(
    model: str | Path,
    target: str | Path,
    *,
    level: int = 2,
    trials: int | None = None,
    time_limit_s: float | None = None,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    sampler: str | None = None,
    seed: int = 0,
    database: str | Path = "tilewright.db",
    workers: int = LOCAL_WORKERS,
    ray: str = "auto",
    device: str | None = None,
    lab: str | None = None,
    asynchronous: bool = False,
    candidates: Sequence[Mapping[str, Any]] = (),
    regret: float | None = None,
    on_event: Listener | None = None,
) -> Report:
    """Tune the network in `model` for `target` and record everything in `database`.

    Options are those of `tune run`; TuneRequest explains each. Raises InputError (one line) for an
    unusable model, target, budget or database, DeviceError when nothing can be measured. With `ray` "none"
    this process measures and no other is started; "auto" starts a local Ray where there is much to measure.
    Progress goes to standard error, or to `on_event` where one is given.
    """
    request = TuneRequest(
        Path(model),
        target,
        level,
        trials,
        time_limit_s,
        objectives_of(objective),
        dims or {},
        sampler,
        seed,
        device,
        lab,
        asynchronous,
        PoolChoice(workers, ray),
        database,
        inputs=inputs or {},
        candidates=candidates_of(candidates) if candidates else (),
        regret=regret,
    )
    with _watched(on_event) as listener:
        return run(request, Hooks(listener))


def tune_range(
    model: str | Path,
    target: str | Path,
    symbol: str,
    low: int,
    high: int,
    *,
    level: int = 2,
    trials: int | None = None,
    time_limit_s: float | None = None,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    sampler: str | None = None,
    seed: int = 0,
    database: str | Path = "tilewright.db",
    workers: int = LOCAL_WORKERS,
    ray: str = "auto",
    device: str | None = None,
    lab: str | None = None,
    regret: float | None = None,
    on_event: Listener | None = None,
) -> RangeReport:
    """Tune a network for all sizes `low` to `high` of the dim `symbol`; the budget is for the whole range.

    Any size of the range is answered from then on, by `lookup`, `compile` and `verify`. Each tuned size ends
    early where it is within `regret` of its optimum by its own estimate, which its report states
    (`regret_estimate`). Errors as `tune`.
    """
    request = TuneRequest(
        Path(model),
        target,
        level,
        trials,
        time_limit_s,
        objectives_of(objective),
        dims or {},
        sampler,
        seed,
        device,
        lab,
        pool=PoolChoice(workers, ray),
        database=database,
        ranges={symbol: (low, high)},
        inputs=inputs or {},
        regret=regret,
    )
    with _watched(on_event) as listener:
        return run_range(request, Hooks(listener))


@contextmanager
def _watched(on_event: Listener | None) -> Iterator[Listener]:
    """The caller's listener, or progress on standard error; with one BLAS thread a process meanwhile.

    The matrices of a search are small, and the other cores belong to the workers: more threads only spin.
    """
    with threadpool_limits(1, "blas"):
        if on_event is not None:
            yield on_event
            return
        with watching() as listener:
            yield listener
