"""The search bench: trials until a Config is within 5 % of the optimum, beside peers on the same tasks.

Tasks are the fixed kernels of kernel_tasks.py on skewed chips (`nominal` adds the unskewed ones), recorded
tables, and layers on tools that others wrote (strangers/). Rows are keyed (task, method, seed), a
task's name ending in its chip; they hold the improvements of a run, so that every figure is computed from
rows alone. With a file of rows a broken run goes on where it ended.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.journal import Journal
from benchmarks.search.ablations import ABLATIONS
from benchmarks.search.arena import SearchArena, case_arena
from benchmarks.search.curves import draw_curves
from benchmarks.search.figures import CLOSE, summary_of, trials_to, verdict
from benchmarks.search.ground_truth import Truth, truth_of
from benchmarks.search.kernel_tasks import CASES, QUICK, Case
from benchmarks.search.methods import ALL, DRAFT, OWN, PEERS, SEEDS_OF, WITH_PRIOR, run_method
from benchmarks.search.peers.community import ChanceScale
from benchmarks.search.peers.kernel_tuner_peer import KERNEL_TUNER, kernel_tuner_python
from benchmarks.search.peers.others_peer import OTHERS, others_python
from benchmarks.search.silicon.recorded import HOST, silicon_tasks
from benchmarks.search.strangers.draft import vela_draft
from benchmarks.search.strangers.recorded import space_file, tables, tool_named
from benchmarks.search.studies import PRIORS, STUDIES, Records, searched, study_figures, study_row
from tilewright.compiler_core.errors import UsageError
from tilewright.compiler_core.target_model.file import load_target
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.measure.recorded.replay import ReplayDevice, SpaceTask, load_t4
from tilewright.search_space.moves import enumerate_rows
from tilewright.search_space.t1 import load_t1
from tilewright.tuner.kernel.prior import table_records
from tilewright.tuner.kernel.problem import Problem

TRAINED = ("metaschedule", "metaschedule_16", "pattern_search", "pattern_search_32")
BUDGET, REPLAY_BUDGET, QUICK_BUDGET = 256, 400, 128
SEEDS, QUICK_SEEDS = 10, 2
SILICON_METHODS = (
    OWN,
    "no_draft",
    *(name + end for name in ("random", "tpe", *TRAINED) for end in ("", DRAFT)),
)
QUICK_METHODS = (OWN, "random", "metaschedule", "metaschedule+draft")
KEY = ("task", "method", "seed", "budget")
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class SearchTask:
    """What is searched, its optimum, and with what; `prior` gives the records that a method starts from, and
    `table` is a recorded one that holds the whole space.
    """

    arena: SearchArena
    truth: Truth
    budget: int
    methods: Sequence[str]
    prior: Callable[[str], Records] = lambda method: ()
    table: ReplayDevice | None = None

    @cached_property
    def scale(self) -> ChanceScale | None:
        """For the community's score; None without a table."""
        if self.table is None:
            return None
        space = self.arena.problem.space
        rows = enumerate_rows(space)
        assert rows is not None, "the space of a table is small"
        answers = self.table.measure(self.arena.problem.task, [space.decode(row) for row in rows])
        return ChanceScale(np.array([answer.latency_us or np.nan for answer in answers]), self.budget)


def bench_search(
    replay: Sequence[Path] = (),
    space: Path | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    seeds: int | None = None,
    nominal: bool = False,
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    journal: Path | None = None,
    curves: Path | None = None,
    device: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run every method on every task with `seeds` seeds from `seed` on; figures, rows and a verdict.

    `tasks` and `methods` choose by name (a part of a task's name will do). Rows that are in `journal`, a
    file, are not run again; new ones are added to it as they come. `curves` is a folder for pictures. With a
    `device` the tasks are the layers of that tool.
    """
    count = seeds if seeds is not None else QUICK_SEEDS if quick else SEEDS
    done, rows = Journal(journal, {}, key=KEY), []
    chosen = (
        _tasks(replay, space, quick, nominal, tasks, methods, say)
        if device is None
        else _silicon(tasks, methods, say)
        if device == HOST
        else _layers(device, quick, tasks, methods)
    )
    for task in chosen:
        for method in task.methods:
            runs = range(seed, seed + min(count, SEEDS_OF.get(method, count)))
            found = [_row(done, task, method, number) for number in runs]
            if method not in STUDIES:
                say(_line(found))
            rows += found
    race = [row for row in rows if row["method"] not in STUDIES]
    if curves is not None:
        draw_curves(race, curves)
    say(verdict(race))
    summary = summary_of(race) | study_figures(rows)
    kernels = [] if device else [row["task"] for row in rows]
    targets = sorted({name.split("/")[0] for name in kernels if "/" in name})
    digests = {name: load_target(name).digest for name in targets}
    return {"bench": "search", "targets": digests, "summary": summary, "rows": rows}


def run_row(task: SearchTask, method: str, seed: int) -> Row:
    """One run: its improvements as [trial, latency in us], and its processor time less that of measuring."""
    key = {
        "task": task.arena.key,
        "method": method,
        "seed": seed,
        "budget": task.budget,
        "optimum_us": task.arena.optimum_us,
        "optimum_trials": task.truth.trials,
        "exhaustive": task.truth.exhaustive,
    }
    if method in STUDIES:
        return key | study_row(task.arena, method, seed, task.budget)
    # Made once a task, so that their time is no method's.
    prior, _ = task.prior(method), task.arena.drafted
    task.arena.measuring_s = 0.0
    start = time.thread_time()
    latencies = run_method(task.arena, method, seed, task.budget, prior)
    spent = time.thread_time() - start - task.arena.measuring_s
    best = np.fmin.accumulate(np.where(np.isfinite(latencies), latencies, np.inf))
    steps = np.flatnonzero(best < np.concatenate([[np.inf], best[:-1]]))
    improvements = [[int(index) + 1, float(best[index])] for index in steps]
    scored = {} if task.scale is None else {"score": round(task.scale.score(improvements), 4)}
    return key | {
        "trials": len(latencies),
        "improvements": improvements,
        "ms_per_trial": round(spent / max(1, len(latencies)) * 1e3, 3),
        **scored,
    }


def _tasks(
    replay: Sequence[Path],
    space: Path | None,
    quick: bool,
    nominal: bool,
    names: Sequence[str],
    methods: Sequence[str],
    say: Callable[[str], None],
) -> Iterator[SearchTask]:
    """The fixed kernels, unless tables are given and none is named; then the tables."""
    if replay and space is None:
        raise UsageError("--replay needs the T1 file of its space; give --space")
    known = _named(methods)
    if not replay or names:
        chosen = known if methods else QUICK_METHODS if quick else known
        kernels_have = [name for name in chosen if name not in ("prior", "transfer", *KERNEL_TUNER, *OTHERS)]
        yield from _kernels(quick, nominal, names, kernels_have)
    if replay and space is not None:
        if not quick and kernel_tuner_python() is None and {*known} & {*KERNEL_TUNER}:
            say("Kernel Tuner's strategies are left out: `make kernel-tuner` installs them")
        yield from _tables(replay, space, quick, known)


def _named(methods: Sequence[str]) -> list[str]:
    """The methods of these names, all without one; UsageError lists them."""
    everything = (*ALL, *KERNEL_TUNER, *OTHERS, *WITH_PRIOR, *STUDIES)
    if unknown := sorted({*methods} - {*everything}):
        raise UsageError(f"method {unknown[0]!r} is unknown; choose from {', '.join(everything)}")
    return [name for name in everything if not methods or name in methods]


def _layers(device: str, quick: bool, names: Sequence[str], methods: Sequence[str]) -> Iterator[SearchTask]:
    """The layers of a tool, from its recorded answers; its Configs that are not valid fail when asked."""
    tool = tool_named(device)
    space = load_t1(space_file(tool))
    usual = QUICK_METHODS if quick else (*ALL, *KERNEL_TUNER, *OTHERS)
    recorded = list(tables(tool))
    blind = Problem(SpaceTask(space), space)
    problems = [
        Problem(SpaceTask(space), space, draft_log=vela_draft(layer, space) if device == "vela" else None)
        for layer in tool.layers
    ]
    known: dict[int, TaskRecords] = {}

    def transferred(at: int) -> Records:
        """Of three other layers, of another accelerator where there is one."""
        others = [(at + step) % len(tool.layers) for step in range(1, len(tool.layers))]
        here = tool.layers[at].accelerator
        others.sort(key=lambda other: tool.layers[other].accelerator == here)
        for other in others[:3]:
            if other not in known:
                known[other] = searched(recorded[other].name, problems[other], recorded[other])
        return tuple(known[other] for other in others[:3])

    for at, (layer, table, problem) in enumerate(zip(tool.layers, recorded, problems, strict=True)):
        if names and not any(name in layer.name for name in names):
            continue
        draft = problem.draft_log
        chosen = [
            name
            for name in (_named(methods) if methods else usual)
            if name not in ("warm", "unseen", *STUDIES)
            and (name not in KERNEL_TUNER or kernel_tuner_python())
            and (name not in OTHERS or others_python())
            and (draft or not (name.endswith(DRAFT) or name in ("no_draft", "draft_only")))
        ]
        arena = SearchArena(f"{device}/{layer.name}", problem, table, table.optimum_us)
        others = [other for other in recorded if other is not table and _alike(other, table)]
        prior = tuple(table_records(blind, other) for other in others) if "prior" in chosen else ()
        truth = Truth(table.optimum_us, True, len(table.table))
        given = partial(_layer_prior, prior, partial(transferred, at))
        yield SearchTask(arena, truth, BUDGET, chosen, given, table)


def _layer_prior(whole: Records, transferred: Callable[[], Records], method: str) -> Records:
    return transferred() if method == "transfer" else whole


def _silicon(
    names: Sequence[str], methods: Sequence[str], say: Callable[[str], None]
) -> Iterator[SearchTask]:
    """Kernels whose rows were measured on a CPU."""
    chosen = _named(methods) if methods else list(SILICON_METHODS)
    for task in silicon_tasks(names):
        arena = SearchArena(f"{HOST}/{task.name}", task.problem, task.table, task.table.optimum_us)
        say(
            f"{arena.key:<48} {len(task.table.table)} rows, rank correlation of draft and silicon "
            f"{task.rank_correlation}"
        )
        yield SearchTask(arena, Truth(task.table.optimum_us, True, len(task.table.table)), BUDGET, chosen)


def _alike(other: ReplayDevice, table: ReplayDevice) -> bool:
    """Whether two layers ran on the same accelerator of a tool."""
    return (
        other.name.partition("_conv")[0].partition("_dw")[0]
        == table.name.partition("_conv")[0].partition("_dw")[0]
    )


def _kernels(
    quick: bool, nominal: bool, names: Sequence[str], methods: Sequence[str]
) -> Iterator[SearchTask]:
    for case in CASES:
        if not any(name in case.key for name in names) if names else quick and case.key not in QUICK:
            continue
        for chip in ("skewed", "nominal") if nominal else ("skewed",):
            truth = truth_of(case, chip)
            arena = case_arena(case, nominal=chip == "nominal")
            arena.key, arena.optimum_us = f"{case.key}/{chip}", truth.latency_us
            budget = QUICK_BUDGET if quick else BUDGET
            yield SearchTask(arena, truth, budget, methods, partial(_prior_of, case))


def _tables(replay: Sequence[Path], space: Path, quick: bool, methods: Sequence[str]) -> Iterator[SearchTask]:
    """Recorded tables: no draft, so neither its ablations nor peers that start from it."""
    tuned = load_t1(space)
    tables = {table.name: table for table in (load_t4(path, tuned) for path in replay)}
    problem = Problem(SpaceTask(tuned), tuned)
    chosen = [
        name
        for name in methods
        if name in (OWN, "prior", *ABLATIONS, *PEERS, *_kernel_tuner(quick), *_others(quick))
        and name not in ("no_draft", "draft_only")
    ]
    for name, table in tables.items():
        others = [other for other in tables.values() if other is not table]
        prior = [table_records(problem, other) for other in others] if "prior" in chosen else []
        usable = [name for name in chosen if name != "prior" or others]
        budget = QUICK_BUDGET if quick else REPLAY_BUDGET
        yield SearchTask(
            SearchArena(name, problem, table, table.optimum_us),
            Truth(table.optimum_us, True, len(table.table)),
            budget,
            usable,
            partial(_given, tuple(prior)),
            table,
        )


def _kernel_tuner(quick: bool) -> Sequence[str]:
    """Its strategies, where it is installed and there is time for them."""
    return () if quick or kernel_tuner_python() is None else KERNEL_TUNER


def _others(quick: bool) -> Sequence[str]:
    return () if quick or others_python() is None else OTHERS


def _prior_of(case: Case, method: str) -> Records:
    return PRIORS[method](case) if method in PRIORS else ()


def _given(records: Records, method: str) -> Records:
    return records


def _row(done: Journal, task: SearchTask, method: str, seed: int) -> Row:
    """From the journal, where it has a run of as many trials."""
    key = {"task": task.arena.key, "method": method, "seed": seed, "budget": task.budget}
    row = done.row(key)
    if row is None:
        row = run_row(task, method, seed)
        done.add(row)
    return row


def _line(rows: Sequence[Row]) -> str:
    """One method on one task: mean trials to 5 %, and in how many runs that was reached."""
    needed = [trials_to(row, CLOSE) for row in rows]
    mean = np.mean([row["budget"] if n is None else n for n, row in zip(needed, rows, strict=True)])
    reached = sum(n is not None for n in needed)
    name, method = rows[0]["task"], rows[0]["method"]
    return f"{name:<48} {method:<24} T(5%) {mean:6.1f}  reached {reached}/{len(rows)}"
