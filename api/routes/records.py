"""/v1/records and /v1/runs: the measurements that the caller may see."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import documented
from tilewright.api.routes.lookup import Digest
from tilewright.api.schemas.patterns import JOB, RUN
from tilewright.api.schemas.records import Record, RecordPage, Run, RunPage
from tilewright.api.service import Caller, Cursor, Serving
from tilewright.db.browse import Wanted
from tilewright.db.records import Purpose
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

router = APIRouter(tags=["database"])
LISTED = documented(400, 401, 403, 422, 429, 503)
ONE = documented(400, 401, 403, 404, 422, 429, 503)
Limit = Annotated[int, Query(ge=1, le=500)]
RunId = Annotated[str, Path(pattern=RUN, examples=["3f2a90c1b7de45aa8c3fd6f0a1b2c3d4"])]


@router.get("/v1/records", responses=LISTED, openapi_extra=access(Need.READ))
async def list_records(
    service: Serving,
    caller: Caller,
    workload: Digest = None,
    target: Digest = None,
    model: Digest = None,
    run: Annotated[str | None, Query(pattern=RUN)] = None,
    objective: Objective | None = None,
    status: Status | None = None,
    purpose: Purpose | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> RecordPage:
    """Measurements of your jobs, newest first; with the scope admin also those made without a job."""
    wanted = Wanted(workload, target, model, run, objective, status, purpose)
    rows, following = await service.threads(service.browse.records, caller.viewer, wanted, cursor, limit)
    return RecordPage(records=[Record.of(row) for row in rows], next=following)


@router.get("/v1/records/{record_id}", responses=ONE, openapi_extra=access(Need.READ))
async def get_record(
    service: Serving,
    caller: Caller,
    record_id: Annotated[int, Path(ge=1, le=2**53 - 1, examples=[41])],
) -> Record:
    """One measurement."""
    found = await service.threads(service.browse.record, caller.viewer, record_id)
    if found is None:
        raise HTTPException(404, f"there is no record {record_id}")
    return Record.of(found)


@router.get("/v1/runs", responses=LISTED, openapi_extra=access(Need.READ))
async def list_runs(
    service: Serving,
    caller: Caller,
    job: Annotated[str | None, Query(pattern=JOB)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> RunPage:
    """Searches of your jobs, newest first; with the scope admin also those made without a job."""
    rows, following = await service.threads(service.browse.runs, caller.viewer, job, cursor, limit)
    return RunPage(runs=[Run.of(row) for row in rows], next=following)


@router.get("/v1/runs/{run_id}", responses=ONE, openapi_extra=access(Need.READ))
async def get_run(service: Serving, caller: Caller, run_id: RunId) -> Run:
    """One search."""
    found = await service.threads(service.browse.run, caller.viewer, run_id)
    if found is None:
        raise HTTPException(404, f"there is no run {run_id!r}")
    return Run.of(found)
