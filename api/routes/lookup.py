"""/v1/lookup: answers for a compiler."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException

from tilewright.api.guards.access import Need, access
from tilewright.api.observability import metrics
from tilewright.api.problems import documented
from tilewright.api.schemas.patterns import BEGINNING, DIGEST, DIM, TOOLCHAIN_NAME
from tilewright.api.schemas.records import LockedRecord, Lookup, RangeRecord
from tilewright.api.service import Serving
from tilewright.compiler_core.target_model.file import parse_target
from tilewright.compiler_core.toolchain import TOOLCHAIN
from tilewright.db.answering.lookup import AnswerRequest, Hit, lookup
from tilewright.db.demand.logging import note_kernel
from tilewright.db.demand.recorder import Recorder
from tilewright.db.exchange.lock_file import Lock
from tilewright.db.layers.layer import AnswerContext, Layers
from tilewright.db.layers.selectors import SelectorRow
from tilewright.db.records import Key, WorkloadKind, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.measure.device import built_in_info
from tilewright.measure.objectives import Objective
from tilewright.tuner.jobs.request import target_of
from tilewright.tuner.sizes.selection import interval_of, not_held

router = APIRouter(tags=["database"])
FULL = 64
Digest = Annotated[str | None, Query(pattern=DIGEST, examples=["1f0e" * 16])]
Beginning = Annotated[
    str | None,
    Query(
        pattern=BEGINNING,
        examples=["1f0e" * 16],
        description="64 hexadecimal digits, or the first of them, from 8 on, where no other digest has these",
    ),
]
Dim = Annotated[
    str | None,
    Query(
        pattern=DIM,
        examples=["seq=77"],
        description="A size inside a tuned range of `model`, the digest that the range is kept under",
    ),
]


@router.get(
    "/v1/lookup",
    responses=documented(400, 401, 403, 404, 422, 429, 503),
    openapi_extra=access(Need.READ),
)
async def look_up(
    service: Serving,
    target: Annotated[str, Query(max_length=200, description="A preset, or a target's digest")],
    workload: Beginning = None,
    model: Beginning = None,
    dim: Dim = None,
    objective: Objective = Objective.LATENCY,
    toolchain: Annotated[
        str | None,
        Query(
            pattern=TOOLCHAIN_NAME,
            description="The toolchain of the measuring device; the target's own by default",
        ),
    ] = None,
    frozen: Annotated[
        bool, Query(description="Exactly what the lock of this service holds, else 404; no database is asked")
    ] = False,
) -> Lookup:
    """The best record of a kernel (`workload`) or of a whole network (`model`, its graph digest), or the
    answer of a tuned range of a network at a size (`dim`). For what this service does not know, it asks the
    layers of its setting `layers`, where that names some.
    """
    digest = workload or model
    if digest is None or (workload and model):
        raise HTTPException(422, "give one of workload= and model=")
    if dim and not model:
        raise HTTPException(422, "dim= is a size of a range that a network was tuned over; give model= too")
    if dim and frozen:
        raise HTTPException(422, "a lock holds networks at their sizes; give model= without dim=")
    asked = (digest, target, toolchain, objective)
    if frozen:
        found = await service.threads(_locked, service.lock, service.repository, *asked)
    else:
        found = await service.threads(
            _look_up, service.repository, service.layers, *asked, dim, service.demand
        )
    metrics.LOOKUPS.labels("hit" if found.hit else "miss").inc()
    return found


def _look_up(
    repository: Repository,
    layers: Layers,
    beginning: str,
    target: str,
    toolchain: str | None,
    objective: Objective,
    dim: str | None,
    demand: Recorder | None = None,
) -> Lookup:
    target_digest, own_toolchain = _measured_for(repository, target)
    digest = _whole_digest(repository, beginning)
    if digest is None:
        return Lookup(hit=False, reason=f"no digest begins with {beginning}; tune it first")
    key = Key(digest, target_digest, toolchain or own_toolchain, objective)
    if dim is not None:
        return _in_range(layers, key, *dim.split("="))
    request = AnswerRequest(key.target_digest, key.toolchain, key.objective)
    bare = WorkloadRow(digest, digest, WorkloadKind.KERNEL)
    answer = lookup(layers, bare, replace(request, explain=False))
    if demand is not None:
        note_kernel(demand, key, answer.best if isinstance(answer, Hit) else None)
    if isinstance(answer, Hit):
        return Lookup.of(answer)
    known = repository.workloads([digest]).get(digest)
    return Lookup.of(answer if known is None else lookup(repository, known, request))


def _locked(
    lock: Lock | None,
    repository: Repository,
    beginning: str,
    target: str,
    toolchain: str | None,
    objective: Objective,
) -> Lookup:
    """The answer of the lock for a network or a kernel; 404 if it has none, or several."""
    if lock is None:
        raise HTTPException(404, "this service has no lock; its setting `lock` names the file")
    target_digest, own = _measured_for(repository, target)
    context = (target_digest, toolchain or own, str(objective))
    records = [
        LockedRecord(
            workload_digest=digest,
            target_digest=target_digest,
            toolchain=network.toolchain,
            objective=objective,
            source=source,
            config=dict(config.items),
            latency_us=latency_us,
            verification=network.verification,
        )
        for network in lock.networks.values()
        if network.key[1:] == context
        for digest, source, latency_us, config in network.answers()
        if digest.startswith(beginning)
    ]
    if not records:
        raise HTTPException(404, f"{beginning} is not locked for this target, toolchain and objective")
    if any(each.workload_digest != records[0].workload_digest for each in records):
        raise HTTPException(422, f"several digests begin with {beginning}; give more of it")
    if any(each.config != records[0].config for each in records):
        raise HTTPException(
            404, f"{beginning} runs in several locked networks, not all alike; ask for model="
        )
    return Lookup(hit=True, locked=records[0])


def _in_range(layers: Layers, key: Key, symbol: str, size: str) -> Lookup:
    context = AnswerContext(key.target_digest, key.toolchain, key.objective)
    known: Sequence[SelectorRow] = ()
    for layer in layers.layers:
        rows = layer.intervals(key.workload_digest, symbol, context)
        for row in rows:
            if row.low <= int(size) <= row.high:
                found = RangeRecord.of(symbol, interval_of(row), row.config)
                return Lookup(hit=True, range=found, layer=layer.name)
        known = known or rows
    return Lookup(hit=False, reason=not_held(symbol, int(size), known))


def _measured_for(repository: Repository, target: str) -> tuple[str, str]:
    """The digest of a target, by name or already one, and the toolchain of the device that it has itself."""
    if len(target) != FULL or not set(target) <= set("0123456789abcdef"):
        chip = target_of(target)
        return chip.digest, built_in_info(chip).toolchain
    known = repository.target(target)
    return target, TOOLCHAIN if known is None else _toolchain_of(known.text)


@lru_cache(maxsize=256)
def _toolchain_of(target_text: str) -> str:
    chip, _ = parse_target(target_text)
    return TOOLCHAIN if chip is None else built_in_info(chip).toolchain


def _whole_digest(repository: Repository, beginning: str) -> str | None:
    """The one digest that begins so; None where none does."""
    if len(beginning) == FULL:
        return beginning
    whole = repository.whole_digests(beginning)
    if len(whole) > 1:
        raise HTTPException(422, f"several digests begin with {beginning}; give more of it")
    return whole[0] if whole else None
