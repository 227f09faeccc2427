"""The regret of a search, judged by searches whose optimum is known."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tilewright.db.records import Key, Trial, TrialRow
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.settings import SearchSettings
from tilewright.tuner.network.task_search import TaskSearch
from tilewright.tuner.outlook.course import LENGTH, WORST_LOG, Course, read_courses, write_courses
from tilewright.tuner.outlook.courses import Courses, shipped_courses
from tilewright.tuner.outlook.outlook import Outlook
from tilewright.tuner.outlook.price import price_text, prices, trials_to
from tilewright.tuner.outlook.recorded import recorded_courses
from tilewright.tuner.outlook.shown import Shown, gain_of

EARLY = Course.of("a", False, [(1, 2.0), (4, 1.0)], 64, 1.0)
LATE = Course.of("b", False, [(1, 2.0), (40, 1.0)], 64, 1.0)


def test_a_course_has_the_regret_after_each_trial_and_survives_its_file(tmp_path: Path) -> None:
    course = Course.of("a", True, [(2, 3.0), (5, 1.5), (9, 0.9)], 7, 1.0)
    assert course.regret_log[[0, 1]].tolist() == [WORST_LOG, WORST_LOG]
    assert course.regret_log[[2, 4, 5, LENGTH]] == pytest.approx(np.log([3.0, 3.0, 1.5, 1.5]))
    assert course.since_best[[1, 2, 4, 5, 20]].tolist() == [1, 0, 2, 0, 15]
    write_courses([course], tmp_path / "courses.json")
    (again,) = read_courses(tmp_path / "courses.json")
    assert (again.source, again.drafted) == ("a", True)
    np.testing.assert_allclose(again.regret_log, course.regret_log, atol=1e-6)


def test_what_the_last_trials_brought_is_seen_of_the_best_so_far() -> None:
    assert gain_of(np.array([8.0, 4.0, 4.0, 2.0])) == pytest.approx(np.log(4.0))
    assert gain_of(np.array([np.inf] * 4)) == gain_of(np.array([np.inf, np.inf, np.inf, 2.0])) == WORST_LOG


def test_a_search_that_just_got_better_is_less_sure_than_one_that_has_not_for_long() -> None:
    fresh, stale = (
        Outlook(shipped_courses(), [Shown(True, 104, since, 0.05)]).within(0.02) for since in (2, 70)
    )
    assert fresh < 0.8 < 0.9 < stale


def test_the_regret_is_that_of_known_searches_in_the_same_state() -> None:
    found = Outlook(Courses([EARLY, LATE]), [Shown(False, 8, 7, 0.0)])
    # Only the late one had found nothing in its first eight trials but the first.
    assert found.band().expected == pytest.approx(1.0, rel=0.05)
    assert found.band(56).expected == pytest.approx(0.0, abs=0.02)
    assert Outlook(Courses([EARLY, LATE]), [Shown(False, 8, 4, float(np.log(2.0)))]).within(0.02) > 0.9


def test_no_regret_exceeds_the_distance_to_the_bound() -> None:
    seen = Shown(False, 8, 7, 0.0, ceiling_log=float(np.log(1.01)))
    assert Outlook(Courses([EARLY, LATE]), [seen]).regret().max() <= 0.01 + 1e-9


def test_a_network_weighs_its_kernels_by_their_time() -> None:
    courses, late = Courses([EARLY, LATE]), Shown(False, 8, 7, 0.0)
    done = replace(late, ceiling_log=0.0)
    half = Outlook(courses, [late, done]).band().expected
    most = Outlook(courses, [replace(late, best=9.0), done]).band().expected
    alone = Outlook(courses, [late]).band().expected
    assert 0.0 < half < most < alone


def test_before_a_measurement_the_regret_falls_with_the_trials_that_would_be_spent() -> None:
    nothing = Outlook(shipped_courses(), [Shown(True), Shown(True, best=2.0)])
    bands = [nothing.band(trials) for trials in (4, 16, 64, 256)]
    assert all(before.expected > after.expected for before, after in pairwise(bands))
    assert all(band.low <= band.expected <= band.high for band in bands)
    assert nothing.within(0.02) == 0.0


def test_the_price_of_a_network_is_told_before_and_while_it_is_searched() -> None:
    nothing = Outlook(shipped_courses(), [Shown(True), Shown(True, best=2.0)])
    told = prices(nothing, 120)
    assert [each.trials for each in told] == [8, 32, 80, 120]
    line = price_text(nothing, 120, 0.02)
    assert line.startswith("expected regret (9 in 10): 8 trials: ")
    needed = trials_to(nothing, 0.02)
    assert needed is not None
    assert line.endswith(f"2.0 % with 95 % confidence takes about {needed} trials")
    assert np.mean(nothing.regret(needed // 2) <= 0.02) >= 0.95
    later = Outlook(shipped_courses(), [Shown(True, 30, 20, 0.1)])
    assert [each.trials for each in prices(later, 10)] == [0, 4, 10]
    assert " now: " in price_text(later, 10, None)


def row(run: str, number: int, us: float | None, at_s: float) -> TrialRow:
    measured = failure(Status.FAILED, "no") if us is None else Measurement(Status.OK, us)
    trial = Trial(run, number, "a" * 64, "5" * 64, Config((("a", number),)), measured)
    return TrialRow(Key("a" * 64, "b" * 64, "1"), trial, at_s, imported=False)


def test_searches_of_a_database_are_known_to_their_half() -> None:
    old = [row("old", number, 9.0, 1.0) for number in range(60)]
    first = [row("first", number, {0: None, 3: 4.0, 50: 2.0}.get(number, 8.0), 2.0) for number in range(60)]
    later = [row("later", number, 1.0, 3.0) for number in range(60)]
    assert recorded_courses([], {}) == recorded_courses(old, {}) == recorded_courses(first[:40], {}) == ()
    other = replace(old[0], key=replace(old[0].key, workload_digest="c" * 64))
    (course,) = recorded_courses([*first, *later, other], {"b" * 64: "chip"})
    assert (course.source, course.known) == ("chip", 30)
    assert course.regret_log[[1, 2, 4, 30]] == pytest.approx([WORST_LOG, *np.log([8.0, 4.0, 4.0])])
    told = Outlook(Courses([course], frozenset({"chip"})), [Shown(True, 20, 16, 0.0)])
    assert told.band().expected == pytest.approx(3.0)


def test_a_kernel_that_does_nothing_has_no_bound_above_zero() -> None:
    """An empty tensor on a device whose launches are free."""
    shown = Shown(False, 8, 7, 0.0)
    settings = SearchSettings()
    kernel = SimpleNamespace(seen=lambda: shown, best=None, settings=settings, trials=())
    search = TaskSearch(cast(Any, SimpleNamespace(bound_us=0.0)), cast(Any, kernel), known_us=2.0)
    seen = search.seen(3, 1.0)
    assert seen is not None
    assert (seen.best, seen.ceiling_log) == (6.0, shown.ceiling_log)


def test_the_price_of_a_kernel_not_yet_measured_counts_its_draft_and_knows_its_bound() -> None:
    """Fewer trials than kernels: those without a trial run by their drafts."""
    drafted = Course.of("chip", True, [(1, 1.5)], 64, 1.0)
    told = Outlook(Courses([drafted]), [Shown(True), Shown(True)])
    (price,) = prices(told, 1)
    assert price.band.expected == pytest.approx(0.5)
    kernel = SimpleNamespace(seen=lambda: Shown(True), best=None, settings=SearchSettings(), trials=())
    search = TaskSearch(cast(Any, SimpleNamespace(bound_us=2.0)), cast(Any, kernel), known_us=None)
    seen = search.seen(1, 4.0)
    assert seen is not None
    assert seen.ceiling_log == pytest.approx(np.log(2.0 * 3.0))
