"""The best few schedules of every kernel of a network, chosen again by their time inside the network.

A kernel by itself finds its operands in a near cache, and inside a network where the kernel before left them.
Whole networks are run in turns, the first with the best schedule of every kernel, the second with the second
best, and so on; every call is timed by itself, so that each kernel's schedules are compared with each other
whatever the others run. Schedules of a kernel store the same values in the same layouts, so any may follow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.errors import ConfigError, DeviceError
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.library.calls import network_calls
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.jobs import Contents, HostJob
from tilewright.measure.host.process import ChildDiedError, ChildHungError
from tilewright.search_space.knobs import Config
from tilewright.tuner.network.assignment import Choice
from tilewright.tuner.verbs.answers import CompiledNetwork

MOST, SLOWEST = 4, 1.6
"""Schedules of a kernel that are tried, and how much slower than the best one they may have been alone."""
ROUNDS, BUDGET_S, LEAST_ROUNDS = 25, 20.0, 7
CLEAR = 0.98
"""Another schedule must take less than this share of the present one's time."""
INSIDE = "inside"
"""The source of a Config that was chosen so."""


def chosen_inside(compiled: CompiledNetwork, known: Mapping[int, Array]) -> CompiledNetwork:
    """`compiled` with those recorded schedules that are fastest inside the network; `known` are its inputs
    and constants by value.

    What was chosen before stays where nothing else was measured, or a schedule does not run.
    """
    offered = _offered(compiled)
    if max(map(len, offered.values()), default=1) == 1:
        return compiled
    device = HostDevice(compiled.opened.target)
    try:
        found = _fastest(compiled, offered, device, known)
    except (ChildDiedError, ChildHungError, ConfigError, DeviceError):
        return compiled
    finally:
        device.close()
    better = {digest: config for digest, config in found.items() if config != offered[digest][0]}
    if not better:
        return compiled
    before = compiled.assignment
    told_us = {each: choice.latency_us for each, choice in before.choices.items()}
    choices = {digest: Choice(config, told_us[digest], INSIDE) for digest, config in better.items()}
    assignment = replace(before, choices={**before.choices, **choices})
    program = compiled.opened.program_of(assignment.config).program
    sources = {**compiled.sources, **dict.fromkeys(better, INSIDE)}
    return replace(compiled, assignment=assignment, program=program, sources=sources)


def _offered(compiled: CompiledNetwork) -> dict[str, list[Config]]:
    """Configs to be tried of every kernel, by workload digest: the chosen one, then the best by records."""
    opened, assignment = compiled.opened, compiled.assignment
    records = opened.records
    chosen = {digest: assignment.choices[digest].config for digest in assignment.plan.counts}
    rows = records.repository.trials_for([*chosen], records.target.digest, records.toolchain)
    read_us: dict[str, dict[Config, float]] = {digest: {} for digest in chosen}
    for row in rows:
        latency_us = row.trial.measurement.latency_us
        if latency_us is not None and row.protocol == records.device.protocol:
            read_us[row.key.workload_digest][row.trial.config] = latency_us
    spaces = {task.digest: task.space for task in assignment.tasks}
    offered = {}
    for digest, config in chosen.items():
        told = read_us[digest]
        limit_us = SLOWEST * min(told.values(), default=0.0)
        ranked = sorted((us, each.digest, each) for each, us in told.items() if us <= limit_us)
        others = [each for _, _, each in ranked if each != config and spaces[digest].contains(each)]
        offered[digest] = [config, *others[: MOST - 1]]
    return offered


def _fastest(
    compiled: CompiledNetwork,
    offered: Mapping[str, list[Config]],
    device: HostDevice,
    known: Mapping[int, Array],
) -> dict[str, Config]:
    plan = compiled.assignment.plan
    jobs = list(_jobs(compiled, offered, device, known))
    times_us = device.inside(jobs, ROUNDS, LEAST_ROUNDS, BUDGET_S)
    digests = [
        kernel.workload.digest
        for stage in plan.stages
        for placed in stage
        if (kernel := plan.kernels[placed.group]) is not None
    ]
    found = {}
    for digest, configs in offered.items():
        calls = [at for at, each in enumerate(digests) if each == digest]
        totals = [float(np.sum(times_us[at, calls])) for at in range(len(configs))]
        best = int(np.argmin(totals))
        found[digest] = configs[best if totals[best] < CLEAR * totals[0] else 0]
    return found


def _jobs(
    compiled: CompiledNetwork,
    offered: Mapping[str, list[Config]],
    device: HostDevice,
    known: Mapping[int, Array],
) -> Iterator[HostJob]:
    """The network with the first schedule of every kernel, with the second of those that have one, ..."""
    plan = compiled.assignment.plan
    for at in range(max(map(len, offered.values()))):
        kernels: dict[str, NativeKernel] = {}
        for digest, regions in plan.regions.items():
            configs = offered[digest]
            kernels[digest] = device.compiled(regions, configs[min(at, len(configs) - 1)])
        made = network_calls(plan, kernels)
        buffers = {
            name: Contents(buffer.place.bytes, buffer.place, known.get(buffer.value))
            for name, buffer in made.buffers.items()
        }
        yield HostJob(compiled.opened.network.task.digest, made.calls, buffers, {})
