"""/v1/answers: many digests in one question, for lookups that have this service as a layer."""

from typing import Any

from fastapi import APIRouter

from tilewright.api.guards.access import Need, access
from tilewright.api.problems import documented
from tilewright.api.schemas.records import KnownAnswers, Question
from tilewright.api.service import Serving
from tilewright.db.layers.layer import AnswerContext, RecordsLayer
from tilewright.db.layers.wire import Told, told_to_json
from tilewright.db.repository import Repository

router = APIRouter(tags=["database"])


@router.post(
    "/v1/answers",
    responses=documented(400, 401, 403, 413, 422, 429, 503),
    openapi_extra=access(Need.READ),
    response_model_exclude_defaults=True,
)
async def answers(service: Serving, asked: Question) -> KnownAnswers:
    """The bests of kernels and networks by digest, those of families of kernels, and tuned ranges of
    networks; what is not known is left out. `TILEWRIGHT_LAYERS=http://HOST:PORT` makes `tune lookup` ask.
    """
    return KnownAnswers(**await service.threads(_answers, service.repository, asked))


def _answers(repository: Repository, asked: Question) -> dict[str, Any]:
    context = AnswerContext(asked.target_digest, asked.toolchain, asked.objective)
    where = context.target_digest, context.toolchain, context.objective
    bests = repository.best_many(asked.workloads, *where) if asked.workloads else {}
    relatives = repository.best_of_families(asked.families, *where) if asked.families else {}
    layer = RecordsLayer("", repository)
    found = {
        (each.digest, each.symbol): layer.intervals(each.digest, each.symbol, context)
        for each in asked.ranges
    }
    return told_to_json(Told(bests, relatives, {name: rows for name, rows in found.items() if rows}))
