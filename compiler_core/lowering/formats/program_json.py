"""A Program as versioned JSON, as `tune compile -o` writes it; its schema is program.schema.json.

Kernels that share a lowering are written once. An interval table is {"shape", "low", "high"}: row-major, one
dim a loop, of extent 1 where the interval does not move with that loop.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tilewright.compiler_core.digest import Json, digest_of
from tilewright.compiler_core.errors import RecordError
from tilewright.compiler_core.ir.graph_json import workload_from_json, workload_to_json
from tilewright.compiler_core.ir.workload import Kernel
from tilewright.compiler_core.lowering.program import (
    Buffer,
    HostCall,
    KernelCall,
    KernelProgram,
    Loop,
    Program,
)
from tilewright.compiler_core.lowering.regions import Span
from tilewright.compiler_core.lowering.schedule import CoreRange
from tilewright.compiler_core.lowering.steps import Action, Step

FORMAT = "tilewright-program"
VERSION = 1


def program_to_json(
    program: Program, names: Mapping[int, str], provenance: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    """The Program; `names` are the model's names of values, `provenance` is its origin."""
    numbers: dict[int, int] = {}
    kernels: list[Json] = []
    stages: list[Json] = []
    for stage in program.stages:
        calls: list[Json] = []
        for call in stage:
            if isinstance(call, HostCall):
                calls.append({"host_op": call.op})
                continue
            if id(call.program) not in numbers:
                numbers[id(call.program)] = len(kernels)
                kernels.append(_kernel_to_json(call.program))
            calls.append(
                {
                    "kernel": numbers[id(call.program)],
                    "values": list(call.kernel.values),
                    "origins": {str(value): list(origin) for value, origin in call.kernel.origins.items()},
                    "ops": list(call.kernel.ops),
                    "cores": [call.cores.first, call.cores.count],
                }
            )
        stages.append(calls)
    behind: dict[str, Json] = {} if provenance is None else {"provenance": dict(provenance)}
    return {
        "format": FORMAT,
        "version": VERSION,
        "kernels": kernels,
        "stages": stages,
        "llb": {
            "bytes": program.llb_bytes,
            "offsets": {str(v): offset for v, offset in program.offsets.items()},
        },
        "names": {str(value): name for value, name in names.items()},
        **behind,
    }


def program_digest(program: Program) -> str:
    """A digest of all that decides what the Program does and how long it takes, whatever numbers the model's
    file gives to its values.
    """
    form: Any = program_to_json(program, {})
    stages = [
        [
            {"kernel": call["kernel"], "cores": call["cores"]} if "kernel" in call else {"host": True}
            for call in stage
        ]
        for stage in form["stages"]
    ]
    places = sorted(form["llb"]["offsets"].values())
    return digest_of([VERSION, form["kernels"], stages, form["llb"]["bytes"], places])


def _kernel_to_json(kernel: KernelProgram) -> Json:
    return {
        "workload": workload_to_json(kernel.workload),
        "loops": [[loop.dim, loop.extent, loop.tile, loop.count, loop.parallel] for loop in kernel.loops],
        "buffers": [
            {
                "value": b.value,
                "region": [_span_to_json(span) for span in b.region],
                "element_bytes": b.element_bytes,
                "slots": b.slots,
                "slot_bytes": b.slot_bytes,
                "storage": b.storage,
                "offset": b.offset,
                "accumulator": b.accumulator,
            }
            for b in kernel.buffers
        ],
        "steps": [
            {
                "action": str(step.action),
                "buffer": step.buffer,
                "moves": list(step.moves),
                "late": step.late,
                "op": step.op,
                "reads": list(step.reads),
                "lag": step.lag,
            }
            for step in kernel.steps
        ],
        "domains": [[_span_to_json(span) for span in domain] for domain in kernel.domains],
        "anchor": kernel.anchor,
        "cores": kernel.cores,
        "l1_bytes": kernel.l1_bytes,
    }


def _span_to_json(span: Span) -> Json:
    low, high = np.broadcast_arrays(*span)
    return {"shape": list(low.shape), "low": low.reshape(-1).tolist(), "high": high.reshape(-1).tolist()}


def program_from_json(text: str) -> Program:
    """Inverse of `program_to_json`; RecordError when it is not a Program of a version known here."""
    try:
        form: Any = json.loads(text)
        if form["format"] != FORMAT or form["version"] != VERSION:
            raise RecordError(
                f"this is a {form['format']} of version {form['version']}, not {FORMAT} {VERSION}"
            )
        kernels = [_kernel_from_json(kernel) for kernel in form["kernels"]]
        stages = tuple(tuple(_call_from_json(call, kernels) for call in stage) for stage in form["stages"])
        offsets = {int(value): int(offset) for value, offset in form["llb"]["offsets"].items()}
        return Program(stages, offsets, int(form["llb"]["bytes"]))
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise RecordError(f"the program file is malformed: {type(error).__name__} {error}") from None


def _kernel_from_json(form: Any) -> KernelProgram:
    return KernelProgram(
        workload=workload_from_json(form["workload"]),
        loops=tuple(Loop(*loop) for loop in form["loops"]),
        buffers=tuple(
            Buffer(**{**buffer, "region": tuple(map(_span_from_json, buffer["region"]))})
            for buffer in form["buffers"]
        ),
        steps=tuple(
            Step(
                Action(step["action"]),
                step["buffer"],
                tuple(step["moves"]),
                step["late"],
                step["op"],
                tuple(step["reads"]),
                step.get("lag", 0),
            )
            for step in form["steps"]
        ),
        domains=tuple(tuple(map(_span_from_json, domain)) for domain in form["domains"]),
        anchor=form["anchor"],
        cores=form["cores"],
        l1_bytes=form["l1_bytes"],
    )


def _span_from_json(form: Any) -> Span:
    low = np.array(form["low"], dtype=np.int64).reshape(form["shape"])
    return Span(low, np.array(form["high"], dtype=np.int64).reshape(form["shape"]))


def _call_from_json(form: Any, kernels: list[KernelProgram]) -> KernelCall | HostCall:
    if "host_op" in form:
        return HostCall(int(form["host_op"]))
    program = kernels[form["kernel"]]
    origins = {int(value): tuple(origin) for value, origin in form.get("origins", {}).items()}
    kernel = Kernel(program.workload, tuple(form["values"]), tuple(form["ops"]), origins)
    return KernelCall(kernel, program, CoreRange(*form["cores"]))
