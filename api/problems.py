"""Errors on the wire: RFC 9457 problem details, with the cause of the error and nothing of the server's
internals.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
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
    """Problem details (RFC 9457). `type` is always `about:blank`: the status is the kind of error."""

    type: str = "about:blank"
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["no target is called 'ascend'; presets are ascend310, ascend910, ..."])
    request_id: str = Field(default="", examples=["5f0c2ab1d3e94f6a"])
    errors: list[Fault] = Field(default=[])


@dataclass(frozen=True)
class Refusal:
    """A problem that is not yet tied to a request; without a detail, the phrase of its status is used."""

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
