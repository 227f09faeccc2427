"""The outcome of a job: result, report, drawings, and the files of its runner for download."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.pages.drawn.drawings import DRAWINGS
from tilewright.api.pages.job_story import story_of
from tilewright.api.problems import documented
from tilewright.api.schemas.jobs import Job, StoryEvent
from tilewright.api.schemas.patterns import DRAWING
from tilewright.api.service import Caller, JobId, Service, Serving
from tilewright.db.service.job_rows import JobRow

router = APIRouter(tags=["jobs"])
PROGRAM = "program.json"
WRONG = documented(400, 401, 403, 404, 409, 422, 429, 503)
SVG = "image/svg+xml"


class JobReport(BaseModel):
    """A job in tables: its result, its convergence, and links to its drawings."""

    job: Job
    result: dict[str, Any] | None = Field(description="The object that `tune run --json` prints")
    why_it_stopped: str
    events: list[StoryEvent]
    drawings: dict[str, str] = Field(examples=[{"convergence": "/v1/jobs/3f2a/drawings/convergence.svg"}])


@router.get("/v1/jobs/{job_id}/result", responses=WRONG, openapi_extra=access(Need.READ))
async def job_result(service: Serving, caller: Caller, job_id: JobId) -> dict[str, Any]:
    """The object that `tune run --json` prints. 409 while there is none."""
    return _result_of(await service.job(job_id, caller))


@router.get("/v1/jobs/{job_id}/report", responses=WRONG, openapi_extra=access(Need.READ))
async def job_report(service: Serving, caller: Caller, job_id: JobId) -> JobReport:
    """Tables and links to drawings; also of a job that still runs."""
    job = await service.job(job_id, caller)
    story = await story_of(service, job)
    drawings = {name: f"/v1/jobs/{job.uid}/drawings/{name}.svg" for name in story.drawable}
    events = [StoryEvent.of(event) for event in story.events]
    return JobReport(
        job=Job.of(job), result=story.result, why_it_stopped=story.ending, events=events, drawings=drawings
    )


@router.get(
    "/v1/jobs/{job_id}/drawings/{name}.svg",
    response_class=Response,
    responses={200: {"content": {SVG: {}}, "description": "The drawing."}, **WRONG},
    openapi_extra=access(Need.READ),
)
async def job_drawing(
    service: Serving,
    caller: Caller,
    job_id: JobId,
    name: Annotated[str, Path(pattern=DRAWING, examples=["convergence"])],
) -> Response:
    """convergence, roofline, timeline or memory, as far as there is something to draw."""
    story = await story_of(service, await service.job(job_id, caller))
    if name not in story.drawable:
        raise HTTPException(404, f"there is nothing to draw as {name!r} of this job")
    return Response(DRAWINGS[name](story), media_type=SVG)


@router.get(
    "/v1/jobs/{job_id}/program",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/json": {}}, "description": "The Program."}, **WRONG},
    openapi_extra=access(Need.READ),
)
async def job_program(service: Serving, caller: Caller, job_id: JobId) -> StreamingResponse:
    """The tuned Program, as `tune compile` writes it."""
    job = await service.job(job_id, caller)
    digest = _result_of(job).get("files", {}).get(PROGRAM)
    if digest is None:
        raise HTTPException(404, "this job left no Program")
    return StreamingResponse(
        _parts(service, digest),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{job.uid}.json"'},
    )


def _result_of(job: JobRow) -> dict[str, Any]:
    if job.result is None:
        raise HTTPException(409, f"the job is {job.state}{': ' + job.error if job.error else ''}; no result")
    result: dict[str, Any] = json.loads(job.result)
    return result


async def _parts(service: Service, digest: str) -> AsyncIterator[bytes]:
    parts = service.uploads.parts(digest)
    while part := await service.threads(next, parts, b""):
        yield part
