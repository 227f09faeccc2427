"""Names of workloads for people, who cannot read a digest.

A job's result names its kernels after the nodes of the model. Other workloads are called by their ops and by
what they make, which follow from the record itself.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select

from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.ir.graph_json import workload_from_json
from tilewright.db.records import WorkloadKind
from tilewright.db.storage.near import parse_json
from tilewright.db.storage.schema import job, run, workload
from tilewright.db.storage.session import Database
from tilewright.db.storage.writes import pieces

NETWORK = "the whole network"
LARGEST_BODY = 1 << 16
"""Signs of a body that is read for its title; a kernel's is far smaller."""


def titles_of(database: Database, digests: Iterable[str]) -> dict[str, str]:
    """A title for each workload: `contract + relu, which makes f16[1, 64]`; none where none is known."""
    found: dict[str, str] = {}
    for some in pieces(sorted(set(digests))):
        question = select(workload.c.digest, workload.c.kind, workload.c.body)
        for row in database.ask(question.where(workload.c.digest.in_(some))):
            title = NETWORK if row.kind == WorkloadKind.GRAPH else _title(row.body)
            if title:
                found[row.digest] = title
    return found


def names_in_runs(database: Database, runs: Iterable[str]) -> dict[tuple[str, str], str]:
    """The names that the results of jobs give to kernels, by uid of the run and digest of the workload."""
    found: dict[tuple[str, str], str] = {}
    for some in pieces(sorted(set(runs))):
        question = select(run.c.uid, job.c.result).join(job, job.c.uid == run.c.job)
        for row in database.ask(question.where(run.c.uid.in_(some), job.c.result.is_not(None))):
            for kernel in _kernels(json.loads(row.result)):
                if kernel.get("name"):
                    found[row.uid, str(kernel["workload_digest"])] = str(kernel["name"])
    return found


def _kernels(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of a network the kernels of its answer, of a range those of every size."""
    reports = [result, *result.get("reports", ())]
    return [kernel for report in reports for kernel in report.get("kernels", ())]


def _title(body: str) -> str:
    if len(body) > LARGEST_BODY:
        return ""
    try:
        graph = workload_from_json(parse_json(body, "body of a workload")).graph
        made = graph.values[graph.ops[-1].result]
        return f"{graph.kernel_name(range(len(graph.ops)))}, which makes {made}"
    except (RecordError, IndexError, LookupError, TypeError, AttributeError):
        return ""  # a foreign space, or a body of a version to come
