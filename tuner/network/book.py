"""The run's book: commits trials while the run goes on, and publishes answers at its end. Trials are
committed before they have any effect.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from tilewright.compiler_core.errors import RecordError
from tilewright.db.records import Best, Effort, Purpose, Trial, Verification
from tilewright.db.service.leases import Guard, both
from tilewright.db.service.run_leases import RunLease
from tilewright.db.service.workers import WorkerNews, WorkerState
from tilewright.measure.farm.pool import Pool
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.tuner.kernel.problem import SearchTrial, trial_seed
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.holding import Holding
from tilewright.tuner.network.records import LEASE_S, Records, kernel_row

HEARTBEAT_S = 5.0
"""The interval of a run's heartbeats."""
NETWORK_SPACE = "0" * 64
"""Space digest of whole networks: their Configs are checked by compiling them."""


@dataclass(frozen=True)
class Dropped:
    """A measured candidate that computes wrong numbers: its name, and the wrong value with its error."""

    what: str
    reason: str


@contextmanager
def held(records: Records, lease: RunLease) -> Iterator[None]:
    """Keeps a run ours for the time of a `with` block; gives it back where that breaks off."""

    def beat() -> bool:
        records.leases.heartbeat(lease, LEASE_S)
        return False

    with Holding(beat, LEASE_S, HEARTBEAT_S):
        try:
            yield
        except BaseException:
            with suppress(RecordError):
                records.leases.release(lease)
            raise


@dataclass(eq=False)
class Book:
    """The book of one run: open from the beginning, with the lease of its run and the pool that measures.

    `guard` is asked in every transaction that writes, beside the lease. `wholes` are the run's measurements
    of the whole network. `earlier` are the kernel trials that it committed before it was cut off, by workload
    digest, in that order; what it measured whole then, and confirmed, is not recorded a second time.
    """

    records: Records
    lease: RunLease
    pool: Pool
    guard: Guard | None = None
    wholes: dict[Config, Measurement] = field(default_factory=dict, init=False)
    earlier: tuple[tuple[str, SearchTrial], ...] = field(init=False)
    _next_number: int = field(default=0, init=False)
    _confirmations: int = field(default=0, init=False)
    _confirmed: set[tuple[str, str, Verification]] = field(default_factory=set, init=False)
    _bounds: dict[str, float] = field(default_factory=dict, init=False)
    _dropped: list[Dropped] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.earlier = tuple(self._read_earlier())

    @property
    def uid(self) -> str:
        """The run's name."""
        return self.lease.run.uid

    @property
    def started_at_s(self) -> float:
        """When the run began, by the database's clock."""
        return self.lease.run.started_at_s

    @property
    def _guard(self) -> Guard:
        """Whether the run, and the job that it belongs to, are still ours."""
        own = self.records.leases.guard(self.lease)
        return own if self.guard is None else both(own, self.guard)

    def _read_earlier(self) -> Iterator[tuple[str, SearchTrial]]:
        repository, count = self.records.repository, Counter[str]()
        for row in repository.trials_of_run(self.uid):
            self._next_number = row.trial.number + 1
            digest = row.key.workload_digest
            if digest == self.records.network.digest:
                self.wholes[row.trial.config] = row.trial.measurement
                continue
            yield digest, SearchTrial(count[digest], row.trial.config, row.trial.measurement)
            count[digest] += 1
        for row in repository.trials_of_run(self.uid, Purpose.CONFIRMATION):
            self._confirmations = row.trial.number + 1
            self._confirmed.add((row.key.workload_digest, row.trial.config.digest, row.trial.verification))

    def commit(self, task: KernelTask, trials: Sequence[SearchTrial]) -> None:
        """Append a batch of search trials; durable when this returns."""
        self._introduce(task)
        first = self._next_number
        self.records.repository.commit_trials(
            [
                self._record(task.digest, task.space.digest, first + index, trial.config, trial.measurement)
                for index, trial in enumerate(trials)
            ],
            self._guard,
            self._seen(),
        )
        self._next_number += len(trials)

    def publish(
        self,
        task: KernelTask,
        config: Config,
        confirmations: Sequence[Measurement],
        verification: Verification,
        *,
        default: bool = False,
    ) -> Best | None:
        """Commit the confirmations of a kernel's Config, and derive its best anew.

        The `default` has to be published too, verified or not: nothing is served without it.
        """
        self._introduce(task)
        return self._publish(task.digest, task.space.digest, config, confirmations, verification, default)

    def publish_network(
        self,
        config: Config,
        confirmations: Sequence[Measurement],
        verification: Verification,
        *,
        default: bool = False,
    ) -> Best | None:
        """The same for a Config of the whole network."""
        return self._publish(
            self.records.network.digest, NETWORK_SPACE, config, confirmations, verification, default
        )

    def why_not_published(self, config: Config) -> str:
        """Why the records let no Config of the whole network be published that was checked and confirmed."""
        key = self.records.key(self.records.network.digest)
        return self.records.repository.why_not_best(key, config.digest)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """The candidates that were refused, in that order."""
        return tuple(self._dropped)

    def drop(self, what: str, reason: str) -> None:
        """Tell at the end of the run that a candidate was refused."""
        self._dropped.append(Dropped(what, reason))

    def refuse(self, what: str, task: KernelTask | None, config: Config, failed: Measurement) -> None:
        """Commit the failed check of a Config, of a kernel or (None) of the whole network, and report it at
        the end of the run as `what`.
        """
        self.drop(what, failed.reason)
        if task is not None:
            self._introduce(task)
        digest = self.records.network.digest if task is None else task.digest
        space_digest = NETWORK_SPACE if task is None else task.space.digest
        self._publish(digest, space_digest, config, [failed], Verification.NONE, False)

    def _publish(
        self,
        digest: str,
        space_digest: str,
        config: Config,
        confirmations: Sequence[Measurement],
        verification: Verification,
        default: bool,
    ) -> Best | None:
        entry = digest, config.digest, verification
        if entry in self._confirmed:
            return self.records.repository.publish_best(self.records.key(digest))
        first = self._confirmations
        self.records.repository.commit_trials(
            [
                replace(
                    self._record(digest, space_digest, first + index, config, measured),
                    purpose=Purpose.CONFIRMATION,
                    verification=verification,
                    default=default,
                )
                for index, measured in enumerate(confirmations)
            ],
            self._guard,
        )
        self._confirmations += len(confirmations)
        self._confirmed.add(entry)
        return self.records.repository.publish_best(self.records.key(digest))

    def measure_whole(self, configs: Sequence[Config], floor_us: float) -> list[Measurement]:
        """A whole-network measurement per Config; this run measures each once, and has it committed."""
        fresh = [config for config in dict.fromkeys(configs) if config not in self.wholes]
        if fresh:
            measured = self.pool.measure(self.records.network, fresh, floor_us=floor_us)
            first = self._next_number
            self.records.repository.commit_trials(
                [
                    self._record(self.records.network.digest, NETWORK_SPACE, first + index, config, each)
                    for index, (config, each) in enumerate(zip(fresh, measured, strict=True))
                ],
                self._guard,
            )
            self._next_number += len(fresh)
            self.wholes |= dict(zip(fresh, measured, strict=True))
        return [self.wholes[config] for config in configs]

    def set_bound(self, digest: str, bound_us: float) -> None:
        """Set the bound of `digest`: no valid measurement is below it."""
        self._bounds[digest] = bound_us

    def close(self, reason: str, spent: Mapping[str, int], regret: float | None) -> None:
        """End the run, and enter its trials on every workload."""
        efforts = [Effort(digest, trials, regret) for digest, trials in spent.items()]
        self.records.repository.finish_run(self.uid, reason, regret, efforts, self._guard)

    def _seen(self) -> list[WorkerNews]:
        """Changes of the workers, for the table of workers."""
        device = self.pool.info().name
        return [
            WorkerNews(
                each.name,
                device,
                WorkerState.QUARANTINED if each.phase == "quarantined" else WorkerState.HEALTHY,
                each.reason,
            )
            for each in self.pool.news()
        ]

    def _introduce(self, task: KernelTask) -> None:
        """Make a kernel known before anything refers to it."""
        if task.digest not in self._bounds:
            self.records.repository.put_workloads([kernel_row(task)])
            self._bounds[task.digest] = task.bound_us

    def _record(
        self,
        digest: str,
        space_digest: str,
        number: int,
        config: Config,
        measurement: Measurement,
    ) -> Trial:
        return Trial(
            run=self.uid,
            number=number,
            workload_digest=digest,
            space_digest=space_digest,
            config=config,
            measurement=measurement,
            seed=trial_seed(self.uid, number),
            bound_us=self._bounds.get(digest),
        )
