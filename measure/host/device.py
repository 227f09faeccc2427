"""This CPU as a Device: Configs are compiled, checked on integers and timed in children of this process."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler_core.checking.probe import Probe, probe_of
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import REPEAT, emit
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import Image, flat_image
from tilewright.compiler_core.codegen.machine.native import host_machine
from tilewright.compiler_core.codegen.nest import KernelNest
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.errors import ConfigError, DeviceError
from tilewright.compiler_core.ir.graph import Graph
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.host import identity
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.device import DeviceInfo, Task, built_in_info
from tilewright.measure.host.burst import HEADROOM, burst_image, flops_of_round
from tilewright.measure.host.compiler import Compiler
from tilewright.measure.host.jobs import HostJob, kernel_job
from tilewright.measure.host.process import ChildDiedError, ChildHungError, HostProcess, runner
from tilewright.measure.host.whole import network_job, with_host_results
from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.blocking import blocking_of
from tilewright.search_space.knobs import Config
from tilewright.search_space.network import NetworkTask
from tilewright.search_space.programs import ProgramBuilder, program_of

BURST_NS, SAMPLE_NS, BUDGET_NS = 100_000, 1_000_000, 30_000_000
LEAST, MOST = 5, 40
RUN_DEADLINE_S = 20.0
INSIDE_DEADLINE_S = 600.0
_MOST_REMEMBERED = 64
MOST_HELD_BYTES = 1 << 30


@dataclass(frozen=True)
class Pace:
    """The length of a burst: its rounds, and the us they take at the clock that the target file names."""

    rounds: int
    nominal_us: float


@dataclass(eq=False)
class HostDevice:
    """One core of this CPU. `target` is its file; a trial that crashes, hangs or errs is a value."""

    target: Target
    core: int = -1
    budget_ns: int = BUDGET_NS
    _process: HostProcess = field(init=False, repr=False)
    _compiler: Compiler = field(init=False, repr=False)
    _probes: dict[str, Probe] = field(default_factory=dict, repr=False)
    _givens: dict[str, list[Mapping[int, Array]]] = field(default_factory=dict, repr=False)
    _images: dict[str, Image] = field(default_factory=dict, repr=False)
    _nests: dict[tuple[str, str], KernelNest] = field(default_factory=dict, repr=False)
    _texts: dict[KernelNest, str] = field(default_factory=dict, repr=False)
    _sent: set[str] = field(default_factory=set, repr=False)
    _held: dict[str, int] = field(default_factory=dict, repr=False)
    _held_task: str = ""
    _sound: set[tuple[str, ...]] = field(default_factory=set, repr=False)
    _birth: int = field(default=-1, repr=False)

    def __post_init__(self) -> None:
        if self.target.identity != identity():
            raise DeviceError(
                f"target {self.target.name} was measured on another CPU ({self.target.identity or 'none'});"
                " use --target host here"
            )
        self._process = runner(self.core)
        self._compiler = Compiler()

    def describe(self) -> DeviceInfo:
        """The digest is that of the CPU's kind."""
        return built_in_info(self.target)

    def measure(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        """Time every Config of a kernel (a Workload) or a network; DeviceError for any other task."""
        if isinstance(task, Workload):
            return [self._trial(task, lambda c=config: self._kernel(task, c)) for config in configs]
        if isinstance(task, NetworkTask):
            return [self._trial(task, lambda c=config: self._network(task, c)) for config in configs]
        raise DeviceError(f"the host runs kernels and networks, not a {type(task).__name__}")

    def outputs(self, task: Task, config: Config, inputs: Mapping[int, Array]) -> Mapping[int, Array]:
        """The outputs of a Config's machine code; see measure/checked.py."""
        if isinstance(task, NetworkTask):
            inputs = with_host_results(task.graph, inputs)
            graph, job = task.graph, network_job(task, config, self.target, self.compiled, inputs)
        elif isinstance(task, Workload):
            regions = self._builder.regions_of(task)
            graph, job = regions.graph, kernel_job(self.compiled(regions, config), inputs)
        else:
            raise DeviceError(f"the host runs kernels and networks, not a {type(task).__name__}")
        made = self.run(job, {value: graph.shape(value) for value in graph.outputs})
        return {value: inputs[value] for value in graph.outputs if value in inputs} | made

    def run(self, job: HostJob, shapes: Mapping[int, tuple[int, ...]]) -> dict[int, Array]:
        """The outputs of a job, by value, of these shapes; errors of process.py where it crashes or hangs."""
        self._held_task = ""  # its buffers hold other data
        self._ask({"what": "run", "calls": []})
        self._send_buffers(job)
        self._held_task = ""
        return self._computed(job, self._calls(job), shapes)

    def inside(
        self, jobs: Sequence[HostJob], rounds: int, least: int, budget_s: float
    ) -> npt.NDArray[np.float64]:
        """The time of every call of jobs of one network that run in turns, in us [jobs, calls]: the median
        of `rounds` rounds, or of at least `least` where they take more than `budget_s` of CPU time.
        """
        self._held_task = ""  # its buffers hold other data
        self._ask({"what": "run", "calls": []})
        buffers = {name: each for job in jobs for name, each in job.buffers.items()}
        every = tuple(call for job in jobs for call in job.calls)
        self._send_buffers(HostJob(jobs[0].task, every, buffers, {}))
        self._held_task = ""
        asked = {"what": "inside", "jobs": [self._calls(job) for job in jobs], "rounds": rounds}
        answer = self._ask(
            asked | {"least": least, "budget_ns": int(budget_s * 1e9)}, deadline_s=INSIDE_DEADLINE_S
        )
        return np.array(answer["ns"]) / 1000.0

    @property
    def children(self) -> tuple[int, ...]:
        """The processes that compile and run kernels, as they are now."""
        return tuple(pid for pid in (self._process.pid, self._compiler.pid) if pid)

    def close(self) -> None:
        """End the children."""
        self._process.close()
        self._compiler.close()

    # one trial

    def _trial(self, task: Workload | NetworkTask, make: Any) -> Measurement:
        try:
            job = make()
        except ConfigError as error:
            return failure(Status.INVALID, str(error))
        try:
            return self._run(job, self._probes[task.digest])
        except ChildDiedError as error:
            return failure(Status.FAILED, str(error))
        except ChildHungError:
            return failure(Status.TIMEOUT, f"a run took more than {RUN_DEADLINE_S:.0f} s")

    def _kernel(self, task: Workload, config: Config) -> HostJob:
        regions = self._builder.regions_of(task)
        probe, kernel = self._probe(task.digest, regions.graph, integers=True), self.compiled(regions, config)
        return _with_timed(kernel_job(kernel, probe.given), probe, lambda: kernel_job(kernel, probe.calm))

    @cached_property
    def _builder(self) -> ProgramBuilder:
        return ProgramBuilder(self.target)

    def _network(self, task: NetworkTask, config: Config) -> HostJob:
        probe = self._probe(task.digest, task.graph, integers=False)
        if task.digest not in self._givens:
            drawn = [each for each in (probe.given, probe.calm) if each]
            self._givens = {task.digest: [with_host_results(task.graph, each) for each in drawn]}
        jobs = [
            network_job(task, config, self.target, self.compiled, given)
            for given in self._givens[task.digest]
        ]
        return _with_timed(jobs[0], probe, lambda: jobs[1])

    def _probe(self, digest: str, graph: Graph, *, integers: bool) -> Probe:
        if digest not in self._probes:
            if len(self._probes) >= _MOST_REMEMBERED:
                self._probes.clear()
            self._probes[digest] = probe_of(graph, int(digest[:8], 16), integers=integers)
        return self._probes[digest]

    def compiled(self, regions: Regions, config: Config) -> NativeKernel:
        """The machine code of a kernel under a Config; ConfigError where there is none."""
        key = regions.workload.digest, config.digest
        if key not in self._nests:
            if len(self._nests) >= 4 * _MOST_REMEMBERED:
                self._nests.clear()
                self._texts.clear()
            program = program_of(regions, config, self.target)
            self._nests[key] = nest_of(regions, program, self.machine, blocking_of(config, regions))
        nest = self._nests[key]
        return NativeKernel(nest, self._image_of(nest))

    def _image_of(self, nest: KernelNest) -> Image:
        """Writing the text takes longer than measuring a small kernel, and finalists are measured often."""
        if nest not in self._texts:
            self._texts[nest] = emit(nest)
        text = self._texts[nest]
        key = hashlib.sha256(text.encode()).hexdigest()
        if key not in self._images:
            if len(self._images) >= 16 * _MOST_REMEMBERED:
                self._images.clear()
            self._images[key] = flat_image(self._compiler.object_of(text, self.machine))
        return self._images[key]

    @property
    def machine(self) -> Machine:
        """This CPU for the generator."""
        return host_machine()

    # the child

    def _ask(self, what: Mapping[str, Any], data: bytes = b"", deadline_s: float = RUN_DEADLINE_S) -> Any:
        answer = self._process.ask(dict(what), data, deadline_s)
        if self._process.births != self._birth:
            self._birth = self._process.births
            self._sent.clear()
            self._held.clear()
            self._held_task = ""
        return answer

    def _send_image(self, image: Image) -> str:
        name = hashlib.sha256(image.code).hexdigest()[:16]
        if name not in self._sent:
            self._ask({"what": "image", "name": name, "entry": image.entries[REPEAT]}, image.code)
            self._sent.add(name)
        return name

    def _run(self, job: HostJob, probe: Probe) -> Measurement:
        """Check the outputs of a job on its first run, then time it."""
        self._ask({"what": "run", "calls": []})  # a new child, if the last one died, holds nothing
        self._send_buffers(job)
        calls = self._calls(job)
        key = (job.task, *(call["image"] for call in calls))
        if key not in self._sound:
            objection = self._objection(job, calls, probe)
            if objection:
                return failure(Status.WRONG, objection)
            self._sound.add(key)
            measured = self._timed(job, calls)
            if job.timed is not None:
                self._send_buffers(job)
                again = self._objection(job, calls, probe)
                return failure(Status.WRONG, f"run again, {again}") if again else measured
            # A kernel that was right once may use its earlier results, or do less when it runs again.
            shapes = {value: each.shape for value, each in probe.outputs.items()}
            objection = _first(probe, self._outputs(job, shapes))
            return failure(Status.WRONG, f"run again, {objection}") if objection else measured
        return self._timed(job, calls)

    def _send_buffers(self, job: HostJob) -> None:
        """Have all buffers of a job in the child; those of another task make room."""
        if self._held_task != job.task or sum(self._held.values()) > MOST_HELD_BYTES:
            self._ask({"what": "forget"})
            self._held_task = job.task
            self._held.clear()
        for name, buffer in job.buffers.items():
            if name not in self._held:
                self._ask({"what": "buffer", "name": name, "size": buffer.size}, buffer.data())
                self._held[name] = buffer.size
        scratch = max([4096, *(call.kernel.nest.scratch[2] for call in job.calls)])
        self._ask({"what": "buffer", "name": "scratch", "size": scratch})

    def _objection(self, job: HostJob, calls: list[dict[str, Any]], probe: Probe) -> str:
        """Why the outputs of a job are wrong; empty where they are right."""
        return _first(
            probe,
            self._computed(job, calls, {value: each.shape for value, each in probe.outputs.items()}),
        )

    def _computed(
        self, job: HostJob, calls: list[dict[str, Any]], shapes: Mapping[int, tuple[int, ...]]
    ) -> dict[int, Array]:
        """Run a job once over poisoned results; its outputs by value."""
        for name, buffer in job.buffers.items():
            if buffer.array is None:
                self._ask({"what": "fill", "name": name, "byte": 0xFF})
        self._ask({"what": "run", "calls": calls})
        return self._outputs(job, shapes)

    def _outputs(self, job: HostJob, shapes: Mapping[int, tuple[int, ...]]) -> dict[int, Array]:
        """The outputs of a job, by value."""
        found = {}
        for name, (place, value) in job.outputs.items():
            flat = np.frombuffer(self._ask({"what": "read", "name": name})["data"], place.dtype.numpy)
            found[value] = place.collected(flat[: place.elements], shapes[value])
        return found

    def _calls(self, job: HostJob) -> list[dict[str, Any]]:
        return [
            {
                "image": self._send_image(call.kernel.image),
                "operands": [list(operand) for operand in call.operands],
                "scratch": "scratch",
                "tiles": [0, call.kernel.nest.program.parallel_tiles],
            }
            for call in job.calls
        ]

    def _timed(self, job: HostJob, calls: list[dict[str, Any]]) -> Measurement:
        if job.timed is not None:
            self._send_buffers(job.timed)
        pace = self.pace
        burst = {
            "image": self._send_image(burst_image(self.machine)),
            "operands": [],
            "scratch": "scratch",
            "tiles": [0, 1],
        }
        asked = {"what": "measure", "calls": calls, "burst": burst, "burst_rounds": pace.rounds}
        limits = {"sample_ns": SAMPLE_NS, "least": LEAST, "most": MOST, "budget_ns": self.budget_ns}
        samples = self._ask(asked | limits)["samples"]
        times = tuple(job.host_ops_us + kernel / beside * pace.nominal_us for kernel, beside in samples)
        found = median(times)
        if not 0.0 < found < math.inf:
            return failure(Status.FAILED, "the clock of the thread did not move")
        return Measurement(
            Status.OK,
            latency_us=found,
            samples_us=times,
            latency_cycles=found * self.target.cycles_per_us,
            peak_bytes=sum(buffer.size for buffer in job.buffers.values()),
        )

    @property
    def pace(self) -> Pace:
        """A burst of about BURST_NS at the peak that was seen when the target's file was made."""
        seen_mhz = self.target.frequency_mhz / HEADROOM
        peak = 2e-3 * self.target.peak_macs_per_cycle(self.target.dtypes[0][0]) * seen_mhz
        round_ns = flops_of_round(self.machine) / peak
        rounds = max(1, round(BURST_NS / round_ns))
        return Pace(rounds, rounds * round_ns / 1000.0)


def _with_timed(job: HostJob, probe: Probe, calm: Callable[[], HostJob]) -> HostJob:
    """`job`, and its like on a probe's calm data if there are any."""
    return replace(job, timed=replace(calm(), task=f"{job.task}, timed")) if probe.calm else job


def _first(probe: Probe, computed: Mapping[int, Array]) -> str:
    """The first objection to what was computed; empty where there is none."""
    objections = (probe.objection(value, got) for value, got in computed.items())
    return next((each for each in objections if each), "")
