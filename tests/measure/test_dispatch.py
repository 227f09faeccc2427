"""The dispatcher, event by event."""

from itertools import count

import pytest

from tests.measure.fake_device import NamedTask, config_of
from tilewright.compiler_core.errors import UsageError
from tilewright.measure.farm.dispatch import Dispatch
from tilewright.measure.farm.messages import (
    Assign,
    AwaitHosts,
    Canary,
    Command,
    Died,
    DrainAsked,
    Event,
    Finish,
    Halt,
    Item,
    Joined,
    Kill,
    Quarantine,
    Release,
    Replied,
    Retry,
    Revive,
    Rules,
    Submitted,
    Ticked,
    ToolchainChanged,
    WorkerOpened,
)
from tilewright.measure.farm.roster import WorkerPhase
from tilewright.measure.results import Measurement, Status, failure

CANARY = Canary(NamedTask("canary"), config_of(0), latency_us=100.0, tolerance=0.1)
GOOD = Measurement(Status.OK, latency_us=104.0)
BAD = Measurement(Status.OK, latency_us=30.0)


class Farm:
    """A dispatcher with a clock to turn by hand."""

    def __init__(self, *workers: str, rules: Rules | None = None, toolchain: str = "v1") -> None:
        self.dispatch = Dispatch(rules or Rules(prefetch_below_s=1e-12))
        self.now_s = 0.0
        self.numbers = count()
        for worker in workers:
            self.say(WorkerOpened(worker))
            self.say(Joined(worker, toolchain))

    def say(self, event: Event, after_s: float = 0.0) -> list[Command]:
        self.now_s += after_s
        return self.dispatch.handle(event, self.now_s)

    def submit(self, number: int, apart: int | None = None, floor_us: float = 0.0) -> list[Command]:
        items = tuple(Item(next(self.numbers), "task", apart, floor_us) for _ in range(number))
        return self.say(Submitted(items))

    def answer(
        self, call: Assign, *measurements: Measurement, canary: Measurement | None = None
    ) -> list[Command]:
        answers = measurements or tuple(
            Measurement(Status.OK, latency_us=10.0 + number) for number in call.items
        )
        return self.say(Replied(call.worker, call.lease, answers, 1.0 * len(answers), canary), 0.1)

    def phase(self, worker: str) -> WorkerPhase:
        return next(w.phase for w in self.dispatch.workers() if w.name == worker)


def calls(commands: list[Command]) -> list[Assign]:
    return [command for command in commands if isinstance(command, Assign)]


def finished(commands: list[Command]) -> dict[int, Measurement]:
    return {command.number: command.measurement for command in commands if isinstance(command, Finish)}


def test_work_goes_to_every_worker_and_comes_back_once() -> None:
    farm = Farm("a", "b")
    first, second = calls(farm.submit(2))
    assert (first.worker, first.items, second.worker, second.items) == ("a", (0,), "b", (1,))
    assert finished(farm.answer(first))[0].worker == "a"
    assert farm.answer(first) == []  # a doubled reply
    assert farm.dispatch.outstanding() == 1


def test_chunks_grow_to_the_time_a_call_should_take() -> None:
    farm = Farm("a", rules=Rules(chunk_s=0.05, chunk_max=64))
    (call,) = calls(farm.submit(1000))
    assert len(call.items) == 1
    sizes = []
    for _ in range(20):
        answers = tuple(Measurement(Status.OK, latency_us=1.0) for _ in call.items)
        commands = farm.say(Replied("a", call.lease, answers, 0.002 * len(answers)))
        call = calls(commands)[-1]
        sizes.append(len(call.items))
    assert sizes[-1] == 25
    assert max(sizes) <= 64


def test_a_call_is_of_one_task() -> None:
    farm = Farm("a")
    farm.dispatch._backlog.pace_s.update({"x": 0.001, "y": 0.001})
    items = tuple(Item(number, "x" if number < 3 else "y") for number in range(6))
    (first,) = calls(farm.say(Submitted(items)))
    assert first.items == (0, 1, 2)


def test_a_dead_worker_is_revived_and_its_candidates_go_alone_to_others() -> None:
    farm = Farm("a", "b")
    first, second = calls(farm.submit(2))
    commands = farm.say(Died("a", "killed", first.lease))
    assert Revive("a", "killed") in commands
    assert Retry(0, "killed") in commands
    assert farm.phase("a") is WorkerPhase.STARTING
    assert calls(farm.say(Joined("a", "v1"))) == []  # a had it; b is there to take it
    (again,) = calls(farm.answer(second))
    assert (again.worker, again.items) == ("b", (0,))
    assert set(finished(farm.answer(again))) == {0}


def test_with_one_worker_left_it_tries_again_itself() -> None:
    farm = Farm("a")
    (call,) = calls(farm.submit(1))
    farm.say(Died("a", "killed", call.lease))
    (again,) = calls(farm.say(Joined("a", "v1")))
    assert again.items == (0,)


@pytest.mark.parametrize(
    ("how", "status"), [("died", Status.FAILED), ("hung", Status.TIMEOUT), ("lost", Status.LOST)]
)
def test_poison_is_stopped_after_three_attempts(how: str, status: Status) -> None:
    farm = Farm("a")
    (call,) = calls(farm.submit(1))
    for attempt in range(3):
        if how == "died":
            commands = farm.say(Died("a", "killed", call.lease))
        elif how == "hung":
            commands = farm.say(Ticked(), after_s=31.0)
            assert isinstance(commands[-1], Kill)
        else:
            commands = farm.answer(call, failure(Status.LOST, "no answer"))
        if attempt < 2:
            assert not finished(commands)
            commands += farm.say(Joined("a", "v1"))
            (call,) = calls(commands)
    outcome = finished(commands)[0]
    assert outcome.status is status
    assert "3 attempts" in outcome.reason


def test_a_late_answer_of_a_worker_past_its_deadline_is_not_heard() -> None:
    farm = Farm("a", "b")
    first, second = calls(farm.submit(2))
    farm.answer(second)
    commands = farm.say(Ticked(), after_s=31.0)
    assert commands[0:2] == [Retry(0, "it overran its deadline"), Kill("a", "it overran its deadline")]
    (again,) = calls(commands)
    assert again.worker == "b"
    assert farm.answer(first) == []
    assert finished(farm.answer(again))[0].worker == "b"


def test_only_the_call_that_ran_is_to_blame() -> None:
    farm = Farm("a", rules=Rules(prefetch_below_s=10.0))
    (warm,) = calls(farm.submit(1))
    farm.answer(warm)
    running, waiting = calls(farm.submit(2))
    farm.say(Died("a", "killed", running.lease))
    assert farm.dispatch._backlog.items[running.items[0]].burned == ("a",)
    assert farm.dispatch._backlog.items[waiting.items[0]].burned == ()


def test_a_garbled_answer_costs_the_worker_its_process() -> None:
    farm = Farm("a")
    (call,) = calls(farm.submit(1))
    commands = farm.say(Replied("a", call.lease, (), 0.1))
    assert any(isinstance(command, Kill) for command in commands)
    assert not finished(commands)


def test_too_fast_to_be_true_is_wrong() -> None:
    farm = Farm("a")
    (call,) = calls(farm.submit(1, floor_us=11.0))
    assert finished(farm.answer(call))[0].status is Status.WRONG


def test_results_wait_for_a_good_canary() -> None:
    farm = Farm(rules=Rules(canaries=(CANARY,), canary_every=2, prefetch_below_s=1e-12))
    farm.say(WorkerOpened("a"))
    (proof,) = calls(farm.say(Joined("a", "v1")))
    assert (proof.items, proof.canary) == ((), 0)
    assert calls(farm.submit(3)) == []
    (one,) = calls(farm.say(Replied("a", proof.lease, (), 0.1, GOOD)))
    assert one.canary is None
    commands = farm.answer(one)
    assert not finished(commands)
    (two,) = calls(commands)
    assert two.canary == 0
    commands = farm.answer(two, canary=GOOD)
    assert set(finished(commands)) == {0, 1}
    (three,) = calls(commands)
    (flush,) = calls(farm.answer(three))  # nothing else to do: ask for the proof now
    assert (flush.items, flush.canary) == ((), 0)
    assert set(finished(farm.say(Replied("a", flush.lease, (), 0.1, GOOD)))) == {2}


def test_a_bad_canary_sends_everything_since_the_last_good_one_back() -> None:
    farm = Farm(rules=Rules(canaries=(CANARY,), canary_every=2, prefetch_below_s=1e-12))
    farm.say(WorkerOpened("a"))
    (proof,) = calls(farm.say(Joined("a", "v1")))
    farm.submit(2)
    (one,) = calls(farm.say(Replied("a", proof.lease, (), 0.1, GOOD)))
    (two,) = calls(farm.answer(one))
    commands = farm.answer(two, canary=BAD)
    assert not finished(commands)
    assert [c.number for c in commands if isinstance(c, Retry)] == [1, 0]
    (proof,) = calls(commands)
    assert proof.items == ()
    commands = farm.say(Replied("a", proof.lease, (), 0.1, BAD))
    assert any(isinstance(command, Quarantine) for command in commands)
    assert farm.phase("a") is WorkerPhase.QUARANTINED
    assert isinstance(commands[-1], Halt)
    assert {m.status for m in finished(commands).values()} == {Status.LOST}


def test_a_strike_is_forgiven_after_enough_good_canaries() -> None:
    rules = Rules(canaries=(CANARY,), canary_every=1, forgive_after=2)
    farm = Farm(rules=rules)
    farm.say(WorkerOpened("a"))
    (call,) = calls(farm.say(Joined("a", "v1")))
    (call,) = calls(farm.say(Replied("a", call.lease, (), 0.1, BAD)))
    assert farm.dispatch.workers()[0].strikes == 1
    farm.say(Replied("a", call.lease, (), 0.1, GOOD))
    (call,) = calls(farm.submit(1))
    farm.answer(call, canary=GOOD)
    worker = farm.dispatch.workers()[0]
    assert (worker.strikes, worker.canaries_good, worker.canaries_bad) == (0, 2, 1)


def test_confirmations_go_to_different_workers() -> None:
    farm = Farm("a", "b", "c")
    where = [call.worker for call in calls(farm.submit(3, apart=7))]
    assert sorted(where) == ["a", "b", "c"]


def test_confirmations_wait_for_another_worker_rather_than_repeat_one() -> None:
    farm = Farm("a", "b")
    (busy,) = calls(farm.submit(1))
    commands = farm.submit(2, apart=7)
    (first,) = calls(commands)
    assert first.worker == "b"
    assert calls(farm.answer(first)) == []
    (second,) = calls(farm.answer(busy))
    assert second.worker == "a"


def test_another_toolchain_gets_no_work() -> None:
    farm = Farm("a")
    farm.say(WorkerOpened("b"))
    commands = farm.say(Joined("b", "v2"))
    assert isinstance(commands[0], Release)
    assert "toolchain 'v2'" in commands[0].reason
    assert {call.worker for call in calls(farm.submit(4))} == {"a"}


def test_rolling_upgrade_takes_work_back_and_restarts() -> None:
    farm = Farm("a", "b")
    first, _ = calls(farm.submit(2))
    commands = farm.say(ToolchainChanged("v2"))
    assert sorted(c.worker for c in commands if isinstance(c, Kill)) == ["a", "b"]
    assert farm.answer(first) == []
    again = calls(farm.say(Joined("a", "v2")))
    assert again
    assert isinstance(farm.say(Joined("b", "v1"))[0], Release)


def test_drain_finishes_what_runs_and_takes_nothing_new() -> None:
    farm = Farm("a", "b")
    first, second = calls(farm.submit(3))
    farm.say(DrainAsked("a"))
    commands = farm.answer(first)
    assert set(finished(commands)) == {0}
    assert Release("a", "drained") in commands
    (third,) = calls(farm.answer(second))
    assert third.worker == "b"


def test_a_farm_whose_hosts_left_in_order_goes_on_with_the_next_one() -> None:
    farm = Farm("a", "b", rules=Rules(await_hosts_s=60.0, prefetch_below_s=1e-12))
    first, second = calls(farm.submit(3))
    for worker in ("a", "b"):
        farm.say(DrainAsked(worker))
    farm.answer(first)
    commands = farm.answer(second)
    assert commands[-1] == AwaitHosts(60.0)
    assert farm.dispatch.next_deadline_s() == farm.now_s + 60.0
    assert farm.say(WorkerOpened("c"), after_s=59.0) == []
    (third,) = calls(farm.say(Joined("c", "v1"), after_s=100.0))
    assert set(finished(farm.answer(third))) == {2}


def test_a_farm_that_no_host_joins_ends_in_its_time() -> None:
    farm = Farm("a", rules=Rules(await_hosts_s=60.0))
    (call,) = calls(farm.submit(1))
    farm.say(DrainAsked("a"))
    farm.answer(call)
    farm.submit(1)
    assert farm.say(Ticked(), after_s=59.0) == []
    commands = farm.say(Ticked(), after_s=1.0)
    assert isinstance(commands[-1], Halt)
    assert [m.status for m in finished(commands).values()] == [Status.LOST]
    assert farm.dispatch.next_deadline_s() is None


def test_a_worker_that_never_starts_is_retired_and_the_last_one_halts_the_farm() -> None:
    farm = Farm(rules=Rules(failed_starts=2))
    farm.say(WorkerOpened("a"))
    farm.submit(2)
    farm.say(Died("a", "no driver library"))
    commands = farm.say(Died("a", "no driver library"))
    assert isinstance(commands[0], Release)
    assert isinstance(commands[-1], Halt)
    assert "no driver library" in commands[-1].reason
    assert set(finished(commands)) == {0, 1}
    assert set(finished(farm.submit(1))) == {2}  # and what comes later is not left waiting


def test_a_device_that_calls_itself_unusable_blames_no_candidate() -> None:
    farm = Farm("a", rules=Rules(failed_starts=3))
    (call,) = calls(farm.submit(1))
    for _ in range(2):
        farm.say(Died("a", "unplugged", call.lease, own=True))
        (call,) = calls(farm.say(Joined("a", "v1")))
    commands = farm.say(Died("a", "unplugged", call.lease, own=True))
    assert finished(commands)[0].status is Status.LOST
    assert isinstance(commands[-1], Halt)


def test_a_worker_that_dies_on_everything_is_quarantined_while_others_work() -> None:
    farm = Farm("a", "b", rules=Rules(deaths_in_row=3, prefetch_below_s=1e-12))
    commands = farm.submit(40)
    for _ in range(3):
        for call in calls(commands):
            if call.worker == "a":
                farm.say(Died("a", "killed", call.lease))
            else:
                farm.answer(call)
        commands = farm.say(Joined("a", "v1")) if farm.phase("a") is WorkerPhase.STARTING else []
        commands += farm.say(Ticked())
    assert farm.phase("a") is WorkerPhase.QUARANTINED


def test_wanted_is_what_keeps_everybody_busy() -> None:
    farm = Farm("a", "b")
    assert farm.dispatch.wanted() == 4
    farm.submit(3)
    assert farm.dispatch.wanted() == 1


def test_results_that_wait_for_a_canary_keep_nobody_busy() -> None:
    farm = Farm(rules=Rules(canaries=(CANARY,), canary_every=100, prefetch_below_s=1e-12))
    farm.say(WorkerOpened("a"))
    (proof,) = calls(farm.say(Joined("a", "v1")))
    farm.submit(2)
    (call,) = calls(farm.say(Replied("a", proof.lease, (), 0.1, GOOD)))
    farm.answer(call)
    assert farm.dispatch.outstanding() == 2
    assert farm.dispatch.wanted() == 1


def test_rules_must_make_sense() -> None:
    with pytest.raises(UsageError, match="attempts"):
        Rules(attempts=0)
