"""Every method of the search bench by name: our own search, the peers, and either with one thing changed.

tilewright              as it ships
tpe, cma_es, ...        peers as they come
tpe+draft, ...          the same with the 8 best drafts measured first
kernel_tuner/...        strategies of Kernel Tuner, on recorded tables
smac, pyatf             SMAC3 and pyATF, on recorded tables and layers of other tools
no_draft, no_polish...  our own with one part taken out
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.search.ablations import ABLATIONS, Search, ablated
from benchmarks.search.arena import SearchArena
from benchmarks.search.peers.chance import Chance
from benchmarks.search.peers.kernel_tuner_peer import KERNEL_TUNER, run_strategy
from benchmarks.search.peers.metaschedule import MetaSchedule, PolicySettings
from benchmarks.search.peers.optuna_peer import cma_es, gaussian, nsga2, tpe
from benchmarks.search.peers.others_peer import OTHERS, run_other
from benchmarks.search.peers.pattern_search import PatternSearch, PatternSettings
from benchmarks.search.peers.peer import Peer, run_peer
from tilewright.cost_model.learned.residual import TaskRecords
from tilewright.tuner.kernel.problem import Floats, Problem
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.search import KernelSearch

OWN = "tilewright"
DRAFT = "+draft"
BASELINE = "metaschedule"
MakePeer = Callable[[Problem, int], Peer]

PEERS: Mapping[str, MakePeer] = {
    "random": lambda problem, seed: Chance(problem.space, seed),
    "tpe": lambda problem, seed: tpe(problem.space, seed),
    "cma_es": lambda problem, seed: cma_es(problem.space, seed),
    "nsga2": lambda problem, seed: nsga2(problem.space, seed),
    "metaschedule": MetaSchedule,
    "metaschedule_16": lambda problem, seed: MetaSchedule(
        problem, seed, PolicySettings(batch=16, warm_up=32)
    ),
    "pattern_search": PatternSearch,
    "pattern_search_32": lambda problem, seed: PatternSearch(
        problem, seed, PatternSettings(initial_population=32, selected=0.02)
    ),
    **(
        {"gp": lambda problem, seed: gaussian(problem.space, seed)}
        if importlib.util.find_spec("torch")
        else {}
    ),
}
SEEDS_OF: Mapping[str, int] = {"gp": 3, "gp+draft": 3}
"""Methods that are too slow for all seeds."""
ALL: tuple[str, ...] = (OWN, *PEERS, *(name + DRAFT for name in PEERS), *ABLATIONS)


WITH_PRIOR = ("prior", "warm", "unseen", "transfer")
"""Our own search with records of others: of other tables, sibling shapes, other targets, other layers."""


def run_method(
    arena: SearchArena, method: str, seed: int, budget: int, prior: Sequence[TaskRecords] = ()
) -> Floats:
    """Latencies of up to `budget` trials of `method`, microseconds in order, NaN where one failed."""
    if method in KERNEL_TUNER:
        return run_strategy(arena, method, seed, budget)
    if method in OTHERS:
        return run_other(arena, method, seed, budget)
    problem, none = arena.problem, np.empty((0, len(arena.problem.space.knobs)), dtype=np.int32)
    name = method.removesuffix(DRAFT)
    if name in PEERS:
        start = arena.drafted if method.endswith(DRAFT) else none
        return run_peer(arena, PEERS[name](problem, seed), budget, start)
    search = ablated(method, Search(problem)) if method in ABLATIONS else Search(problem)
    if method == "prior":  # records of tables know of no draft
        search = ablated("no_draft", search)
    run = f"bench/{seed}"
    model = RunModel(run, search.model)
    if method in WITH_PRIOR:
        model.set_prior(search.problem, tuple(prior))
    own = KernelSearch(search.problem, run, model, search.settings)
    latencies: list[float] = []
    while len(latencies) < budget and np.log(np.nanmin([*latencies, np.inf])) > arena.enough_log:
        configs = own.ask(min(budget - len(latencies), own.batch_size))
        if not configs:
            break
        trials = own.trials_of(arena.measure(search.problem.task, configs))
        own.tell(trials)
        latencies += [trial.measurement.latency_us or np.nan for trial in trials]
    return np.array(latencies)
