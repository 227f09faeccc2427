"""Every ablation still searches, and each changes something."""

import pytest

from benchmarks.search.ablations import ABLATIONS, Search, ablated
from tests.tuner.landscapes import problem_and_device
from tilewright.compiler_core.errors import UsageError
from tilewright.tuner.kernel.run_model import RunModel
from tilewright.tuner.kernel.search import KernelSearch, search_kernel
from tilewright.tuner.kernel.stopping import StopRule


@pytest.mark.parametrize("name", ABLATIONS)
def test_it_searches(name: str) -> None:
    problem, device = problem_and_device()
    search = ablated(name, Search(problem))
    model = RunModel("run", search.model)
    result = search_kernel(
        KernelSearch(search.problem, "run", model=model, settings=search.settings), device, StopRule(24)
    )
    assert len(result.trials) == 24


def test_each_is_another_search() -> None:
    problem, _ = problem_and_device()
    whole = Search(problem)
    made = [ablated(name, whole) for name in ABLATIONS if name != "no_draft"]
    assert whole not in made
    assert all(left != right for index, left in enumerate(made) for right in made[:index])


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(UsageError, match="no_density"):
        ablated("no_luck", Search(problem_and_device()[0]))
