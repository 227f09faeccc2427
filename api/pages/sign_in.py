"""Signing in and out with a browser: the key goes into a cookie that no script and no other site can use."""

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.guards.auth import COOKIE, same_site
from tilewright.api.guards.sign_in import sign_in_page
from tilewright.api.service import Caller, Serving, address_of
from tilewright.db.service.api_keys import PREFIX

router = APIRouter(include_in_schema=False)
DAY_S = 86_400


@router.post("/sign-in", openapi_extra=access(Need.PUBLIC, page=True))
async def sign_in(
    request: Request, service: Serving, key: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Takes a key and remembers it in the browser for a day."""
    if not same_site(request.headers, by_browser=False):
        raise HTTPException(403, "the request comes from a page of another site")
    secret = key.strip()
    plain = secret.isascii() and secret.startswith(PREFIX)
    known = await service.threads(service.authenticator.keys.authenticate, secret) if plain else None
    if known is None:
        wait_s = service.authenticator.failures.take(address_of(request))
        if wait_s:
            later = {"Retry-After": str(math.ceil(wait_s))}
            raise HTTPException(429, "too many wrong keys from this address", later)
        return sign_in_page(401, wrong=True)
    who = f"key {known.id} {known.name}"
    await service.threads(service.audit.add, known.tenant, who, "sign in", "dashboard", address_of(request))
    response = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, secret, max_age=DAY_S, httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/sign-out", openapi_extra=access(Need.READ, page=True))
async def sign_out(caller: Caller) -> Response:
    """Forgets the key."""
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
