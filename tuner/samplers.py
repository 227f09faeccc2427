"""Optuna's own samplers by name, for `--sampler`."""

from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from compiler_core.errors import UsageError
from tuner.kernel_search import SamplerFactory

OWN = "tilewright"


def _random(seed: int) -> BaseSampler:
    return RandomSampler(seed=seed)


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True)


def _nsga2(seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed)


SAMPLERS: dict[str, SamplerFactory | None] = {OWN: None, "random": _random, "tpe": _tpe, "nsga2": _nsga2}


def sampler_factory(name: str | None) -> SamplerFactory | None:
    """The maker of a sampler from a seed; None for our own. UsageError lists the names."""
    if name is not None and name not in SAMPLERS:
        raise UsageError(f"--sampler {name!r} is unknown; choose from {', '.join(SAMPLERS)}")
    return None if name is None else SAMPLERS[name]
