"""How well the farm farms: real processes on this machine, whole farms in virtual time.

    python -m benchmarks.farm.bench [--quick] [--campaign] [--seed N] [--json FILE|-]

Everything is derived from the seed except wall times and the moments at which processes are killed.
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.farm.cables import network_cuts
from benchmarks.farm.faults import head_deaths, killing, stopping, stuck
from benchmarks.farm.hosts import namespaces_missing
from benchmarks.farm.outputs import fast_but_wrong
from benchmarks.farm.repeat import repeats
from benchmarks.farm.runs import killed_runs, runs_at_once
from benchmarks.farm.sick import sick_processes
from benchmarks.farm.speed import driver_overhead, paced_farm
from benchmarks.farm.virtual import sick_workers, virtual_promises, wide_farms

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much of everything. A minute's worth by `--quick`, hours by `--campaign`."""

    paced_trials: int = 3200
    overhead_trials: int = 20_000
    kills: int = 60
    hangs: int = 12  # of each kind: stopped, looping, deaf to SIGTERM
    heads: int = 2
    cuts: int = 2
    crashes: int = 4
    run_kills: int = 20
    seeds: int = 1000
    sick_seeds: int = 50
    wrong_kernels: int = 500
    wide_cases: int = 6


QUICK = Sizes(
    paced_trials=800,
    overhead_trials=2000,
    kills=10,
    hangs=2,
    heads=0,
    cuts=0,
    crashes=0,
    run_kills=3,
    seeds=200,
    sick_seeds=5,
    wide_cases=1,
)
CAMPAIGN = Sizes(kills=1000, hangs=67, heads=20, cuts=50, crashes=50, run_kills=300, seeds=10_000)


class FarmFigures:
    """Rows as they come, and what they are worth."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.summary: dict[str, Row] = {}

    def add(self, *rows: Row) -> Row:
        """Keep rows; the first of them back."""
        for row in rows:
            self.rows.append(row)
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
        return rows[0]

    def figure(self, name: str, value: float, goal: str, ok: bool) -> None:
        """One line of the summary."""
        self.summary[name] = {"value": round(value, 4), "goal": goal, "ok": bool(ok)}

    def at_most(self, name: str, value: float, limit: float) -> None:
        """A figure that must not be above a limit."""
        self.figure(name, value, f"<= {limit:g}", value <= limit)

    def none(self, name: str, value: int) -> None:
        """A figure that must be zero."""
        self.figure(name, value, "0", value == 0)

    def all_of(self, name: str, value: int, number: int) -> None:
        """A figure that must be everything."""
        self.figure(name, value, str(number), value == number)


def bench_farm(seed: int = 0, quick: bool = False, campaign: bool = False) -> dict[str, Any]:
    """Every figure of docs/farm.md: `{bench, summary, rows}`, a summary entry a figure with its goal.

    `quick` is a minute's worth; `campaign` takes hours and kills by the thousand. Network cuts need root.
    """
    sizes = QUICK if quick else CAMPAIGN if campaign else Sizes()
    figures = FarmFigures()
    _speed(figures, sizes)
    _faults(figures, sizes, seed)
    if sizes.cuts and not (missing := namespaces_missing()):
        cut = figures.add(network_cuts(sizes.cuts, seed))
        figures.at_most("released_after_cut_s", cut["worst_release_s"], 30.0)
        figures.none("lost_or_doubled_by_cuts", cut["lost"] + cut["wrong"] + cut["doubled"])
    elif sizes.cuts:
        figures.add({"task": "cuts", "skipped": missing})
    if sizes.crashes:
        same = figures.add(repeats(sizes.crashes, seed))
        figures.figure("same_for_1_2_8_workers", same["same_for_all_sizes"], "1", same["same_for_all_sizes"])
        figures.all_of("same_after_crash", same["same_after_crash"], sizes.crashes)
    _runs(figures, sizes, seed)
    _sickness(figures, sizes, seed)
    promises = figures.add(virtual_promises(seed, sizes.seeds))
    figures.none("broken_promises", promises["violations"])
    wide = wide_farms(seed, sizes.wide_cases)
    figures.add(*wide)
    first = wide[0]["efficiency"]
    figures.figure("efficiency_1000_simulated", first, ">= 0.9", first >= 0.9)
    if len(wide) > 1:
        figures.figure("efficiency_10000_simulated", wide[1]["efficiency"], "stated", True)
    return {"bench": "farm", "summary": figures.summary, "rows": figures.rows}


def _speed(figures: FarmFigures, sizes: Sizes) -> None:
    calm, dying = paced_farm(workers=16, trials=sizes.paced_trials)
    figures.add(calm, dying)
    figures.figure("efficiency_16_paced", calm["efficiency"], ">= 0.9", calm["efficiency"] >= 0.9)
    figures.at_most("wall_with_10_percent_dying", dying["wall_s"] / calm["wall_s"], 1.15)
    figures.none("wrong_with_10_percent_dying", dying["wrong"])
    overhead = figures.add(driver_overhead(sizes.overhead_trials))
    figures.at_most("driver_ms_per_trial", overhead["driver_ms"], 2.0)


def _faults(figures: FarmFigures, sizes: Sizes, seed: int) -> None:
    killed = figures.add(killing(sizes.kills, random.Random(seed)))
    figures.none("sigkills_lost_or_doubled", killed["wrong"])
    enough = killed["in_flight"] >= 0.3 * sizes.kills
    figures.figure("sigkills_in_flight", killed["in_flight"], ">= 30 %", enough)
    stopped, looped = figures.add(stopping(sizes.hangs)), figures.add(stuck(2 * sizes.hangs))
    figures.at_most(
        "refilled_after_deadline_s", max(stopped["worst_refill_s"], looped["worst_refill_s"]), 2.0
    )
    figures.none("orphans", killed["orphans"] + stopped["orphans"] + looped["orphans"])
    if sizes.heads:
        heads = figures.add(head_deaths(sizes.heads))
        figures.all_of("finished_after_head_death", heads["finished"], heads["deaths"])


def _runs(figures: FarmFigures, sizes: Sizes, seed: int) -> None:
    killed = figures.add(killed_runs(sizes.run_kills, max(1, sizes.run_kills // 10), seed))
    figures.all_of("runs_same_after_kill", killed["same"], sizes.run_kills)
    together = [runs_at_once(runs, networks, seed) for runs in (2, 4, 8) for networks in (1, runs)]
    figures.add(*together)
    figures.none("runs_at_once_failed", sum(row["failed"] for row in together))
    figures.none("trials_lost_or_doubled_at_once", sum(row["lost"] + row["doubled"] for row in together))


def _sickness(figures: FarmFigures, sizes: Sizes, seed: int) -> None:
    rows = [sick_workers(seed, sizes.sick_seeds), sick_processes()]
    figures.add(*rows)
    figures.at_most("measured_until_quarantine", max(row["measured"] for row in rows), 20)
    figures.all_of("quarantined", rows[1]["quarantined"], 2)
    figures.at_most("regret_with_sick_worker", max(row["regret"] for row in rows), 0.01)
    figures.at_most("published_error_with_sick_worker", max(row["published"] for row in rows), 0.02)
    wrong = figures.add(fast_but_wrong(sizes.wrong_kernels, seed))
    figures.all_of("fast_but_wrong_refused", wrong["refused"], wrong["wrong"])
    figures.none("right_refused", wrong["right_refused"])


def main(say: Callable[[str], None] = print) -> int:
    """Print the table, or write JSON. 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--campaign", action="store_true")
    parser.add_argument("--json", default="")
    asked = parser.parse_args()
    result = bench_farm(asked.seed, asked.quick, asked.campaign)
    text = json.dumps(result, indent=1)
    if asked.json == "-":
        say(text)
    else:
        if asked.json:
            Path(asked.json).write_text(text + "\n")
        for name, entry in result["summary"].items():
            say(f"{name:36} {entry['value']:>12} goal {entry['goal']:10} {'ok' if entry['ok'] else 'MISSED'}")
    return 0 if all(entry["ok"] for entry in result["summary"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
