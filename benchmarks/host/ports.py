"""`tune bench ports`: the draft beside OSACA and llvm-mca, which know the ports of a core, on our code.

A tool is shown the innermost hot loop of a Config, as assembly, and says how many cycles a round takes. That,
times the rounds that the kernel's multiply-adds need, at the measured clock, is its prediction; it knows
nothing of caches, of loops around the hot one, and of tails. OSACA has an environment of its own (`make
machine-models`), llvm-mca comes with LLVM's tools. What is not there is left out.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.host.bench import workloads
from benchmarks.host.hot_loop import HotLoop, hot_loop
from benchmarks.host.kernels import KERNELS
from benchmarks.journal import Row
from tilewright.compiler_core.codegen.blocking import nest_of
from tilewright.compiler_core.codegen.emit import emit
from tilewright.compiler_core.codegen.machine.native import assembly_of
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.host.burst import HEADROOM
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.file import ensure_host
from tilewright.search_space.blocking import blocking_of
from tilewright.search_space.knobs import Config, Rows
from tilewright.search_space.moves import sample
from tilewright.search_space.programs import program_of
from tilewright.tuner.kernel.task import KernelTask

SHOWN = (
    "bert_tiny 128x128x512",
    "gpt-2 64x768x3072",
    "resnet 3x3 256 @14",
    "resnet 1x1 1024-256 @14",
)
CONFIGS, BEST_DRAFTS, ROUNDS = 8, 4, 100
ARCHITECTURES = {
    "haswell": "HSW",
    "broadwell": "BDW",
    "skylake": "SKL",
    "skylake-avx512": "SKX",
    "cascadelake": "CSX",
    "icelake-server": "ICX",
    "sapphirerapids": "SPR",
    "emeraldrapids": "SPR",
    "znver1": "ZEN1",
    "znver2": "ZEN2",
    "znver3": "ZEN3",
    "znver4": "ZEN4",
}
"""OSACA's names by LLVM's."""
ALIKE = {"sapphirerapids": "icelake-server", "emeraldrapids": "icelake-server"}
"""What llvm-mca is told where it knows no ports of a CPU of its own, or has not heard of it."""
OSACA = Path(__file__).parents[2] / "build" / "osaca" / "bin" / "osaca"
Predict = Callable[[HotLoop], float]


def bench_ports(*, quick: bool = False, seed: int = 0) -> Row:
    """A row a Config: measured, drafted and predicted us; rank correlations by kernel."""
    ensure_host()
    target = load_target("host")
    device = HostDevice(target)
    tools = _tools(device.machine.cpu)
    print(f"{device.machine.cpu}: {', '.join(tools) or 'neither OSACA nor llvm-mca is here'}")
    rows: list[Row] = []
    try:
        for name in SHOWN[:1] if quick else SHOWN:
            found = [_row(name, task, config, device, tools) for task, config in _drawn(name, device, seed)]
            rows += [row for row in found if row is not None]
    finally:
        device.close()
    return {"bench": "ports", "summary": correlations(rows), "rows": rows}


def _tools(cpu: str) -> dict[str, Predict]:
    """What there is, by name: cycles of a round of a loop."""
    found: dict[str, Predict] = {}
    osaca = os.environ.get("TILEWRIGHT_OSACA") or (str(OSACA) if OSACA.exists() else None)
    if osaca and cpu in ARCHITECTURES:
        # Without the flag there is no sum where one instruction, an address of a slow kind, is unknown.
        asked = [osaca, "--ignore-unknown", "--arch"]
        found["osaca"] = lambda loop: osaca_cycles(_said([*asked, ARCHITECTURES[cpu]], loop))
    if mca := shutil.which("llvm-mca"):
        command = [mca, f"-mcpu={ALIKE.get(cpu, cpu)}", f"-iterations={ROUNDS}"]
        found["llvm-mca"] = lambda loop: mca_cycles(_said(command, loop))
    return found


def _said(command: Sequence[str], loop: HotLoop) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loop.s"
        path.write_text("\n".join(loop.lines) + "\n", encoding="utf-8")
        return subprocess.run(
            [*command, str(path)], capture_output=True, text=True, timeout=120, check=False
        ).stdout


def osaca_cycles(report: str) -> float:
    """The busiest port, or the longest chain from round to round if that is longer; NaN without a report."""
    sums = [line for line in report.splitlines() if re.fullmatch(r"[\s\d.|]+", line) and line.count(".") > 3]
    chains = re.findall(r"^\s*\d+ \|\s*([\d.]+) \|.*\| \[", report, re.MULTILINE)
    if not sums:
        return float("nan")
    ports = [float(number) for number in re.findall(r"\d+\.?\d*", sums[-1])]
    return max([*ports, *map(float, chains)])


def mca_cycles(report: str) -> float:
    """Cycles of a round; NaN without a report."""
    total = re.search(r"^Total Cycles:\s+(\d+)", report, re.MULTILINE)
    return int(total.group(1)) / ROUNDS if total else float("nan")


def _drawn(name: str, device: HostDevice, seed: int) -> list[tuple[KernelTask, Config]]:
    """Configs of best draft, and some at random."""
    task = KernelTask(Regions([each for _, each in workloads(KERNELS[name][1]())][-1]), device.target)
    drawn = sample(task.space, CONFIGS - BEST_DRAFTS, np.random.default_rng(seed), attempts=64)
    rows: Rows = np.concatenate([task.problem().climbed[:BEST_DRAFTS], drawn])
    return [(task, task.space.decode(row)) for row in rows]


def _row(
    name: str, task: KernelTask, config: Config, device: HostDevice, tools: dict[str, Predict]
) -> Row | None:
    """None where the Config does not run, or its machine code has no loop of multiply-adds."""
    measured = device.measure(task.workload, [config])[0]
    program = program_of(task.regions, config, device.target)
    nest = nest_of(task.regions, program, device.machine, blocking_of(config, task.regions))
    loop = hot_loop(assembly_of(emit(nest), device.machine))
    if measured.latency_us is None or loop is None:
        return None
    lanes = device.machine.lanes(32)
    rounds = task.regions.graph.macs / lanes / loop.products
    clock = device.target.cycles_per_us / HEADROOM
    row = {
        "kernel": name,
        "config": config.digest[:12],
        "measured_us": measured.latency_us,
        "draft_us": float(np.exp(task.model.draft_log(task.space.encode(config)[None, :])[0])),
        "products": loop.products,
        **{f"{tool}_us": rounds * predict(loop) / clock for tool, predict in tools.items()},
    }
    told = "  ".join(f"{key.removesuffix('_us')} {row[key]:9.1f}" for key in row if key.endswith("_us"))
    print(f"{name:28s} {row['config']}  {told}", flush=True)
    return row


def correlations(rows: Sequence[Row]) -> Row:
    """Spearman's with what was measured, in each kernel: the mean over kernels, by who predicted."""
    by_kernel: dict[str, list[Row]] = {}
    for row in rows:
        by_kernel.setdefault(row["kernel"], []).append(row)
    summary: Row = {}
    for who in sorted({key for row in rows for key in row if key.endswith("_us")} - {"measured_us"}):
        found = [
            spearmanr([row["measured_us"] for row in each], [row[who] for row in each]).statistic
            for each in by_kernel.values()
            if len(each) > 2
        ]
        if found:
            value = round(float(np.mean(found)), 3)
            summary[f"{who.removesuffix('_us')}, rank correlation"] = {
                "value": value,
                "goal": None,
                "ok": True,
            }
    return summary
