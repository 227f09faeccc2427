"""Jobs on the wire."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from tilewright.db.service.job_rows import JobEvent, JobLine, JobRow, JobState
from tilewright.tuner.jobs.request import KEPT, read_request
from tilewright.tuner.kernel.candidates import candidates_of
from tilewright.tuner.request import MOST_TRIALS, TuneRequest, objective_texts, objectives_of, objectives_text

LARGEST_SAFE_INTEGER = 2**53 - 1
DimName = Annotated[str, Field(min_length=1, max_length=100)]
MOST_NUMBERS, MOST_NESTED = 65_536, 8
LONGEST_SPEC = 256 * 1024
"""Signs of a JobSpec as JSON: the longest text of a target twice over, and as much for inputs."""
DimSize = Annotated[int, Field(ge=0, le=2**31 - 1)]


def _small(value: Any) -> Any:
    """Lists of numbers are taken as they are, up to MOST_NUMBERS of them and MOST_NESTED deep."""
    waiting, seen = [(value, 0)], 0
    while waiting:
        each, depth = waiting.pop()
        seen += 1
        if depth > MOST_NESTED or seen > MOST_NUMBERS:
            raise ValueError(f"a value holds at most {MOST_NUMBERS} numbers in {MOST_NESTED} levels of lists")
        if isinstance(each, list):
            waiting.extend((inner, depth + 1) for inner in each)
        elif not isinstance(each, bool | int | float):
            raise ValueError("a value is a number, true, false, or lists of them")
    return value


InputValue = Annotated[bool | int | float | list[Any], AfterValidator(_small)]


class DimRange(BaseModel):
    """All sizes of a dim from the least to the largest."""

    model_config = ConfigDict(extra="forbid")

    low: DimSize = Field(examples=[1])
    high: DimSize = Field(examples=[512])


class Try(BaseModel):
    """A Config of a kernel: knobs and values, and the digest (or its beginning) of the kernel it is for."""

    model_config = ConfigDict(extra="forbid")

    config: dict[DimName, bool | int | float | Annotated[str, Field(max_length=200)]] = Field(max_length=200)
    workload_digest: str = Field(default="", pattern="^[0-9a-f]{0,64}$")


OBJECTIVES = objective_texts()


def _choice(text: str) -> str:
    """The objective or the front, in its one canonical spelling."""
    if text not in OBJECTIVES:
        raise ValueError(f"the objective {text[:40]!r} is unknown; choose one of: {'; '.join(OBJECTIVES)}")
    return text


ObjectiveText = Annotated[
    str, AfterValidator(_choice), WithJsonSchema({"type": "string", "enum": list(OBJECTIVES)})
]


class JobSpec(BaseModel):
    """The request of a job: target, budget, options. Only the target is required."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"target": "ascend910"},
                {"target": "ethos_u55_128", "level": 3, "trials": 256, "dims": {"batch": 1}, "priority": 5},
            ]
        },
    )

    target: str = Field(
        min_length=1, max_length=1 << 16, description="Name of a preset, or the text of a target's TOML file"
    )
    level: int = Field(
        default=2, ge=0, le=3, description="0 default schedule, 1 no measuring, 2 modest, 3 until done"
    )
    trials: int | None = Field(default=None, ge=0, le=MOST_TRIALS, description="Measurements at most")
    time_limit_s: float | None = Field(
        default=None, gt=0, le=30 * 86_400, description="Seconds of search at most"
    )
    objective: ObjectiveText = Field(
        default="latency", description="What to minimise; several objectives give their Pareto front"
    )
    dims: dict[DimName, DimSize | DimRange] = Field(
        default={},
        max_length=64,
        description="Sizes of the model's symbolic dims; a range for one of them tunes for all its sizes",
        examples=[{"batch": 1, "seq": {"low": 1, "high": 512}}],
    )
    inputs: dict[DimName, InputValue] = Field(
        default={},
        max_length=64,
        description="Values of inputs that the network depends on: a number, true or false, or nested lists",
        examples=[{"rate": 16000}],
    )
    candidates: list[Try] = Field(
        default=[],
        max_length=256,
        description="Configs to measure first, each for the kernels that it fits or for one of them",
        examples=[[{"config": {"tile_1": 8, "cores": 4}, "workload_digest": "3f2a"}]],
    )
    regret: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="End before the budget once within this share of the optimum, with 95 % confidence",
        examples=[0.02],
    )
    seed: int = Field(default=0, ge=0, le=LARGEST_SAFE_INTEGER)
    priority: int = Field(default=0, ge=-100, le=100, description="Jobs of higher priority run first")

    def request(self, model_name: str) -> TuneRequest:
        """As it is stored."""
        kept = {name: getattr(self, name) for name in KEPT}
        return TuneRequest(
            Path(f"{model_name}.onnx"),
            self.target,
            objectives=objectives_of(self.objective),
            dims={name: size for name, size in self.dims.items() if isinstance(size, int)},
            ranges={
                name: (size.low, size.high) for name, size in self.dims.items() if isinstance(size, DimRange)
            },
            inputs=self.inputs,
            candidates=candidates_of([each.model_dump() for each in self.candidates])
            if self.candidates
            else (),
            regret=self.regret,
            **kept,
        )

    @classmethod
    def of(cls, request: TuneRequest, priority: int) -> Self:
        """Inverse of `request`."""
        return cls.model_validate(
            {
                **{name: getattr(request, name) for name in KEPT},
                "target": str(request.target),
                "objective": objectives_text(request.objectives),
                "dims": dims_json(request.dims, request.ranges),
                "inputs": dict(request.inputs),
                "candidates": [each.to_json() for each in request.candidates],
                "regret": request.regret,
                "priority": priority,
            }
        )


def dims_json(dims: Mapping[str, int], ranges: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Sizes and ranges as a JobSpec has them."""
    return {**dims, **{name: {"low": low, "high": high} for name, (low, high) in ranges.items()}}


class Links(BaseModel):
    """Addresses of a job's events, result and pages."""

    self: str = Field(examples=["/v1/jobs/3f2a"])
    events: str = Field(examples=["/v1/jobs/3f2a/events"])
    result: str = Field(examples=["/v1/jobs/3f2a/result"])
    report: str = Field(examples=["/v1/jobs/3f2a/report"])
    page: str = Field(examples=["/jobs/3f2a"])

    @classmethod
    def of(cls, uid: str) -> Self:
        """Of the job with that number."""
        path = f"/v1/jobs/{uid}"
        return cls(
            self=path,
            events=f"{path}/events",
            result=f"{path}/result",
            report=f"{path}/report",
            page=f"/jobs/{uid}",
        )


class Job(BaseModel):
    """A job and where it is."""

    id: str = Field(examples=["3f2a90c1b7de45aa8c3fd6f0a1b2c3d4"])
    state: JobState
    spec: JobSpec
    model_name: str = Field(examples=["resnet50"])
    model_sha256: str | None = Field(
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
    )
    cancel_requested: bool
    attempts: int = Field(description="How many runners have held it since it last got ahead", examples=[1])
    error: str = Field(description="Why it failed, in one line", examples=[""])
    created_at: datetime
    finished_at: datetime | None
    links: Links

    @classmethod
    def of(cls, row: JobRow) -> Self:
        """From the database."""
        request = read_request(row.spec)
        return cls(
            id=row.uid,
            state=row.state,
            spec=JobSpec.of(request, row.priority),
            model_name=request.model.stem,
            model_sha256=row.upload_digest,
            cancel_requested=row.cancel_requested,
            attempts=row.attempts,
            error=row.error,
            created_at=moment(row.created_at_s),
            finished_at=None if row.finished_at_s is None else moment(row.finished_at_s),
            links=Links.of(row.uid),
        )


class JobSummary(BaseModel):
    """A job in a list: names and digests. `links.self` has the rest."""

    id: str = Field(examples=["3f2a90c1b7de45aa8c3fd6f0a1b2c3d4"])
    state: JobState
    model_name: str = Field(examples=["resnet50"])
    model_sha256: str | None = Field(
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
    )
    target: str = Field(description="The target's name, a preset's or one's own", examples=["ascend910"])
    objective: str = Field(examples=["latency"])
    priority: int
    request_digest: str = Field(description="Equal for jobs with the same request and the same model")
    cancel_requested: bool
    attempts: int
    error: str = Field(description="The beginning of why it failed", examples=[""])
    created_at: datetime
    finished_at: datetime | None
    links: Links

    @classmethod
    def of(cls, line: JobLine) -> Self:
        """From the database."""
        return cls(
            id=line.uid,
            state=line.state,
            model_name=line.about.model_name,
            model_sha256=line.upload_digest,
            target=line.about.target_name,
            objective=line.about.objective,
            priority=line.priority,
            request_digest=line.request_digest,
            cancel_requested=line.cancel_requested,
            attempts=line.attempts,
            error=line.error,
            created_at=moment(line.created_at_s),
            finished_at=None if line.finished_at_s is None else moment(line.finished_at_s),
            links=Links.of(line.uid),
        )


class JobPage(BaseModel):
    """Jobs newest first. `next` is the cursor of the page after this one, absent on the last."""

    jobs: list[JobSummary]
    next: str | None = Field(examples=["41"])


class StoryEvent(BaseModel):
    """One event of a job, as in the stream."""

    number: int
    kind: str
    at: datetime
    body: Any

    @classmethod
    def of(cls, event: JobEvent) -> Self:
        """From the database."""
        return cls(
            number=event.number, kind=event.kind, at=moment(event.created_at_s), body=json.loads(event.body)
        )


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
