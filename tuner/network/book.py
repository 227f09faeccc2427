"""The run's book: what is looked up before it, what is committed during it, what is published after it.

Everything a run knows about the database is here; trials are committed before anybody acts on them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.ir.graph_json import graph_to_json
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.answering.describe import row_of
from tilewright.db.answering.lookup import Hit, lookup_many
from tilewright.db.records import (
    Best,
    Effort,
    Key,
    ModelRow,
    NewRun,
    Purpose,
    TargetRow,
    Trial,
    Verification,
    WorkloadKind,
    WorkloadRow,
)
from tilewright.db.repository import Repository
from tilewright.db.service.leases import Guard, both
from tilewright.db.service.run_leases import BusyRun, RunLease, RunLeases
from tilewright.db.service.workers import WorkerNews, WorkerState
from tilewright.measure.device import DeviceInfo
from tilewright.measure.farm.pool import Pool
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask
from tilewright.tuner.holding import Holding
from tilewright.tuner.kernel.problem import SearchTrial, trial_seed
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.process import is_gone, this_process

LEASE_S, HEARTBEAT_S = 30.0, 5.0
"""How long a run elsewhere that fell silent keeps others waiting, and how often ours says that it lives."""
NETWORK_SPACE = "0" * 64
"""Space digest of whole networks: their Configs are checked by compiling them."""


def kernel_row(task: KernelTask) -> WorkloadRow:
    """A kernel as the database knows it."""
    return row_of(task.workload)


def network_row(network: NetworkTask) -> WorkloadRow:
    """A network as the database knows it."""
    body = canonical_json(graph_to_json(network.graph))
    return WorkloadRow(network.digest, network.digest, WorkloadKind.GRAPH, "[]", body)


@dataclass
class Book:
    """One network on one target for one objective, and the run that is writing about it.

    `device` is who measures: its records answer under its own toolchain. `wholes` is what this run has
    measured of the network as a whole.
    """

    repository: Repository
    network: NetworkTask
    target: Target
    target_text: str
    device: DeviceInfo
    objective: Objective = Objective.LATENCY
    job: str | None = None
    guard: Guard | None = None
    pool: Pool | None = None
    _lease: RunLease | None = None
    _next_number: int = 0
    _confirmations: int = 0
    wholes: dict[Config, Measurement] = field(default_factory=dict)
    _confirmed: set[tuple[str, str, Verification]] = field(default_factory=set)
    _bounds: dict[str, float] = field(default_factory=dict)

    @property
    def toolchain(self) -> str:
        """The device's."""
        return self.device.toolchain

    def key(self, digest: str) -> Key:
        """The database key of a workload here."""
        return Key(digest, self.target.digest, self.toolchain, self.objective)

    def known_kernels(self, tasks: Sequence[KernelTask]) -> Mapping[str, Best]:
        """The bests of kernels, by workload digest, whose Configs lie in today's spaces."""
        spaces = {task.digest: task.space for task in tasks}
        answers = lookup_many(
            self.repository,
            [kernel_row(task) for task in tasks],
            self.target.digest,
            self.toolchain,
            self.objective,
            space_digests={digest: space.digest for digest, space in spaces.items()},
            fits=lambda row, best: spaces[row.digest].contains(best.config),
            explain=False,
            before_s=self._known_before_s,
        )
        return {a.workload.digest: a.best for a in answers if isinstance(a, Hit)}

    def beaten(self, bests: Mapping[str, Best], of_kernels: Objective) -> Mapping[str, tuple[Config, ...]]:
        """Configs that earlier runs for the same objective measured as no better than the best, by workload.

        Measured by the same protocol; what looked better and was not published may be asked for again.
        """
        found: dict[str, list[Config]] = {}
        rows = self.repository.trials_for(list(bests), self.target.digest, self.toolchain)
        for row in rows:
            best, measured = bests[row.key.workload_digest], row.trial.measurement
            alike = (row.key.objective, row.protocol) == (self.objective, self.device.protocol)
            known = self._known_before_s is None or row.created_at_s < self._known_before_s
            value, least = of_kernels.of(measured), of_kernels.of(best.as_measured)
            told = value is not None and least is not None and value >= least
            if alike and known and told and row.trial.config != best.config:
                found.setdefault(row.key.workload_digest, []).append(row.trial.config)
        return {digest: tuple(dict.fromkeys(configs)) for digest, configs in found.items()}

    def known_network(self) -> Best | None:
        """The best of the whole network."""
        key = self.key(self.network.digest)
        if self._known_before_s is None:
            return self.repository.best(key)
        found = self.repository.best_many(
            [key.workload_digest], key.target_digest, key.toolchain, key.objective, self._known_before_s
        )
        return found.get(key.workload_digest)

    @property
    def _known_before_s(self) -> float | None:
        """A run knows what was known when it began, so that one that was cut off goes on as it would have."""
        return None if self._lease is None else self.started_at_s

    def spent(self) -> int:
        """The trials that finished runs together were given for this network."""
        return self.repository.ledger(self.key(self.network.digest)).trials_budget

    def ended(self) -> int:
        """How many runs of this network have ended; to be told to `open`."""
        return self._leases.ended(self.key(self.network.digest))

    def open(
        self, name: str, seed: int, trials: int, settings: Mapping[str, object], ended: int
    ) -> RunLease | BusyRun | None:
        """Make known what the run refers to; start it, or go on with the one that was cut off.

        Nothing is opened where another run of this network is under way, which comes back, or where not
        `ended` of them have ended by now (None): there may be less to do.
        """
        self.repository.put_target(TargetRow(self.target.digest, self.target.name, self.target_text))
        self.repository.put_workloads([network_row(self.network)])
        self.repository.put_model(ModelRow(self.network.digest, name))
        asked = NewRun(
            target_digest=self.target.digest,
            toolchain=self.toolchain,
            objective=self.objective,
            seed=seed,
            model_digest=self.network.digest,
            device=self.device.name,
            protocol=self.device.protocol,
            trials_budget=trials,
            settings=json.dumps(settings, sort_keys=True),
            job=self.job,
        )
        taken = self._leases.take(asked, this_process(), LEASE_S, is_gone, ended)
        if isinstance(taken, RunLease):
            self._lease = taken
        return taken

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the open run ours for the time of a `with` block; gives it back where that breaks off."""
        leases, lease = self._leases, self._open_lease

        def beat() -> bool:
            leases.heartbeat(lease, LEASE_S)
            return False

        with Holding(beat, LEASE_S, HEARTBEAT_S):
            try:
                yield
            except BaseException:
                with suppress(RecordError):
                    leases.release(lease)
                raise

    @property
    def _leases(self) -> RunLeases:
        return RunLeases(self.repository.database)

    @property
    def _open_lease(self) -> RunLease:
        assert self._lease is not None, "open the book first"
        return self._lease

    @property
    def _guard(self) -> Guard:
        """Whether the run, and the job that it belongs to, are still ours."""
        own = self._leases.guard(self._open_lease)
        return own if self.guard is None else both(own, self.guard)

    @property
    def is_open(self) -> bool:
        """Whether a run is open to record into."""
        return self._lease is not None

    @property
    def uid(self) -> str:
        """The run's name."""
        return self._open_lease.run.uid

    @property
    def started_at_s(self) -> float:
        """When the run began, by the database's clock."""
        return self._open_lease.run.started_at_s

    def earlier(self) -> list[tuple[str, SearchTrial]]:
        """The kernel trials this run committed before it was cut off, in that order, by workload digest.

        What it measured whole, and what it confirmed, is remembered: that is not recorded a second time.
        """
        found: list[tuple[str, SearchTrial]] = []
        count = Counter[str]()
        for row in self.repository.trials_of_run(self.uid):
            self._next_number = row.trial.number + 1
            digest = row.key.workload_digest
            if digest == self.network.digest:
                self.wholes[row.trial.config] = row.trial.measurement
                continue
            found.append((digest, SearchTrial(count[digest], row.trial.config, row.trial.measurement)))
            count[digest] += 1
        for row in self.repository.trials_of_run(self.uid, Purpose.CONFIRMATION):
            self._confirmations = row.trial.number + 1
            self._confirmed.add((row.key.workload_digest, row.trial.config.digest, row.trial.verification))
        return found

    def commit(self, task: KernelTask, trials: Sequence[SearchTrial]) -> None:
        """Append a batch of search trials; durable when this returns."""
        self._introduce(task)
        first = self._next_number
        self.repository.commit_trials(
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
        return self._publish(self.network.digest, NETWORK_SPACE, config, confirmations, verification, default)

    def refuse(self, task: KernelTask | None, config: Config, failed: Measurement) -> None:
        """Commit what a check has found wrong with a Config, of a kernel or (None) of the whole network."""
        if task is not None:
            self._introduce(task)
        digest = self.network.digest if task is None else task.digest
        space_digest = NETWORK_SPACE if task is None else task.space.digest
        self._publish(digest, space_digest, config, [failed], Verification.NONE, False)

    def default_network(self) -> Best | None:
        """What the whole network takes by default, as it was last measured."""
        return self.repository.default(self.key(self.network.digest))

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
            return self.repository.publish_best(self.key(digest))
        first = self._confirmations
        self.repository.commit_trials(
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
        return self.repository.publish_best(self.key(digest))

    def measure_whole(self, configs: Sequence[Config], pool: Pool, floor_us: float) -> list[Measurement]:
        """A whole-network measurement per Config; this run measures each once, and has it committed."""
        fresh = [config for config in dict.fromkeys(configs) if config not in self.wholes]
        if fresh:
            measured = pool.measure(self.network, fresh, floor_us=floor_us)
            first = self._next_number
            self.repository.commit_trials(
                [
                    self._record(self.network.digest, NETWORK_SPACE, first + index, config, each)
                    for index, (config, each) in enumerate(zip(fresh, measured, strict=True))
                ],
                self._guard,
            )
            self._next_number += len(fresh)
            self.wholes |= dict(zip(fresh, measured, strict=True))
        return [self.wholes[config] for config in configs]

    def set_bound(self, digest: str, bound_us: float) -> None:
        """What no measurement of `digest` may beat."""
        self._bounds[digest] = bound_us

    def close(self, reason: str, spent: Mapping[str, int], regret: float | None) -> None:
        """End the run and enter what it spent on every workload."""
        efforts = [Effort(digest, trials, regret) for digest, trials in spent.items()]
        self.repository.finish_run(self.uid, reason, regret, efforts, self._guard)

    def _seen(self) -> list[WorkerNews]:
        """What is new of the workers, for the table of who measures."""
        if self.pool is None:
            return []
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
            self.repository.put_workloads([kernel_row(task)])
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
