"""/v1/exchange: all records of the database as a file, and others' records into it, as claims."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Request, UploadFile
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import documented
from tilewright.api.schemas.records import Taken
from tilewright.api.service import Caller, Serving, address_of
from tilewright.compiler_core.errors import RecordError
from tilewright.db.exchange.export import export_records
from tilewright.db.exchange.lines import Bounds
from tilewright.db.exchange.load import import_records
from tilewright.db.storage.session import Database, DatabaseDownError

router = APIRouter(tags=["database"])
RECORDS = "application/jsonl"


@router.get(
    "/v1/exchange",
    response_class=FileResponse,
    responses={
        200: {"content": {RECORDS: {}}, "description": "JSON Lines, as `tune db export` writes them"},
        **documented(400, 401, 403, 429, 503),
    },
    openapi_extra=access(Need.ADMIN),
)
async def pull(service: Serving) -> FileResponse:
    """Every record that is not hidden, of all tenants, with its signatures: what `tune db pull` takes."""
    folder = tempfile.TemporaryDirectory(prefix="tilewright-")
    path = Path(folder.name) / "records.jsonl"
    await service.threads(export_records, service.repository.database, path)
    return FileResponse(path, media_type=RECORDS, background=BackgroundTask(folder.cleanup))


@router.post(
    "/v1/exchange",
    responses=documented(400, 401, 403, 408, 413, 422, 429, 503),
    openapi_extra=access(Need.ADMIN, upload=True),
)
async def push(
    request: Request,
    service: Serving,
    caller: Caller,
    records: Annotated[UploadFile, File(description="JSON Lines, as `tune db export` writes them")],
) -> Taken:
    """Take others' records in, whole or not at all: the union with what is here. They stay claims until they
    are measured here, or until `tune db vouch` finds them signed by a key that is trusted here.
    """
    limit = service.settings.max_upload_mb << 20
    taken = await service.threads(_take, service.repository.database, records, limit)
    await service.record(caller, "push records", f"{taken.new} new", address_of(request))
    return taken


def _take(database: Database, records: UploadFile, limit: int) -> Taken:
    with _spooled(records) as path:
        try:
            loaded = import_records(database, path, bounds=Bounds(file_bytes=limit))
        except DatabaseDownError:
            raise
        except RecordError as error:
            raise HTTPException(422, str(error)) from None
    return Taken(new=loaded.new, known=loaded.known, conflicts=len(loaded.conflicts))


@contextmanager
def _spooled(records: UploadFile) -> Iterator[Path]:
    """The upload as a file that can be read twice."""
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        path = Path(folder) / "records"
        with path.open("wb") as file:
            while part := records.file.read(1 << 20):
                file.write(part)
        yield path
