"""The style sheet and the script of the dashboard, served from the package."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Response
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.pages.render import HERE

router = APIRouter(include_in_schema=False)
TYPES: Mapping[str, str] = {
    "style.css": "text/css",
    "live.js": "text/javascript",
    "graph.js": "text/javascript",
}


@router.get("/static/{name}", openapi_extra=access(Need.READ))
async def asset(name: Annotated[str, Path(max_length=40)]) -> Response:
    """One of the files named in TYPES."""
    if name not in TYPES:
        raise HTTPException(404, "there is no such file")
    headers = {"Cache-Control": "private, max-age=300"}
    return Response((HERE / "static" / name).read_bytes(), media_type=TYPES[name], headers=headers)
