"""`tune lock`: the answers of a database for some networks, so that a whole fleet serves just these."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tilewright.compiler_core.digest import Json
from tilewright.compiler_core.errors import NotLockedError, UsageError
from tilewright.compiler_core.lowering.formats.program_json import program_digest
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.db.exchange.lock_file import Lock, LockedKernel, LockedNetwork
from tilewright.db.records import plain_text
from tilewright.tuner.answer.guess import simulated_us, timed
from tilewright.tuner.sizes.selection import Selected
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.lookup import compile_known


def lock(
    models: Sequence[str | Path],
    targets: Sequence[str | Path],
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
    guesses: bool = False,
) -> Lock:
    """`tune lock`: what `compile` would answer for each network on each target, to be served by `frozen`.

    Measures nothing. NotLockedError where a kernel is a guess, unless `guesses` are wanted too.
    """
    found: dict[tuple[str, str, str, str], LockedNetwork] = {}
    for model, target in ((model, target) for model in models for target in targets):
        compiled = compile_known(
            model,
            target,
            objective=objective,
            dims=dims,
            inputs=inputs,
            database=database,
            toolchain=toolchain,
        )
        compiled.close()
        guessed = sum(compiled.guesses.values())
        if guessed and not guesses:
            raise NotLockedError(
                f"{compiled.opened.model.name} on {compiled.opened.target.name}: {guessed} of"
                f" {compiled.calls} kernels are guesses; tune it first, or lock guesses too with --guesses"
            )
        network = locked(compiled)
        if network.key in found:
            raise UsageError(
                f"{model} is the same network as {found[network.key].name}; one of them is enough"
            )
        found[network.key] = network
    return Lock(found)


def locked(compiled: CompiledNetwork) -> LockedNetwork:
    """A compiled network as a lock has it; its kernels in the order of their digests."""
    opened, assignment = compiled.opened, timed(compiled.assignment)
    measured = compiled.latency_us is not None or not compiled.calls
    return LockedNetwork(
        name=plain_text(opened.model.name),
        graph_digest=opened.network.task.digest,
        dims=dict(sorted(opened.model.dims.items())),
        target=opened.target.name,
        target_digest=opened.target.digest,
        toolchain=opened.records.toolchain,
        objective=opened.objective,
        latency_us=compiled.latency_us,
        simulated_us=None if measured else simulated_us(assignment),
        host_us=float(assignment.host_us),
        verification=compiled.verification,
        config=assignment.config,
        program_digest=program_digest(compiled.program),
        kernels=tuple(_kernels(compiled)),
        range=None if compiled.selected is None else _range(compiled.selected),
    )


def _kernels(compiled: CompiledNetwork) -> Iterator[LockedKernel]:
    plan, choices = compiled.assignment.plan, timed(compiled.assignment).choices
    for task in sorted(compiled.assignment.tasks, key=lambda task: task.digest):
        yield LockedKernel(
            plain_text(plan.names_of_kernels[task.digest]),
            task.digest,
            tuple(op.kind for op in task.regions.graph.ops),
            plan.counts[task.digest],
            compiled.sources[task.digest],
            choices[task.digest].latency_us,
        )


def _range(selected: Selected) -> Mapping[str, Json]:
    return {
        "symbol": selected.symbol,
        **asdict(selected.interval),
        "digest": selected.digest,
        "split": selected.split,
    }
