"""The allocator bench: trials until a network is near its best known, by who shares the budget out.

Networks are put together of searches whose whole course is known (tilewright/tuner/outlook): several kernels
of one device, with counts and times drawn. What a kernel's next batch would bring is then on record, so that
every allocator plays the same game, without a search, and an oracle that sees the courses says what could
be won. A network takes its bounds at 30 to 90 % of the optima, as those of the simulator's targets are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from benchmarks.networks.schedulers import gradient, round_robin
from benchmarks.search.figures import RESAMPLED
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.network.scheduler import Standing, matters, next_task
from tilewright.tuner.outlook.course import LENGTH, WORST_LOG, Course, Floats
from tilewright.tuner.outlook.courses import shipped_courses

KERNELS = 10
NETWORKS, QUICK_NETWORKS = 20, 2
"""Of each device."""
FEWEST = 12
"""Known searches that a device needs to make networks of."""
REGRETS = (0.02, 0.01, 0.005)
GOALS = {"gradient": 0.8, "round_robin": 0.7}
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class KnownNetwork:
    """Kernels with their courses, how often each runs, and its optimum and bound in us."""

    device: str
    courses: Sequence[Course]
    counts: Floats
    optima_us: Floats
    bounds_us: Floats


Allocate: TypeAlias = Callable[[KnownNetwork, Sequence[Standing]], int | None]


def oracle(network: KnownNetwork, standings: Sequence[Standing]) -> int | None:
    """The kernel whose course brings most per trial, over as many of its trials as that is best for."""
    gains = [
        _best_rate(network, at, standing.trials) if standing.open else -1.0
        for at, standing in enumerate(standings)
    ]
    best = int(np.argmax(gains))
    return best if standings[best].open else None


ALLOCATORS: dict[str, Allocate] = {
    "tilewright": lambda network, standings: next_task(standings),
    "gradient": lambda network, standings: gradient(standings),
    "round_robin": lambda network, standings: round_robin(standings),
    "oracle": oracle,
}


LOOKING = ("tilewright", "oracle")
"""Those that give a small kernel one trial before its first batch; it is a part of ours."""


def bench_allocator(
    *, quick: bool = False, seed: int = 0, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trials to within REGRETS of the best known network, of each allocator on the same networks."""
    rows: list[Row] = []
    for number in range(QUICK_NETWORKS if quick else NETWORKS):
        for network in known_networks(seed + number):
            key = {"task": network.device, "seed": seed + number}
            for name, choose in ALLOCATORS.items():
                rows.append(key | {"method": name, **played(network, choose, looks=name in LOOKING)})
    for name in ALLOCATORS:
        mine = [row["trials"] for row in rows if row["method"] == name]
        say(f"{name:<12} trials to 2, 1, 0.5 %: {np.round(np.mean(mine, axis=0)).astype(int).tolist()}")
    return {"bench": "allocator", "summary": _figures(rows), "rows": rows}


def known_networks(seed: int) -> list[KnownNetwork]:
    """One of each device that enough searches are known of, with and without a draft."""
    made = []
    kinds = sorted({(course.source, course.drafted) for course in shipped_courses().each})
    for source, drafted in kinds:
        own = [each for each in shipped_courses().each if (each.source, each.drafted) == (source, drafted)]
        if len(own) >= FEWEST:
            rng = np.random.default_rng([seed, len(own)])
            optima_us = np.exp(rng.normal(0.0, 1.0, KERNELS))
            name = f"{source}, {'drafted' if drafted else 'blind'}"
            chosen = [own[at] for at in rng.integers(0, len(own), KERNELS)]
            counts = rng.integers(1, 7, KERNELS).astype(np.float64)
            bounds_us = optima_us * rng.uniform(0.3, 0.9, KERNELS)
            made.append(KnownNetwork(name, chosen, counts, optima_us, bounds_us))
    return made


def played(network: KnownNetwork, choose: Allocate, *, looks: bool) -> Row:
    """The trials that it took to each of REGRETS; a kernel's course ends at LENGTH, a game when all have.

    With `looks` a small kernel has its first look before its first batch.
    """
    settings, kernels = SearchSettings(), len(network.courses)
    done, bests = [0] * kernels, [list[float]() for _ in range(kernels)]
    reached: list[int] = []
    while len(reached) < len(REGRETS):
        standings = [_standing(network, at, done[at], bests[at]) for at in range(kernels)]
        at = choose(network, standings)
        if at is None:
            break
        blind = not network.courses[at].drafted
        small = looks and not matters(standings)[at]
        size = settings.network_batch if small else settings.batch_size
        done[at] = min(LENGTH, done[at] + size(done[at], blind=blind))
        bests[at].append(_best_us(network, at, done[at]))
        best = np.array([_best_us(network, each, done[each]) for each in range(kernels)])
        left = float(network.counts @ best / (network.counts @ network.optima_us)) - 1.0
        reached += [sum(done)] * sum(left <= regret for regret in REGRETS[len(reached) :])
    return {"trials": reached + [kernels * LENGTH] * (len(REGRETS) - len(reached))}


def _standing(network: KnownNetwork, at: int, done: int, bests: Sequence[float]) -> Standing:
    best, count, bound = _best_us(network, at, done), int(network.counts[at]), float(network.bounds_us[at])
    return Standing(count, best if np.isfinite(best) else None, bound, done, done < LENGTH, tuple(bests))


def _best_us(network: KnownNetwork, at: int, done: int) -> float:
    """Infinite before the first success."""
    regret_log = network.courses[at].regret_log[done]
    return float(network.optima_us[at] * np.exp(regret_log)) if regret_log < WORST_LOG else float("inf")


def _best_rate(network: KnownNetwork, at: int, done: int) -> float:
    regret = np.exp(network.courses[at].regret_log)
    ahead = np.arange(done + 1, LENGTH + 1)
    return float(
        network.counts[at] * network.optima_us[at] * ((regret[done] - regret[ahead]) / (ahead - done)).max()
    )


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Our trials over those of each other allocator: the geometric mean over devices, its interval over
    networks.
    """
    devices = sorted({row["task"] for row in rows})
    trials = {
        name: np.array(
            [
                [row["trials"] for row in rows if (row["task"], row["method"]) == (device, name)]
                for device in devices
            ]
        )
        for name in ALLOCATORS
    }
    rng, figures = np.random.default_rng(0), {}
    for name in list(ALLOCATORS)[1:]:
        for at, regret in enumerate(REGRETS):
            ours, theirs = trials["tilewright"][:, :, at], trials[name][:, :, at]
            value = _ratio(ours, theirs)
            drawn = rng.integers(0, ours.shape[1], (RESAMPLED, ours.shape[1]))
            ratios = [_ratio(ours[:, some], theirs[:, some]) for some in drawn]
            low, high = (float(end) for end in np.quantile(ratios, [0.025, 0.975]))
            goal = GOALS.get(name) if regret == 0.01 else None
            figures[f"over_{name}/to_{regret:g}"] = {
                "value": round(value, 3),
                "goal": goal,
                "ok": goal is None or (value <= goal and high < 1.0),
                "interval": [round(low, 3), round(high, 3)],
            }
    return figures


def _ratio(ours: Floats, theirs: Floats) -> float:
    return float(np.exp(np.mean(np.log(ours.mean(axis=1) / theirs.mean(axis=1)))))
