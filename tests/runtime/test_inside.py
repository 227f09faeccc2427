"""Schedules of kernels chosen again by their time inside the network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.conftest import Made, unsearched
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.process import ChildDiedError
from tilewright.runtime import load
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import sample
from tilewright.tuner.verbs import inside
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.build import _given, build_into


def others(compiled: CompiledNetwork, seed: int) -> dict[str, list[Config]]:
    """For every kernel its Config, and one at random."""
    found = {}
    for task in compiled.assignment.tasks:
        present = compiled.assignment.choices[task.digest].config
        drawn = task.space.decode(sample(task.space, 1, np.random.default_rng(seed))[0])
        found[task.digest] = [present, drawn] if drawn != present else [present]
    return found


def test_the_faster_one_is_taken_and_the_library_stays_right(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = unsearched(made.model, made.target, database=made.database)
    offered = others(compiled, 0)
    monkeypatch.setattr(inside, "_offered", lambda _: offered)

    def told(_: HostDevice, jobs: list[Any], *__: Any) -> Any:
        return np.array([[3.0 - at] * len(jobs[0].calls) for at in range(len(jobs))])

    monkeypatch.setattr(HostDevice, "inside", told)
    built = build_into(tmp_path, compiled, chooses=True)
    compiled.close()
    calls = [call for stage in built.facts["provenance"]["calls"] for call in stage]
    for call in calls:
        configs = offered[call["workload_digest"]]
        assert call["config"] == dict(configs[-1].items)
        assert call["source"] == (inside.INSIDE if len(configs) > 1 else "default")
    assert any(call["source"] == inside.INSIDE for call in calls)
    got = load(tmp_path).run(made.inputs())
    assert {array.shape for array in got.values()} >= {(1, 10), (1, 8, 12, 12)}


def test_every_call_of_jobs_in_turns_is_timed(made: Made) -> None:
    compiled = unsearched(made.model, made.target, database=made.database)
    device = HostDevice(compiled.opened.target)
    try:
        jobs = list(inside._jobs(compiled, others(compiled, 3), device, _given(compiled, 0)))
        times_us = device.inside(jobs[::-1], 3, 1, 1.0)
    finally:
        device.close()
        compiled.close()
    assert times_us.shape == (2, len(jobs[0].calls))
    assert (times_us > 0.0).all()


def test_a_schedule_that_crashes_leaves_the_choice_as_it_was(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = unsearched(made.model, made.target, database=made.database)
    monkeypatch.setattr(inside, "_offered", lambda each: others(each, 1))

    def dies(*_: Any) -> Any:
        raise ChildDiedError("its process ended: SIGSEGV")

    monkeypatch.setattr(inside, "_fastest", dies)
    assert inside.chosen_inside(compiled, _given(compiled, 0)) is compiled
    compiled.close()


def test_without_records_there_is_nothing_to_choose(made: Made) -> None:
    compiled = unsearched(made.model, made.target, database=made.database)
    assert inside.chosen_inside(compiled, {}) is compiled
    compiled.close()
