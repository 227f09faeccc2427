"""What the database knows of a network, kernel by kernel, and a Program made of it without measuring."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_core.pipeline import compile_graph
from compiler_core.program import Program
from db.lookup import Answer, Hit, lookup_many
from tuner.book import kernel_row
from tuner.guess import guess_kernels
from tuner.session import Session, open_session


@dataclass(frozen=True)
class KernelAnswer:
    """One distinct kernel: hit (exact or other-placement) with its latency, or miss with its reason."""

    workload_digest: str
    ops: tuple[str, ...]
    count: int
    hit: bool
    match: str
    latency_us: float | None
    reason: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class NetworkAnswer:
    """All kernels of a network, and the best of the network as a whole where there is one."""

    model: str
    graph_digest: str
    target: str
    network_latency_us: float | None
    kernels: tuple[KernelAnswer, ...]

    @property
    def complete(self) -> bool:
        """Whether the database answers for every kernel exactly."""
        return all(kernel.hit and kernel.match == "exact" for kernel in self.kernels)


def lookup(
    model: Path,
    target: str | Path,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    database: str | Path = "tilewright.db",
) -> NetworkAnswer:
    """`tune lookup`: hit or miss per kernel of a network, and why a miss. Writes nothing."""
    session = open_session(model, target, objective, dims, 0, database, read_only=True)
    best = session.book.known_network()
    if best is not None:
        session.planner.plan, _ = session.schedule_of(best.config)
    answers = lookup_many(
        session.book.repository,
        [kernel_row(task) for task in session.tasks],
        session.target.digest,
        session.book.toolchain,
        session.book.objective,
        space_digests={task.digest: task.space.digest for task in session.tasks},
        other_placement=True,
    )
    return NetworkAnswer(
        session.model.name,
        session.network.task.digest,
        session.target.name,
        None if best is None else best.latency_us,
        tuple(
            _answer(answer, session.plan.counts[task.digest], tuple(op.kind for op in task.regions.graph.ops))
            for answer, task in zip(answers, session.tasks, strict=True)
        ),
    )


def _answer(answer: Answer, count: int, ops: tuple[str, ...]) -> KernelAnswer:
    digest = answer.workload.digest
    if isinstance(answer, Hit):
        best = answer.best
        config = dict(best.config.items)
        return KernelAnswer(digest, ops, count, True, str(answer.match), best.latency_us, "", config)
    return KernelAnswer(digest, ops, count, False, "miss", None, answer.reason, {})


@dataclass(frozen=True, eq=False)
class Compiled:
    """A Program, the session it was made in, and per workload digest where its Config came from."""

    session: Session
    program: Program
    sources: Mapping[str, str]


def compile_known(
    model: Path,
    target: str | Path,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    database: str | Path = "tilewright.db",
) -> Compiled:
    """`tune compile`: the Program from the database; the network's own best first, else kernel by kernel.

    Kernels the database does not know run as the draft guesses best, and are marked so.
    """
    session = open_session(model, target, objective, dims, 0, database, read_only=True)
    best = session.book.known_network()
    if best is None:
        guess_kernels(session, use_database=True)
    else:
        session.adopt(best.config)
    plan, schedule = session.schedule_of(session.tuned_config)
    program = compile_graph(session.graph, schedule, session.target, plan)
    sources = {digest: session.choices[digest].source for digest in plan.counts}
    return Compiled(session, program, sources if best is None else dict.fromkeys(sources, "network"))
