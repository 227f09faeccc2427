"""The end of a run: no answer regresses, none is unverified, and none is missing without a reason."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.onnx_models import model, node, saved, value
from tests.tuner.open_runs import OpenRun, open_run, reopened
from tilewright.compiler_core.errors import DeviceError, VerifyError
from tilewright.db.records import Verification
from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import kernel_configs
from tilewright.tuner.answer.check import NetworkCheck
from tilewright.tuner.answer.chosen import Chosen
from tilewright.tuner.answer.conclude import conclude_network, recall_network
from tilewright.tuner.kernel.stopping import StopReason
from tilewright.tuner.network.assignment import Assignment, guessed_of
from tilewright.tuner.network.searched import Searched


@pytest.fixture(autouse=True)
def every_schedule_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are not the matter here."""
    monkeypatch.setattr(NetworkCheck, "verified", lambda self, config: Verification.VALUE_EXACT)


@contextmanager
def ready(folder: Path, objective: Objective = Objective.LATENCY) -> Iterator[tuple[OpenRun, Chosen, Config]]:
    """A run whose search has ended with one plan, that of the best drafts; its Config of the network."""
    with open_run(folder, objectives=(objective,)) as run:
        search = run.search()
        guessed = guessed_of(run.opened, search.plan)
        searched = Searched(run.opened, run.book, search, StopReason.BUDGET, 0.01)
        chosen = Chosen(searched, (search.plan,), guessed.choices, {})
        assert guessed.config != run.opened.default_config
        yield run, chosen, guessed.config


def script(run: OpenRun, latencies_us: Mapping[Config, float | None]) -> None:
    run.device.latencies_us.update(latencies_us)


def test_the_faster_schedule_is_the_answer(tmp_path: Path) -> None:
    with ready(tmp_path) as (run, chosen, tuned):
        default = run.opened.default_config
        script(run, {default: 90.0, tuned: 60.0})
        outcome = conclude_network(chosen)
        assert (outcome.default.latency_us, outcome.tuned.latency_us) == (90.0, 60.0)
        assert outcome.assignment.config == tuned
        assert (outcome.reason, outcome.regret) == (StopReason.BUDGET, 0.01)
        assert (outcome.measured, outcome.verification) == (True, Verification.VALUE_EXACT)
    with reopened(tmp_path) as opened:
        best = opened.records.known_network()
        assert best is not None
        assert best.config == tuned


@pytest.mark.parametrize("tuned_us", [95.0, None])
def test_a_schedule_that_is_slower_or_fails_leaves_the_default(
    tmp_path: Path, tuned_us: float | None
) -> None:
    with ready(tmp_path) as (run, chosen, tuned):
        default = run.opened.default_config
        script(run, {default: 90.0, tuned: tuned_us})
        outcome = conclude_network(chosen)
        assert outcome.assignment.config == default
        assert outcome.tuned == outcome.default


def test_a_faster_schedule_measured_on_the_way_is_not_lost(tmp_path: Path) -> None:
    """The book has measured it whole, and no plan at the end has it."""
    with ready(tmp_path) as (run, chosen, tuned):
        default = run.opened.default_config
        script(run, {default: 90.0, tuned: 60.0})
        run.book.measure_whole([tuned], 0.0)
        none_left = replace(chosen, plans=())
        outcome = conclude_network(none_left)
        assert outcome.assignment.config == tuned


def test_a_first_reading_that_does_not_repeat_is_no_answer(tmp_path: Path) -> None:
    """The confirmations decide: a schedule that is slower than the default there is left out."""
    with ready(tmp_path) as (run, chosen, tuned):
        default = run.opened.default_config
        script(run, {default: 90.0, tuned: 60.0})
        run.book.measure_whole([default, tuned], 0.0)
        script(run, {tuned: 99.0})
        outcome = conclude_network(chosen)
        assert outcome.assignment.config == default
        assert outcome.tuned.latency_us == 90.0


def test_wrong_numbers_leave_the_default_and_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ready(tmp_path) as (run, chosen, tuned):
        default = run.opened.default_config
        script(run, {default: 90.0, tuned: 60.0})

        def verified(_: NetworkCheck, config: Config) -> Verification:
            if config != default:
                raise VerifyError("value 3 is off")
            return Verification.VALUE_EXACT

        monkeypatch.setattr(NetworkCheck, "verified", verified)
        outcome = conclude_network(chosen)
        assert outcome.assignment.config == default
        assert [each.reason for each in outcome.dropped] == ["value 3 is off"]
        assert tuned.digest[:12] in outcome.dropped[0].what


def test_no_right_schedule_is_an_error_that_names_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ready(tmp_path) as (run, chosen, _):

        def verified(_: NetworkCheck, config: Config) -> Verification:
            raise VerifyError("value 3 is off")

        monkeypatch.setattr(NetworkCheck, "verified", verified)
        with pytest.raises(VerifyError, match="nor its default: value 3 is off; all trials are recorded"):
            conclude_network(chosen)
        assert run.opened.records.known_network() is None
        assert run.opened.records.repository.trials_of_run(run.book.uid) != []


def test_a_dead_device_is_an_error_with_the_device_s_reason(tmp_path: Path) -> None:
    with ready(tmp_path) as (run, chosen, _):
        run.device.broken = True
        with pytest.raises((DeviceError, VerifyError), match="the board is off"):
            conclude_network(chosen)


def test_the_database_answers_as_the_run_did(tmp_path: Path) -> None:
    with ready(tmp_path) as (run, chosen, tuned):
        assert recall_network(run.opened) is None
        script(run, {run.opened.default_config: 90.0, tuned: 60.0})
        outcome = conclude_network(chosen)
    with reopened(tmp_path) as opened:
        recalled = recall_network(opened)
        assert recalled is not None
        assert (recalled.default, recalled.tuned) == (outcome.default, outcome.tuned)
        assert (recalled.reason, recalled.verification) == (StopReason.DATABASE, outcome.verification)
        assert isinstance(recalled.assignment, Assignment)
        assert recalled.assignment.config == tuned
        assert recalled.spent == {}


def _two_unlike_products(folder: Path) -> Path:
    nodes = [node("MatMul", "x v", "h"), node("Softmax", "h", "s", axis=0), node("MatMul", "s w", "y")]
    inputs = [value("x", [96, 512]), value("v", [512, 384]), value("w", [384, 32])]
    return saved(model(nodes, inputs, ["y"]), folder)


def test_a_plan_that_is_wrong_as_a_whole_is_put_together_kernel_by_kernel(tmp_path: Path) -> None:
    """Only the kernel with which the whole is wrong runs its default."""
    with open_run(tmp_path, made=_two_unlike_products) as run:
        search = run.search()
        guessed = guessed_of(run.opened, search.plan)
        tasks = {task.digest: task for task in guessed.tasks}
        tuned = [
            digest
            for digest, task in tasks.items()
            if guessed.choices[digest].config != run.opened.default_of(task)
        ]
        assert len(tuned) > 1
        guilty = tuned[0]

        def is_wrong(config: Config) -> bool:
            plan, _ = run.opened.schedule_of(config)
            return kernel_configs(config, plan).get(guilty) == guessed.choices[guilty].config

        run.device.is_wrong = is_wrong
        searched = Searched(run.opened, run.book, search, StopReason.BUDGET, 0.01)
        outcome = conclude_network(Chosen(searched, (search.plan,), guessed.choices, {}))
        made = outcome.assignment
        assert outcome.tuned.latency_us < outcome.default.latency_us
        assert made.choices[guilty].config == run.opened.default_of(tasks[guilty])
        assert all(made.choices[digest].config == guessed.choices[digest].config for digest in tuned[1:])
        assert "output 3 is off" in [each.reason for each in outcome.dropped]
