"""Every sampler that `--sampler` knows passes one suite."""

import importlib.util

import pytest

from tests.conformance.sampler_suite import SamplerSuite
from tilewright.compiler_core.errors import UsageError
from tilewright.tuner.kernel.samplers import SAMPLERS, sampler_factory
from tilewright.tuner.kernel.search import SamplerFactory


class TestOurs(SamplerSuite):
    @pytest.fixture
    def sampler(self) -> SamplerFactory | None:
        return None

    def test_a_resumed_run_repeats_the_whole_list(self, sampler: SamplerFactory | None) -> None:
        whole = self.run(sampler)
        # Batches of two, while so few are asked: a run is killed between batches.
        assert self.run(sampler, earlier=tuple(whole[:12])) == whole


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
class TestBuiltIn(SamplerSuite):
    @pytest.fixture(params=[name for name, make in SAMPLERS.items() if make is not None])
    def sampler(self, request: pytest.FixtureRequest) -> SamplerFactory | None:
        if request.param == "gp" and importlib.util.find_spec("torch") is None:
            pytest.skip("optuna's GP needs torch, which is an extra")
        return sampler_factory(request.param)


def test_an_unknown_sampler_is_refused_with_the_names() -> None:
    with pytest.raises(UsageError, match="tilewright, random, tpe, cmaes, gp, nsga2"):
        sampler_factory("annealing")


def test_a_sampler_of_one_objective_searches_no_front() -> None:
    with pytest.raises(UsageError, match="cmaes takes one objective; choose from tilewright, random, tpe"):
        sampler_factory("cmaes", objectives=2)
    assert sampler_factory("nsga2", objectives=2) is not None


def test_a_sampler_whose_package_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package cmaes"):
        sampler_factory("cmaes")
