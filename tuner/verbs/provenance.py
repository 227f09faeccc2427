"""The origin of a Program, for its file: the network, the chip, and the source of each kernel's Config."""

from typing import Any

from tilewright.compiler_core.lowering.program import HostCall, KernelCall
from tilewright.tuner.verbs.answers import CompiledNetwork


def provenance_of(compiled: CompiledNetwork) -> dict[str, Any]:
    """The origin of a Program as plain JSON; docs/program.md explains every field."""
    from importlib.metadata import version

    opened = compiled.opened
    model, target, records = opened.model, opened.target, opened.records
    config = compiled.assignment.config
    return {
        "tilewright": version("tilewright"),
        "model": {
            "name": model.name,
            "graph_digest": opened.network.task.digest,
            "dims": dict(model.dims),
            "inputs": dict(model.inputs),
            "outputs": dict(model.outputs),
        },
        "target": {"name": target.name, "digest": target.digest},
        "toolchain": records.toolchain,
        "objective": str(opened.objective),
        "latency_us": compiled.latency_us,
        "verification": str(compiled.verification),
        "config": dict(config.items),
        "config_digest": config.digest,
        "calls": [[_call(compiled, call) for call in stage] for stage in compiled.program.stages],
    }


def _call(compiled: CompiledNetwork, call: KernelCall | HostCall) -> dict[str, Any]:
    """A call by its name and nodes, and how its Config is known."""
    graph = compiled.graph
    ops = [call.op] if isinstance(call, HostCall) else call.kernel.ops
    nodes = [node.path or node.op_type for node in graph.nodes_of(ops)]
    told: dict[str, Any] = {"name": graph.kernel_name(ops), "nodes": nodes}
    if isinstance(call, HostCall):
        return told
    digest = call.kernel.workload.digest
    choice = compiled.assignment.choices[digest]
    return told | {
        "workload_digest": digest,
        "source": compiled.sources[digest],
        "latency_us": choice.latency_us,
        "config": dict(choice.config.items),
    }
