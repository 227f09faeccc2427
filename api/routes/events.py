"""/v1/jobs/{id}/events: the story of a job as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import RETRY_AFTER_S, documented
from tilewright.api.schemas.patterns import EVENT
from tilewright.api.service import Caller, JobId, Serving, address_of
from tilewright.db.service.job_rows import ENDED, JobRow
from tilewright.db.storage.session import DatabaseDownError

log = logging.getLogger("tilewright.events")
router = APIRouter(tags=["jobs"])
POLL_S = 0.5
RECONNECT_MS = 1000


async def _one_of_mine(service: Serving, caller: Caller, job_id: JobId) -> JobRow:
    return await service.job(job_id, caller)


async def _a_place(request: Request, service: Serving, caller: Caller) -> AsyncIterator[None]:
    async with service.streams.one(caller.tenant, caller.key, f"address {address_of(request)}") as place:
        if not place:
            raise HTTPException(429, "too many event streams", {"Retry-After": str(RETRY_AFTER_S)})
        yield


@router.get(
    "/v1/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    responses=documented(400, 401, 403, 404, 422, 429, 503),
    openapi_extra=access(Need.READ),
    dependencies=[Depends(_a_place)],
)
async def job_events(
    service: Serving,
    job: Annotated[JobRow, Depends(_one_of_mine)],
    last: Annotated[
        str | None,
        Header(alias="Last-Event-ID", pattern=EVENT, description="Go on after this event"),
    ] = None,
    follow: Annotated[bool, Query(description="False: end after the events so far")] = True,
) -> AsyncIterator[ServerSentEvent]:
    """Every event from the first (or after Last-Event-ID) on. `phase` and `measured` come from the run,
    `state` when the job moves on; the stream ends with the job.
    """
    after = int(last or 0)
    last_state: str | None = None
    yield ServerSentEvent(comment="events of a job", retry=RECONNECT_MS)
    while True:
        try:
            now = await service.threads(service.jobs.get, job.uid)
            events = await service.threads(service.jobs.events, job.uid, after)
        except DatabaseDownError as error:
            log.warning("a stream of events ends, the database does not answer: %s", error)
            return  # the client comes again, and goes on after the last event it heard
        for event in events:
            after = event.number
            yield ServerSentEvent(raw_data=event.body, event=event.kind, id=str(event.number))
        if now is None:
            return
        if now.state != last_state:
            last_state = now.state
            yield ServerSentEvent(data={"state": now.state, "error": now.error}, event="state")
        if now.state in ENDED or not follow or service.closing:
            return
        await asyncio.sleep(POLL_S)
