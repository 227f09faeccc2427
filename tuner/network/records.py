"""Records of a network on a target, for the start of a run and for lookups."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tilewright.compiler_core.digest import canonical_json
from tilewright.compiler_core.ir.graph_json import graph_to_json
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.answering.describe import row_of
from tilewright.db.answering.lookup import AnswerRequest, Hit, lookup_many, retired_answers
from tilewright.db.layers.layer import AnswerContext, Layers
from tilewright.db.records import Best, Key, ModelRow, NewRun, TargetRow, WorkloadKind, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.service.process import is_gone, this_process
from tilewright.db.service.run_leases import BusyRun, RunLease, RunLeases
from tilewright.measure.device import DeviceInfo
from tilewright.measure.objectives import Objective
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask
from tilewright.tuner.kernel.task import KernelTask

LEASE_S = 30.0
"""Others wait this long for a run elsewhere that no longer answers."""


def kernel_row(task: KernelTask) -> WorkloadRow:
    """A kernel as a row of the database."""
    return row_of(task.workload)


def network_row(network: NetworkTask) -> WorkloadRow:
    """A network as a row of the database."""
    body = canonical_json(graph_to_json(network.graph))
    return WorkloadRow(network.digest, network.digest, WorkloadKind.GRAPH, "[]", body)


@dataclass(frozen=True)
class NewSearch:
    """A run to be started: the `name` of its network, its `seed`, the `trials` it may spend, the `settings`
    that decide, beside these, which trials it measures, and the service's `job` that it belongs to.
    """

    name: str
    seed: int
    trials: int
    settings: Mapping[str, object]
    job: str | None = None


@dataclass(eq=False)
class Records:
    """Records of one network and its kernels on one target for one objective; answers are kept.

    `device` is the measuring device: its records answer under its own toolchain. Where nothing is measured,
    `layers` answer, of which the database is one; a search goes by the records of its own database alone.
    """

    repository: Repository
    network: NetworkTask
    target: Target
    target_text: str
    device: DeviceInfo
    objective: Objective = Objective.LATENCY
    layers: Layers | None = None
    _before_s: float | None = None
    _known: dict[str, Best] = field(default_factory=dict)
    _looked_up: set[str] = field(default_factory=set)

    @property
    def toolchain(self) -> str:
        """The device's."""
        return self.device.toolchain

    @property
    def sources(self) -> Layers:
        """What is asked for answers, in order."""
        return self.layers or Layers.of(self.repository)

    def key(self, digest: str) -> Key:
        """The database key of a workload here."""
        return Key(digest, self.target.digest, self.toolchain, self.objective)

    @cached_property
    def leases(self) -> RunLeases:
        """The leases of runs."""
        return RunLeases(self.repository.database)

    def stay_at(self, moment_s: float) -> None:
        """From now on answer with the records of that moment, so that a resumed run repeats the undisturbed
        one.
        """
        self._before_s = moment_s
        self._known.clear()
        self._looked_up.clear()

    def best_of(self, task: KernelTask) -> Best | None:
        """The best of a kernel whose Config lies in today's space."""
        return self.bests((task,)).get(task.digest)

    def recall(self, tasks: Sequence[KernelTask]) -> Mapping[str, float]:
        """Latencies of the kernels that are known, in us by workload digest."""
        return {digest: best.latency_us for digest, best in self.bests(tasks).items()}

    def bests(self, tasks: Sequence[KernelTask]) -> Mapping[str, Best]:
        """The bests of the kernels that are known, by workload digest; one question for all that are new."""
        fresh = [task for task in tasks if task.digest not in self._looked_up]
        if fresh:
            self._known |= self._looked(fresh)
            self._looked_up |= {task.digest for task in fresh}
        return {task.digest: self._known[task.digest] for task in tasks if task.digest in self._known}

    def knows_any(self, digests: Sequence[str]) -> bool:
        """Whether a record exists for any of these kernels, whatever it is worth today."""
        context = AnswerContext(self.target.digest, self.toolchain, self.objective)
        return any(layer.bests(digests, context, self._before_s) for layer in self.sources.layers)

    def beaten(self, bests: Mapping[str, Best], of_kernels: Objective) -> Mapping[str, tuple[Config, ...]]:
        """Configs that earlier runs for the same objective measured as no better than the best, by workload.

        Measured by the same protocol; a Config that looked better and was not published may be measured
        again.
        """
        found: dict[str, list[Config]] = {}
        rows = self.repository.trials_for(list(bests), self.target.digest, self.toolchain)
        for row in rows:
            best, measured = bests[row.key.workload_digest], row.trial.measurement
            alike = (row.key.objective, row.protocol) == (self.objective, self.device.protocol)
            known = self._before_s is None or row.created_at_s < self._before_s
            value, least = of_kernels.of(measured), of_kernels.of(best.as_measured)
            told = value is not None and least is not None and value >= least
            if alike and known and told and row.trial.config != best.config:
                found.setdefault(row.key.workload_digest, []).append(row.trial.config)
        return {digest: tuple(dict.fromkeys(configs)) for digest, configs in found.items()}

    def readings_us(self, configs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], float]:
        """Measured latencies of Configs of kernels, by workload and Config digest: the last under the same
        protocol.
        """
        rows = self.repository.trials_of(configs, self.target.digest, self.toolchain) if configs else ()
        return {
            (row.key.workload_digest, row.trial.config.digest): row.trial.measurement.latency_us
            for row in rows
            if row.protocol == self.device.protocol and row.trial.measurement.latency_us is not None
        }

    def _looked(self, tasks: Sequence[KernelTask]) -> Mapping[str, Best]:
        by_digest = {task.digest: task for task in tasks}

        def fits(row: WorkloadRow, best: Best) -> bool:
            space = by_digest[row.digest].space
            return best.space_digest == space.digest or space.contains(best.config)

        request = AnswerRequest(
            self.target.digest,
            self.toolchain,
            self.objective,
            fits=fits,
            explain=False,
            before_s=self._before_s,
        )
        # No body: it takes longer to write than all the rest, and only an explained miss has a use for it.
        rows = [WorkloadRow(task.digest, task.workload.family_digest, WorkloadKind.KERNEL) for task in tasks]
        answers = lookup_many(self.sources, rows, request)
        return {a.workload.digest: a.best for a in answers if isinstance(a, Hit)}

    def known_network(self) -> Best | None:
        """The best of the whole network."""
        key = self.key(self.network.digest)
        if self._before_s is None:
            found = self.sources.best(key)
            return None if found is None else found[0]
        earlier = self.repository.best_many(
            [key.workload_digest], key.target_digest, key.toolchain, key.objective, self._before_s
        )
        return earlier.get(key.workload_digest)

    def retired_network(self) -> Hit | None:
        """The whole network's best under the last toolchain before today's that has one."""
        row = WorkloadRow(self.network.digest, self.network.digest, WorkloadKind.GRAPH)
        request = AnswerRequest(self.target.digest, self.toolchain, self.objective, device=self.device.name)
        found = retired_answers(self.sources, {row.digest: row}, request).get(row.digest)
        return found if isinstance(found, Hit) else None

    def layer_of_network(self) -> str:
        """The name of the layer that knows the whole network; empty where none does."""
        found = self.sources.best(self.key(self.network.digest))
        return "" if found is None else found[1]

    def default_network(self) -> Best | None:
        """The latest measurement of the whole network's default."""
        return self.repository.default(self.key(self.network.digest))

    def spent(self) -> int:
        """The trials that finished runs together were given for this network."""
        return self.repository.ledger(self.key(self.network.digest)).trials_budget

    def regret_estimate(self) -> float | None:
        """The expected distance of the network's best from its optimum, as the latest run had it."""
        return self.repository.ledger(self.key(self.network.digest)).regret_estimate

    def ended(self) -> int:
        """The number of runs of this network that have ended: an argument of `start`."""
        return self.leases.ended(self.key(self.network.digest))

    def introduce(self) -> None:
        """Enter the rows that trials of the network refer to."""
        self.repository.put_target(TargetRow(self.target.digest, self.target.name, self.target_text))
        self.repository.put_workloads([network_row(self.network)])

    def start(
        self, search: NewSearch, ended: int | None, of_range: WorkloadRow | None = None
    ) -> RunLease | BusyRun | None:
        """Enter the rows that a run refers to, and start it, or continue the one that was cut off.

        Nothing is started where another run of this network is under way, which comes back, or where not
        `ended` of them have ended by now (None): there may be less to do. With `of_range` the run is one of
        the network with a dim open.
        """
        self.introduce()
        if of_range is not None:
            self.repository.put_workloads([of_range])
        digest = self.network.digest if of_range is None else of_range.digest
        self.repository.put_model(ModelRow(digest, search.name))
        asked = NewRun(
            target_digest=self.target.digest,
            toolchain=self.toolchain,
            objective=self.objective,
            seed=search.seed,
            model_digest=digest,
            device=self.device.name,
            protocol=self.device.protocol,
            trials_budget=search.trials,
            settings=json.dumps(search.settings, sort_keys=True),
            job=search.job,
        )
        taken = self.leases.take(asked, this_process(), LEASE_S, is_gone, ended)
        if isinstance(taken, RunLease):
            self.stay_at(taken.run.started_at_s)
        return taken

    def close(self) -> None:
        """Close the database, and the other layers."""
        self.repository.database.close()
        if self.layers is not None:
            self.layers.close()
