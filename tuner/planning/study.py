"""The Optuna study of a network's knobs: nothing is measured, the best promise wins."""

from collections.abc import Callable

import optuna
from optuna.samplers import TPESampler

from tilewright.tuner.planning.graph_knobs import GraphKnobs, default_trial


def best_knobs(
    ask: Callable[[optuna.Trial], GraphKnobs], promised: Callable[[GraphKnobs], float], count: int, seed: int
) -> GraphKnobs:
    """The knobs of lowest promise among `count` trials, at least one; the first has those of no study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=TPESampler(seed=seed))
    study.enqueue_trial(default_trial())
    best: tuple[float, GraphKnobs] | None = None
    for _ in range(count):
        trial = study.ask()
        knobs = ask(trial)
        promise = promised(knobs)
        study.tell(trial, promise)
        if best is None or promise < best[0]:
            best = promise, knobs
    assert best is not None, "one trial at least"
    return best[1]
