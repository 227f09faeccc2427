"""Answers to errors: a page for a browser, problem details for every other client."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tilewright.api.pages.render import page, wants_page
from tilewright.api.problems import RETRY_AFTER_S, WHEN, Fault, problem, request_id_of
from tilewright.api.sandbox.readers import BusyError, SpecError
from tilewright.api.schemas.patterns import IN_WORDS
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
        request, [(".".join(str(part) for part in each["loc"]), _in_words(each)) for each in error.errors()]
    )


def _in_words(fault: Mapping[str, Any]) -> str:
    """The fault of one value; a form that its text should have is said in words, with its beginning."""
    words = IN_WORDS.get(str(fault.get("ctx", {}).get("pattern")))
    return str(fault["msg"]) if words is None else f"{str(fault['input'])[:40]!r} is {words}"


async def on_spec(request: Request, error: Exception) -> Response:
    """A job's spec that does not fit the schema."""
    assert isinstance(error, SpecError)
    wrong = [(f"body.spec.{where}".rstrip("."), why) for where, why in error.faults]
    return _faulty(request, wrong, error.together)


def _faulty(request: Request, wrong: Sequence[tuple[str, str]], together: str = "") -> Response:
    """The faults one by one; in short they are `together`, or the first of them."""
    faults = [Fault(where=where, why=why) for where, why in wrong[:20]]
    detail = together or (f"{faults[0].where}: {faults[0].why}" if faults else "")
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
