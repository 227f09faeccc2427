"""Answers from a lock, `--frozen`: exactly what was locked, on every machine, or an error.

No database is opened. The lock answers for a network, target, toolchain and objective that have the digests
that it was made for, and a Program is handed out only where it is the one that was locked.
"""

from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import ConfigError, NotLockedError
from tilewright.compiler_core.lowering.formats.program_json import program_digest
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.host import HOST
from tilewright.compiler_core.target_model.target import Target
from tilewright.db.exchange.lock_file import Lock, LockedNetwork, read_lock
from tilewright.db.storage.empty import empty_database
from tilewright.measure.host.file import ensure_host
from tilewright.search_space.network import kernel_config, numbered
from tilewright.tuner.network.assignment import Assignment, Choice, assignment_of
from tilewright.tuner.network.opened import open_network
from tilewright.tuner.sizes.selection import Interval, Selected
from tilewright.tuner.subject import Subject
from tilewright.tuner.verbs.answers import (
    ANSWERED,
    CompiledNetwork,
    KernelAnswer,
    NetworkAnswer,
    device_answering,
)


def frozen_lookup(subject: Subject, frozen: str | Path | Lock, toolchain: str | None = None) -> NetworkAnswer:
    """The locked answer, kernel by kernel. NotLockedError where the lock has none."""
    lock = frozen if isinstance(frozen, Lock) else read_lock(frozen)
    if subject.target == HOST:
        ensure_host()
    target = load_target(subject.target)
    model = import_bound(subject.model, subject.dims, subject.inputs)
    digest = numbered(model.graph).task.digest
    network = _found(lock, subject, digest, target, toolchain)
    kernels = tuple(
        KernelAnswer(
            each.name,
            each.workload_digest,
            each.ops,
            each.count,
            each.source in ANSWERED,
            each.source,
            each.latency_us,
            "" if each.source in ANSWERED else "it was locked without a measurement",
            dict(kernel_config(network.config, each.workload_digest)),
        )
        for each in network.kernels
    )
    return NetworkAnswer(
        model.name,
        digest,
        target.name,
        network.latency_us,
        kernels,
        _selected(network),
        network.simulated_us,
        host_us=network.host_us,
    )


def frozen_compile(
    subject: Subject, frozen: str | Path | Lock, toolchain: str | None = None
) -> CompiledNetwork:
    """The locked Program. NotLockedError where the lock has none, or it would become another one today."""
    lock = frozen if isinstance(frozen, Lock) else read_lock(frozen)
    opened = open_network(subject, empty_database(), device_answering(toolchain), read_only=True)
    network = _found(lock, subject, opened.network.task.digest, opened.target, toolchain)
    locked = {
        each.workload_digest: Choice(
            kernel_config(network.config, each.workload_digest), each.latency_us, each.source
        )
        for each in network.kernels
    }
    try:
        plan, _ = opened.schedule_of(network.config)
        assignment = Assignment(opened, plan, locked, assignment_of(opened, network.config, locked).beside)
        program = opened.program_of(network.config).program
    except ConfigError as error:
        raise NotLockedError(f"the locked Config of {network.name} does not compile: {error}") from None
    if plan.counts.keys() != locked.keys() or program_digest(program) != network.program_digest:
        raise NotLockedError(
            f"the locked Config of {network.name} makes another Program here than where it was locked;"
            " lock it anew with this version"
        )
    sources = {each.workload_digest: each.source for each in network.kernels}
    return CompiledNetwork(
        assignment,
        program,
        sources,
        network.verification,
        _selected(network),
        latency_us=network.latency_us,
    )


def _found(
    lock: Lock, subject: Subject, graph_digest: str, target: Target, toolchain: str | None
) -> LockedNetwork:
    """The locked answer for exactly this; NotLockedError says in what the nearest one differs."""
    today = device_answering(toolchain)(target).toolchain
    asked = graph_digest, target.digest, today, str(subject.objectives[0])
    if asked in lock.networks:
        return lock.networks[asked]
    name = Path(subject.model).name
    words = ("network", "target", "toolchain", "objective")
    nearest = max(
        lock.networks.values(),
        key=lambda each: ([one == other for one, other in zip(each.key, asked, strict=True)], each.key),
        default=None,
    )
    if nearest is None or nearest.graph_digest != graph_digest:
        raise NotLockedError(
            f"{name} is not in the lock, or was another network when it was locked; lock it anew"
        )
    names = {
        each.target_digest: f"{each.target} {_short(each.target_digest)}" for each in lock.networks.values()
    }
    names[target.digest] = f"{target.name} {_short(target.digest)}"
    differences = [
        f"{word} {names.get(one, _short(one))} is asked, {names.get(other, _short(other))} is locked"
        for word, one, other in zip(words, asked, nearest.key, strict=True)
        if one != other
    ]
    raise NotLockedError(f"{name} is not locked for this: {'; '.join(differences)}; lock it anew")


def _selected(network: LockedNetwork) -> Selected | None:
    if network.range is None:
        return None
    form: dict[str, Any] = dict(network.range)
    symbol, digest, split = form.pop("symbol"), form.pop("digest"), form.pop("split")
    return Selected(symbol, Interval(**form), network.config, digest, split)


def _short(text: str) -> str:
    return text[:12] if len(text) == 64 else text
