"""/healthz and /readyz: whether the process runs, and whether it can serve requests."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import documented
from tilewright.api.service import Service, service_of

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """The answer of a running process."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", responses=documented(400), openapi_extra=access(Need.PUBLIC))
async def healthz() -> Health:
    """Alive: restart the process when this does not answer."""
    return Health()


@router.get("/readyz", responses=documented(400, 503), openapi_extra=access(Need.PUBLIC))
async def readyz(service: Annotated[Service, Depends(service_of)], response: Response) -> Health:
    """Ready: the database answers. Send no traffic while this is 503."""
    await service.threads(service.authenticator.keys.any_valid)
    return Health()
