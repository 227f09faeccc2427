"""/v1/demand: what lookups missed, for those who run the service."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import documented
from tilewright.api.service import Serving
from tilewright.measure.objectives import Objective

router = APIRouter(tags=["operation"])


class WantedWorkload(BaseModel):
    """A workload that lookups missed `count` times. `saves_us` is the time that tuning would save them all:
    what each was served less what tuning is expected to reach. `why_not` says why it cannot be tuned here.
    """

    workload_digest: str = Field(examples=["1f0e" * 16])
    name: str
    kind: str = Field(examples=["kernel"])
    target: str
    target_digest: str = Field(examples=["1f0e" * 16])
    toolchain: str = Field(examples=["3"])
    objective: Objective
    served: str = Field(examples=["default"])
    count: int
    served_us: float | None
    expected_us: float | None
    saves_us: float
    why_not: str


class DemandPage(BaseModel):
    """Lookups by what they were served, and the misses, the one that tuning would save most first."""

    totals: dict[str, int] = Field(examples=[{"measured": 812, "guessed": 3, "default": 40, "uncounted": 0}])
    wanted: list[WantedWorkload]


@router.get(
    "/v1/demand",
    responses=documented(400, 401, 403, 404, 422, 429, 503),
    openapi_extra=access(Need.ADMIN),
)
async def read_demand(service: Serving, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> DemandPage:
    """Lookups without a measured answer, by the time that tuning would save."""
    found = await service.threads(service.ranked_demand, limit)
    if found is None:
        raise HTTPException(404, "this service counts no lookups; its setting `demand` names the file")
    return DemandPage.model_validate(found.to_json())
