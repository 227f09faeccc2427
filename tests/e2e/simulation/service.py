"""The service in one process and virtual time: clients, runners and a database with faults, from a seed.

The code is the service's own, down to its SQL on a SQLite file: `JobRunner.serve` with its heartbeat, `Jobs`,
`Uploads`, `RunLeases`, `Repository`. Around it, everything goes wrong: transactions fail before and after
their commit, the database goes away, the clock jumps, runners are killed, stopped and started again.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, Executable, Row, event

from tests.api.fake_work import BATCH, ROW, FakeReport, FakeWork, latency_of
from tests.db.samples import MODEL, TARGET, TOOLCHAIN, ok, trial
from tests.db.service.clock import Clock, clocked
from tests.e2e.simulation.world import Event, Killed, Thread, World
from tilewright.db.browse import Browse, Viewer, Wanted
from tilewright.db.records import NewRun
from tilewright.db.service.job_rows import ENDED, JobState
from tilewright.db.service.jobs import MOST_ATTEMPTS, Jobs
from tilewright.db.service.leases import both
from tilewright.db.service.run_leases import RunLease, RunLeases
from tilewright.db.service.uploads import Uploads
from tilewright.db.storage.session import Database, DatabaseDownError, open_database
from tilewright.measure.objectives import Objective
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.jobs.runner import JobRunner, RunnerSettings
from tilewright.tuner.network.events import Measured
from tilewright.tuner.network.holding import Holding
from tilewright.tuner.request import Hooks, TuneRequest

EVERYBODY = Viewer(None, operator=True)


@dataclass(frozen=True)
class Troubles:
    """How often what goes wrong: chances a transaction, and mean seconds between events of a kind."""

    fails_before: float = 0.02
    fails_after: float = 0.02
    outage_s: float = 60.0
    clock_jump_s: float = 60.0
    kill_s: float = 20.0
    stop_s: float = 30.0


NONE = Troubles(0.0, 0.0, *[float("inf")] * 4)


@dataclass(frozen=True)
class Scenario:
    """How much there is of everything; troubles end after `troubled_s`."""

    tenants: int = 2
    jobs_each: int = 2
    runners: int = 2
    trials: int = 12
    batch_s: float = 1.0
    lease_s: float = 8.0
    poll_s: float = 2.0
    troubled_s: float = 40.0
    patience_s: float = 2000.0
    troubles: Troubles = Troubles()


@dataclass
class Outcome:
    """What can be compared: by tenant and number of the job, its state and its trials."""

    states: dict[str, JobState] = field(default_factory=dict)
    latencies: dict[str, list[float | None]] = field(default_factory=dict)
    happened: Counter[str] = field(default_factory=Counter)
    lasted_s: float = 0.0


class WorldClock(Clock):
    """The clock of the database: that of the world, but for its jumps."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.jumped_s = 0.0

    @property
    def now_s(self) -> float:  # type: ignore[override]  # a field there
        return 1_000_000.0 + self._world.now_s + self.jumped_s


class TroubledDatabase(Database):
    """A Database as one process sees it: around every transaction it gives way to others, and it fails."""

    def __init__(self, real: Database, simulation: "Simulation") -> None:
        super().__init__(real.engine, real.name, read_only=False)
        self._simulation = simulation
        self._inside = False

    def ask(self, question: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        self._give_way()
        return super().ask(question, values)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        self._give_way()
        with super().snapshot() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        self._give_way()
        simulation = self._simulation
        with super().writing() as connection:
            self._inside = True
            try:
                yield connection
            finally:
                self._inside = False
            if simulation.chance(simulation.troubles.fails_before, "failed before the commit"):
                raise DatabaseDownError("it broke off before the commit")
        if simulation.chance(simulation.troubles.fails_after, "failed after the commit"):
            raise DatabaseDownError("it broke off after the commit")
        self._give_way()

    def _reader(self) -> Connection:
        return self._simulation.real._reader()  # one for all: they are in one thread

    def _drop_reader(self) -> None:
        self._simulation.real._drop_reader()

    def _give_way(self) -> None:
        if self._inside:
            return
        simulation = self._simulation
        simulation.world.sleep(simulation.world.random.choice((0.0, 0.0, 0.01, 0.1)))
        if simulation.away:
            raise DatabaseDownError("nobody answers")


class SimulatedHolding(Holding):
    """The Holding of a runner, its thread an actor of the runner's process."""

    def __init__(self, world: World, beat: Any, lease_s: float, heartbeat_s: float) -> None:
        super().__init__(beat, lease_s, heartbeat_s, lambda: world.now_s)
        self._over, self._cancelled, self._lost = Event(world), Event(world), Event(world)  # type: ignore[assignment]
        self._thread = Thread(world, self._beat)  # type: ignore[assignment]


class SimulatedWork(FakeWork):
    """A search under both leases, as the tuner's own takes them; batches take virtual time."""

    def __init__(self, database: Database, simulation: "Simulation") -> None:
        super().__init__(database)
        self._simulation = simulation
        self._leases = RunLeases(database)

    def run(self, request: TuneRequest, hooks: Hooks) -> FakeReport:
        assert request.trials is not None
        budget, world = request.trials, self._simulation.world
        self._simulation.began.setdefault(str(hooks.job), world.now_s)
        asked = NewRun(
            TARGET.digest, TOOLCHAIN, Objective.LATENCY, request.seed, MODEL.digest, trials_budget=budget,
            job=hooks.job,
        )  # fmt: skip
        for earlier, _ in [self.browse.runs(EVERYBODY, hooks.job)]:
            if earlier and earlier[0].finished_at_s is not None:
                return self.report(request.seed, budget)
        lease = self._leases.take(
            asked, world.current().process, self._simulation.scenario.lease_s, is_gone=lambda holder: True
        )
        assert isinstance(lease, RunLease)
        guard = self._leases.guard(lease)
        guard = both(guard, hooks.guard) if hooks.guard is not None else guard
        done = len(self.repository.trials_of_run(lease.run.uid))
        while done < budget and not hooks.cancelled():
            world.sleep(self._simulation.scenario.batch_s)
            numbers = range(done, min(done + BATCH, budget))
            batch = [trial(lease.run.uid, n, ROW, ok(latency_of(request.seed, n))) for n in numbers]
            self.repository.commit_trials(batch, guard)
            done += len(batch)
            hooks.on_event(Measured(done, budget, "fake", 1.0, 1.0, 5.0, "us", 1.0, 0.01, 0.02))
        self.repository.finish_run(lease.run.uid, "budget", guard=guard)
        return self.report(request.seed, done)


class Simulation:
    """One life of a service, from its first job to the end of its last."""

    def __init__(self, seed: int, scenario: Scenario, path: Path) -> None:
        self.world = World(seed)
        self.scenario = scenario
        self.troubles = scenario.troubles
        self.away = False
        self.outcome = Outcome()
        self.clock = WorldClock(self.world)
        self._over = False
        self.real = clocked(open_fast(path), self.clock)
        self.began: dict[str, float] = {}
        self._uids: dict[str, str] = {}
        self._asked_to_cancel: set[str] = set()

    def run(self) -> Outcome:
        """Lives it through; AssertionError where a promise was broken."""
        world, scenario = self.world, self.scenario
        with patch("tilewright.tuner.jobs.runner.Holding", self._holding):
            for number in range(scenario.runners):
                self._start_runner(f"runner {number}")
            for tenant in range(scenario.tenants):
                world.spawn("clients", f"tenant {tenant}", lambda tenant=tenant: self._client(tenant))  # type: ignore[misc]
            for trouble in (self._outages, self._clock_jumps, self._kills, self._stops):
                world.spawn("troubles", trouble.__name__, trouble)
            world.spawn("troubles", "end", self._calm)
            world.spawn("troubles", "watch", self._watch)
            world.run(scenario.patience_s, lambda: self._over)
            self.outcome.lasted_s = world.now_s
            world.end()
        self.troubles, self.away = NONE, False
        self._check()
        self.real.close()
        return self.outcome

    def chance(self, likely: float, what: str) -> bool:
        """Whether a trouble happens now; it is counted."""
        happens = self.world.random.random() < likely
        self.outcome.happened[what] += happens
        return happens

    def _holding(self, *given: Any) -> SimulatedHolding:
        return SimulatedHolding(self.world, *given)

    def _start_runner(self, name: str) -> None:
        database, lease_s = TroubledDatabase(self.real, self), self.scenario.lease_s
        work = SimulatedWork(database, self)
        runner = JobRunner(database, RunnerSettings(name, lease_s, lease_s / 4, self.scenario.poll_s), work)
        runner._stopping = Event(self.world)  # type: ignore[assignment]
        self.world.spawn(name, "main", runner.serve)

    def _client(self, tenant: int) -> None:
        """Submits jobs until each is acknowledged, and cancels some."""
        database, name = TroubledDatabase(self.real, self), f"tenant {tenant}"
        jobs, uploads = Jobs(database), Uploads(database)
        dice = self.world.random
        for number in range(self.scenario.jobs_each):
            key = f"{name} job {number}"
            request = TuneRequest(
                Path("m.onnx"), "ascend910", seed=tenant * 100 + number, trials=self.scenario.trials
            )
            spec, priority = request_to_json(request), dice.randrange(3)

            def submit(spec: str = spec, key: str = key, priority: int = priority) -> str:
                return jobs.submit(name, spec, uploads.put(b"model"), key, priority)[0].uid

            self._uids[key] = self._until_it_works(submit)
            if dice.random() < 0.2:
                self._asked_to_cancel.add(self._uids[key])
                self._until_it_works(lambda key=key: jobs.cancel(self._uids[key], name))
            self.world.sleep(dice.random() * 10)

    def _until_it_works(self, verb: Any) -> Any:
        while True:
            try:
                return verb()
            except DatabaseDownError:
                self.world.sleep(1.0)

    def _now_and_then(self, mean_s: float) -> Iterator[None]:
        while mean_s < float("inf"):
            self.world.sleep(self.world.random.expovariate(1.0 / mean_s))
            if self.world.now_s >= self.scenario.troubled_s:
                return
            yield

    def _outages(self) -> None:
        for _ in self._now_and_then(self.troubles.outage_s):
            self.outcome.happened["outage"] += 1
            self.away = True
            self.world.sleep(self.world.random.choice((0.5, 5.0, 20.0)))
            self.away = False

    def _clock_jumps(self) -> None:
        for _ in self._now_and_then(self.troubles.clock_jump_s):
            self.outcome.happened["clock jumped"] += 1
            self.clock.jumped_s += self.world.random.choice((-3600.0, -30.0, -0.5, 0.5, 30.0, 3600.0))

    def _kills(self) -> None:
        for _ in self._now_and_then(self.troubles.kill_s):
            self.outcome.happened["killed"] += 1
            name = f"runner {self.world.random.randrange(self.scenario.runners)}"
            self.world.kill(name)
            self.world.sleep(self.world.random.choice((0.1, 3.0, 15.0)))
            self._start_runner(name)

    def _stops(self) -> None:
        for _ in self._now_and_then(self.troubles.stop_s):
            self.outcome.happened["stopped"] += 1
            name = f"runner {self.world.random.randrange(self.scenario.runners)}"
            self.world.stop(name, self.scenario.lease_s * self.world.random.choice((0.1, 1.0, 3.0)))

    def _calm(self) -> None:
        self.world.sleep(self.scenario.troubled_s)
        self.troubles = NONE

    def _watch(self) -> None:
        """Notes when every job was submitted and has ended."""
        while not self._over:
            self.world.sleep(2.0)
            if len(self._uids) == self.scenario.tenants * self.scenario.jobs_each:
                counts = Jobs(self.real).counts()
                self._over = counts[JobState.QUEUED] == counts[JobState.RUNNING] == 0

    def _check(self) -> None:
        jobs, browse = Jobs(self.real), Browse(self.real)
        assert sum(jobs.counts().values()) == len(self._uids), "a job was made twice, or is lost"
        for key, uid in self._uids.items():
            job = jobs.get(uid)
            assert job is not None, f"{key} is lost"
            assert job.state in ENDED, f"{key} is stuck: {job}"
            if job.state is JobState.CANCELLED:
                assert uid in self._asked_to_cancel, f"{key} ended by itself"
            if job.state is JobState.FAILED:
                assert f"lost {MOST_ATTEMPTS} times" in job.error, f"{key} failed: {job.error}"
            numbers = [event.number for event in jobs.events(uid, limit=10_000)]
            assert numbers == list(range(1, len(numbers) + 1)), f"{key} has gaps in its story: {numbers}"
            runs, _ = browse.runs(EVERYBODY, uid)
            assert len(runs) <= 1, f"{key} has {len(runs)} runs"
            rows = browse.records(EVERYBODY, Wanted(run=runs[0].uid), limit=500)[0] if runs else []
            found = [(row.row.trial.number, row.row.trial.measurement.latency_us) for row in rows][::-1]
            seed = read_seed(job.spec)
            assert found == [(n, latency_of(seed, n)) for n in range(len(found))], f"{key}: {found}"
            if job.state is JobState.SUCCEEDED:
                assert len(found) == self.scenario.trials, f"{key} has {len(found)} trials"
            self.outcome.states[key] = job.state
            self.outcome.latencies[key] = [latency for _, latency in found]


def read_seed(spec: str) -> int:
    from tilewright.tuner.jobs.request import read_request

    return read_request(spec).seed


@cache
def _template() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="tilewright-test-")
    _template_folders.append(folder)
    path = Path(folder.name) / "template.db"
    opened = open_database(path)
    work = FakeWork(opened)
    work.repository.put_target(TARGET)
    work.repository.put_model(MODEL)
    work.repository.put_workloads([ROW])
    opened.close()
    return path


_template_folders: list[tempfile.TemporaryDirectory[str]] = []


def open_fast(path: Path) -> Database:
    """A fresh database with what every search needs, that does not wait for the disk."""
    shutil.copy(_template(), path)
    database = open_database(path)
    event.listen(database.engine, "connect", lambda opened, _: opened.execute("PRAGMA synchronous = OFF"))
    return database


def live(seed: int, scenario: Scenario = Scenario(), folder: Path | None = None) -> Outcome:
    """The outcome of one seed; AssertionError, with the seed, where a promise was broken."""
    with tempfile.TemporaryDirectory(prefix="tilewright-test-", dir=folder) as place:
        try:
            return Simulation(seed, scenario, Path(place) / "tuning.db").run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def undisturbed(scenario: Scenario) -> Scenario:
    """The same with nothing going wrong."""
    return replace(scenario, troubles=NONE, troubled_s=0.0)


__all__ = ["Killed", "Outcome", "Scenario", "Troubles", "live", "undisturbed"]
