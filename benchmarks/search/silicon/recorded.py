"""Kernels of `tune bench host` as search tasks whose every row was measured on a real CPU.

tune bench search --device host                              from the tables
tune bench search --device host --record --task NAME         measures them anew on this CPU, and writes them

A table holds a part of a kernel's space (lattice.py), `target.toml` the CPU that it was measured on; drafts
come from that file, so that a replay is the same on every machine. Rows are measured once, in random order;
the best FINALISTS are measured AGAIN more times, in turns, and count with the median.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.host.bench import workloads
from benchmarks.host.kernels import KERNELS
from benchmarks.journal import Journal
from benchmarks.search.silicon.lattice import lattice, part_of
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.compiler_core.lowering.regions import Regions
from tilewright.compiler_core.target_model.file import load_target, target_text
from tilewright.compiler_core.target_model.target import Target
from tilewright.measure.host.device import HostDevice
from tilewright.measure.host.file import ensure_host
from tilewright.measure.recorded.replay import ReplayDevice, replay_device
from tilewright.measure.recorded.t4 import STATUS_OF
from tilewright.measure.results import Measurement, Status
from tilewright.search_space.knobs import Config, Rows
from tilewright.search_space.moves import enumerate_rows
from tilewright.tuner.kernel.problem import Floats, Problem
from tilewright.tuner.kernel.task import KernelTask

FOLDER = Path(__file__).parent
TARGET = "target.toml"
HOST = "host"
NAMES = (
    "resnet 3x3 256 @14",
    "resnet 1x1 1024-256 @14",
    "resnet 3x3/2 128 @56",
    "mobilenet dw 5x5 240 @14",
    "mobilenet dw 3x3 96 @28",
    "bert_tiny 128x128x512",
    "gpt-2 1x768x768",
    "gpt-2 64x768x3072",
    "attention softmax 12x128x128",
    "gpt-2 layer norm 128x768",
    "gpt-2 gelu 128x3072",
    "u-net transpose 64x56x56",
)
"""The kernels of the full bench; tables need not be there for all."""
MOST_ROWS = 2000
"""Rows of a table of the full bench."""
FINALISTS, AGAIN = 24, 2
_AT_ONCE = 8
_WORD = {status: word for word, status in STATUS_OF.items()}
Row = dict[str, Any]


@dataclass(frozen=True)
class SiliconTask:
    """A kernel on its recorded part of the space."""

    name: str
    problem: Problem
    table: ReplayDevice

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of the draft and what was measured, over all rows of the table."""
        rows, draft_log = self.problem.whole, self.problem.draft_log
        assert rows is not None, "the part is small"
        assert draft_log is not None, "made with one"
        configs = [self.problem.space.decode(row) for row in rows]
        us = np.array([m.latency_us or np.nan for m in self.table.measure(self.problem.task, configs)])
        there = np.isfinite(us)
        return round(float(spearmanr(draft_log(rows)[there], us[there]).statistic), 3)


def file_of(name: str) -> Path:
    """The table of a kernel."""
    return FOLDER / f"{name.replace('/', '-').replace('@', '').replace(' ', '_')}.T4.json.gz"


def kernel_task(name: str, target: Target) -> KernelTask:
    """A kernel in the last of its layouts: in blocks of channels where it has any."""
    workload = [each for _, each in workloads(KERNELS[name][1]())][-1]
    return KernelTask(Regions(workload), target)


def silicon_tasks(names: Sequence[str] = ()) -> Iterator[SiliconTask]:
    """The kernels that were recorded, of those that have one of `names` in theirs."""
    found = [name for name in NAMES if file_of(name).exists()]
    if not found:
        raise UsageError("no kernel was recorded; `tune bench search --device host --record` does it")
    target = load_target(FOLDER / TARGET)
    for name in found:
        if not names or any(part in name for part in names):
            yield silicon_task(name, target, json.loads(gzip.decompress(file_of(name).read_bytes())))


def silicon_task(name: str, target: Target, document: Row) -> SiliconTask:
    """A kernel with its table; RecordError where its space has other values today."""
    task = kernel_task(name, target)
    whole = task.problem()
    try:
        positions = [
            np.array([knob.values.index(value) for value in document["metadata"]["knobs"][knob.name]])
            for knob in task.space.knobs
        ]
    except (KeyError, ValueError) as error:
        raise RecordError(f"the table of {name!r} is of another space ({error}); record it anew") from None
    space = part_of(task.space, positions)
    table = replay_device(name, document, space)

    def recorded(rows: Rows) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.array([space.decode(row).digest in table.table for row in rows], dtype=np.bool_)

    def lifted(rows: Rows) -> Rows:
        """Rows of the whole space."""
        columns = [chosen[rows[:, column]] for column, chosen in enumerate(positions)]
        return np.stack(columns, axis=1).astype(np.int32)

    def draft_log(rows: Rows) -> Floats:
        return task.model.draft_log(lifted(rows))

    def bound_log(rows: Rows) -> Floats:
        return task.model.bound_log(lifted(rows))

    problem = Problem(
        task.workload,
        replace(space, feasible=recorded),
        features=lambda rows: whole.feature_function(lifted(rows)),
        draft_log=draft_log,
        bound_log=bound_log,
    )
    return SiliconTask(name, problem, table)


def record_silicon(
    names: Sequence[str] = (), *, rows: int = 0, journal: Path | None = None, seed: int = 0
) -> Row:
    """Measure every row of the parts of kernels on this CPU, and write their tables; a row a kernel.

    With a file of rows a broken recording goes on where it ended.
    """
    ensure_host()
    target = load_target(HOST)
    device = HostDevice(target)
    chosen = [name for name in NAMES if not names or any(part in name for part in names)]
    try:
        made = [_record(name, device, rows or MOST_ROWS, journal, seed) for name in chosen]
    finally:
        device.close()
    (FOLDER / TARGET).write_text(target_text(HOST), encoding="utf-8")
    return {"bench": "search_record", "summary": {}, "rows": made}


def _record(name: str, device: HostDevice, most: int, journal: Path | None, seed: int) -> Row:
    task = kernel_task(name, device.target)
    start = np.stack([task.space.encode(task.default), task.problem().climbed[0]])
    space = lattice(task.space, start, most)
    found = enumerate_rows(space)
    assert found is not None, "the part is small"
    order = np.random.default_rng(seed).permutation(len(found))
    kept = Journal(journal, {"kernel": name, "space": space.digest}, ("config", "time"))
    answers = _Answers(device, task, kept)
    configs = [space.decode(row) for row in found[order]]
    for at in range(0, len(configs), _AT_ONCE):
        answers.ask(configs[at : at + _AT_ONCE], 0)
    best = sorted(configs, key=answers.latency_us)[:FINALISTS]
    for turn in range(AGAIN):
        answers.ask(best, 1 + turn)
    document = {
        "schema_version": "1.0.0",
        "metadata": {
            "timeunit": "us",
            "kernel": name,
            "cpu": device.target.identity,
            "knobs": {knob.name: list(knob.values) for knob in space.knobs},
            "rows_of_grid": space.grid_size,
        },
        "results": [answers.entry(config) for config in configs],
    }
    # Without a time stamp: the same answers make the same file.
    file_of(name).write_bytes(gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0))
    told = replay_device(name, document, space)
    valid = sum(each.status is Status.OK for each in told.table.values())
    print(f"{name}: {valid} of {len(configs)} ran, the best in {told.optimum_us:.2f} us")
    return {"task": name, "method": "record", "valid": valid, "best_us": told.optimum_us}


class _Answers:
    """Readings of Configs, from a journal where it has them."""

    def __init__(self, device: HostDevice, task: KernelTask, kept: Journal) -> None:
        self._device, self._task, self._kept = device, task, kept
        self._found: dict[str, list[Row]] = {}

    def ask(self, configs: Sequence[Config], time: int) -> None:
        """Measure every Config once, the `time`-th time."""
        for config in configs:
            key = {"config": config.digest, "time": time}
            row = self._kept.row(key)
            if row is None:
                row = key | _said(self._device.measure(self._task.workload, [config])[0])
                self._kept.add(row)
            self._found.setdefault(config.digest, []).append(row)

    def latency_us(self, config: Config) -> float:
        """The median reading; infinite where it failed."""
        readings = [row["us"] for row in self._found[config.digest] if row["us"] is not None]
        return median(readings) if readings else float("inf")

    def entry(self, config: Config) -> Row:
        """An entry of a T4 table."""
        us, said = self.latency_us(config), self._found[config.digest][0]["said"]
        times = [{"name": "time", "value": round(us, 4), "unit": "us"}] if np.isfinite(us) else []
        return {
            "configuration": dict(config),
            "measurements": times,
            **({"invalidity": said} if not times else {}),
        }


def _said(measured: Measurement) -> Row:
    return {"us": measured.latency_us, "said": _WORD.get(measured.status, "runtime")}
