"""/v1/targets and /v1/workers: the targets, and the workers that measure."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import documented
from tilewright.api.schemas.patterns import TARGET
from tilewright.api.schemas.records import TargetDetail, TargetSummary, Worker
from tilewright.api.service import Serving
from tilewright.compiler_core.target_model.file import list_targets, load_target

router = APIRouter(tags=["machines"])


class TargetList(BaseModel):
    """The presets, by name."""

    targets: list[TargetSummary]


class WorkerList(BaseModel):
    """Every worker ever seen, by name."""

    workers: list[Worker]


@router.get("/v1/targets", responses=documented(400, 401, 403, 429, 503), openapi_extra=access(Need.READ))
async def list_presets() -> TargetList:
    """The presets."""
    presets = map(load_target, list_targets())
    return TargetList(
        targets=[
            TargetSummary(name=each.name, digest=each.digest, description=each.description, cores=each.cores)
            for each in presets
        ]
    )


@router.get(
    "/v1/targets/{name}",
    responses=documented(400, 401, 403, 404, 422, 429, 503),
    openapi_extra=access(Need.READ),
)
async def get_target(
    name: Annotated[str, Path(pattern=TARGET, examples=["ascend910"])],
) -> TargetDetail:
    """A preset with every number, and its TOML file to start from."""
    if name not in list_targets():
        raise HTTPException(404, f"no preset is called {name!r}; there are {', '.join(list_targets())}")
    return TargetDetail.of(load_target(name))


@router.get("/v1/workers", responses=documented(400, 401, 403, 429, 503), openapi_extra=access(Need.READ))
async def list_workers(service: Serving) -> WorkerList:
    """The workers, and which are in quarantine and why."""
    return WorkerList(workers=[Worker.of(row) for row in await service.threads(service.workers.list)])
