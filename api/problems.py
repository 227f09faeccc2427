"""Errors on the wire: RFC 9457 problem details, saying what was wrong and nothing about our insides."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from tilewright.api.pages.render import page, wants_page
from tilewright.api.sandbox.readers import SpecError
from tilewright.compiler_core.errors import InputError, RecordError
from tilewright.db.service.quotas import QuotaError
from tilewright.db.storage.session import DatabaseDownError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
QUOTA_RETRY_S = 60
log = logging.getLogger("tilewright.api")
WHEN: Mapping[int, str] = {
    400: "The request cannot be read.",
    401: "No valid API key came with the request.",
    403: "The key may not do this, or the request came from another site.",
    404: "There is no such thing, or it belongs to somebody else.",
    408: "The body came too slowly.",
    409: "The thing is not in a state that allows this.",
    413: "The body is larger than allowed.",
    415: "The body is not of a type that is read here.",
    422: "The request was read, and something in it is wrong.",
    429: "Too many requests or uploads, or more than the quota; Retry-After says when to come back.",
    503: "The database does not answer; Retry-After says when to come back.",
}


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(examples=["body.spec.level"])
    why: str = Field(examples=["Input should be less than or equal to 3"])


class ProblemDetails(BaseModel):
    """Problem details (RFC 9457). `type` is always `about:blank`: the status says what kind it is."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["no target is called 'ascend'; presets are ascend310, ascend910, ..."])
    request_id: str = Field(default="", examples=["5f0c2ab1d3e94f6a"])
    errors: list[Fault] = Field(default=[])


@dataclass(frozen=True)
class Refusal:
    """A problem before it is known which request it answers; without a detail, what its status stands for."""

    status: int
    detail: str = ""
    headers: Mapping[str, str] | None = None

    def answer(self, request_id: str) -> Response:
        """The response."""
        return problem(self.status, self.detail, request_id, headers=self.headers)


def problem(
    status: int,
    detail: str = "",
    request_id: str = "",
    faults: Iterable[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response that carries ProblemDetails."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or WHEN.get(status, ""),
        "request_id": request_id,
        "errors": [fault.model_dump() for fault in faults],
    }
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these problems, with examples."""
    return {
        status: {
            "description": WHEN[status],
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                    "example": {
                        "type": "about:blank",
                        "title": HTTPStatus(status).phrase,
                        "status": status,
                        "detail": WHEN[status],
                        "request_id": "5f0c2ab1d3e94f6a",
                        "errors": [],
                    },
                }
            },
        }
        for status in statuses
    }


def request_id_of(request: Request) -> str:
    """The id that the log gives this request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def _page(request: Request, status: int, detail: str) -> Response:
    title, words = HTTPStatus(status).phrase, detail or WHEN.get(status, "")
    return page(request, "error.html", status, title=title, detail=words, request_id=request_id_of(request))


async def on_http(request: Request, error: Exception) -> Response:
    """What a route or the framework raised on purpose."""
    assert isinstance(error, HTTPException)
    if wants_page(request):
        return _page(request, error.status_code, str(error.detail or ""))
    return problem(error.status_code, str(error.detail or ""), request_id_of(request), headers=error.headers)


async def on_invalid(request: Request, error: Exception) -> Response:
    """A request that does not fit the schema."""
    assert isinstance(error, RequestValidationError)
    return _faulty(
        request, [(".".join(str(part) for part in each["loc"]), str(each["msg"])) for each in error.errors()]
    )


async def on_spec(request: Request, error: Exception) -> Response:
    """A job's spec that does not fit the schema."""
    assert isinstance(error, SpecError)
    return _faulty(request, [(f"body.spec.{where}".rstrip("."), why) for where, why in error.faults])


def _faulty(request: Request, wrong: Sequence[tuple[str, str]]) -> Response:
    faults = [Fault(where=where, why=why) for where, why in wrong[:20]]
    detail = f"{faults[0].where}: {faults[0].why}" if faults else ""
    if wants_page(request):
        return _page(request, 422, detail)
    return problem(422, detail, request_id_of(request), faults)


async def on_input(request: Request, error: Exception) -> Response:
    """Our own errors: their messages are fit to be shown, but for those of the database's machinery."""
    assert isinstance(error, InputError)
    request_id = request_id_of(request)
    if isinstance(error, DatabaseDownError):
        return problem(503, "", request_id, headers={"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, QuotaError):
        return problem(429, str(error), request_id, headers={"Retry-After": str(QUOTA_RETRY_S)})
    if isinstance(error, RecordError) and error.__cause__ is not None:
        return await on_bug(request, error)
    return problem(422, str(error), request_id)


async def on_bug(request: Request, error: Exception) -> Response:
    """Everything else: the log has the trace, the client gets the number to ask for it."""
    log.error("bug", exc_info=error, extra={"request": request_id_of(request)})
    return problem(500, "internal error; the log says more under this request_id", request_id_of(request))
