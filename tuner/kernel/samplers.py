"""Optuna's own samplers by name, for `--sampler`: the same loop and rules, another source of Configs."""

import importlib.util
import warnings
from collections.abc import Callable

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from tilewright.compiler_core.errors import UsageError
from tilewright.tuner.kernel.search import SamplerFactory

OWN = "tilewright"


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _tpe(seed: int) -> BaseSampler:
    return _quiet(lambda: TPESampler(seed=seed, multivariate=True))


def _cmaes(seed: int) -> BaseSampler:
    # Knobs are integers: the margin keeps the search from freezing on one value. Knobs without an order go to
    # the independent sampler, which needs no warning per trial.
    return _quiet(lambda: CmaEsSampler(seed=seed, with_margin=True, warn_independent_sampling=False))


def _gp(seed: int) -> BaseSampler:
    return _quiet(lambda: GPSampler(seed=seed))


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed)


SAMPLERS: dict[str, SamplerFactory | None] = {
    OWN: None,
    "random": _random,
    "tpe": _tpe,
    "cmaes": _cmaes,
    "gp": _gp,
    "nsga2": _nsga2,
}
_SINGLE = {"cmaes"}
_NEEDS = {"gp": "torch", "cmaes": "cmaes"}


def sampler_factory(name: str | None, objectives: int = 1) -> SamplerFactory | None:
    """The maker of a sampler from a seed; None for our own. UsageError names the samplers that exist."""
    if name is not None and name not in SAMPLERS:
        raise UsageError(f"--sampler {name!r} is unknown; choose from {', '.join(SAMPLERS)}")
    if name in _SINGLE and objectives > 1:
        others = ", ".join(each for each in SAMPLERS if each not in _SINGLE)
        raise UsageError(f"--sampler {name} takes one objective; choose from {others}")
    needed = _NEEDS.get(name or OWN)
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise UsageError(f"--sampler {name} needs the package {needed}, which is not installed; install it")
    return None if name is None else SAMPLERS[name]


def _quiet(make: Callable[[], BaseSampler]) -> BaseSampler:
    """Options that Optuna calls experimental are ours to choose, not the user's to be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return make()
