"""/v1/jobs: submit, list, look at, cancel."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Header, Query, Request, Response, UploadFile

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import documented
from tilewright.api.schemas.jobs import LONGEST_SPEC, Job, JobPage, JobSummary
from tilewright.api.schemas.patterns import IDEMPOTENCY, JOB
from tilewright.api.service import Caller, Cursor, JobId, Serving, Submission, address_of
from tilewright.db.service.job_rows import JobState

router = APIRouter(tags=["jobs"])
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=IDEMPOTENCY,
        description="The same key and request give the same job again, however often they are sent",
        examples=["nightly-2026-01-31-resnet50"],
    ),
]


@router.post(
    "/v1/jobs",
    status_code=201,
    response_model=Job,
    responses={
        200: {"model": Job, "description": "The job that this Idempotency-Key made before."},
        201: {"headers": {"Location": {"description": "Path of the job", "schema": {"type": "string"}}}},
        **documented(400, 401, 403, 408, 413, 415, 422, 429, 503),
    },
    openapi_extra=access(Need.SUBMIT, upload=True),
)
async def submit_job(
    request: Request,
    response: Response,
    service: Serving,
    caller: Caller,
    model: Annotated[UploadFile, File(description="An ONNX file")],
    spec: Annotated[str, Form(max_length=LONGEST_SPEC, description="A JobSpec as JSON text")],
    data: Annotated[
        list[UploadFile] | None,
        File(description="The files that hold tensors of the model, under the names that it gives them"),
    ] = None,
    key: IdempotencyKey = None,
) -> Job:
    """Queue a tuning job. The model is read before this answers; a bad one is refused in one line."""
    submission = Submission.of(model, await service.readers.spec(spec, caller.tenant), key, data or ())
    job, new = await service.submit(submission, caller, address_of(request))
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/jobs/{job.uid}"
    return Job.of(job)


@router.get(
    "/v1/jobs",
    responses=documented(400, 401, 403, 422, 429, 503),
    openapi_extra=access(Need.READ),
)
async def list_jobs(
    service: Serving,
    caller: Caller,
    state: JobState | None = None,
    beginning: Annotated[
        str | None, Query(alias="id", pattern=JOB, description="How the job's id begins")
    ] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JobPage:
    """Your jobs in short, newest first, page by page."""
    page = await service.threads(service.jobs.list, caller.tenant, state, cursor, limit, beginning or "")
    return JobPage(jobs=[JobSummary.of(line) for line in page.jobs], next=page.cursor)


@router.get(
    "/v1/jobs/{job_id}",
    responses=documented(400, 401, 403, 404, 422, 429, 503),
    openapi_extra=access(Need.READ),
)
async def get_job(service: Serving, caller: Caller, job_id: JobId) -> Job:
    """One job."""
    return Job.of(await service.job(job_id, caller))


@router.post(
    "/v1/jobs/{job_id}/cancel",
    responses=documented(400, 401, 403, 404, 413, 422, 429, 503),
    openapi_extra=access(Need.SUBMIT),
)
async def cancel_job(request: Request, service: Serving, caller: Caller, job_id: JobId) -> Job:
    """Cancel a waiting job at once, a running one after its batch; one that has ended stays as it is."""
    return Job.of(await service.cancel(job_id, caller, address_of(request)))
