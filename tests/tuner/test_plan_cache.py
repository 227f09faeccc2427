"""What was planned before is not planned again, and answers the same; a damaged file costs a line."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.onnx_models import saved, small_cnn
from tests.tuner.planners import imported
from tilewright.compiler_core.lowering.pipeline import plan_graph
from tilewright.compiler_core.target_model.file import load_target
from tilewright.tuner.network.events import Event, Phase
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.planning import plan_cache, prices
from tilewright.tuner.planning.kept_plan import KeptPlan
from tilewright.tuner.planning.plan_cache import GUESSES, PLANS, PlanCache, cache_path
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.planning.prices import Prices
from tilewright.tuner.subject import Subject


def planner(folder: Path, **options: object) -> Planner:
    chip = load_target("ascend910")
    cache = PlanCache(folder / "plans.sqlite")
    made = Prices(chip, 0, cache=cache, **options)  # type: ignore[arg-type]
    return Planner(plan_graph(imported(small_cnn(), folder), chip), chip, made)


@pytest.fixture
def climbs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels whose guess was made, one entry a climb."""
    made: list[str] = []
    honest = prices.guessed

    def counted(task, *rest):  # type: ignore[no-untyped-def]
        made.append(task.digest)
        return honest(task, *rest)

    monkeypatch.setattr(prices, "guessed", counted)
    return made


def test_a_network_is_planned_once(tmp_path: Path, climbs: list[str]) -> None:
    first = planner(tmp_path)
    plan = first.replan()
    assert climbs
    climbs.clear()
    again = planner(tmp_path)
    assert again.replan().groups == plan.groups
    assert again.plan.layouts == plan.layouts
    assert again.grouping is not None
    assert first.grouping is not None
    assert again.grouping.price_us == first.grouping.price_us
    assert [again.prices.priced(task.workload).guess for task in again.tasks_of(again.plan)] == [
        first.prices.priced(task.workload).guess for task in first.tasks_of(plan)
    ]
    assert not climbs


def test_a_record_of_a_kernel_keeps_a_plan_from_being_taken_over(tmp_path: Path, climbs: list[str]) -> None:
    planner(tmp_path).replan()
    climbs.clear()
    asked: list[str] = []

    def knows_any(digests: Sequence[str]) -> bool:
        asked.extend(digests)
        return True

    knowing = planner(tmp_path, knows_any=knows_any)
    knowing.replan()
    assert asked
    assert not climbs, "guesses stand all the same"
    assert len(knowing.prices.kernels) >= len(set(asked)), "the groups were merged anew"


def test_another_seed_is_another_question(tmp_path: Path, climbs: list[str]) -> None:
    planner(tmp_path).replan()
    climbs.clear()
    other = planner(tmp_path)
    other.prices = replace(other.prices, seed=1)
    other.replan()
    assert climbs


def test_two_writers_keep_both_their_entries(tmp_path: Path) -> None:
    path = tmp_path / "plans.sqlite"
    one, other = PlanCache(path), PlanCache(path)
    assert one.get(GUESSES, "a") is None
    assert other.get(GUESSES, "b") is None
    one.put(GUESSES, "a", [1])
    other.put(GUESSES, "b", [2])
    one.flush()
    other.flush()
    late = PlanCache(path)
    assert (late.get(GUESSES, "a"), late.get(GUESSES, "b"), late.get(PLANS, "a")) == ([1], [2], None)


def test_the_oldest_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan_cache._MOST, GUESSES, 3)
    cache = PlanCache(tmp_path / "plans.sqlite")
    for number in range(5):
        cache.put(GUESSES, number, [number])
        cache.flush()
    assert [cache.get(GUESSES, number) for number in range(5)] == [None, None, [2], [3], [4]]


def test_an_entry_that_changed_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "plans.sqlite"
    cache = PlanCache(path)
    cache.put(GUESSES, "a", [1])
    cache.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE guesses SET body = zeroblob(20)")
    assert PlanCache(path).get(GUESSES, "a") is None
    assert KeptPlan.from_json({"layouts": 3}) is None


def test_a_damaged_file_is_a_line_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plans.sqlite"
    path.write_bytes(b"no database at all" * 100)
    monkeypatch.setenv(plan_cache.VARIABLE, str(path))
    assert cache_path() == path
    events: list[Event] = []
    model = saved(small_cnn(), tmp_path)
    with open_network(Subject(model, "ascend910"), tmp_path / "t.db", listener=events.append) as opened:
        opened.planner.replan()
    lines = [event.detail for event in events if isinstance(event, Phase) and event.name == "plan"]
    assert [line for line in lines if "damaged" in line and str(path) in line]
    assert len(lines) == 1


def test_without_a_file_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plan_cache.VARIABLE, "none")
    assert cache_path() is None
    locked = tmp_path / "a file"
    locked.touch()
    for cache in (PlanCache(None), PlanCache(locked / "plans.sqlite")):
        cache.put(GUESSES, "a", [1])
        cache.flush()
        assert cache.get(GUESSES, "a") is None
