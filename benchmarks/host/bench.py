"""`tune bench host`: kernels tuned on this CPU beside onnxruntime and OpenBLAS, one thread, in turns.

Ours is the machine code of the best of a search, in the layout between kernels that suits it best. Times are
CPU time of the thread. onnxruntime runs with one thread, spinning off, through I/O binding; the time of a
call of an empty model is taken off, and so is the share of nodes that only reorder a layout, by its own
profile.
"""

import ctypes
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean, mean, median, stdev
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper
from scipy.stats import spearmanr

from benchmarks.host.kernels import KERNELS, QUICK
from benchmarks.journal import Journal, Row
from tilewright.compiler_core.codegen.emit import REPEAT
from tilewright.compiler_core.codegen.machine.execute import LoadedImage, aligned
from tilewright.compiler_core.codegen.run import NativeKernel
from tilewright.compiler_core.errors import DeviceError
from tilewright.compiler_core.ir.layouts import BLOCKS, Layout
from tilewright.compiler_core.ir.workload import Level, Workload, kernel_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.onnx_import.importer import import_model
from tilewright.compiler_core.target_model.file import load_target
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.farm.pool import SerialPool
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.file import ensure_host
from tilewright.measure.results import Measurement
from tilewright.search_space.knobs import Config
from tilewright.search_space.moves import sample
from tilewright.tuner.kernel.search import KernelSearch, search_kernel
from tilewright.tuner.kernel.stopping import StopRule
from tilewright.tuner.kernel.task import KernelTask

GOALS = {
    "convolution": (1.05, 0.95),
    "depthwise": (1.5, 0.0),
    "matmul": (1.0, 0.0),
    "softmax": (1.0, 0.0),
    "row-wise and moves": (1.2, 0.0),
}
"""By kind: geometric mean of the ratio to onnxruntime (above 1: ours is faster), and the least one."""
TRIALS, QUICK_TRIALS = 48, 12
ROUNDS, ROUND_S = 15, 0.006
FINALISTS = 3
AGAIN = 8
SHORT_US, SHORT_SPREAD, LONG_SPREAD = 100.0, 0.02, 0.04
"""Standard deviation over the mean that measuring a kernel again may have, by how long the kernel takes."""
DRAWN, LEAST_DRAWN = 20, 8


def bench_host(*, quick: bool = False, seed: int = 0, trials: int = 0, journal: Path | None = None) -> Row:
    """Rows by kernel, and a figure by kind."""
    ensure_host()
    target = load_target("host")
    budget = trials or (QUICK_TRIALS if quick else TRIALS)
    kept = Journal(journal, {"trials": budget, "target": target.digest, "again": AGAIN}, ("kernel", "seed"))
    print(f"target {target.digest[:16]}  {target.identity}")
    rows = []
    for name in QUICK if quick else KERNELS:
        key = {"kernel": name, "seed": seed}
        row = kept.row(key)
        if row is None:
            row = key | _raced(name, target, budget, seed)
            kept.add(row)
        rows.append(row)
        blas = f"  OpenBLAS {row['blas_us']:9.1f}" if row["blas_us"] else ""
        print(
            f"{name:30s} ours {row['ours_us']:9.1f} us  onnxruntime {row['ort_us']:9.1f}  "
            f"ratio {row['ratio']:5.2f}  of peak {row['of_peak']:4.0%}  {row['layout']}{blas}  "
            f"draft's rank correlation {row['rank_correlation']}  again {row['spread']:.1%}"
        )
    return {"bench": "host", "summary": _figures(rows), "rows": rows}


def _figures(rows: list[Row]) -> dict[str, Row]:
    summary: dict[str, Row] = {}
    for kind, (mean_goal, least_goal) in GOALS.items():
        ratios = [row["ratio"] for row in rows if row["kind"] == kind]
        if not ratios:
            continue
        value = round(geometric_mean(ratios), 3)
        summary[kind] = {"value": value, "goal": f">= {mean_goal}", "ok": value >= mean_goal}
        if least_goal:
            least = round(min(ratios), 3)
            summary[f"{kind}, least"] = {
                "value": least,
                "goal": f">= {least_goal}",
                "ok": least >= least_goal,
            }
    summary |= _spreads(rows)
    told = [row["rank_correlation"] for row in rows if row.get("rank_correlation") is not None]
    if told:
        value = round(median(told), 3)
        summary["draft, median rank correlation"] = {"value": value, "goal": "> 0", "ok": value > 0.0}
    return summary


def _spreads(rows: list[Row]) -> dict[str, Row]:
    """The worst kernel of those below SHORT_US, and of the others."""
    summary: dict[str, Row] = {}
    for what, most, short in (("below", SHORT_SPREAD, True), ("above", LONG_SPREAD, False)):
        spreads = [row["spread"] for row in rows if "spread" in row and (row["ours_us"] < SHORT_US) == short]
        if spreads:
            value = round(max(spreads), 4)
            name = f"measured again, {what} {SHORT_US:.0f} us"
            summary[name] = {"value": value, "goal": f"<= {most}", "ok": value <= most}
    return summary


def _raced(name: str, target: Target, trials: int, seed: int) -> Row:
    kind, made = KERNELS[name]
    model = made()
    layouts = list(workloads(model))
    device = HostDevice(target)
    try:
        found = [
            (ours, layout, task, config)
            for layout, workload in layouts
            for ours, task, config in _tuned(workload, device, trials // len(layouts), seed)
        ]
        if not found:
            raise DeviceError(f"kernel {name!r}: not one of {trials} trials ran on this CPU")
        _, layout, task, config = found[0]
        spread = _spread(device.measure(task.regions.workload, [config] * AGAIN))
        agreement = rank_correlation(KernelTask(Regions(layouts[0][1]), target), device, seed)
    finally:
        device.close()
    racers = [OursTimed(kernel) for kernel, *_ in found]
    peer = OrtTimed(model)
    times: list[list[float]] = [[racer.us() for racer in racers] + [peer.us()] for _ in range(ROUNDS)]
    columns = [median(column) for column in zip(*times, strict=True)]
    best = min(range(len(racers)), key=lambda at: columns[at])
    ratio = median([row[-1] / row[best] for row in times])
    _, layout, task, _ = found[best]
    return {
        "kind": kind,
        "ours_us": columns[best],
        "ort_us": columns[-1],
        "ratio": round(ratio, 3),
        "of_peak": task.bound_us / columns[best],
        "layout": layout,
        "rank_correlation": agreement,
        "spread": spread,
        "blas_us": _blas_us(model) if kind == "matmul" else 0.0,
    }


def workloads(model: ModelProto) -> Iterator[tuple[str, Workload]]:
    """The kernel in every layout that its outer values may have between kernels, by the layout's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.onnx"
        onnx.save(model, path)
        graph = import_model(path).graph
    workload = kernel_of(graph, range(len(graph.ops)), {}).workload
    local = workload.graph
    yield "as the model has it", workload
    if len(local.shape(local.outputs[0])) != 4 or not any(op.row.contraction for op in local.ops):
        return
    choices = {"channels last": Layout((0, 2, 3, 1)), "in blocks": Layout((0, 1, 2, 3), 1, BLOCKS[0])}
    for name, layout in choices.items():
        laid = {
            value: layout
            for value in workload.outer
            if workload.level_of(value) is not Level.CONSTANT and layout.fits(local.shape(value))
        }
        yield name, workload.laid(laid)


def _tuned(
    workload: Workload, device: HostDevice, trials: int, seed: int
) -> Iterator[tuple[NativeKernel, KernelTask, Config]]:
    """The machine code of the best few of a search, and of the default."""
    task = KernelTask(Regions(workload), device.target)
    pool = SerialPool(device)
    result = search_kernel(
        KernelSearch(task.problem((task.default,)), f"bench host {seed}"), pool, StopRule(trials)
    )
    good = [t for t in result.trials if t.measurement.latency_us is not None]
    ranked = sorted(good, key=lambda trial: trial.measurement.latency_us or 0.0)
    for trial in ranked[:FINALISTS]:
        yield device.compiled(task.regions, trial.config), task, trial.config


def _spread(again: Sequence[Measurement]) -> float:
    """The standard deviation of latencies over their mean."""
    known = [each.latency_us for each in again if each.latency_us is not None]
    return round(stdev(known) / mean(known), 4) if len(known) > 1 else 1.0


def rank_correlation(task: KernelTask, device: HostDevice, seed: int) -> float | None:
    """Spearman's, of draft and measurement, over Configs drawn at random; None where they are few."""
    drawn = sample(task.space, DRAWN, np.random.default_rng(seed), attempts=64)
    measured = device.measure(task.regions.workload, [task.space.decode(row) for row in drawn])
    pairs = [
        (draft, each.latency_us)
        for draft, each in zip(task.model.draft_log(drawn), measured, strict=True)
        if each.latency_us is not None
    ]
    if len(pairs) < LEAST_DRAWN:
        return None
    return round(float(spearmanr(*zip(*pairs, strict=True)).statistic), 3)


def _rounds_of(work: Callable[[], None]) -> int:
    work()
    start = time.thread_time()
    work()
    return max(1, int(ROUND_S / max(time.thread_time() - start, 1e-7)))


class OursTimed:
    """Machine code on data of its own."""

    def __init__(self, kernel: NativeKernel) -> None:
        rng = np.random.default_rng(0)
        nest = kernel.nest
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3)
        self._loaded = LoadedImage(kernel.image, REPEAT)
        self._function = kind(self._loaded.address)
        self._buffers = []
        for place in nest.outer.values():
            buffer = aligned(place.bytes).view(place.dtype.numpy)
            buffer[:] = rng.standard_normal(place.elements) if place.dtype.is_float else 0
            self._buffers.append(buffer)
        self._scratch = aligned(max(64, nest.scratch[2]))
        self._pointers = (ctypes.c_void_p * len(self._buffers))(*(b.ctypes.data for b in self._buffers))
        self._tiles = nest.program.parallel_tiles
        self._times = _rounds_of(lambda: self._run(1))

    def _run(self, times: int) -> None:
        self._function(ctypes.addressof(self._pointers), self._scratch.ctypes.data, 0, self._tiles, times)

    def us(self) -> float:
        """CPU time of one run."""
        start = time.thread_time()
        self._run(self._times)
        return (time.thread_time() - start) / self._times * 1e6


def _session(model: ModelProto, profile: str = "") -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class OrtTimed:
    """onnxruntime on the same kernel, without what a call costs and without reorders of layouts."""

    def __init__(self, model: ModelProto) -> None:
        shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
        data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        self._share = _share_of_work(model, data)
        self._session = _session(model)
        self._bound = _binding(self._session, data)
        empty = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "empty",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        )
        session = _session(
            helper.make_model(empty, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
        )
        bound = _binding(session, np.zeros(1, np.float32))
        calls = _rounds_of(lambda: session.run_with_iobinding(bound))
        self._overhead_us = median([_timed(session, bound, calls) for _ in range(5)])
        self._times = _rounds_of(lambda: self._session.run_with_iobinding(self._bound))

    def us(self) -> float:
        """CPU time of one run."""
        whole = _timed(self._session, self._bound, self._times)
        return max(0.1, (whole - self._overhead_us) * self._share)


def _binding(session: Any, data: Any) -> Any:
    bound = session.io_binding()
    bound.bind_cpu_input("x", data)
    bound.bind_output("y", "cpu")
    return bound


def _timed(session: Any, bound: Any, times: int) -> float:
    start = time.thread_time()
    for _ in range(times):
        session.run_with_iobinding(bound)
    return (time.thread_time() - start) / times * 1e6


def _share_of_work(model: ModelProto, data: Any) -> float:
    """Which part of a run is not spent in nodes that onnxruntime adds to reorder a layout."""
    with tempfile.TemporaryDirectory() as folder:
        session = _session(model, f"{folder}/profile")
        for _ in range(60):
            session.run(None, {"x": data})
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent.setdefault(event["name"], []).append(event["dur"])
    medians = {name: median(durations[10:]) for name, durations in spent.items()}
    kept = sum(us for name, us in medians.items() if "reorder" not in name.lower())
    return float(kept / max(1e-9, sum(medians.values())))


def _blas_us(model: ModelProto) -> float:
    """Numpy's matrix product on the same shapes, which is OpenBLAS."""
    shapes = [[d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]]
    shapes.append(list(model.graph.initializer[0].dims))
    left, right = (np.random.default_rng(0).standard_normal(s).astype(np.float32) for s in shapes)
    made = np.empty((shapes[0][0], shapes[1][1]), np.float32)

    def work() -> None:
        np.matmul(left, right, out=made)

    times = _rounds_of(work)

    def once() -> float:
        start = time.process_time()  # OpenBLAS may use threads of its own
        for _ in range(times):
            work()
        return (time.process_time() - start) / times * 1e6

    return median([once() for _ in range(ROUNDS)])
