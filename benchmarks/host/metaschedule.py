"""`tune bench metaschedule`: our kernels beside those of TVM's MetaSchedule, after equal processor time.

TVM runs in an environment of its own (`make tvm`; TILEWRIGHT_TVM names another Python that has it) and
tunes a kernel until its budget is spent, children included. Then ours is searched for as long by the same
clock, in the layout that the model has and in those between kernels. Both are timed in turns.
"""

import contextlib
import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import onnx

from benchmarks.host.bench import OursTimed, workloads
from benchmarks.host.kernels import KERNELS
from benchmarks.journal import Journal, Row
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.errors import DeviceError, UsageError
from tilewright.compiler_core.ir.workload import Workload
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.file import ensure_host
from tilewright.tuner.kernel.search import KernelSearch
from tilewright.tuner.kernel.task import KernelTask

VARIABLE = "TILEWRIGHT_TVM"
BUILT = Path(__file__).parents[2] / "build" / "tvm" / "bin" / "python"
HOST = Path(__file__).with_name("tvm_host.py")
SHOWN = (
    "bert_tiny 128x128x512",
    "mobilenet dw 5x5 240 @14",
    "attention softmax 12x128x128",
    "resnet 3x3 256 @14",
    "resnet 1x1 1024-256 @14",
    "resnet 3x3/2 128 @56",
    "resnet 1x1 512-2048 @7",
    "mobilenet dw 3x3 96 @28",
    "matmul 512",
    "gpt-2 64x768x3072",
    "gpt-2 layer norm 128x768",
    "gpt-2 gelu 128x3072",
)
BUDGET_S, ROUNDS, FINALISTS, GOAL = 120.0, 15, 3, 1.3


def bench_metaschedule(
    names: Sequence[str] = (), *, budget_s: float = BUDGET_S, seed: int = 0, journal: Path | None = None
) -> Row:
    """A row a kernel; the geometric mean of how many times as fast ours are."""
    ensure_host()
    target = load_target("host")
    kept = Journal(journal, {"budget_s": budget_s, "target": target.digest}, ("kernel", "seed"))
    rows: list[Row] = []
    for name in SHOWN:
        if names and not any(part in name for part in names):
            continue
        key = {"kernel": name, "seed": seed}
        row = kept.row(key)
        if row is None:
            row = key | _raced(name, HostDevice(target), budget_s, seed)
            kept.add(row)
        rows.append(row)
        print(
            f"{name:30s} ours {row['ours_us']:9.1f} us after {row['our_trials']} trials  MetaSchedule "
            f"{row['tvm_us']:9.1f} after {row['tvm_trials']}  ratio {row['ratio']:5.2f}",
            flush=True,
        )
    value = round(geometric_mean([row["ratio"] for row in rows]), 3)
    figure = {"value": value, "goal": f">= {GOAL}", "ok": value >= GOAL}
    return {"bench": "metaschedule", "summary": {f"{len(rows)} kernels": figure}, "rows": rows}


class TvmProcess:
    """MetaSchedule's process; DeviceError when it ends without an answer."""

    def __init__(self) -> None:
        python = Path(os.environ.get(VARIABLE, BUILT))
        if not python.exists():
            raise UsageError(f"TVM is not installed in an environment of its own: `make tvm`, or {VARIABLE}")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [python, HOST], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, what: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then no answer comes, which is said below
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise DeviceError("TVM ended without an answer; is its environment whole?")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process. Idempotent."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._process:  # waits, and closes both pipes
            pass


def _raced(name: str, device: HostDevice, budget_s: float, seed: int) -> Row:
    model = KERNELS[name][1]()
    tvm = TvmProcess()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernel.onnx"
            onnx.save(model, path)
            asked = {"model": str(path), "budget_s": budget_s, "cpu": device.machine.cpu, "seed": seed}
            theirs = tvm.ask(asked)
        if not theirs["ran"]:
            raise DeviceError(
                f"kernel {name!r}: MetaSchedule timed none of its {theirs['trials']} candidates in"
                f" {theirs['spent_s']} s; give it more with --budget"
            )
        layouts = [workload for _, workload in workloads(model)]
        searched = [_searched(each, device, budget_s / len(layouts), seed) for each in layouts]
        racers = [OursTimed(kernel) for _, kernels in searched for kernel in kernels]
        if not racers:
            raise DeviceError(f"kernel {name!r}: nothing of ours ran")
        times = [
            [*(racer.us() for racer in racers), float(tvm.ask({"time": True})["us"])] for _ in range(ROUNDS)
        ]
    finally:
        tvm.close()
        device.close()
    columns = [median(column) for column in zip(*times, strict=True)]
    best = min(range(len(racers)), key=lambda at: columns[at])
    return {
        "ours_us": columns[best],
        "tvm_us": columns[-1],
        "ratio": round(median([row[-1] / row[best] for row in times]), 3),
        "our_trials": sum(count for count, _ in searched),
        "tvm_trials": theirs["trials"],
        "spent_s": theirs["spent_s"],
    }


def _searched(
    workload: Workload, device: HostDevice, budget_s: float, seed: int
) -> tuple[int, list[NativeKernel]]:
    """Trials, and the machine code of the best few, of a search for so much processor time."""
    clock = spent_of(device)
    start = clock()
    task = KernelTask(Regions(workload), device.target)
    search = KernelSearch(task.problem((task.default,)), f"bench metaschedule {seed}")
    while clock() - start < budget_s and (configs := search.ask(search.batch_size)):
        search.tell(search.trials_of(device.measure(workload, configs)))
    good = [trial for trial in search.trials if trial.measurement.latency_us is not None]
    ranked = sorted(good, key=lambda trial: trial.measurement.latency_us or 0.0)[:FINALISTS]
    return len(search.trials), [device.compiled(task.regions, trial.config) for trial in ranked]


def spent_of(device: HostDevice) -> Callable[[], float]:
    """Processor time of this process and of what it started, in s; of children that run, by the system."""

    def clock() -> float:
        here = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        total = sum(each.ru_utime + each.ru_stime for each in here)
        return total + sum(_of_process(pid) for pid in device.children)

    return clock


def _of_process(pid: int) -> float:
    """As /proc has it; 0 for one that is gone, which RUSAGE_CHILDREN counts."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
