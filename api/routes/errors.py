"""Answers to errors: a page for a browser, problem details for every other client."""

import logging
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tilewright.api.pages.render import page, wants_page
from tilewright.api.problems import RETRY_AFTER_S, WHEN, Fault, problem, request_id_of
from tilewright.api.sandbox.readers import BusyError, SpecError
from tilewright.compiler_core.errors import InputError, RecordError
from tilewright.db.service.quotas import QuotaError
from tilewright.db.storage.session import DatabaseDownError

QUOTA_RETRY_S = 60
log = logging.getLogger("tilewright.api")


def answer_errors(app: FastAPI) -> None:
    """Install the handlers below on `app`."""
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(SpecError, on_spec)
    app.add_exception_handler(InputError, on_input)


def _page(request: Request, status: int, detail: str) -> Response:
    title, words = HTTPStatus(status).phrase, detail or WHEN.get(status, "")
    return page(request, "error.html", status, title=title, detail=words, request_id=request_id_of(request))


async def on_http(request: Request, error: Exception) -> Response:
    """An error that a route or the framework raised on purpose."""
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
    if isinstance(error, BusyError):
        return problem(429, str(error), request_id, headers={"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, QuotaError):
        return problem(429, str(error), request_id, headers={"Retry-After": str(QUOTA_RETRY_S)})
    if isinstance(error, RecordError) and error.__cause__ is not None:
        return await on_bug(request, error)
    return problem(422, str(error), request_id)


async def on_bug(request: Request, error: Exception) -> Response:
    """Any other exception: the log has the trace, the client gets the id to ask for it."""
    log.error("bug", exc_info=error, extra={"request": request_id_of(request)})
    return problem(500, "internal error; see the log under this request_id", request_id_of(request))
