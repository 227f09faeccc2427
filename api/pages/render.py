"""Templates to HTML, and how values read on a page."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup

from tilewright.api.guards.auth import OPERATOR, Principal
from tilewright.api.pages.drawn.drawings import CAPTIONS, WIDE, kernel_name
from tilewright.tuner.jobs.request import is_preset
from tilewright.tuner.request import TuneRequest

HERE = Path(__file__).parent


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of the dashboard."""
    principal = request.scope.get("state", {}).get("principal", OPERATOR)
    assert isinstance(principal, Principal)
    return HTMLResponse(filled(template, principal=principal, here=request.url.path, **values), status)


def filled(template: str, **values: Any) -> str:
    """A template as text."""
    return _environment().get_template(template).render(**values)


def wants_page(request: Request) -> bool:
    """Whether the request is a browser's, for a page."""
    asked = request.headers.get("accept", "")
    return "text/html" in asked and not request.url.path.startswith("/v1/")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    environment.globals |= {"captions": CAPTIONS, "wide": WIDE}
    environment.trim_blocks = environment.lstrip_blocks = True
    filters = (moment, number, short, target_name, kernel_name)
    environment.filters |= {each.__name__: each for each in filters}
    return environment


def moment(seconds: float | None) -> Markup:
    """A time on a clock, in UTC."""
    if seconds is None:
        return Markup("")
    at = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}")


def number(value: float | Undefined | None, digits: int = 6) -> str:
    """A quantity with so many digits that count; a dash where there is none."""
    if value is None or isinstance(value, Undefined):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}g}"


def target_name(request: TuneRequest) -> str:
    """The target that a request is for: a preset's name, or that it is one of the user's own."""
    return str(request.target) if is_preset(request) else "own target"


def short(digest: str | None) -> str:
    """The first letters of a digest."""
    return (digest or "-")[:12]
