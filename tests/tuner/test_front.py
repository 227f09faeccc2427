"""Several objectives: what a front is, and a search for one that resumes and beats chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.search.arena import SearchArena, case_arena
from benchmarks.search.kernel_tasks import CASES
from tilewright.compiler_core.errors import UsageError
from tilewright.measure.objectives import Objective, values_of
from tilewright.tuner.kernel.front import Direction, draw_direction, front_of, hypervolume
from tilewright.tuner.kernel.problem import Floats, SearchTrial
from tilewright.tuner.kernel.samplers import sampler_factory
from tilewright.tuner.kernel.search import KernelSearch, SamplerFactory, search_kernel
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.kernel.stopping import StopReason, StopRule
from tilewright.tuner.request import read_objectives

OBJECTIVES = (Objective.LATENCY, Objective.ENERGY, Objective.MEMORY)
KERNEL = next(case for case in CASES if case.key == "tpu_v4i/resnet50_global_average")
TRIALS = 32
some_values = st.lists(st.tuples(*[st.integers(1, 5)] * 3), min_size=1, max_size=12)


def searched(
    arena: SearchArena,
    sampler: SamplerFactory | None = None,
    run: str = "run",
    earlier: tuple[SearchTrial, ...] = (),
) -> list[SearchTrial]:
    settings = SearchSettings(OBJECTIVES)
    rule = StopRule(TRIALS)
    found = search_kernel(
        KernelSearch(arena.problem, run, settings=settings, sampler=sampler), arena, rule, earlier=earlier
    )
    assert found.reason is StopReason.BUDGET
    return list(found.trials)


def logs_of(trials: list[SearchTrial]) -> Floats:
    values = [values_of(trial.measurement, OBJECTIVES) for trial in trials]
    return np.log([value for value in values if value is not None])


def test_objectives_are_read_by_any_of_their_names() -> None:
    assert read_objectives("latency, energy,peak_bytes") == OBJECTIVES
    assert read_objectives("peak_bytes,energy,latency") == ("energy", "latency", "memory")
    for text, reason in (
        ("latency,edp", "'edp' cannot be part of a front"),
        ("latency,latency", "no list of different objectives"),
        ("memory,peak_bytes", "no list of different objectives"),
        ("latency", "no list of different objectives"),
    ):
        with pytest.raises(UsageError, match=reason):
            read_objectives(text)


@given(some_values)
def test_a_front_holds_what_nothing_beats(rows: list[tuple[int, ...]]) -> None:
    values = np.array(rows, dtype=np.float64)
    front = front_of(values)
    for index, row in enumerate(values):
        beaten = [bool((other <= row).all() and (other < row).any()) for other in values]
        assert any(beaten) != any((values[kept] == row).all() for kept in front), index
    assert len({tuple(values[kept]) for kept in front}) == len(front)


@given(some_values)
def test_hypervolume_counts_the_unit_boxes_that_are_beaten(rows: list[tuple[int, ...]]) -> None:
    values = np.array(rows, dtype=np.float64)
    corners = np.stack(np.meshgrid(*[np.arange(1, 6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    beaten = (values[:, None, :] <= corners).all(axis=2).any(axis=0).sum()
    assert hypervolume(values, (6.0, 6.0, 6.0)) == pytest.approx(float(beaten))


def test_a_direction_prefers_what_its_weights_say() -> None:
    logs = np.log([[1.0, 8.0], [2.0, 2.0], [8.0, 1.0], [np.nan, np.nan]])
    drawn = draw_direction(logs, np.random.default_rng(0))
    assert drawn.ideal.tolist() == [0.0, 0.0]
    for weights, wanted in (([0.9, 0.1], 0), ([0.5, 0.5], 1), ([0.1, 0.9], 2)):
        direction = Direction(drawn.ideal, drawn.spread, np.array(weights))
        assert int(np.nanargmin(direction.scalar(logs))) == wanted
        assert np.isnan(direction.scalar(logs)[3])


def test_the_front_of_a_kernel_is_better_than_that_of_chance() -> None:
    arena = case_arena(KERNEL)
    own, chance = (logs_of(searched(arena, sampler_factory(name))) for name in (None, "random"))
    everything = np.concatenate([own, chance])
    low, high = everything.min(axis=0), everything.max(axis=0)
    volumes = [hypervolume((logs - low) / (high - low), (1.0, 1.0, 1.0)) for logs in (own, chance)]
    assert volumes[0] > volumes[1]
    assert len(front_of(own)) > 1, "the fastest is not the most frugal"


@pytest.mark.parametrize("name", [None, "nsga2"])
def test_a_search_for_a_front_resumes(name: str | None) -> None:
    arena = case_arena(KERNEL)
    whole = searched(arena, sampler_factory(name))
    assert len({trial.config.digest for trial in whole}) == TRIALS
    assert searched(arena, sampler_factory(name), run="another") != whole
    resumed = searched(arena, sampler_factory(name), earlier=tuple(whole[:12]))
    assert len(resumed) == TRIALS
    if name is None:
        assert resumed == whole


def test_a_bound_on_latency_prunes_no_other_objective() -> None:
    """Microjoules below the bound's microseconds would end the search at once: each objective has its own."""
    arena = case_arena(KERNEL)
    assert arena.problem.bound_log is not None
    for objective in set(Objective) - {Objective.LATENCY}:
        search = KernelSearch(arena.problem, "run", settings=SearchSettings((objective,)))
        for _ in range(8):
            search.tell(search.trials_of(arena.measure(arena.problem.task, search.ask(4))))
        assert len(search.trials) == 32
        bound_log, space = search.problem.bound_log, search.problem.space
        assert (bound_log is None) == (objective is Objective.MEMORY)
        for trial in search.trials:
            number = objective.of(trial.measurement)
            assert number is not None
            assert (
                bound_log is None
                or np.log(number) >= bound_log(space.encode(trial.config)[None, :])[0] - 1e-9
            )
