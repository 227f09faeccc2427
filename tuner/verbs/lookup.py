"""The database's answers for a network, kernel by kernel, and a Program from them without measuring."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.lowering.program import Program
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.answering.lookup import Answer, Hit
from tilewright.db.records import Verification
from tilewright.measure.device import DeviceInfo, built_in_info
from tilewright.measure.objectives import read_objective
from tilewright.tuner.answer.guess import ask_exactly, cover_or_guess, simulated_us, timed
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import Assignment, assignment_of
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.sizes.selection import Selected, beyond_ranges, selected
from tilewright.tuner.subject import Subject


@dataclass(frozen=True)
class KernelAnswer:
    """One distinct kernel, named after nodes of the model.

    `match` is exact (measured as it is), range (what was tuned at another size of the network, tiled for this
    one), other-placement, or guessed: a miss, which has its `reason`. What was not measured as it is has a
    simulated latency, the one that `profile` and -O1 show.
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


@dataclass(frozen=True)
class NetworkAnswer:
    """All kernels of a network, and the best of the network as a whole where there is one.

    Where it was not tuned at these sizes, `selected` is the answer of a range's selector, `simulated_us` the
    network's latency with what answers or is guessed, and `reason` where the tuned ranges end, if there are
    any and none answers.
    """

    model: str
    graph_digest: str
    target: str
    network_latency_us: float | None
    kernels: tuple[KernelAnswer, ...]
    selected: Selected | None = None
    simulated_us: float | None = None
    reason: str = ""

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

    A network that is in the database as a whole is listed by its own groups, any other by its cheapest cover.
    Records of `toolchain` answer: that of the device that measured.
    """
    subject = Subject(model, target, (read_objective(objective),), dims or {}, inputs or {})
    with open_network(subject, database, _answering(toolchain), read_only=True) as opened:
        best = opened.records.known_network()
        of_range = selected(opened, subject) if best is None else None
        answer = best or of_range
        if answer is None:
            assignment, answers = cover_or_guess(opened, explain=True)
        else:
            assignment = assignment_of(opened, answer.config)
            answers = ask_exactly(assignment, explain=of_range is None)
        assignment = timed(assignment)
        kernels = [
            _answer(assignment, each, task, of_range)
            for each, task in zip(answers, assignment.tasks, strict=True)
        ]
        return NetworkAnswer(
            opened.model.name,
            opened.network.task.digest,
            opened.target.name,
            None if best is None else best.latency_us,
            tuple(kernels),
            of_range,
            None if best is not None or not kernels else simulated_us(assignment),
            beyond_ranges(opened, subject) if answer is None else "",
        )


def _answering(toolchain: str | None) -> Callable[[Target], DeviceInfo]:
    """Whose records answer: those of `toolchain`, without one those of the target's own device."""

    def info(target: Target) -> DeviceInfo:
        own = built_in_info(target)
        return own if toolchain is None else replace(own, toolchain=toolchain)

    return info


def _answer(
    assignment: Assignment, answer: Answer, task: KernelTask, of_range: Selected | None
) -> KernelAnswer:
    count, ops = assignment.plan.counts[task.digest], tuple(op.kind for op in task.regions.graph.ops)
    name = assignment.plan.names_of_kernels[task.digest]
    if of_range is not None and assignment.choices[task.digest].source != "database":
        choice = assignment.choices[task.digest]
        carried = dict(choice.config.items)
        return KernelAnswer(name, task.digest, ops, count, True, "range", choice.latency_us, "", carried)
    if isinstance(answer, Hit):
        best = answer.best
        match, config = str(answer.match), dict(best.config.items)
        return KernelAnswer(name, task.digest, ops, count, True, match, best.latency_us, "", config)
    choice = assignment.choices[task.digest]
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
    )


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """A Program of `graph`, what it runs, and per workload digest where its Config came from.

    Sources are `network` (the whole is known, with its `verification`), `range` (a selector answers),
    `database` (measured as it is), `other-placement`, `guessed`. `selected` is the selector's answer;
    `reason` says where the tuned ranges end, if there are any and none answers.
    """

    assignment: Assignment
    program: Program
    sources: Mapping[str, str]
    verification: Verification = Verification.NONE
    selected: Selected | None = None
    reason: str = ""

    @property
    def opened(self) -> Opened:
        """The network, its target and its records."""
        return self.assignment.opened

    def close(self) -> None:
        """Close the database that it came from."""
        self.opened.records.close()

    @property
    def graph(self) -> Graph:
        """The network as the Program computes it: perhaps with ops in other forms."""
        return self.assignment.plan.graph

    @property
    def calls(self) -> int:
        """Calls of kernels."""
        return sum(self.assignment.plan.counts.values())

    @property
    def guesses(self) -> Mapping[str, int]:
        """Calls of the kernels that no answer of the database stands behind, by workload digest."""
        counts = self.assignment.plan.counts
        return {digest: counts[digest] for digest, source in self.sources.items() if source not in ANSWERED}

    def lacks(self, required: "Require") -> str:
        """The missing part of the requirement; empty when nothing is missing, or nothing runs."""
        calls, guessed = self.calls, sum(self.guesses.values())
        if not calls:
            return ""
        if guessed:
            return "; ".join(filter(None, (f"{guessed} of {calls} kernels are guesses", self.reason)))
        if required is not Require.ANSWERED and self.selected is not None:
            return f"this size was not measured itself; a range answers it ({self.selected})"
        if required is Require.VERIFIED and self.verification is Verification.NONE:
            return "the network as a whole was not measured and verified"
        return ""


class Require(StrEnum):
    """Requirements on a Program, each with all before it: an answer to every kernel (perhaps that of
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

    The network's own best first, then the answer of a tuned range of sizes, else kernel by kernel. Kernels
    without a record run the best guess of the draft, and are marked so. `toolchain` is as in `lookup`.
    """
    subject = Subject(model, target, (read_objective(objective),), dims or {}, inputs or {})
    opened = open_network(subject, database, _answering(toolchain), read_only=True)
    best = opened.records.known_network()
    of_range = selected(opened, subject) if best is None else None
    answer = best or of_range
    assignment = cover_or_guess(opened)[0] if answer is None else assignment_of(opened, answer.config)
    program = opened.program_of(assignment.config).program
    sources = {digest: assignment.choices[digest].source for digest in assignment.plan.counts}
    if answer is not None:
        sources = dict.fromkeys(sources, "network" if best is not None else "range")
    verification = Verification.NONE if best is None else best.verification
    reason = beyond_ranges(opened, subject) if answer is None else ""
    return CompiledNetwork(assignment, program, sources, verification, of_range, reason)
