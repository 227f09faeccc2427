"""/metrics and /v1/audit: for those who run the service."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from tilewright.api.guards.access import Need, access
from tilewright.api.observability import metrics
from tilewright.api.problems import documented
from tilewright.api.schemas.jobs import moment
from tilewright.api.service import Caller, Cursor, Serving

router = APIRouter(tags=["operation"])


class AuditEntry(BaseModel):
    """One action: the caller, the subject, the address."""

    id: int
    who: str = Field(examples=["key 3 nightly"])
    action: str = Field(examples=["submit"])
    subject: str
    address: str
    at: datetime


class AuditPage(BaseModel):
    """Entries newest first, and the cursor of the next page."""

    entries: list[AuditEntry]
    next: str | None = Field(examples=["41"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text."},
        **documented(400, 401, 403, 429, 503),
    },
    openapi_extra=access(Need.ADMIN),
)
async def read_metrics(service: Serving) -> Response:
    """Counters of this process and its runner, gauges from the database."""
    gauges = await service.threads(metrics.gauges_of, service.database)
    return Response(metrics.exposition(gauges), media_type=metrics.MEDIA_TYPE)


@router.get("/v1/audit", responses=documented(400, 401, 403, 422, 429, 503), openapi_extra=access(Need.ADMIN))
async def read_audit(
    service: Serving,
    caller: Caller,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPage:
    """Changes by your tenant's keys, newest first."""
    before = int(cursor) if cursor is not None else None
    rows = await service.threads(service.audit.list, caller.tenant, before, limit)
    entries = [
        AuditEntry(
            id=row.id,
            who=row.who,
            action=row.action,
            subject=row.subject,
            address=row.address,
            at=moment(row.created_at_s),
        )
        for row in rows
    ]
    return AuditPage(entries=entries, next=str(rows[-1].id) if len(rows) == limit else None)
