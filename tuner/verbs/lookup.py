"""What the database knows of a network, kernel by kernel, and a Program made of it without measuring."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.pipeline import compile_graph
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.db.answering.lookup import Answer, Hit, Miss
from tilewright.db.records import Verification
from tilewright.tuner.answer.guess import ask_exactly, cover_or_guess
from tilewright.tuner.answer.selection import Selected, selected
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.session import Session, open_session


@dataclass(frozen=True)
class KernelAnswer:
    """One distinct kernel, named after nodes of the model.

    `match` is exact (measured as it is), range (what was tuned at another size of the network, tiled for this
    one; the latency is the draft's), other-placement, or guessed: a miss.

    A miss has its `reason`, the latency of the draft's best guess, and what the nearest record predicts: its
    latency scaled by the two bounds, and how far above its own bound that is (`nearest_regret`, 0.5 = 50 %).
    """

    name: str
    workload_digest: str
    ops: tuple[str, ...]
    count: int
    hit: bool
    match: str
    latency_us: float
    reason: str
    config: Mapping[str, Any]
    nearest_us: float | None = None
    nearest_regret: float | None = None


@dataclass(frozen=True)
class NetworkAnswer:
    """All kernels of a network, and the best of the network as a whole where there is one.

    Where it was not tuned at these sizes, `selected` is what the selector of a range says.
    """

    model: str
    graph_digest: str
    target: str
    network_latency_us: float | None
    kernels: tuple[KernelAnswer, ...]
    selected: Selected | None = None

    @property
    def complete(self) -> bool:
        """Whether the database answers: for the whole, for every kernel exactly, or by a range of sizes."""
        return self.network_latency_us is not None or all(
            kernel.hit and kernel.match in ("exact", "range") for kernel in self.kernels
        )


def lookup(
    model: str | Path,
    target: str | Path,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
) -> NetworkAnswer:
    """`tune lookup`: hit or miss per kernel of a network, and why a miss. Writes nothing.

    A network that the database knows as a whole is told by its own groups, any other by its cheapest cover.
    Records of `toolchain` answer: that of the device that measured.
    """
    with open_session(
        model, target, objective, dims, 0, database, toolchain=toolchain, read_only=True, inputs=inputs
    ) as session:
        best = session.book.known_network()
        of_range = selected(session, model, dims, inputs) if best is None else None
        answer = best or of_range
        if answer is None:
            answers = cover_or_guess(session, explain=True)
        else:
            session.adopt(answer.config)
            answers = ask_exactly(session)
        kernels = [
            _answer(session, each, task, of_range) for each, task in zip(answers, session.tasks, strict=True)
        ]
        return NetworkAnswer(
            session.model.name,
            session.network.task.digest,
            session.target.name,
            None if best is None else best.latency_us,
            tuple(kernels),
            of_range,
        )


def _answer(session: Session, answer: Answer, task: KernelTask, of_range: Selected | None) -> KernelAnswer:
    count, ops = session.plan.counts[task.digest], tuple(op.kind for op in task.regions.graph.ops)
    name = session.plan.names_of_kernels[task.digest]
    if of_range is not None and session.choices[task.digest].source != "database":
        choice = session.choices[task.digest]
        carried = dict(choice.config.items)
        return KernelAnswer(name, task.digest, ops, count, True, "range", choice.latency_us, "", carried)
    if isinstance(answer, Hit):
        best = answer.best
        match, config = str(answer.match), dict(best.config.items)
        return KernelAnswer(name, task.digest, ops, count, True, match, best.latency_us, "", config)
    choice = session.choices[task.digest]
    predicted = _predicted(answer, task)
    return KernelAnswer(
        name,
        task.digest,
        ops,
        count,
        False,
        "guessed",
        choice.latency_us,
        answer.reason,
        dict(choice.config.items),
        *predicted,
    )


def _predicted(miss: Miss, task: KernelTask) -> tuple[float | None, float | None]:
    """What the nearest record would predict, and its regret; nothing where it has no bound to scale by."""
    if miss.nearest is None or miss.nearest.guess_regret is None or not miss.nearest.best.bound_us:
        return None, None
    scale = task.bound_us / miss.nearest.best.bound_us
    return miss.nearest.guess_us * scale, miss.nearest.guess_regret


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """A Program of `graph`, the session it was made in, and per workload digest where its Config came from.

    Sources are `network` (the whole is known, with its `verification`), `range` (a selector answers),
    `database` (measured as it is), `other-placement`, `guessed`. `selected` is what the selector says.
    """

    session: Session
    program: Program
    sources: Mapping[str, str]
    verification: Verification = Verification.NONE
    selected: Selected | None = None

    @property
    def graph(self) -> Graph:
        """The network as the Program computes it: perhaps with ops in other forms."""
        return self.session.plan.graph

    @property
    def guesses(self) -> Mapping[str, int]:
        """Calls of the kernels that no answer of the database stands behind, by workload digest."""
        counts = self.session.plan.counts
        return {digest: counts[digest] for digest, source in self.sources.items() if source not in ANSWERED}

    def lacks(self, required: "Require") -> str:
        """What is missing of what is required; empty when nothing is."""
        calls, guessed = sum(self.session.plan.counts.values()), sum(self.guesses.values())
        if guessed:
            return f"{guessed} of {calls} kernels are guesses"
        if required is not Require.ANSWERED and self.selected is not None:
            return f"this size was not measured itself; a range answers it ({self.selected})"
        if required is Require.VERIFIED and self.verification is Verification.NONE:
            return "the network as a whole was not measured and verified"
        return ""


class Require(StrEnum):
    """What a Program must have behind it, each with all before it: an answer to every kernel (perhaps that of
    a range of sizes), a measurement of every kernel at this size, one of the network as a whole, verified.
    """

    ANSWERED = "answered"
    MEASURED = "measured"
    VERIFIED = "verified"


ANSWERED = ("network", "range", "database")
"""Sources of Configs that were measured where they are used, or at other sizes of a range around it."""


def compile_known(
    model: str | Path,
    target: str | Path,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
) -> CompiledNetwork:
    """`tune compile`: the Program from the database.

    The network's own best first, then what a tuned range of sizes says, else kernel by kernel. Kernels the
    database does not know run as the draft guesses best, and are marked so. `toolchain` is as in `lookup`.
    """
    session = open_session(
        model, target, objective, dims, 0, database, toolchain=toolchain, read_only=True, inputs=inputs
    )
    best = session.book.known_network()
    of_range = selected(session, model, dims, inputs) if best is None else None
    answer = best or of_range
    if answer is None:
        cover_or_guess(session)
    else:
        session.adopt(answer.config)
    plan, schedule = session.schedule_of(session.tuned_config)
    program = compile_graph(plan.graph, schedule, session.target, plan)
    sources = {digest: session.choices[digest].source for digest in plan.counts}
    if answer is not None:
        sources = dict.fromkeys(sources, "network" if best is not None else "range")
    verification = Verification.NONE if best is None else best.verification
    return CompiledNetwork(session, program, sources, verification, of_range)
