"""The page of demand: what lookups missed, by the time that tuning would save."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tilewright.api.guards.access import Need, access
from tilewright.api.pages.render import page
from tilewright.api.service import Serving

router = APIRouter(include_in_schema=False)
ROWS = 50


@router.get("/demand", openapi_extra=access(Need.ADMIN, page=True))
async def demand_page(request: Request, service: Serving) -> Response:
    """What lookups asked for and missed."""
    return page(request, "demand.html", found=await service.threads(service.ranked_demand, ROWS))
