"""`tune run --from-demand`: what lookups missed is tuned, the most time saved first, until the time is up."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target
from tilewright.db.storage.session import open_database
from tilewright.measure.device import built_in_info
from tilewright.measure.objectives import Objective, read_objective
from tilewright.search_space.network import numbered
from tilewright.tuner.network.events import Listener, silent
from tilewright.tuner.request import LOCAL, Hooks, PoolChoice, TuneRequest
from tilewright.tuner.run import run
from tilewright.tuner.verbs.demand import Unanswered, demand, kernel_of_body
from tilewright.tuner.verbs.tune_kernel import tune_kernel


@dataclass(frozen=True)
class DemandTuning:
    """The budget for demand: `trials` each, all of them within `time_limit_s`."""

    file: str | Path
    database: str | Path
    trials: int | None = None
    time_limit_s: float | None = None
    seed: int = 0
    pool: PoolChoice = LOCAL


@dataclass(frozen=True)
class TunedDemand:
    """One workload after its turn: what a lookup is served from now on, in us; `reason` where nothing is."""

    wanted: Unanswered
    tuned_us: float | None
    trials: int
    reason: str = ""


def tune_demand(
    asked: DemandTuning,
    listener: Listener = silent,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[TunedDemand]:
    """Tune the misses of a demand file one after the other; each is in the database when it comes out.

    What cannot be tuned from here is left out, its reason is in `tune demand`.
    """
    start = clock()
    database = open_database(asked.database)
    try:
        wanted = [each for each in demand(asked.file, database).wanted if not each.why_not]
    finally:
        database.close()
    tried = set[tuple[str, str, str, str]]()
    for each in wanted:
        left_s = None if asked.time_limit_s is None else asked.time_limit_s - (clock() - start)
        if left_s is not None and left_s <= 0.0:
            return
        key = each.workload_digest, each.target_digest, each.toolchain, each.objective
        if key in tried:
            continue
        tried.add(key)
        try:
            yield _tuned(asked, each, left_s, listener)
        except TilewrightError as error:
            yield TunedDemand(each, None, 0, str(error))


def _tuned(asked: DemandTuning, wanted: Unanswered, left_s: float | None, listener: Listener) -> TunedDemand:
    objective = read_objective(wanted.objective)
    other = _other_than_asked(wanted)
    if other:
        return TunedDemand(wanted, None, 0, other)
    if wanted.model:
        request = TuneRequest(
            Path(wanted.model),
            wanted.target,
            trials=asked.trials,
            time_limit_s=left_s,
            objectives=(objective,),
            dims=dict(wanted.dims),
            seed=asked.seed,
            pool=asked.pool,
            database=asked.database,
        )
        report = run(request, Hooks(listener))
        return TunedDemand(wanted, report.tuned.latency_us, report.trials)
    return _kernel_tuned(asked, wanted, objective, left_s)


def _other_than_asked(wanted: Unanswered) -> str:
    """Why tuning what lies at the places of the demand would not answer what was asked; empty where it would.

    Files change. Their digests were logged, so that of today can be compared.
    """
    target = load_target(wanted.target)
    if target.digest != wanted.target_digest:
        digests = f"{target.digest[:12]}, asked {wanted.target_digest[:12]}"
        return f"target {wanted.target} has changed since: {digests}"
    today = built_in_info(target).toolchain
    if today != wanted.toolchain:
        return f"it was asked for toolchain {wanted.toolchain}, that of {target.name} is {today} by now"
    if not wanted.model:
        return ""
    digest = numbered(import_bound(wanted.model, dict(wanted.dims)).graph).task.digest
    if digest == wanted.workload_digest:
        return ""
    return f"{wanted.model} is another network by now: {digest[:12]}, asked {wanted.workload_digest[:12]}"


def _kernel_tuned(
    asked: DemandTuning, wanted: Unanswered, objective: Objective, left_s: float | None
) -> TunedDemand:
    more = {} if asked.trials is None else {"trials": asked.trials}
    found = tune_kernel(
        kernel_of_body(wanted.body),
        wanted.target,
        objective=objective,
        time_limit_s=left_s,
        seed=asked.seed,
        database=asked.database,
        pool=asked.pool,
        **more,
    )
    best = found.best
    return TunedDemand(
        wanted,
        None if best is None else best.latency_us,
        found.trials,
        "" if best is not None else "no Config of it may be published",
    )
