"""Pages about the database: search, two records side by side, coverage of a network, workers."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.guards.auth import Principal
from tilewright.api.pages.render import page
from tilewright.api.schemas.patterns import DIGEST
from tilewright.api.service import Caller, Cursor, Service, Serving
from tilewright.compiler_core.toolchain import built_in_toolchains
from tilewright.db.answering.titles import names_in_runs, titles_of
from tilewright.db.browse import RecordRow, Wanted
from tilewright.db.records import Best, Purpose
from tilewright.db.service.accounts import Coverage
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status

router = APIRouter(include_in_schema=False)
ROWS = 50
LEAST_PREFIX = 4
Text = Annotated[str, Query(max_length=100)]
RecordId = Annotated[int | None, Query(ge=1, le=2**53 - 1)]
DigestPath = Annotated[str, Path(pattern=DIGEST)]


@router.get("/records", openapi_extra=access(Need.READ, page=True))
async def records_page(
    request: Request,
    service: Serving,
    caller: Caller,
    workload: Text = "",
    target: Text = "",
    model: Text = "",
    objective: Text = "",
    status: Text = "",
    purpose: Text = "",
    cursor: Cursor = None,
) -> Response:
    """Search the records."""
    asked = {
        "workload": workload.strip(),
        "target": target.strip(),
        "model": model.strip(),
        "objective": objective,
        "status": status,
        "purpose": purpose,
    }
    wrong = [name for name in ("workload", "target", "model") if asked[name] and not _is_digest(asked[name])]
    rows: list[RecordRow] = []
    following = None
    if not wrong:
        wanted = Wanted(
            workload=asked["workload"] or None,
            target=asked["target"] or None,
            model=asked["model"] or None,
            objective=Objective(objective) if objective in set(Objective) else None,
            status=Status(status) if status in set(Status) else None,
            purpose=Purpose(purpose) if purpose in set(Purpose) else None,
        )
        rows, following = await service.threads(service.browse.records, caller.viewer, wanted, cursor, ROWS)
    names = await _names(service, rows)
    choices = {"objective": list(Objective), "status": list(Status), "purpose": list(Purpose)}
    return page(
        request,
        "records.html",
        rows=rows,
        names=names,
        asked=asked,
        wrong=wrong,
        choices=choices,
        next=following,
    )


@router.get("/records/compare", openapi_extra=access(Need.READ, page=True))
async def compare_page(
    request: Request, service: Serving, caller: Caller, a: RecordId = None, b: RecordId = None
) -> Response:
    """Two records side by side."""
    left, right = await _record(service, caller, a), await _record(service, caller, b)
    configs = [dict(record.row.trial.config.items) for record in (left, right)]
    knobs = [
        (knob, configs[0].get(knob, "-"), configs[1].get(knob, "-"))
        for knob in sorted({*configs[0], *configs[1]})
    ]
    names = await _names(service, [left, right])
    return page(request, "compare.html", records=(left, right), knobs=knobs, names=names)


@router.get("/models", openapi_extra=access(Need.READ, page=True))
async def models_page(request: Request, service: Serving, caller: Caller) -> Response:
    """Networks that have runs."""
    return page(request, "models.html", models=await service.threads(service.browse.models, caller.viewer))


@router.get("/models/{digest}", openapi_extra=access(Need.READ, page=True))
async def coverage_page(request: Request, service: Serving, caller: Caller, digest: DigestPath) -> Response:
    """Coverage of a network's kernels in the database, target by target."""
    kernels = await service.threads(service.browse.kernels_of, digest, caller.viewer)
    if not kernels:
        raise HTTPException(404, f"there are no records of network {digest[:12]}")
    tables = await service.threads(_coverage, service, kernels, digest)
    names = await service.threads(titles_of, service.browse.database, kernels)
    called = dict(await service.threads(service.browse.models, caller.viewer)).get(digest, "")
    return page(request, "coverage.html", digest=digest, called=called, tables=tables, names=names)


@router.get("/workers", openapi_extra=access(Need.READ, page=True))
async def workers_page(request: Request, service: Serving) -> Response:
    """The workers and their states."""
    return page(request, "workers.html", workers=await service.threads(service.workers.list))


def _coverage(
    service: Service, kernels: list[str], digest: str
) -> list[tuple[str, Coverage, dict[str, Best]]]:
    repository = service.repository
    rows = list(repository.workloads(kernels).values())
    found = []
    for target in repository.targets():
        for toolchain in repository.toolchains(target.digest):
            coverage = repository.coverage(rows, target.digest, toolchain)
            if coverage.measured or coverage.other_placement:
                bests = repository.best_many([row.digest for row in rows], target.digest, toolchain)
                own = "" if toolchain in built_in_toolchains() else f", toolchain {toolchain}"
                found.append((f"{target.name}{own}", coverage, bests))
    return found


async def _names(service: Service, rows: list[RecordRow]) -> dict[int, str]:
    """What each record's kernel is called, by the number of the record; the rows' own are few."""
    database = service.browse.database
    uids, digests = ({pick(row) for row in rows} for pick in (_run_of, _workload_of))
    own = await service.threads(names_in_runs, database, uids)
    titles = await service.threads(titles_of, database, digests)
    return {
        row.id: own.get((_run_of(row), _workload_of(row))) or titles.get(_workload_of(row), "")
        for row in rows
    }


def _run_of(row: RecordRow) -> str:
    return row.row.trial.run


def _workload_of(row: RecordRow) -> str:
    return row.row.key.workload_digest


async def _record(service: Service, caller: Principal, record_id: int | None) -> RecordRow:
    if record_id is None:
        raise HTTPException(422, "mark two records to compare")
    found = await service.threads(service.browse.record, caller.viewer, record_id)
    if found is None:
        raise HTTPException(404, f"there is no record {record_id}")
    return found


def _is_digest(text: str) -> bool:
    """Whether `text` is a digest, or so much of one that it says something."""
    return LEAST_PREFIX <= len(text) <= 64 and set(text) <= set("0123456789abcdef")
