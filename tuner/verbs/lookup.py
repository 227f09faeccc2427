"""The database's answers for a network, kernel by kernel, and a Program from them without measuring."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.db.answering.claims import advice, claimed
from tilewright.db.answering.lookup import Answer, Hit, Match
from tilewright.db.demand.entries import Demandable, Served
from tilewright.db.demand.logging import note_network, place_of
from tilewright.db.demand.recorder import recorder_of_process
from tilewright.db.exchange.lock_file import Lock
from tilewright.db.records import Best, Verification, plain_name
from tilewright.measure.objectives import read_objective
from tilewright.tuner.answer.guess import ask_exactly, retired_or_guess, simulated_us, timed
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.network.assignment import MISSING, Assignment, assignment_of
from tilewright.tuner.network.opened import Opened, open_network
from tilewright.tuner.sizes.selection import Selected, beyond_ranges, selected
from tilewright.tuner.subject import Subject
from tilewright.tuner.verbs.answers import (
    CompiledNetwork,
    KernelAnswer,
    NetworkAnswer,
    device_answering,
    read_fallback,
)
from tilewright.tuner.verbs.frozen import frozen_compile, frozen_lookup


def lookup(
    model: str | Path,
    target: str | Path,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
    frozen: str | Path | Lock | None = None,
    fallback: str | None = None,
) -> NetworkAnswer:
    """`tune lookup`: hit or miss per kernel of a network, and why a miss. Writes nothing.

    A network that is in the database as a whole is listed by its own groups, any other by its cheapest cover.
    Records of `toolchain` answer: that of the device that measured. With `frozen`, a lock or its file, that
    alone answers; NotLockedError where it does not. `fallback` lists what stands in where no record answers
    exactly, as in "toolchain,family,default".
    """
    subject = Subject(model, target, (read_objective(objective),), dims or {}, inputs or {})
    if frozen is not None:
        return frozen_lookup(subject, frozen, toolchain)
    with open_network(
        subject,
        database,
        device_answering(toolchain),
        read_only=True,
        layered=True,
        fallback=read_fallback(fallback),
    ) as opened:
        best = opened.records.known_network()
        of_range = selected(opened, subject) if best is None else None
        answer = best or of_range
        whole = None
        if answer is None:
            assignment, answers, whole = retired_or_guess(opened, explain=True)
        else:
            assignment = assignment_of(opened, answer.config)
            answers = ask_exactly(assignment, explain=of_range is None)
        assignment = timed(assignment)
        whole_us = None if best is not None or not assignment.tasks else simulated_us(assignment)
        _note(opened, subject, answer, best.latency_us if best is not None else whole_us)
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
            whole_us,
            beyond_ranges(opened, subject) if answer is None else "",
            opened.records.layer_of_network() if of_range is None else of_range.layer,
            tuple(layer.name for layer in opened.records.sources.layers),
            opened.records.sources.troubles,
            "" if best is not None else _imported(opened),
            assignment.host_us,
            _retired(whole, answers) if answer is None else "",
        )


def _note(opened: Opened, subject: Subject, answer: Best | Selected | None, cost_us: float | None) -> None:
    """Log the demand for a network, where that is wanted."""
    recorder = recorder_of_process()
    if recorder is None:
        return
    about = Demandable(
        plain_name(opened.model.name),
        place_of(subject.target),
        model=place_of(subject.model),
        dims=tuple(sorted(subject.dims.items())),
        bound_us=opened.bound_us,
    )
    served = Served.GUESSED if answer is None else Served.MEASURED
    note_network(recorder, opened.records.key(opened.network.task.digest), served, cost_us, about)


def _imported(opened: Opened) -> str:
    """What to do where only imported records know the network as a whole; empty where none do."""
    digest, database = opened.network.task.digest, opened.records.repository.database
    found = claimed(database, [digest], opened.target.digest, opened.objective)
    return advice((opened.target.name,)) if found else ""


def _retired(whole: Hit | None, answers: Sequence[Answer]) -> str:
    """What retired records stand in, and how far off they may be; empty where none do."""
    if whole is not None:
        return f"{whole.latency_us:.2f} us expected of the whole, {whole.drift}"
    hits = (answer.drift for answer in answers if isinstance(answer, Hit) and answer.drift is not None)
    return "; ".join(dict.fromkeys(map(str, hits)))


def _answer(
    assignment: Assignment, answer: Answer, task: KernelTask, of_range: Selected | None
) -> KernelAnswer:
    count, ops = assignment.plan.counts[task.digest], tuple(op.kind for op in task.regions.graph.ops)
    name = assignment.plan.names_of_kernels[task.digest]
    if of_range is not None and assignment.choices[task.digest].source != "database":
        choice = assignment.choices[task.digest]
        carried = dict(choice.config.items)
        return KernelAnswer(name, task.digest, ops, count, True, "range", choice.latency_us, "", carried)
    if isinstance(answer, Hit) and answer.match is Match.RETIRED:
        guess = answer.latency_us, str(answer.drift), dict(answer.best.config.items), answer.layer
        return KernelAnswer(name, task.digest, ops, count, False, str(answer.match), *guess)
    if isinstance(answer, Hit):
        best = answer.best
        match, config = str(answer.match), dict(best.config.items)
        known = best.latency_us, "", config, answer.layer
        return KernelAnswer(name, task.digest, ops, count, True, match, *known)
    choice = assignment.choices[task.digest]
    return KernelAnswer(
        name,
        task.digest,
        ops,
        count,
        False,
        choice.source if choice.source in (MISSING, "default") else "guessed",
        choice.latency_us,
        answer.reason,
        dict(choice.config.items),
    )


def compile_known(
    model: str | Path,
    target: str | Path,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
    frozen: str | Path | Lock | None = None,
    fallback: str | None = None,
) -> CompiledNetwork:
    """`tune compile`: the Program from the database.

    The network's own best first, then the answer of a tuned range of sizes, else kernel by kernel. Kernels
    without a record run the best guess of the draft, and are marked so. `toolchain`, `frozen` and
    `fallback` are as in `lookup`.
    """
    subject = Subject(model, target, (read_objective(objective),), dims or {}, inputs or {})
    if frozen is not None:
        return frozen_compile(subject, frozen, toolchain)
    opened = open_network(
        subject,
        database,
        device_answering(toolchain),
        read_only=True,
        layered=True,
        fallback=read_fallback(fallback),
    )
    best = opened.records.known_network()
    of_range = selected(opened, subject) if best is None else None
    answer = best or of_range
    retired, whole = "", None
    answers: Sequence[Answer] = ()
    if answer is None:
        assignment, answers, whole = retired_or_guess(opened)
        retired = _retired(whole, answers)
    else:
        assignment = assignment_of(opened, answer.config)
    program = opened.program_of(assignment.config).program
    sources = {digest: assignment.choices[digest].source for digest in assignment.plan.counts}
    if answer is not None:
        sources = dict.fromkeys(sources, "network" if best is not None else "range")
    elif whole is not None:
        sources = dict.fromkeys(sources, "retired")
    verification = Verification.NONE if best is None else best.verification
    reason = beyond_ranges(opened, subject) if answer is None else ""
    latency_us = None if best is None else best.latency_us
    _note(opened, subject, answer, latency_us or assignment.sum_us)
    imported = _imported(opened) if answer is None else ""
    if best is not None:
        layers = [opened.records.layer_of_network()]
    else:
        layers = (
            [each.layer for each in answers if isinstance(each, Hit)]
            if of_range is None
            else [of_range.layer]
        )
    return CompiledNetwork(
        assignment,
        program,
        sources,
        verification,
        of_range,
        reason,
        latency_us,
        retired,
        imported,
        tuple(dict.fromkeys(layers)),
        opened.records.sources.troubles,
    )
