"""Lookups, records, runs, targets and workers on the wire."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, Field

from tilewright.api.schemas.jobs import moment
from tilewright.api.schemas.patterns import DIGEST as WHOLE_DIGEST
from tilewright.api.schemas.patterns import TOOLCHAIN_NAME
from tilewright.compiler_core.target_model.file import target_text
from tilewright.compiler_core.target_model.target import Target, numbers_of
from tilewright.db.answering.lookup import Answer, Hit
from tilewright.db.browse import RecordRow
from tilewright.db.layers.wire import MOST_ASKED, MOST_RANGES
from tilewright.db.records import Best, Purpose, RunRow, Verification
from tilewright.db.service.workers import WorkerRow, WorkerState
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config

if TYPE_CHECKING:
    from tilewright.tuner.sizes.selection import Interval

DIGEST = "1f0e" * 16


class BestRecord(BaseModel):
    """The best Config known for a workload, verified and confirmed."""

    workload_digest: str = Field(examples=[DIGEST])
    target_digest: str = Field(examples=[DIGEST])
    toolchain: str = Field(examples=["1"])
    objective: Objective
    config: dict[str, Any] = Field(examples=[{"tile_m": 64, "cores": 32}])
    latency_us: float
    bound_us: float | None
    energy_uj: float | None
    peak_bytes: int | None
    verification: Verification
    confirmations: int

    @classmethod
    def of(cls, best: Best) -> Self:
        """From the database."""
        return cls(
            workload_digest=best.key.workload_digest,
            target_digest=best.key.target_digest,
            toolchain=best.key.toolchain,
            objective=best.key.objective,
            config=dict(best.config.items),
            latency_us=best.latency_us,
            bound_us=best.bound_us,
            energy_uj=best.energy_uj,
            peak_bytes=best.peak_bytes,
            verification=best.verification,
            confirmations=best.confirmations,
        )


class RangeRecord(BaseModel):
    """The answer of a tuned range at one size of its dim, without a measurement of that very size.

    `config` names the network's groups and how each kernel was tuned there, not yet tiled for the size:
    `tune compile --dim` does that. Regrets are fractions (0.02 = 2 %) of the best latency, null if unknown.
    """

    dim: str = Field(examples=["seq"])
    low: int = Field(examples=[65])
    high: int = Field(examples=[108])
    tuned_at: int = Field(examples=[108])
    planned: bool
    measured_regret: float | None = Field(examples=[0.004])
    predicted_regret: float | None = Field(examples=[0.03])
    config: dict[str, Any]

    @classmethod
    def of(cls, dim: str, interval: "Interval", config: Config) -> Self:
        """From the database."""
        return cls(dim=dim, **asdict(interval), config=dict(config.items))


class LockedRecord(BaseModel):
    """The answer of a lock: the Config of a network, or of one kernel of a locked network. `source` says what
    it was when it was locked: network, range, database, other-placement or guessed.
    """

    workload_digest: str = Field(examples=[DIGEST])
    target_digest: str = Field(examples=[DIGEST])
    toolchain: str = Field(examples=["3"])
    objective: Objective
    source: str = Field(examples=["network"])
    config: dict[str, Any]
    latency_us: float | None
    verification: Verification


class Lookup(BaseModel):
    """The answer of the database for a workload or network: a hit with its record, with the answer of a
    tuned range or of a lock; or a miss and its reason.
    """

    hit: bool
    locked: LockedRecord | None = None
    best: BestRecord | None = None
    range: RangeRecord | None = None
    reason: str = Field(default="", examples=["no record has this key; tune it first"])
    layer: str = Field(
        default="", description="Of `layers` the one that answered; empty: this service itself"
    )

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """From the database; a miss names only reasons that concern the workload in question."""
        if isinstance(answer, Hit):
            return cls(hit=True, best=BestRecord.of(answer.best), layer=answer.layer)
        nearest = answer.nearest
        same = (nearest is not None and nearest.workload.digest == answer.workload.digest) or answer.imported
        return cls(hit=False, reason=answer.reason if same else "no record has this key; tune it first")


class AskedRange(BaseModel):
    """A tuned range of a network: the digest that it is kept under, and its dim."""

    digest: Annotated[str, Field(pattern=WHOLE_DIGEST, examples=[DIGEST])]
    symbol: Annotated[str, Field(min_length=1, max_length=200, examples=["seq"])]


class Question(BaseModel):
    """The questions of one request: kernels or networks by digest, families of kernels that
    differ in the placement of their operands only, and ranges of networks.
    """

    target_digest: Annotated[str, Field(pattern=WHOLE_DIGEST, examples=[DIGEST])]
    toolchain: Annotated[str, Field(pattern=TOOLCHAIN_NAME)]
    objective: Objective = Objective.LATENCY
    workloads: list[Annotated[str, Field(pattern=WHOLE_DIGEST)]] = Field(default=[], max_length=MOST_ASKED)
    families: list[Annotated[str, Field(pattern=WHOLE_DIGEST)]] = Field(default=[], max_length=MOST_ASKED)
    ranges: list[AskedRange] = Field(default=[], max_length=MOST_RANGES)


class KnownAnswers(BaseModel):
    """The answers of a database: bests of the workloads, of each family up to 8 members with theirs, and of
    the ranges those that were tuned, left out where none was asked for.
    """

    bests: list[dict[str, Any]]
    relatives: list[dict[str, Any]]
    ranges: list[dict[str, Any]] = []


class Taken(BaseModel):
    """The result of an upload of records: entries that were new, those that were here before, and how many
    of the new ones were here with different content. Of these both are kept.
    """

    new: int
    known: int
    conflicts: int = 0


class Record(BaseModel):
    """A measurement with its provenance. `id` is its number in this database."""

    id: int
    run: str
    model_name: str
    target_name: str
    workload_digest: str
    target_digest: str
    toolchain: str
    objective: Objective
    number: int
    purpose: Purpose
    config: dict[str, Any]
    status: Status
    reason: str
    latency_us: float | None
    bound_us: float | None
    energy_uj: float | None
    peak_bytes: int | None
    verification: Verification
    worker: str
    imported: bool
    at: datetime

    @classmethod
    def of(cls, found: RecordRow) -> Self:
        """From the database."""
        row, trial, measured = found.row, found.row.trial, found.row.trial.measurement
        return cls(
            id=found.id,
            run=trial.run,
            model_name=found.model_name,
            target_name=found.target_name,
            workload_digest=row.key.workload_digest,
            target_digest=row.key.target_digest,
            toolchain=row.key.toolchain,
            objective=row.key.objective,
            number=trial.number,
            purpose=trial.purpose,
            config=dict(trial.config.items),
            status=measured.status,
            reason=measured.reason,
            latency_us=measured.latency_us,
            bound_us=trial.bound_us,
            energy_uj=measured.energy_uj,
            peak_bytes=measured.peak_bytes,
            verification=trial.verification,
            worker=measured.worker,
            imported=row.imported,
            at=moment(row.created_at_s),
        )


class RecordPage(BaseModel):
    """Records newest first, and the cursor of the next page."""

    records: list[Record]
    next: str | None = Field(examples=["41"])


class Run(BaseModel):
    """One execution of a search."""

    id: str
    job: str | None
    model_digest: str | None
    target_digest: str
    toolchain: str
    objective: Objective
    device: str
    protocol: str
    seed: int
    trials_budget: int
    started_at: datetime
    finished_at: datetime | None
    stop_reason: str
    regret_estimate: float | None
    imported: bool

    @classmethod
    def of(cls, row: RunRow) -> Self:
        """From the database."""
        asked = row.asked
        return cls(
            id=row.uid,
            job=asked.job,
            model_digest=asked.model_digest,
            target_digest=asked.target_digest,
            toolchain=asked.toolchain,
            objective=asked.objective,
            device=asked.device,
            protocol=asked.protocol,
            seed=asked.seed,
            trials_budget=asked.trials_budget,
            started_at=moment(row.started_at_s),
            finished_at=None if row.finished_at_s is None else moment(row.finished_at_s),
            stop_reason=row.stop_reason,
            regret_estimate=row.regret_estimate,
            imported=row.imported,
        )


class RunPage(BaseModel):
    """Runs newest first, and the cursor of the next page."""

    runs: list[Run]
    next: str | None = Field(examples=["41"])


class TargetSummary(BaseModel):
    """A preset."""

    name: str = Field(examples=["ascend910"])
    digest: str = Field(examples=[DIGEST])
    description: str
    cores: int


class TargetDetail(TargetSummary):
    """A preset with every number, which of them are assumed, and its file."""

    assumed: list[str]
    numbers: dict[str, Any]
    toml: str

    @classmethod
    def of(cls, target: Target) -> Self:
        """From the compiler."""
        numbers = {key: value for key, value in numbers_of(target) if not key.startswith("assumed.")}
        return cls(
            name=target.name,
            digest=target.digest,
            description=target.description,
            cores=target.cores,
            assumed=list(target.assumed),
            numbers={key: str(value) if value == float("inf") else value for key, value in numbers.items()},
            toml=target_text(target.name),
        )


class Worker(BaseModel):
    """A worker, and whether its answers count."""

    name: str
    device: str
    state: WorkerState
    reason: str
    first_seen_at: datetime
    last_seen_at: datetime

    @classmethod
    def of(cls, row: WorkerRow) -> Self:
        """From the database."""
        return cls(
            name=row.name,
            device=row.device,
            state=row.state,
            reason=row.reason,
            first_seen_at=moment(row.first_seen_at_s),
            last_seen_at=moment(row.last_seen_at_s),
        )
