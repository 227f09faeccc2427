"""The outlook bench: is what a search says of its own regret true, on devices that it knows nothing of?

    tune bench outlook                  every known search judged by those of all other devices, in a minute
    tune bench outlook MODEL ...        networks to their stop; then another seed and twice the trials
    tune bench outlook --record         the known searches anew, from the tasks of `tune bench search`

Known searches end at an optimum that is exact for tables of whole spaces; of other kernels it is the lowest
latency of any run. Nothing is fitted here but what the known searches show.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.journal import Journal
from benchmarks.search.bench import bench_search
from benchmarks.search.figures import with_best_known
from benchmarks.search.methods import OWN
from tilewright.tuner.kernel.stopping import StopReason, StopRule, settled
from tilewright.tuner.outlook.course import LENGTH, Course, Floats, write_courses
from tilewright.tuner.outlook.courses import Courses, shipped_courses
from tilewright.tuner.outlook.outlook import Outlook
from tilewright.tuner.outlook.shown import Shown, gain_of
from tilewright.tuner.request import REGRET
from tilewright.tuner.verbs.tune import tune

STRANGERS = ("vela", "zigzag", "convolution")
"""The first words of sources that this project did not write."""
LOOKS = range(16, LENGTH, 8)
"""Trials after which a known search is asked whether it would stop."""
PRICED = (4, 8, 16, 40, 100)
"""Trials a kernel whose regret is foretold before the first of them."""
KERNELS = 6
"""Of a network put together of known searches."""
NETWORKS = 40
LIVE_TRIALS = 1024
Row = dict[str, Any]


def bench_outlook(
    models: Sequence[Path] = (),
    *,
    target: str = "ascend910",
    trials: int = LIVE_TRIALS,
    record: bool = False,
    quick: bool = False,
    seed: int = 0,
    seeds: int = 2,
    journal: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Rows and figures; with `record` the courses that ship with the program are written anew first."""
    if record:
        write_courses(recorded_courses(seeds, journal, quick=quick))
        shipped_courses.cache_clear()
    if models:
        done = Journal(journal, {"trials": trials}, key=("task", "target", "seed"))
        rows = [_live(done, model, target, seed + at, trials) for model in models for at in range(seeds)]
        for row in rows:
            say(_line(row))
        return {"bench": "outlook", "summary": _stop_figures("networks", rows), "rows": rows}
    known = shipped_courses().each
    stops, prices = [], []
    for source in sorted({course.source for course in known})[: 2 if quick else None]:
        others = Courses([course for course in known if course.source != source])
        own = [course for course in known if course.source == source]
        stops += [stop_row(course, others) for course in own[: 4 if quick else None]]
        prices += price_rows(source, own, others)
        say(_line(stops[-1]))
    strange = [row for row in stops if row["task"].startswith(STRANGERS)]
    summary = _stop_figures("stop", stops) | _stop_figures("stop/strangers", strange)
    return {"bench": "outlook", "summary": summary | _price_figures(prices), "rows": stops + prices}


def seen_of(course: Course, trials: int, best: float = 1.0) -> Shown:
    """What a known search had shown after so many trials."""
    values = np.where(course.regret_log < course.regret_log[0], np.exp(course.regret_log), np.inf)
    gain_log = gain_of(values[1 : trials + 1])
    return Shown(course.drafted, trials, int(course.since_best[trials]), gain_log, best=best)


def stop_row(course: Course, others: Courses) -> Row:
    """When the rule of -O3 would have stopped a known search, judged by `others`, and what was left then."""
    rule = StopRule(LENGTH, regret=REGRET)
    for trials in LOOKS:
        seen = seen_of(course, trials)
        if settled(rule, trials, seen.since_best):
            outlook = Outlook(others, [seen])
            if outlook.within(REGRET) >= rule.confidence:
                stated, left = outlook.band(), float(np.expm1(course.regret_log[trials]))
                return _stop_row(course.source, trials, LENGTH, left, stated.expected, stopped=True)
    left = float(np.expm1(course.regret_log[LENGTH]))
    return _stop_row(course.source, LENGTH, LENGTH, left, None, stopped=False)


def _stop_row(
    task: str, trials: int, budget: int, left: float, stated: float | None, *, stopped: bool
) -> Row:
    return {
        "task": task,
        "trials": trials,
        "budget": budget,
        "stopped": stopped,
        "left": left,
        "stated": stated,
    }


def price_rows(source: str, own: Sequence[Course], others: Courses) -> list[Row]:
    """The regret foretold before a measurement, of kernels and of networks of a device, and what came.

    Networks are drawn from devices of which many kernels are known.
    """
    rows = []
    for drafted in sorted({course.drafted for course in own}):
        alike = np.stack([course.regret_log for course in own if course.drafted == drafted])
        rng = np.random.default_rng(0)
        rows += _priced(source, drafted, np.arange(len(alike))[:, None], np.ones(1), alike, others)
        if len(alike) >= 2 * KERNELS:
            chosen, weights = rng.integers(0, len(alike), (NETWORKS, KERNELS)), rng.normal(0.0, 1.0, KERNELS)
            rows += _priced(source, drafted, chosen, np.exp(weights), alike, others)
    return rows


def _priced(
    source: str,
    drafted: bool,
    networks: npt.NDArray[np.int64],
    weights: Floats,
    regret_log: Floats,
    others: Courses,
) -> list[Row]:
    """Rows for `networks` [n, kernels] of the searches `regret_log` [searches, LENGTH + 1]."""
    told = Outlook(others, [Shown(drafted, best=float(weight)) for weight in weights])
    rows = []
    for trials in PRICED:
        band = told.band(trials)
        for came in np.exp(regret_log[networks, trials]) @ weights / weights.sum() - 1.0:
            covered = bool(band.low - 1e-9 <= came <= band.high + 1e-9)
            row = {"task": source, "kernels": len(weights), "trials": trials, "came": float(came)}
            rows.append(row | {"expected": band.expected, "covered": covered, "width": band.high - band.low})
    return rows


def recorded_courses(seeds: int, journal: Path | None, *, quick: bool = False) -> list[Course]:
    """Courses of our own search on layers of other tools, with and without a draft, and on skewed chips."""
    rows: list[Row] = []
    for device in ("vela", "zigzag", None):
        methods = (OWN, "no_draft") if device == "vela" else (OWN,)
        found = bench_search(
            device=device, methods=methods, seeds=seeds, journal=journal, quick=quick, say=lambda line: None
        )
        rows += with_best_known(found["rows"])
    return [
        Course.of(
            source_of(row["task"]),
            row["method"] == OWN and not row["task"].startswith("zigzag"),
            row["improvements"],
            row["trials"],
            row["optimum_us"],
        )
        for row in rows
    ]


def source_of(task: str) -> str:
    """The device of a task of `tune bench search`: its tool and accelerator, or its target and chip."""
    first, _, rest = task.partition("/")
    if first in STRANGERS:
        return f"{first} {rest.partition('_conv')[0].partition('_dw')[0]}"
    return f"{first} {rest.rpartition('/')[2]}" if rest else first


def _live(done: Journal, model: Path, target: str, seed: int, trials: int) -> Row:
    """A network to its stop, and the answer of another seed with twice the trials that took."""
    key = {"task": model.stem, "target": target, "seed": seed}
    row = done.row(key)
    if row is None:
        with TemporaryDirectory() as folder:
            stopped = _tuned(model, target, Path(folder) / "stopped.db", trials, seed, REGRET)
            rival = _tuned(model, target, Path(folder) / "rival.db", 2 * stopped.trials, seed + 1000, None)
        best = min(stopped.sum_of_kernels_us, rival.sum_of_kernels_us)
        left = stopped.sum_of_kernels_us / best - 1.0
        early = stopped.stop_reason == StopReason.REGRET
        row = key | _stop_row(
            model.stem, stopped.trials, trials, left, stopped.regret_estimate, stopped=early
        )
        done.add(row)
    return row


def _tuned(model: Path, target: str, database: Path, trials: int, seed: int, regret: float | None) -> Any:
    return tune(
        model,
        target,
        trials=trials,
        seed=seed,
        regret=regret,
        database=database,
        ray="none",
        on_event=lambda event: None,
    )


def _stop_figures(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Of the runs that stopped, how many were within what was asked for; what all of them saved."""
    stopped = [row for row in rows if row["stopped"]]
    if not stopped:
        return {f"{name}/stopped": _figure(0.0, None, True)}
    covered = float(np.mean([row["left"] <= REGRET + 1e-9 for row in stopped]))
    saved = float(np.mean([1.0 - row["trials"] / row["budget"] for row in rows]))
    return {
        f"{name}/runs": _figure(len(rows), None, True),
        f"{name}/stopped": _figure(len(stopped) / len(rows), None, True),
        f"{name}/coverage": _figure(covered, 0.95, covered >= 0.95),
        f"{name}/saved": _figure(saved, 0.3, saved >= 0.3),
        f"{name}/left_mean": _figure(float(np.mean([row["left"] for row in stopped])), None, True),
        f"{name}/stated_mean": _figure(float(np.mean([row["stated"] for row in stopped])), None, True),
    }


def _price_figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Coverage of the 90 % bands, each device weighing the same, and their width."""
    figures = {}
    for kernels in (1, KERNELS):
        name = "price/kernel" if kernels == 1 else f"price/network_of_{kernels}"
        part = [row for row in rows if row["kernels"] == kernels]
        sources = sorted({row["task"] for row in part})
        each = [np.mean([row["covered"] for row in part if row["task"] == source]) for source in sources]
        covered = float(np.mean(each))
        figures[f"{name}/coverage"] = _figure(covered, 0.88, covered >= 0.88)
        for trials in PRICED:
            at = [row for row in part if row["trials"] == trials]
            for what in ("came", "expected", "width"):
                value = float(np.median([row[what] for row in at]))
                figures[f"{name}/{what}_at_{trials}"] = _figure(value, None, True)
    return figures


def _line(row: Row) -> str:
    stated = "-" if row["stated"] is None else f"{row['stated']:.2%}"
    ended = "stopped" if row["stopped"] else "budget"
    return f"{row['task']:<40} {ended:<8} {row['trials']:>5} trials  left {row['left']:.2%}  stated {stated}"


def _figure(value: float, goal: float | None, ok: bool) -> Row:
    return {"value": round(value, 4), "goal": goal, "ok": ok}
