"""The verbs of the service, for REST routes and pages: over the database, on its threads."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from pathlib import PurePath
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, BinaryIO

from fastapi import Depends, Path, Query, Request, UploadFile
from starlette.exceptions import HTTPException

from tilewright.api.guards.auth import Authenticator, Principal, principal_of
from tilewright.api.guards.limits import Places
from tilewright.api.sandbox.readers import Readers, ReadSpec, SpecError
from tilewright.api.schemas.jobs import JobSpec
from tilewright.api.schemas.patterns import CURSOR, JOB
from tilewright.api.settings import Settings, keep_of
from tilewright.api.threads import Threads
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.files.bundle import pack
from tilewright.compiler_core.files.outputs import shortened
from tilewright.db.browse import Browse
from tilewright.db.demand.recorder import Recorder
from tilewright.db.demand.service_file import file_of_service
from tilewright.db.exchange.lock_file import read_lock
from tilewright.db.layers.opening import layers_after
from tilewright.db.records import plain_name
from tilewright.db.repository import Repository
from tilewright.db.service.audit import Audit
from tilewright.db.service.job_rows import About, JobRow
from tilewright.db.service.jobs import Jobs
from tilewright.db.service.quotas import Quota
from tilewright.db.service.retention import Freed, sweep
from tilewright.db.service.uploads import Uploads, digest_of_file
from tilewright.db.service.workers import Workers
from tilewright.db.storage.session import Database
from tilewright.tuner.jobs.request import request_to_json
from tilewright.tuner.request import objectives_text

if TYPE_CHECKING:
    from tilewright.tuner.verbs.demand import DemandReport

log = logging.getLogger("tilewright.service")


class Service:
    """The pieces of a running service; none holds anything that has to survive it."""

    def __init__(
        self, settings: Settings, database: Database, authenticator: Authenticator, threads: Threads
    ) -> None:
        self.settings = settings
        self.database = database
        self.authenticator = authenticator
        self.threads = threads
        self.jobs = Jobs(database)
        self.uploads = Uploads(database)
        self.repository = Repository(database)
        self.layers = layers_after(self.repository, settings.layers)
        """What lookups ask: the database, and what the operator names after it."""
        self.browse = Browse(database)
        self.workers = Workers(database)
        self.audit = Audit(database)
        self.demand = recorder_of(settings)
        self.lock = read_lock(settings.lock) if settings.lock else None
        """Answers of requests that want what is locked."""
        self.readers = Readers(settings, threads)
        self.streams = Places(settings.max_streams, settings.max_streams_each, patience_s=0.0)
        self.quota = Quota(
            settings.quota_jobs,
            settings.quota_trials,
            settings.quota_models_mb << 20,
            settings.quota_priority,
        )
        self.closing = False
        """Set when the server stops, so that endless answers end."""

    def ranked_demand(self, limit: int) -> "DemandReport | None":
        """The demand, the largest saving first; None if nothing is counted."""
        from tilewright.tuner.verbs.demand import DemandReport, demand  # what it weighs by is slow to import

        if self.demand is None:
            return None
        self.demand.flush()
        if not FilePath(self.demand.path).exists():
            return DemandReport({}, ())
        return demand(self.demand.path, self.database, limit, weighed=limit)

    async def submit(self, asked: "Submission", principal: Principal, address: str) -> tuple[JobRow, bool]:
        """Queues a job once everything about it is known to be good; (the job, whether it is new)."""
        if not asked.beside:
            return await self._submit(asked, asked.model, principal, address)
        with TemporaryFile() as bundle:
            await self.threads(pack, asked.model, asked.beside, bundle)
            return await self._submit(asked, bundle, principal, address)

    async def _submit(
        self, asked: "Submission", file: BinaryIO, principal: Principal, address: str
    ) -> tuple[JobRow, bool]:
        request = asked.spec.request(asked.model_name)
        goal = objectives_text(request.objectives)
        about = About(asked.model_name, asked.target_name, goal, request.budget)
        digest = await self.threads(digest_of_file, file)
        named = [*request.dims, *request.ranges, *request.inputs]
        known = await self.threads(self.uploads.symbols, digest)
        if named or known is None or known:
            require_sizes((await self.readers.model(digest, file, request, principal.tenant)).symbols)
            await self.threads(self.uploads.put_model, file, named, (principal.tenant, self.quota))
        job, new = await self.threads(
            self.jobs.submit,
            principal.tenant,
            request_to_json(request),
            digest,
            asked.idempotency_key,
            asked.spec.priority,
            about,
            self.quota,
        )
        if new:
            subject = f"{job.uid} {asked.model_name} for {asked.target_name}"
            await self.record(principal, "submit", subject, address)
        return job, new

    async def sweep_for_ever(self) -> None:
        """Deletes what need not be kept, now and then, until it is cancelled."""
        while True:
            try:
                freed = await self.threads(sweep, self.database, keep_of(self.settings))
                if freed != Freed():
                    smaller = await self.threads(self.database.give_back)
                    log.info("swept: %s; the database file is %.1f MB smaller", freed, smaller / 1e6)
            except RecordError as error:
                log.warning("nothing was swept: %s", error)
            await asyncio.sleep(self.settings.sweep_every_s)

    async def job(self, uid: str, principal: Principal) -> JobRow:
        """The job, if it is the caller's; 404 otherwise."""
        found = await self.threads(self.jobs.get, uid, principal.tenant)
        if found is None:
            raise HTTPException(404, f"there is no job {uid[:64]!r}")
        return found

    async def cancel(self, uid: str, principal: Principal, address: str) -> JobRow:
        """Ends a job of the caller's; a job that has ended does not change."""
        found = await self.threads(self.jobs.cancel, uid, principal.tenant)
        if found is None:
            raise HTTPException(404, f"there is no job {uid[:64]!r}")
        await self.record(principal, "cancel", uid, address)
        return found

    async def record(self, principal: Principal, action: str, subject: str, address: str) -> None:
        """Enters an action into the audit log."""
        await self.threads(self.audit.add, principal.tenant, principal.who, action, subject, address)


def recorder_of(settings: Settings) -> Recorder | None:
    """The recorder of the lookups of a service; None where they are not counted."""
    path = file_of_service(settings.demand, settings.database)
    return Recorder(path, max(1, settings.demand_sample)) if path else None


@dataclass(frozen=True)
class Submission:
    """The parts of a request for a job."""

    model: BinaryIO
    model_name: str
    spec: JobSpec
    target_name: str
    idempotency_key: str | None = None
    beside: tuple[tuple[str, BinaryIO], ...] = ()

    @classmethod
    def of(
        cls,
        model: UploadFile,
        read: ReadSpec,
        idempotency_key: str | None = None,
        beside: Sequence[UploadFile] = (),
    ) -> "Submission":
        """From uploads; the model's name is kept as far as it is a plain one, those beside it as they are."""
        stem = PurePath(model.filename or "model").stem
        name = shortened(plain_name(stem).replace("/", "_").replace(":", "_"), 100) or "model"
        files = tuple((part.filename, part.file) for part in beside if part.filename)
        return cls(model.file, name, read.spec, read.target_name, idempotency_key, files)


def require_sizes(missing: Sequence[str]) -> None:
    """SpecError where dims of a model have no size: a fault each."""
    if missing:
        raise SpecError(
            [(f"dims.{name}", "the model leaves this size open; give one from 0 on") for name in missing],
            f"dims: give a size for {', '.join(map(repr, missing))}, as in {missing[0]}=1",
        )


async def service_of(request: Request) -> Service:
    """The service that answers this request. (Async, or FastAPI would send it to a thread.)"""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def address_of(request: Request) -> str:
    """The address that a request came from."""
    return request.client.host if request.client else ""


# What routes and pages take as parameters.
Serving = Annotated[Service, Depends(service_of)]
Caller = Annotated[Principal, Depends(principal_of)]
JobId = Annotated[str, Path(pattern=JOB, examples=["3f2a90c1b7de45aa8c3fd6f0a1b2c3d4"])]
Cursor = Annotated[str | None, Query(pattern=CURSOR, description="`next` of the page before")]
