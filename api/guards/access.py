"""The access that a route requires, checked before any of its body is read. Every route declares it. The gate
does not start when a route lacks it, and OpenAPI shows it as `x-access`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope as Connection

SMALL_BODY_BYTES = 64 * 1024


class Need(StrEnum):
    """The scope of a key, or nothing at all."""

    PUBLIC = "public"
    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


@dataclass(frozen=True)
class RouteAccess:
    """`upload`: the body may be as large as a model. `page`: people with browsers come here."""

    need: Need
    upload: bool = False
    page: bool = False


def access(need: Need, *, upload: bool = False, page: bool = False) -> dict[str, Any]:
    """For `openapi_extra=` of a route."""
    return {"x-access": need.value, "x-upload": upload, "x-page": page}


ANYTHING_ELSE = RouteAccess(Need.READ)
"""For paths that no route answers: a key is needed to learn even that."""


class AccessTable:
    """The access that the route of a request requires."""

    def __init__(self, routes: Iterable[APIRoute]) -> None:
        self._rows = [(route, _declared(route)) for route in routes]

    def of(self, connection: Connection) -> RouteAccess:
        """The Access of the route that will answer."""
        partial: RouteAccess | None = None
        for route, declared in self._rows:
            match, _ = route.matches(connection)
            if match is Match.FULL:
                return declared
            if match is Match.PARTIAL and partial is None:
                partial = RouteAccess(Need.READ, page=declared.page)
        return partial or ANYTHING_ELSE


def _declared(route: APIRoute) -> RouteAccess:
    extra = route.openapi_extra or {}
    if "x-access" not in extra:
        raise LookupError(f"route {route.path} does not declare its access")
    return RouteAccess(Need(extra["x-access"]), extra["x-upload"], extra["x-page"])
