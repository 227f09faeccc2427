"""The lease protocol, step by step: two runners and a job, in the service's own SQL and in a model beside it.

A step is atomic: a transaction, or a turn of the clock. The model says what each step may do; the search goes
through every order of steps, and visits a state once however it was come by.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, select, update

from tests.db.service.clock import Clock
from tilewright.db.service.job_rows import JobLease, JobState
from tilewright.db.service.jobs import MOST_ATTEMPTS, Jobs
from tilewright.db.service.leases import CLOCK_SLACK_S, LeaseLostError
from tilewright.db.storage.schema import job, job_event
from tilewright.db.storage.session import Database

LEASE_S, RUNNERS = 8.0, 2
CLOCK_STEPS = {"tick": 3.0, "expire": LEASE_S + 1.25, "back": -1000.0, "slip": -1.5}  # never just at an end


@dataclass(frozen=True)
class State:
    """What the protocol can see. `until_s` is from now; `held` has for each runner how many leases were given
    since its own, None where it has none; a runner that is down does nothing.
    """

    job: JobState = JobState.QUEUED
    until_s: float | None = None
    attempts: int = 0
    cancel: bool = False
    held: tuple[int | None, ...] = (None,) * RUNNERS
    up: tuple[bool, ...] = (True,) * RUNNERS

    @property
    def running(self) -> bool:
        """Whether the job's lease is in force."""
        return (
            self.job is JobState.RUNNING
            and self.until_s is not None
            and 0 < self.until_s <= LEASE_S + CLOCK_SLACK_S
        )

    def holds(self, runner: int) -> bool:
        """Whether a runner may write."""
        return self.running and self.held[runner] == 0

    def normal(self) -> "State":
        """The same, but for what makes no difference: how long ago a lease ended, which old one is held."""
        until = self.until_s if self.running else (None if self.until_s is None else -1.0)
        return replace(self, until_s=until, held=tuple(each and 1 for each in self.held))


Step = tuple[str, int]


def steps(state: State) -> Iterator[Step]:
    """Every step that somebody may take."""
    for runner in range(RUNNERS):
        if not state.up[runner]:
            yield "restart", runner
            continue
        yield from ((verb, runner) for verb in ("lease", "crash"))
        if state.held[runner] is not None:
            yield from ((verb, runner) for verb in ("heartbeat", "commit", "finish", "release"))
    yield from ((verb, -1) for verb in ("cancel", *CLOCK_STEPS))


def expected(state: State, step: Step) -> tuple[State, bool]:
    """The model: the state after a step, and whether whoever takes it is told that it worked."""
    verb, runner = step
    if verb in CLOCK_STEPS:
        moved = None if state.until_s is None else state.until_s - CLOCK_STEPS[verb]
        return replace(state, until_s=moved), True
    if verb in ("crash", "restart"):
        return replace(
            state, up=_with(state.up, runner, verb == "restart"), held=_with(state.held, runner, None)
        ), True
    if verb == "cancel":
        if state.job is JobState.QUEUED:
            return replace(state, job=JobState.CANCELLED, until_s=None), True
        return replace(state, cancel=state.cancel or state.job is JobState.RUNNING), True
    if verb == "lease":
        return _leased(state, runner)
    if not state.holds(runner):
        return state, False
    return {
        "heartbeat": replace(state, until_s=LEASE_S),
        "commit": replace(state, attempts=min(state.attempts, 1)),
        "finish": replace(state, job=JobState.SUCCEEDED, until_s=None),
        "release": replace(state, job=JobState.QUEUED, until_s=None, attempts=state.attempts - 1),
    }[verb], True


def _leased(state: State, runner: int) -> tuple[State, bool]:
    if state.job not in (JobState.QUEUED, JobState.RUNNING) or state.running:
        return state, False
    if state.cancel:
        return replace(state, job=JobState.CANCELLED, until_s=None), False
    if state.attempts >= MOST_ATTEMPTS:
        return replace(state, job=JobState.FAILED, until_s=None), False
    older = tuple(None if each is None else each + 1 for each in state.held)
    taken = replace(state, job=JobState.RUNNING, until_s=LEASE_S, attempts=state.attempts + 1)
    return replace(taken, held=_with(older, runner, 0)), True


def _with(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])


class Subject:
    """The real thing, put into a state and stepped."""

    TOKEN = 100

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.jobs = Jobs(database)
        self.made, _ = self.jobs.submit("tenant", "{}")
        self.uid = self.made.uid

    def step(self, state: State, step: Step) -> tuple[State, bool]:
        """The state after a step from `state`, and whether whoever took it was told that it worked."""
        self._put(state)
        leases = [None if each is None else self._lease(self.TOKEN - each) for each in state.held]
        verb, runner = step
        up, told = state.up, True
        if verb in CLOCK_STEPS:
            self.clock.now_s += CLOCK_STEPS[verb]
        elif verb in ("crash", "restart"):
            up, leases[runner] = _with(up, runner, verb == "restart"), None
        elif verb == "cancel":
            self.jobs.cancel(self.uid)
        elif verb == "lease":
            given = self.jobs.lease(str(runner), LEASE_S)
            told = given is not None
            leases[runner] = given or leases[runner]
        else:
            told = self._works(verb, leases[runner])
        with self.database.snapshot() as connection:
            row = connection.execute(select(job).where(job.c.uid == self.uid)).one()
        until = None if row.lease_until_s is None else round(row.lease_until_s - self.clock.now_s, 2)
        since = tuple(None if each is None else row.lease_token - each.token for each in leases)
        return State(JobState(row.state), until, row.attempts, row.cancel_requested, since, up), told

    def _works(self, verb: str, lease: JobLease | None) -> bool:
        assert lease is not None
        steps: dict[str, Callable[[], object]] = {
            "heartbeat": lambda: self.jobs.heartbeat(lease, LEASE_S),
            "commit": lambda: self.jobs.add_event(lease, "measured", "{}", progress=True),
            "finish": lambda: self.jobs.finish(lease, JobState.SUCCEEDED),
            "release": lambda: self.jobs.release(lease),
        }
        try:
            steps[verb]()
        except LeaseLostError:
            return False
        return True

    def _put(self, state: State) -> None:
        until = None if state.until_s is None else self.clock.now_s + state.until_s
        values = {
            "state": state.job,
            "lease_until_s": until,
            "lease_s": LEASE_S,
            "lease_token": self.TOKEN,
            "attempts": state.attempts,
            "cancel_requested": state.cancel,
        }
        with self.database.writing() as connection:
            connection.execute(update(job).where(job.c.uid == self.uid).values(values))
            connection.execute(delete(job_event))

    def _lease(self, token: int) -> JobLease:
        return JobLease(self.made, token, 0.0)


def explore(subject: Subject, depth: int) -> tuple[int, int]:
    """Goes every way of at most `depth` steps; how many states and steps. AssertionError where the real thing
    and the model part, or a promise of the protocol is broken.
    """
    seen, frontier, taken = {State()}, [State()], 0
    for _ in range(depth):
        following = []
        for state in frontier:
            assert sum(map(state.holds, range(RUNNERS))) <= 1, f"two hold the job: {state}"
            for step in steps(state):
                taken += 1
                after, told = subject.step(state, step)
                wanted, may = expected(state, step)
                where = f"{step} from {state}"
                assert told == may, f"{where}: told {told}"
                assert after.normal() == wanted.normal(), f"{where}: {after}, not {wanted}"
                if state.job not in (JobState.QUEUED, JobState.RUNNING):
                    assert after.job is state.job, f"{where}: what has ended goes on"
                if after.normal() not in seen:
                    seen.add(after.normal())
                    following.append(after.normal())
        frontier = following
    return len(seen), taken
