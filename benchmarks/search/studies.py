"""Studies of our own search beside the race: with records of others, noise, and for long.

warm      a prior from sibling shapes on the same chip, the task itself left out
unseen    a prior from the same kind of kernel on the three other targets, this one left out
transfer  on layers of other tools: records of three others, of another accelerator where the tool has one
noise     readings with 3 % of log-normal noise; finalists measured again, in turns
overhead  processor time of a proposal as trials pile up, to 5,000
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.search.arena import SearchArena
from benchmarks.search.kernel_tasks import CASES, Case, skewed_device
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.measure.device import Device
from tilewright.measure.faults import FaultPlan, FaultyDevice
from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.finalists import settle
from tilewright.tuner.kernel.problem import Problem
from tilewright.tuner.kernel.search import KernelSearch, search_kernel
from tilewright.tuner.kernel.stopping import StopRule

RECORDED = 128
"""Trials of each search whose records make a prior."""
STUDIES = ("noise", "overhead")
"""Methods whose rows are of their own kind."""
NOISE = 0.03
FINALISTS = 8
OVERHEAD_TRIALS, OVERHEAD_AT = 5000, (100, 1000, 5000)
Row = dict[str, Any]
Records = tuple[TaskRecords, ...]


def warm_records(case: Case) -> Records:
    """Records of the siblings of `case` on its chip."""
    return tuple(_searched(case.target, case.chip, sibling.problem()) for sibling in case.sibling_tasks())


def unseen_records(case: Case) -> Records:
    """Records of the kernel and its siblings on all other targets, each on its own chip of that number.

    Where no tile of a kernel fits a target there is nothing to record.
    """
    others = dict.fromkeys(other.target for other in CASES if other.target != case.target)
    problems = [(target, task.problem()) for target in others for task in case.tasks_on(target)]
    return tuple(
        _searched(target, case.chip, problem) for target, problem in problems if len(problem.climbed)
    )


PRIORS: Mapping[str, Callable[[Case], Records]] = {"warm": warm_records, "unseen": unseen_records}


def _searched(target: str, chip: int, problem: Problem) -> TaskRecords:
    key = (target, chip, problem.task.digest)
    if key not in _SEARCHED:
        name = f"{target}/{problem.task.digest}"
        _SEARCHED[key] = searched(name, problem, skewed_device(target, chip))
    return _SEARCHED[key]


def searched(name: str, problem: Problem, device: Device) -> TaskRecords:
    """The records of a search of RECORDED trials."""
    arena, search = SearchArena("", problem, device), KernelSearch(problem, "bench/records")
    while len(search.trials) < RECORDED and (configs := search.ask()):
        search.tell(search.trials_of(arena.measure(problem.task, configs)))
    rows = np.array([problem.space.encode(trial.config) for trial in search.trials])
    logs = np.log([trial.measurement.latency_us or np.nan for trial in search.trials])
    return TaskRecords(name, problem.feature_function(rows), problem.drafts(rows), logs)


_SEARCHED: dict[tuple[str, int, str], TaskRecords] = {}


def study_row(arena: SearchArena, study: str, seed: int, budget: int) -> Row:
    """The fields of one run of a study."""
    return noise_row(arena, seed, budget) if study == "noise" else overhead_row(arena, seed)


def noise_row(arena: SearchArena, seed: int, budget: int) -> Row:
    """What a noisy search publishes: its true regret, and how far the published latency is from the truth."""
    device = FaultyDevice(arena.device, FaultPlan(seed=seed, noise=NOISE), life=seed)
    noisy = SearchArena(arena.key, arena.problem, device)
    task = arena.problem.task
    found = search_kernel(KernelSearch(arena.problem, f"bench/{seed}"), noisy, StopRule(budget))
    ranked = sorted(
        (trial.measurement.latency_us, trial.config.digest, trial.config)
        for trial in found.trials
        if trial.measurement.latency_us is not None
    )
    finalists = settle(
        [config for _, _, config in ranked[:FINALISTS]],
        lambda config, times: device.measure(task, [config] * times),
        Objective.LATENCY.of,
    )
    published = float(np.exp(finalists[0].median_log))
    true_us = _true_us(arena, finalists[0].config)
    return {
        "trials": len(found.trials),
        "true_us": true_us,
        "published_error": abs(published / true_us - 1.0),
        "readings": sum(len(one.values) for one in finalists),
    }


def _true_us(arena: SearchArena, config: Config) -> float:
    measured = arena.measure(arena.problem.task, [config])[0].latency_us
    assert measured is not None
    return measured


def overhead_row(arena: SearchArena, seed: int) -> Row:
    """Processor milliseconds of asking and telling, a trial, over the hundred trials up to each mark."""
    search = KernelSearch(arena.problem, f"bench/{seed}")
    spent: list[float] = []
    while len(spent) < OVERHEAD_TRIALS:
        start, measuring = time.thread_time(), arena.measuring_s
        configs = search.ask()
        if not configs:
            break
        search.tell(search.trials_of(arena.measure(arena.problem.task, configs)))
        own = time.thread_time() - start - (arena.measuring_s - measuring)
        spent += [own / len(configs) * 1e3] * len(configs)
    marks = {
        str(trial): round(float(np.mean(spent[trial - 100 : trial])), 3)
        for trial in OVERHEAD_AT
        if trial <= len(spent)
    }
    return {"trials": len(spent), "ms_at": marks}


def study_figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of the studies among `rows`, which are rows of the bench with fields of their own."""
    figures: dict[str, Any] = {}
    by_study = {name: [row for row in rows if row["method"] == name] for name in STUDIES}
    if noisy := by_study["noise"]:
        regrets = [row["true_us"] / row["optimum_us"] - 1.0 for row in noisy]
        errors = [row["published_error"] for row in noisy]
        for name, values, goal in (("regret", regrets, 0.01), ("published_error", errors, 0.02)):
            median, high = (float(np.quantile(values, share)) for share in (0.5, 0.95))
            figures[f"noise/{name}_median"] = _figure(median, goal, median <= goal)
            figures[f"noise/{name}_p95"] = _figure(high, None, True)
    for row in by_study["overhead"]:
        for trial, spent in row["ms_at"].items():
            figures[f"overhead/{row['task']}/ms_at_{trial}"] = _figure(spent, 10.0, spent <= 10.0)
    return figures


def _figure(value: float, goal: float | None, ok: bool) -> Row:
    return {"value": round(value, 4), "goal": goal, "ok": ok}
