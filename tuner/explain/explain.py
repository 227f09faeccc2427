"""`tune explain`: tiles, limits and runner-up of each kernel, from the database and the target file alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tilewright.compiler_core.errors import ConfigError, UsageError
from tilewright.compiler_core.lowering.program import HostCall, KernelCall, KernelProgram
from tilewright.compiler_core.onnx_import.building.bound_inputs import Given
from tilewright.compiler_core.transforms.fuse import Group
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config
from tilewright.search_space.programs import program_of
from tilewright.tuner.answer.guess import timed
from tilewright.tuner.explain.limits import Limits, limits_of, tightest
from tilewright.tuner.explain.nest import loop_nest
from tilewright.tuner.kernel.task import KernelTask
from tilewright.tuner.planning.grouping import Boundary, NotFused, boundaries_of
from tilewright.tuner.verbs.answers import CompiledNetwork
from tilewright.tuner.verbs.lookup import compile_known

MOST_READINGS = 256
"""Measurements among which the runner-up is looked for."""
LEAST_PREFIX = 4
"""Characters of a digest that may stand for all of it."""


@dataclass(frozen=True)
class RunnerUp:
    """The fastest other Config that was measured: `knobs` that differ as (knob, chosen, other), and `grown`,
    the parts that take longer on the simulator, in us, largest first.
    """

    latency_us: float
    knobs: tuple[tuple[str, Any, Any], ...]
    grown: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Neighbour:
    """A kernel that reads this one or is read by it, and why both are not one: prices in us of both ways.

    `reason` is that no such group is legal, that no tile fits, or that the whole is slower than its parts.
    """

    name: str
    reads_it: bool
    reason: str
    together_us: float | None
    apart_us: float


@dataclass(frozen=True)
class Weighed:
    """One distinct kernel beside the others: `share` is its part of the sum of all calls of all kernels,
    `source` is the origin of its Config, `limited_by` the resource that sets its bound.
    """

    name: str
    workload_digest: str
    calls: int
    latency_us: float
    share: float
    bound_us: float
    source: str
    limited_by: str


@dataclass(frozen=True)
class Explained:
    """One distinct kernel: the nodes of the model in it, its Config, its limits and its runner-up."""

    kernel: Weighed
    nodes: tuple[str, ...]
    config: Mapping[str, Any]
    limits: Limits
    nest: tuple[str, ...]
    runner_up: RunnerUp | None
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Explanation:
    """An answer: all distinct kernels, those first that take most of the time, and some of them explained.
    Ops on the host take `host_us` beside them.
    """

    model: str
    kernels: tuple[Weighed, ...]
    explained: tuple[Explained, ...]
    host_us: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The fields as one JSON object."""
        return asdict(self)


def explain(
    model: str | Path,
    target: str | Path,
    *,
    kernel: str | None = None,
    most: int = 3,
    objective: str = "latency",
    dims: Mapping[str, int] | None = None,
    inputs: Mapping[str, Given] | None = None,
    database: str | Path = "tilewright.db",
    toolchain: str | None = None,
) -> Explanation:
    """Explain a network by its records: the `most` kernels with the largest share of the time.

    `kernel` picks one instead: by its place among them (from 0 on), its name or a part of it, or the
    beginning of its digest. Writes nothing. UsageError where that picks none or several.
    """
    compiled = compile_known(
        model, target, objective=objective, dims=dims, inputs=inputs, database=database, toolchain=toolchain
    )
    try:
        teller = _Teller(replace(compiled, assignment=timed(compiled.assignment)))
        picked = teller.digests[:most] if kernel is None else _picked(teller.digests, compiled, kernel)
        explained = tuple(map(teller.explained, picked))
        weighed = tuple(map(teller.weighed, teller.digests))
        host_us = teller.compiled.assignment.host_us
        return Explanation(compiled.opened.model.name, weighed, explained, host_us)
    finally:
        compiled.close()


def _picked(digests: Sequence[str], compiled: CompiledNetwork, wanted: str) -> Sequence[str]:
    """The digest that `wanted` stands for."""
    names = compiled.assignment.plan.names_of_kernels
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(digests):
        return [digests[int(wanted)]]
    for stands in (
        lambda digest: names[digest] == wanted,
        lambda digest: len(wanted) >= LEAST_PREFIX and digest.startswith(wanted),
        lambda digest: wanted in names[digest],
    ):
        found = list(filter(stands, digests))
        if len(found) == 1:
            return found
        if found:
            listed = ", ".join(repr(names[digest]) for digest in found[:4])
            raise UsageError(f"--kernel {wanted!r} may be {listed}; give a longer part of the name")
    listed = ", ".join(repr(names[digest]) for digest in digests[:4]) or "none"
    others = f" and {len(digests) - 4} others" if len(digests) > 4 else ""
    raise UsageError(f"no kernel of {compiled.opened.model.name} is {wanted!r}; it has {listed}{others}")


@dataclass(frozen=True, eq=False)
class _Teller:
    """Explains the kernels of an answer."""

    compiled: CompiledNetwork

    @cached_property
    def calls(self) -> Mapping[str, KernelCall]:
        """The first call of each distinct kernel, by workload digest."""
        found: dict[str, KernelCall] = {}
        for call in (call for stage in self.compiled.program.stages for call in stage):
            if not isinstance(call, HostCall):
                found.setdefault(call.kernel.workload.digest, call)
        return found

    @cached_property
    def digests(self) -> list[str]:
        """The distinct kernels, those first that take most of the time."""
        return sorted(self.calls, key=lambda digest: (-self._total_us(digest), digest))

    def _total_us(self, digest: str) -> float:
        assignment = self.compiled.assignment
        return assignment.choices[digest].latency_us * assignment.plan.counts[digest]

    @cached_property
    def _sum_us(self) -> float:
        return self.compiled.assignment.host_us + sum(map(self._total_us, self.calls))

    @cached_property
    def tasks(self) -> Mapping[str, KernelTask]:
        """The task of each distinct kernel."""
        return {task.digest: task for task in self.compiled.assignment.tasks}

    def weighed(self, digest: str) -> Weighed:
        """One kernel beside the others."""
        assignment = self.compiled.assignment
        least = self.tasks[digest].model.least
        return Weighed(
            name=assignment.plan.names_of_kernels[digest],
            workload_digest=digest,
            calls=assignment.plan.counts[digest],
            latency_us=assignment.choices[digest].latency_us,
            share=self._total_us(digest) / self._sum_us if self._sum_us else 0.0,
            bound_us=self.tasks[digest].bound_us,
            source=self.compiled.sources[digest],
            limited_by=tightest(least, self.compiled.opened.target),
        )

    def explained(self, digest: str) -> Explained:
        """The explanation of one kernel."""
        assignment, call = self.compiled.assignment, self.calls[digest]
        plan, choice, task = assignment.plan, assignment.choices[digest], self.tasks[digest]
        group = plan.groups_of(digest)[0]
        return Explained(
            kernel=self.weighed(digest),
            nodes=tuple(node.path or node.op_type for node in plan.graph.nodes_of(group)),
            config=dict(choice.config.items),
            limits=limits_of(task.model.least, call.program, self.compiled.opened.target),
            nest=loop_nest(call.program, assignment.opened.target, lambda value: self._name(call, value)),
            runner_up=self._runner_up(task, choice.config, call.program),
            neighbours=self._neighbours(group),
        )

    def _name(self, call: KernelCall, value: int) -> str:
        """The model's name of a value; inside an operator that of the operator and its step."""
        graph = self.compiled.graph
        whole = call.kernel.values[value]
        if whole in graph.names:
            return "/".join(graph.names[whole].split("/")[-2:])
        made = graph.producer.get(whole)
        return f"v{value}" if made is None else f"{graph.ops[made].kind}_{value}"

    def _runner_up(self, task: KernelTask, chosen: Config, program: KernelProgram) -> RunnerUp | None:
        """The fastest other Config that was measured for this kernel, if there is one. A single reading below
        the answer did not hold when it was taken again.
        """
        records = self.compiled.opened.records
        readings = records.repository.fastest_readings(records.key(task.digest), MOST_READINGS)
        least_us = self.compiled.assignment.choices[task.digest].latency_us
        other = next(
            (
                row
                for row in readings
                if row.trial.config != chosen and (row.trial.measurement.latency_us or 0.0) >= least_us
            ),
            None,
        )
        if other is None or other.trial.measurement.status is not Status.OK:
            return None
        config, latency_us = other.trial.config, other.trial.measurement.latency_us
        assert latency_us is not None, "a successful measurement has a latency"
        mine, others = dict(chosen.items), dict(config.items)
        knobs = tuple(
            (name, mine.get(name), others.get(name))
            for name in dict.fromkeys((*mine, *others))
            if mine.get(name) != others.get(name)
        )
        try:
            lowered = program_of(task.regions, config, self.compiled.opened.target)
        except ConfigError:  # of a space from before
            return RunnerUp(latency_us, knobs, ())
        limits = [
            limits_of(task.model.least, each, self.compiled.opened.target) for each in (program, lowered)
        ]
        before, after = (dict(each.spent_us) for each in limits)
        grown = [(name, us - before.get(name, 0.0)) for name, us in after.items()]
        reported = sorted((each for each in grown if each[1] > 0.0), key=lambda each: -each[1])
        return RunnerUp(latency_us, knobs, tuple(reported))

    def _neighbours(self, group: Group) -> tuple[Neighbour, ...]:
        """The groups beside one, each with the prices of both ways; other groups are not priced."""
        planner, plan = self.compiled.opened.planner, self.compiled.assignment.plan
        graph, own = plan.graph, set(group)
        made = {graph.ops[index].result for index in own}
        read = {access.value for index in own for access in graph.ops[index].operands}

        pricing = planner.pricing(plan)

        def price(each: Group) -> float:
            touches = any(
                graph.ops[index].result in read
                or any(access.value in made for access in graph.ops[index].operands)
                for index in each
            )
            return pricing(each) if touches or own & set(each) else 0.0

        here = plan.groups.index(group)
        boundaries = boundaries_of(plan.graph, plan.groups, price)
        return tuple(
            self._neighbour(each, here) for each in boundaries if here in (each.producer, each.consumer)
        )

    def _neighbour(self, boundary: Boundary, here: int) -> Neighbour:
        reads_it = boundary.producer == here
        other = boundary.consumer if reads_it else boundary.producer
        together = None if boundary.reason is NotFused.ILLEGAL else boundary.whole_us
        name = self.compiled.assignment.plan.names[other]
        return Neighbour(name, reads_it, str(boundary.reason), together, boundary.parts_us)
