"""The book of a run: numbering, single measurements, resumption, publication."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tuner.open_runs import OpenRun, open_run
from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import Purpose, Verification
from tilewright.measure.farm.pool import SerialPool
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.problem import SearchTrial
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.book import Book

OK = Measurement(Status.OK, 50.0)
"""Far above the bounds of the kernels here: what is below a bound is not served."""


def first_task(run: OpenRun) -> KernelTask:
    return run.opened.planner.tasks_of(run.opened.planner.base)[0]


def test_trials_of_kernels_and_of_the_network_share_one_sequence_of_numbers(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        task, default = first_task(run), run.opened.default_config
        own = run.opened.default_of(task)
        run.book.commit(task, [SearchTrial(0, own, OK), SearchTrial(1, own, OK)])
        run.book.measure_whole([default], 0.0)
        run.book.commit(task, [SearchTrial(2, own, OK)])
        rows = run.opened.records.repository.trials_of_run(run.book.uid)
    assert [row.trial.number for row in rows] == [0, 1, 2, 3]
    assert [row.key.workload_digest == task.digest for row in rows] == [True, True, False, True]


def test_a_network_config_is_measured_once(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        default = run.opened.default_config
        first = run.book.measure_whole([default, default], 0.0)
        assert run.device.asked == [default]
        assert first[0] == first[1] == run.book.measure_whole([default], 0.0)[0]
        assert run.device.asked == [default]
        assert len(run.opened.records.repository.trials_of_run(run.book.uid)) == 1


def test_a_reopened_run_knows_its_trials_and_records_none_twice(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        task, default = first_task(run), run.opened.default_config
        own, failed = run.opened.default_of(task), failure(Status.FAILED, "no board")
        run.book.commit(task, [SearchTrial(0, own, failed), SearchTrial(1, own, OK)])
        (whole,) = run.book.measure_whole([default], 0.0)
        run.book.publish(task, own, [OK] * 3, Verification.VALUE_EXACT, default=True)
        again = Book(run.opened.records, run.book.lease, SerialPool(run.device))
        assert [(digest, trial.number) for digest, trial in again.earlier] == [
            (task.digest, 0),
            (task.digest, 1),
        ]
        assert [trial.measurement.status for _, trial in again.earlier] == [Status.FAILED, Status.OK]
        assert again.wholes == {default: whole}
        asked = len(run.device.asked)
        again.measure_whole([default], 0.0)
        best = again.publish(task, own, [OK] * 3, Verification.VALUE_EXACT, default=True)
        assert best is not None
        assert best.config == own
        assert len(run.device.asked) == asked
        repository = run.opened.records.repository
        assert len(repository.trials_of_run(run.book.uid, Purpose.CONFIRMATION)) == 3
        again.commit(task, [SearchTrial(2, own, OK)])
        assert [row.trial.number for row in repository.trials_of_run(run.book.uid)] == [0, 1, 2, 3]


def test_nothing_is_served_without_the_default_beside_it(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        task = first_task(run)
        own = run.opened.default_of(task)
        rows = sample(task.space, 8, np.random.default_rng(0))
        guess = next(config for config in map(task.space.decode, rows) if config != own)
        faster = replace(OK, latency_us=40.0)
        assert run.book.publish(task, guess, [faster] * 3, Verification.VALUE_EXACT) is None
        run.book.publish(task, own, [OK] * 3, Verification.NONE, default=True)
        best = run.book.publish(task, guess, [faster] * 3, Verification.VALUE_EXACT)
        assert best is not None
        assert (best.config, best.latency_us) == (guess, 40.0)


@pytest.mark.parametrize("of_network", [False, True])
def test_a_refused_config_is_recorded_as_wrong_told_and_never_served(
    tmp_path: Path, of_network: bool
) -> None:
    with open_run(tmp_path) as run:
        task = None if of_network else first_task(run)
        config = run.opened.default_config if task is None else run.opened.default_of(task)
        shown = replace(
            failure(Status.WRONG, "value 3 is off"), worker="board-0"
        )  # by a device, not by a check
        run.book.refuse("a candidate", task, config, shown)
        assert [(each.what, each.reason) for each in run.book.dropped] == [("a candidate", "value 3 is off")]
        (row,) = run.opened.records.repository.trials_of_run(run.book.uid, Purpose.CONFIRMATION)
        assert (row.trial.config, row.trial.measurement.status) == (config, Status.WRONG)
        if task is None:
            served = run.book.publish_network(config, [OK] * 3, Verification.VALUE_EXACT, default=True)
        else:
            served = run.book.publish(task, config, [OK] * 3, Verification.VALUE_EXACT, default=True)
        assert served is None


def test_a_guard_that_refuses_keeps_a_batch_out(tmp_path: Path) -> None:
    def lost(_: object) -> None:
        raise RecordError("the job belongs to another runner")

    with open_run(tmp_path) as run:
        task = first_task(run)
        book = Book(run.opened.records, run.book.lease, SerialPool(run.device), lost)
        with pytest.raises(RecordError, match="another runner"):
            book.commit(task, [SearchTrial(0, run.opened.default_of(task), OK)])
        assert run.opened.records.repository.trials_of_run(run.book.uid) == []
