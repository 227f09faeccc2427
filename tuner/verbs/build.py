"""`tune build`: the Program that `tune compile` would give, as a native library of this CPU."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.compiler_core.checking.emulate import run_call
from tilewright.compiler_core.checking.judge_meaning import meaning_of
from tilewright.compiler_core.checking.judge_model import judge_model
from tilewright.compiler_core.checking.verify import require_sound
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import emit
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import flat_image
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.errors import CheckError, VerifyError
from tilewright.compiler_core.files.outputs import output as written
from tilewright.compiler_core.files.outputs import refuse_inputs, require_folder
from tilewright.compiler_core.files.scratch import scratch
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.library.c_files import EXAMPLE, HEADER, example_text, header_text
from tilewright.compiler_core.library.calls import NetworkCalls
from tilewright.compiler_core.library.made import NativeNetwork, native_network
from tilewright.compiler_core.library.manifest import (
    LIBRARY,
    MANIFEST,
    WEIGHTS,
    manifest_text,
)
from tilewright.compiler_core.lowering.program import HostCall
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.onnx_import.feeds import draw_feeds
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.host import HOST
from tilewright.db.records import Verification
from tilewright.measure.host.compiler import Compiler
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.file import ensure_host
from tilewright.measure.host.jobs import Contents, HostJob
from tilewright.measure.host.process import ChildDiedError, ChildHungError
from tilewright.measure.host.whole import with_host_results
from tilewright.search_space.blocking import blocking_of
from tilewright.search_space.programs import program_of
from tilewright.tuner.answer.room import require_room
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.inside import chosen_inside
from tilewright.tuner.verbs.lookup import compile_known
from tilewright.tuner.verbs.machines import is_own, machine_for, twin_of
from tilewright.tuner.verbs.provenance import provenance_of

FILES = (LIBRARY, WEIGHTS, HEADER, EXAMPLE, MANIFEST)
"""The files of a library, in the order in which they are published: who sees the manifest sees the rest."""
DEADLINE_S = 600.0
RULE = (
    "every value that a kernel stores, against float64 on the operands it had; outputs of the library are"
    " those of its kernels bit for bit; the network against its file"
)

RULE_ELSEWHERE = (
    "not run on its CPU; the same kernels, written for the CPU that built it: every value that one stores,"
    " against float64 on the operands it had; the network against its file"
)


@dataclass(frozen=True)
class Built:
    """A library in a folder, verified: the worst element of a stored value is off by `share` of what it may
    be. `facts` are the manifest's.
    """

    folder: Path
    facts: Mapping[str, Any]
    share: float


def require_cpu(target: str | Path) -> None:
    """UsageError where a target is no CPU that libraries can be built for."""
    if target != HOST:
        machine_for(load_target(target))


def build(
    model: str | Path,
    output: str | Path,
    target: str | Path = HOST,
    *,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
) -> Built:
    """`tune build`: what is known of a network as a native library in the folder `output`.

    Errors as those of `compile`, and VerifyError where the library computes other numbers: nothing is
    written then.
    """
    require_cpu(target)
    compiled = compile_known(
        model,
        target,
        objective=objective,
        dims=dims,
        inputs=inputs,
        database=database,
        toolchain=toolchain,
    )
    with scratch("library") as folder:
        built = build_into(folder, compiled, chooses=True)
        publish(folder, Path(output), (model, target, database))
    return replace(built, folder=Path(output))


def publish(made: Path, output: Path, kept: Iterable[str | Path]) -> None:
    """Copy a library to where a user wants it; files of `kept` are not overwritten."""
    require_folder(output)
    for name in FILES:
        refuse_inputs(output / name, kept)
    output.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with (made / name).open("rb") as source, written(output / name, kept) as stream:
            shutil.copyfileobj(source, stream, 1 << 20)


def build_into(folder: Path, compiled: CompiledNetwork, seed: int = 0, *, chooses: bool = False) -> Built:
    """Make the library of a Program in an empty folder, run it on seeded inputs, and judge its outputs.

    With `chooses` the best recorded schedules of each kernel are chosen again by their time inside the
    network. ConfigError where the network has no native form, VerifyError where an output is wrong.
    """
    opened, graph = compiled.opened, compiled.graph
    require_sound(graph, compiled.program, opened.target)
    require_room(graph)
    own = is_own(opened.target)
    if chooses and own:
        compiled = chosen_inside(compiled, with_host_results(graph, _given(compiled, seed)))
    made = _native(compiled, machine := machine_for(opened.target))
    facts = {**made.facts, "files": made.write(folder), "provenance": provenance_of(compiled)}
    (folder / MANIFEST).write_text(manifest_text(facts), encoding="utf-8")
    share = _verified(folder, compiled, made if own else _native(compiled, twin_of(machine)), seed, runs=own)
    facts["verification"] = {"rule": RULE if own else RULE_ELSEWHERE, "seed": seed, "share": share}
    (folder / MANIFEST).write_text(manifest_text(facts), encoding="utf-8")
    (folder / HEADER).write_text(header_text(facts), encoding="utf-8")
    (folder / EXAMPLE).write_text(example_text(), encoding="utf-8")
    return Built(folder, facts, share)


def _native(compiled: CompiledNetwork, machine: Machine) -> NativeNetwork:
    opened, plan = compiled.opened, compiled.assignment.plan
    target, compiler = opened.target, Compiler()

    def kernel(regions: Regions) -> NativeKernel:
        config = compiled.assignment.choices[regions.workload.digest].config
        program = program_of(regions, config, target)
        nest = nest_of(regions, program, machine, blocking_of(config, regions))
        return NativeKernel(nest, flat_image(compiler.object_of(emit(nest), machine)))

    try:
        kernels = {digest: kernel(regions) for digest, regions in plan.regions.items()}
        named = opened.model.inputs, opened.model.outputs
        return native_network(opened.model.name, plan, kernels, named, machine, compiler.object_of)
    finally:
        compiler.close()


def _given(compiled: CompiledNetwork, seed: int) -> dict[int, Array]:
    """Constants and seeded inputs of a network, by value."""
    model = compiled.opened.model
    feeds = draw_feeds(model, seed)
    return dict(compiled.graph.constants) | {value: feeds[name] for name, value in model.inputs}


def _verified(
    folder: Path, compiled: CompiledNetwork, made: NativeNetwork, seed: int, *, runs: bool
) -> float:
    """The largest share of what a value that a kernel stores may be off by; VerifyError where one is wrong.
    `runs`: the library in `folder` is of this CPU.
    """
    opened, plan, graph = compiled.opened, compiled.assignment.plan, compiled.graph
    feeds = draw_feeds(opened.model, seed)
    if compiled.verification is Verification.NONE:
        wrong = judge_model(opened.model, feeds, graph.rewrites).wrong
        if wrong is not None:
            raise VerifyError(f"{graph.name_of(wrong.value)} as imported is {wrong.judgement}")
    known = _given(compiled, seed)
    known |= _stored(compiled, made, known)
    share = 0.0
    for kernel in plan.kernels:
        if kernel is None:
            continue
        local = kernel.workload.graph
        operands = {value: kernel.part(value, known[kernel.values[value]]) for value in local.inputs}
        with np.errstate(all="ignore"):
            meanings = meaning_of(local, operands, local.outputs)
        for value, meaning in meanings.items():
            judgement = meaning.judge(known[kernel.values[value]])
            if not judgement.ok:
                raise VerifyError(f"{graph.name_of(kernel.values[value])} is {judgement}")
            share = max(share, judgement.share)
    if not runs:
        return share
    outputs = run_apart(folder, [feeds[name] for name, _ in opened.model.inputs])
    for (name, value), got in zip(opened.model.outputs, outputs, strict=True):
        if got.tobytes() != np.ascontiguousarray(known[value]).tobytes():
            raise VerifyError(f"output {name} of the library is not what its kernels compute one by one")
    return share


def _stored(compiled: CompiledNetwork, made: NativeNetwork, known: Mapping[int, Array]) -> dict[int, Array]:
    """All values that the kernels store, each run by itself over buffers of its own, in another process, and
    what ops of the host make of them here.
    """
    own = is_own(compiled.opened.target)
    if not own:
        ensure_host()
    device = HostDevice(compiled.opened.target if own else load_target(HOST))
    try:
        return _stored_by(device, compiled, made.made, known)
    except ChildDiedError as error:
        raise CheckError(f"a kernel of the library crashed; {error}") from None
    except ChildHungError:
        raise CheckError("the kernels of the library do not end") from None
    finally:
        device.close()


def _stored_by(
    device: HostDevice, compiled: CompiledNetwork, made: NetworkCalls, known: Mapping[int, Array]
) -> dict[int, Array]:
    graph, stored = compiled.graph, dict(known)
    for number, part in enumerate(made.parts):
        calls = made.calls[part.start : part.stop]
        buffers = {name: made.buffers[name] for call in calls for name, _ in call.operands}
        contents = {
            name: Contents(each.place.bytes, each.place, stored.get(each.value))
            for name, each in buffers.items()
        }
        # A value may be stored part by part, by kernels before and behind an op of the host.
        written = {name for call in calls for name in call.results}
        wanted = {name: (each.place, each.value) for name, each in buffers.items() if name in written}
        job = HostJob(f"{compiled.opened.network.task.digest} {number}", calls, contents, wanted)
        if calls:
            stored |= device.run(job, {value: graph.shape(value) for _, value in wanted.values()})
        for run in made.hosted:
            if run.after == part.stop and graph.ops[run.op].result not in stored:
                stored |= run_call(graph, HostCall(run.op), stored)
    return stored


def run_apart(folder: Path, inputs: list[Array], threads: int = 1) -> list[Array]:
    """The outputs of a library that another process runs; CheckError where it crashes or does not end."""
    given, made = folder / "given.npz", folder / "made.npz"
    plain = [array.view(np.uint16) if array.dtype.name == "bfloat16" else array for array in inputs]
    named: dict[str, Any] = {f"i{at}": array for at, array in enumerate(plain)}
    np.savez(given, **named)
    command = [sys.executable, "-m", "tilewright.measure.host.once", str(folder), str(given), str(made)]
    try:
        ended = subprocess.run(
            [*command, str(threads)], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CheckError(f"the library did not end in {DEADLINE_S:.0f} s") from None
    if ended.returncode < 0:
        raise CheckError(f"the library crashed: {signal.Signals(-ended.returncode).name}")
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["it ended without a word"]
        raise CheckError(f"the library cannot be run: {lines[-1]}")
    with np.load(made) as arrays:
        outputs = [arrays[f"o{at}"] for at in range(len(arrays.files))]
    given.unlink()
    made.unlink()
    return outputs
