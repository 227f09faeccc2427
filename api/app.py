"""The application: its routes, the middleware in front of them, and the parts that last as long as the
server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from tilewright.api.guards.access import AccessTable, Need, access
from tilewright.api.guards.auth import Authenticator, is_loopback
from tilewright.api.guards.gate import Gate
from tilewright.api.observability.observe import Observe
from tilewright.api.pages import assets, database, sign_in
from tilewright.api.pages import demand as demand_pages
from tilewright.api.pages import jobs as job_pages
from tilewright.api.problems import documented
from tilewright.api.routes import (
    answers,
    demand,
    events,
    exchange,
    health,
    jobs,
    lookup,
    machines,
    operation,
    records,
    results,
)
from tilewright.api.routes.errors import answer_errors
from tilewright.api.schemas.jobs import LONGEST_SPEC
from tilewright.api.schemas.openapi import schema_of
from tilewright.api.service import Service
from tilewright.api.settings import Settings
from tilewright.api.threads import Threads
from tilewright.compiler_core.files.bundle import MOST_FILES
from tilewright.db.storage.session import Database as OpenDatabase
from tilewright.db.storage.session import open_database

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    jobs.router,
    demand.router,
    events.router,
    results.router,
    lookup.router,
    answers.router,
    exchange.router,
    records.router,
    machines.router,
    operation.router,
    job_pages.router,
    database.router,
    demand_pages.router,
    sign_in.router,
    assets.router,
)
MOST_FIELDS, LONGEST_FIELD_BYTES = 16, 4 * LONGEST_SPEC
"""Of a form: its fields stay in memory, and its body may be as large as a model."""
DESCRIPTION = "Tune neural networks for AI accelerators, and look up what has been tuned before."


def create_app(settings: Settings, database: OpenDatabase | None = None) -> FastAPI:
    """The service as an ASGI application. `database` is opened from the settings when it is not given."""
    opened = database or open_database(settings.database)
    threads = Threads(settings.database_threads)
    authenticator = Authenticator(opened, is_loopback(settings.host), settings.failures_per_minute)
    service = Service(settings, opened, authenticator, threads)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(threads.close)
            stack.push_async_callback(service.readers.close)
            if service.demand is not None:
                stack.callback(service.demand.close)
            sweeping = asyncio.create_task(service.sweep_for_ever())
            stack.callback(sweeping.cancel)
            yield

    app = FastAPI(
        title="Tilewright",
        version=version("tilewright"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        separate_input_output_schemas=False,
        form_limits={
            "max_fields": MOST_FIELDS,
            "max_files": 1 + MOST_FILES,
            "max_part_size": LONGEST_FIELD_BYTES,
        },
    )
    app.state.service = service
    for router in (*ROUTERS, _schema_router(app)):
        app.include_router(router)
    answer_errors(app)
    table = AccessTable(routes_of(app))
    app.add_middleware(Gate, settings=settings, authenticator=authenticator, table=table, threads=threads)
    app.add_middleware(Observe)
    app.openapi = schema_of(app)  # type: ignore[method-assign]  # FastAPI's own way of extending it
    return app


def routes_of(app: FastAPI) -> list[APIRoute]:
    """Every route that answers, with its declaration of access."""
    routers = (*ROUTERS, app.state.schema_router)
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def _schema_router(app: FastAPI) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get(
        "/openapi.json",
        responses=documented(400, 401, 403, 429, 503),
        openapi_extra=access(Need.READ),
    )
    async def openapi() -> dict[str, Any]:
        """This description."""
        return app.openapi()

    app.state.schema_router = router
    return router
