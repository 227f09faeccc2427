"""Pages about jobs: the list, one job, submitting and cancelling."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from tilewright.api.guards.access import Need, access
from tilewright.api.pages.drawn.drawings import DRAWINGS
from tilewright.api.pages.job_story import story_of
from tilewright.api.pages.one_file import one_file
from tilewright.api.pages.render import page
from tilewright.api.schemas.jobs import LONGEST_SPEC, OBJECTIVES
from tilewright.api.service import Caller, Cursor, JobId, Serving, Submission, address_of
from tilewright.compiler_core.errors import InputError, UsageError
from tilewright.compiler_core.target_model.file import list_targets
from tilewright.db.service.job_rows import ENDED, JobState
from tilewright.db.storage.session import DatabaseDownError

router = APIRouter(include_in_schema=False)
ROWS = 50
SHOWN_EVENTS = 200
Short = Annotated[str, Form(max_length=200)]
Long = Annotated[str, Form(max_length=LONGEST_SPEC)]


@router.get("/", openapi_extra=access(Need.READ, page=True))
async def jobs_page(
    request: Request,
    service: Serving,
    caller: Caller,
    state: Annotated[str | None, Query(max_length=20)] = None,
    cursor: Cursor = None,
) -> Response:
    """Jobs, newest first."""
    wanted = JobState(state) if state in set(JobState) else None
    found = await service.threads(service.jobs.list, caller.tenant, wanted, cursor, ROWS)
    return page(
        request,
        "jobs.html",
        jobs=found.jobs,
        state=wanted,
        states=list(JobState),
        cursor=cursor,
        next=found.cursor,
    )


@router.get("/jobs/{job_id}", openapi_extra=access(Need.READ, page=True))
async def job_page(request: Request, service: Serving, caller: Caller, job_id: JobId) -> Response:
    """One job: its state, its result, why it stopped."""
    job = await service.job(job_id, caller)
    story = await story_of(service, job)
    drawings = [(name, Markup(DRAWINGS[name](story))) for name in story.drawable]
    return page(
        request,
        "job.html",
        job=job,
        story=story,
        linked=True,
        drawings=drawings,
        ended=job.state in ENDED,
        events=story.events[-SHOWN_EVENTS:],
    )


@router.get("/jobs/{job_id}/report", openapi_extra=access(Need.READ, page=True))
async def job_report_file(service: Serving, caller: Caller, job_id: JobId) -> Response:
    """The same as one self-contained file, as `tune report` writes it."""
    story = await story_of(service, await service.job(job_id, caller))
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.html"'}
    return HTMLResponse(one_file(story.request.model.stem, story), headers=headers)


@router.get("/submit", openapi_extra=access(Need.SUBMIT, page=True))
async def submit_page(request: Request) -> Response:
    """The form for a new job."""
    return _form(request)


@router.post("/submit", openapi_extra=access(Need.SUBMIT, upload=True, page=True))
async def submit_form(
    request: Request,
    service: Serving,
    caller: Caller,
    model: Annotated[UploadFile, File()],
    target: Short,
    own_target: Long = "",
    level: Short = "2",
    trials: Short = "",
    time_limit_s: Short = "",
    regret_percent: Short = "",
    objective: Short = "latency",
    dims: Long = "",
    inputs: Long = "",
    seed: Short = "0",
    priority: Short = "0",
    data: Annotated[list[UploadFile] | None, File()] = None,
) -> Response:
    """Takes the form; the same job as over REST."""
    given = {
        "target": own_target.strip() or target,
        "level": level,
        "trials": trials or None,
        "time_limit_s": time_limit_s or None,
        "regret": _share(regret_percent),
        "objective": objective,
        "seed": seed,
        "priority": priority,
    }
    try:
        spec = await service.readers.spec(
            json.dumps({**given, "dims": _dims(dims), "inputs": _inputs(inputs)}), caller.tenant
        )
        job, _ = await service.submit(
            Submission.of(model, spec, beside=data or ()), caller, address_of(request)
        )
    except DatabaseDownError:
        raise
    except InputError as error:
        return _form(request, str(error))
    return RedirectResponse(f"/jobs/{job.uid}", 303)


@router.post("/jobs/{job_id}/cancel", openapi_extra=access(Need.SUBMIT, page=True))
async def cancel_form(request: Request, service: Serving, caller: Caller, job_id: JobId) -> Response:
    """The button on a job's page."""
    job = await service.cancel(job_id, caller, address_of(request))
    return RedirectResponse(f"/jobs/{job.uid}", 303)


def _form(request: Request, error: str = "") -> Response:
    return page(
        request,
        "submit.html",
        422 if error else 200,
        error=error,
        targets=list_targets(),
        objectives=OBJECTIVES,
    )


def _share(percent: str) -> Any:
    """A percentage as a share, 2 as 0.02; other text is returned unchanged, to be refused by name."""
    try:
        return float(percent) / 100.0 if percent.strip() else None
    except ValueError:
        return percent


def _inputs(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise UsageError(f'inputs: {text[:40]!r} is not JSON, as in {{"rate": 16000}}') from None


def _dims(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.replace(",", " ").split():
        name, sign, size = part.partition("=")
        low, dots, high = size.partition("..")
        if not (name and sign):
            raise UsageError(f"dims: {part[:40]!r} is not NAME=SIZE or NAME=LO..HI")
        found[name] = {"low": low, "high": high} if dots else size
    return found
