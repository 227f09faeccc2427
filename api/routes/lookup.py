"""/v1/lookup: what a compiler asks at compile time."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.observability import metrics
from tilewright.api.problems import documented
from tilewright.api.routes.jobs import Serving
from tilewright.api.schemas.records import Lookup
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.answering.lookup import Hit, lookup
from tilewright.db.records import WorkloadKind, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.measure.objectives import Objective
from tilewright.tuner.jobs.request import target_of

router = APIRouter(tags=["database"])
Digest = Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", examples=["1f0e" * 16])]


@router.get(
    "/v1/lookup",
    responses=documented(400, 401, 403, 404, 422, 429, 503),
    openapi_extra=access(Need.READ),
)
async def look_up(
    service: Serving,
    target: Annotated[str, Query(max_length=200, description="A preset, or a target's digest")],
    workload: Digest = None,
    model: Digest = None,
    objective: Objective = Objective.LATENCY,
) -> Lookup:
    """The best record of a kernel (`workload`) or of a whole network (`model`, its graph digest)."""
    digest = workload or model
    if digest is None or (workload and model):
        raise HTTPException(422, "give one of workload= and model=")
    if len(target) == 64 and set(target) <= set("0123456789abcdef"):
        target_digest = target
    else:
        target_digest = target_of(target).digest
    found = await service.threads(_look_up, service.repository, digest, target_digest, objective)
    metrics.LOOKUPS.labels("hit" if found.hit else "miss").inc()
    return found


def _look_up(repository: Repository, digest: str, target_digest: str, objective: Objective) -> Lookup:
    asked = WorkloadRow(digest, digest, WorkloadKind.KERNEL)
    answer = lookup(repository, asked, target_digest, TOOLCHAIN, objective, explain=False)
    if isinstance(answer, Hit):
        return Lookup.of(answer)
    known = repository.workloads([digest]).get(digest)
    return Lookup.of(
        answer if known is None else lookup(repository, known, target_digest, TOOLCHAIN, objective)
    )
