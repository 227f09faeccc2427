"""`tune db verify`: measures unproven claims again, and promotes those that hold.

Claims are the best imported records, and those of other toolchains (all of them after a toolchain bump). A
claim that computes the right numbers and keeps its confirmations above the bound becomes the best of its key.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tilewright.compiler_core.checking.judge_program import judge_program
from tilewright.compiler_core.checking.verify import require_sound
from tilewright.compiler_core.errors import TilewrightError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.graph_json import graph_from_json, workload_from_json
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.pipeline import Plan, plan_graph
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.compiler_core.target_model.target import Target
from tilewright.compiler_core.transforms.rewrites import rewritten
from tilewright.cost_model.network_bound import network_bound_cycles
from tilewright.db.records import (
    NewRun,
    Purpose,
    TargetRow,
    Trial,
    TrialRow,
    Verification,
    WorkloadKind,
    WorkloadRow,
)
from tilewright.db.repository import Repository
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.session import open_existing
from tilewright.measure.device import built_in_info
from tilewright.measure.farm.pool import Pool
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import (
    NetworkTask,
    beside_configs,
    kernel_configs,
    numbered,
)
from tilewright.search_space.programs import program_of
from tilewright.tuner.answer.check import MOST_MACS, KernelCheck, machine_code_for, random_inputs
from tilewright.tuner.devices import simulated_pool
from tilewright.tuner.kernel.problem import trial_seed
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.book import NETWORK_SPACE
from tilewright.tuner.planning.planner import Planner
from tilewright.tuner.planning.prices import Prices


@dataclass(frozen=True)
class ClaimVerdict:
    """The outcome of one claim. `reason` is why it was refused; empty when it is served from now on."""

    workload_digest: str
    objective: Objective
    claimed_us: float
    measured_us: float | None
    reason: str

    @property
    def promoted(self) -> bool:
        """Whether lookups answer with it now."""
        return not self.reason


@dataclass(frozen=True)
class PreparedClaim:
    """A claim made ready: what to measure and beside which default, its space and bound, and how its numbers
    were checked.
    """

    row: TrialRow
    task: Workload | NetworkTask
    default: Config
    space_digest: str
    bound_us: float
    verification: Verification


class _RefusedError(TilewrightError):
    """A claim may not be published; the message is the reason."""


def verify_claims(
    target: str | Path,
    *,
    database: str | Path = "tilewright.db",
    workers: int = 2,
    ray: str = "local",
    seed: int = 0,
    limit: int | None = None,
    listener: Callable[[ClaimVerdict], None] = lambda verdict: None,
) -> tuple[ClaimVerdict, ...]:
    """A Verdict per claim about `target`, at most `limit`, in the order of their keys; each is committed."""
    chip = load_target(target)
    opened = open_existing(database)
    opened.require_sound()
    repository = Repository(opened)
    try:
        claims = repository.to_verify(chip.digest, built_in_info(chip).toolchain)[:limit]
        if not claims:
            return ()
        repository.put_target(TargetRow(chip.digest, chip.name, target_text(target)))
        rows = repository.workloads([claim.key.workload_digest for claim in claims])
        verdicts = []
        with simulated_pool(chip.name, target_text(target), workers, ray) as pool:
            pool.start()
            judge = _Judge(repository, chip, pool, seed)
            for claim in claims:
                verdict = judge.verdict(claim, rows[claim.key.workload_digest])
                listener(verdict)
                verdicts.append(verdict)
            judge.close()
        return tuple(verdicts)
    finally:
        repository.database.close()


class _Judge:
    """Checks, measures and publishes; one run per objective holds the confirmations."""

    def __init__(self, repository: Repository, chip: Target, pool: Pool, seed: int) -> None:
        self._repository = repository
        self._chip = chip
        self._pool = pool
        self._seed = seed
        self._runs: dict[Objective, str] = {}
        self._numbers = iter(range(1 << 62))

    def verdict(self, row: TrialRow, workload: WorkloadRow) -> ClaimVerdict:
        claimed_us = row.trial.measurement.latency_us or float("nan")
        measured_us, reason = None, ""
        try:
            measured_us = self._promote(prepared_claim(row, workload, self._chip, self._seed))
        except TilewrightError as error:
            reason = str(error)
        return ClaimVerdict(workload.digest, row.key.objective, claimed_us, measured_us, reason)

    def close(self) -> None:
        for uid in self._runs.values():
            self._repository.finish_run(uid, "verified")

    def _promote(self, claim: PreparedClaim) -> float:
        config = claim.row.trial.config
        key = replace(claim.row.key, toolchain=self._pool.info().toolchain)
        if config != claim.default:
            self._confirmed(claim, claim.default, Verification.NONE)
        measured = self._confirmed(claim, config, claim.verification)
        failed = next((each for each in measured if each.status is not Status.OK), None)
        if failed is not None:
            raise _RefusedError(f"it was measured again and is {failed.status}: {failed.reason}")
        objection = self._repository.why_not_best(key, config.digest)
        best = self._repository.best(key)
        if objection or best is None:
            raise _RefusedError(objection)
        return best.latency_us

    def _confirmed(
        self, claim: PreparedClaim, config: Config, verification: Verification
    ) -> Sequence[Measurement]:
        """Measure a Config of the claim's workload, and record the results."""
        measured = self._pool.confirm(claim.task, config)
        run, number = self._run(claim.row.key.objective), next(self._numbers)
        self._repository.commit_trials(
            [
                Trial(
                    run=run,
                    number=number,
                    attempt=attempt,
                    workload_digest=claim.row.key.workload_digest,
                    space_digest=claim.space_digest,
                    config=config,
                    measurement=each,
                    seed=trial_seed(run, number),
                    purpose=Purpose.CONFIRMATION,
                    bound_us=claim.bound_us,
                    verification=verification,
                    default=config == claim.default,
                )
                for attempt, each in enumerate(measured)
            ]
        )
        return measured

    def _run(self, objective: Objective) -> str:
        if objective not in self._runs:
            info = self._pool.info()
            asked = NewRun(
                target_digest=self._chip.digest,
                toolchain=info.toolchain,
                objective=objective,
                seed=self._seed,
                device=info.name,
                protocol=info.protocol,
                settings='{"verb":"db verify"}',
            )
            self._runs[objective] = self._repository.start_run(asked).uid
        return self._runs[objective]


def prepared_claim(row: TrialRow, workload: WorkloadRow, chip: Target, seed: int) -> PreparedClaim:
    """The claim with its numbers checked by emulation; TilewrightError where they are wrong."""
    config = row.trial.config
    body = parse_json(workload.body, f"body of workload {workload.digest[:12]}")
    if workload.kind is WorkloadKind.FOREIGN:
        raise _RefusedError("its space is somebody else's; measure it with its own device")
    if workload.kind is WorkloadKind.KERNEL:
        kernel = workload_from_json(body)
        _require(kernel.digest == workload.digest, "its workload does not have the digest it came under")
        task = KernelTask(Regions(kernel), chip)
        _require(task.space.contains(config), "its config is not in the space of today")
        objection = KernelCheck(task.regions, chip, seed).objection(config)
        _require(not objection, objection)
        default = Prices(chip, seed).default(task)
        return PreparedClaim(row, kernel, default, task.space.digest, task.bound_us, Verification.VALUE_EXACT)
    network = NetworkTask(graph_from_json(body))
    _require(network.digest == workload.digest, "its network does not have the digest it came under")
    verification = _checked_network(network, config, chip, seed)
    bound_us = network_bound_cycles(network.graph, chip) / chip.cycles_per_us
    planner = Planner(plan_graph(network.graph, chip), chip, Prices(chip, seed))
    default = planner.default_config(numbered(network.graph))
    return PreparedClaim(row, network, default, NETWORK_SPACE, bound_us, verification)


def _checked_network(network: NetworkTask, config: Config, chip: Target, seed: int) -> Verification:
    built = program_of(network, config, chip)
    require_sound(built.graph, built.program, chip)
    if network.graph.macs > MOST_MACS:
        for regions, kernel_config in _kernels(built.plan, config):
            objection = KernelCheck(regions, chip, seed).objection(kernel_config)
            _require(not objection, objection)
        return Verification.SAMPLED
    graph = rewritten(_with_weights(network.graph, seed), built.graph.rewrites)
    with machine_code_for(graph, built.program) as native:
        for each in judge_program(graph, built.program, random_inputs(graph, seed), native=native):
            _require(each.judgement.ok, f"its program computes another value {each.value}: {each.judgement}")
    return Verification.VALUE_EXACT


def _kernels(plan: Plan, config: Config) -> Iterator[tuple[Regions, Config]]:
    for digest, each in kernel_configs(config, plan).items():
        yield plan.regions[digest], each
    for co_placement, each in beside_configs(config, plan).items():
        yield plan.regions[co_placement.digest], each


def _with_weights(graph: Graph, seed: int) -> Graph:
    """A recorded network has no weights: any will do to compare two ways of computing it."""
    bare = replace(graph, inputs=tuple(graph.constants), constants={})
    return replace(graph, constants=random_inputs(bare, seed + 1))


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _RefusedError(reason)
