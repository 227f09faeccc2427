"""Our sampler and four of Optuna's pass one suite."""

import optuna
import pytest

from tests.conformance.sampler_suite import SamplerSuite
from tuner.kernel_search import SamplerFactory


class TestOurs(SamplerSuite):
    @pytest.fixture
    def sampler(self) -> SamplerFactory | None:
        return None

    def test_a_resumed_run_repeats_the_whole_list(self, sampler: SamplerFactory | None) -> None:
        whole = self.run(sampler)
        # Batches of four, while so few are asked: a run is killed between batches.
        assert self.run(sampler, earlier=tuple(whole[:12])) == whole


class TestRandom(SamplerSuite):
    @pytest.fixture
    def sampler(self) -> SamplerFactory | None:
        return lambda seed: optuna.samplers.RandomSampler(seed=seed)


class TestTpe(SamplerSuite):
    @pytest.fixture
    def sampler(self) -> SamplerFactory | None:
        return lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=10)


class TestNsga(SamplerSuite):
    @pytest.fixture
    def sampler(self) -> SamplerFactory | None:
        return lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=12)
