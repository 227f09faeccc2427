"""`tune bench host --networks`: networks as native libraries beside onnxruntime, in turns in one process.

With one thread times are CPU time of the thread, and the ratio is the median over rounds of the two in turn.
With more, CPU time would count waiting, so that they are wall times: on a busy machine they tell little.
onnxruntime runs all its graph optimizations, without spinning where it has one thread.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.host.unit_gain import with_unit_gain
from benchmarks.journal import Journal, Row
from benchmarks.networks.files import Network, dims_of, light_networks, networks_of
from tilewright.compiler_core.errors import TilewrightError, UsageError
from tilewright.compiler_core.ir.ops import Array
from tilewright.compiler_core.onnx_import.feeds import draw_feeds
from tilewright.compiler_core.onnx_import.sizes import import_bound
from tilewright.compiler_core.target_model.file import load_target
from tilewright.measure.host.file import ensure_host
from tilewright.runtime import load
from tilewright.tuner.verbs.build import build
from tilewright.tuner.verbs.tune import tune

GOALS = {1: (1.10, 0.9), 2: (1.05, 0.0)}
"""By threads: geometric mean of the ratio to onnxruntime (above 1: ours is faster), and the least one."""
TRIALS, QUICK_TRIALS = 512, 64
ROUNDS, ROUND_S = 15, 0.05


def bench_networks(
    names: Sequence[str],
    *,
    folder: Path | None = None,
    quick: bool = False,
    seed: int = 0,
    trials: int = 0,
    threads: Sequence[int] = (1,),
    journal: Path | None = None,
) -> Row:
    """Rows by network and number of threads; `names` are those of light networks, of a folder's, or files."""
    ensure_host()
    target = load_target("host")
    budget = trials or (QUICK_TRIALS if quick else TRIALS)
    kept = Journal(journal, {"trials": budget, "target": target.digest}, ("network", "threads", "seed"))
    print(f"target {target.digest[:16]}  {target.identity}")
    rows = []
    for network in _chosen(names, folder):
        name = network.path.stem.removeprefix("light_")
        keys = [{"network": name, "threads": count, "seed": seed} for count in threads]
        found = [row for key in keys if (row := kept.row(key)) is not None]
        if len(found) < len(keys):
            found = _raced(network, keys, budget, seed)
            for row in found:
                kept.add(row)
        for row in found:
            rows.append(row)
            print(_line(row), flush=True)
    return {"rows": rows, "summary": _figures(rows, quick=quick)}


def _chosen(names: Sequence[str], folder: Path | None) -> list[Network]:
    known = {network.path.stem.removeprefix("light_"): network for network in light_networks()}
    known |= {network.path.stem: network for network in (networks_of(folder) if folder else ())}
    chosen = []
    for name in names:
        if name not in known and not Path(name).is_file():
            raise UsageError(f"no network {name!r}: a file, or one of {', '.join(sorted(known))}")
        chosen.append(known.get(name) or Network(Path(name), weights=True))
    return chosen


def _raced(network: Network, keys: Sequence[Row], trials: int, seed: int) -> list[Row]:
    """A row for every number of threads; where there is no library, one that says why."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, dims = folder / "model.onnx", dims_of(network)
        onnx.save(with_unit_gain(onnx.load(network.path), seed), model)
        given: dict[str, Any] = {"dims": dims, "database": folder / "tuning.db"}
        start = time.process_time()
        try:
            tune(model, "host", trials=trials, seed=seed, ray="none", **given)
            spent = time.process_time() - start
            built = build(model, folder / "library", **given)
        except TilewrightError as error:
            return [{**key, "refused": str(error)} for key in keys]
        imported = import_bound(model, dims)
        feeds = draw_feeds(imported, seed)
        inputs = {name: feeds[name] for name, _ in imported.inputs}
        facts = {"code_bytes": built.facts["files"]["network.so"]["bytes"], "tuning_cpu_s": spent}
        facts |= {"kernels": built.facts["kernels"], "calls": built.facts["calls"], "share": built.share}
        return [{**key, **facts, **_compared(model, built.folder, inputs, key["threads"])} for key in keys]


def _compared(model: Path, library: Path, inputs: Mapping[str, Array], threads: int) -> Row:
    start = time.perf_counter(), time.process_time()
    ours = load(library, threads)
    outputs = ours.run(inputs)
    first = time.perf_counter() - start[0], time.process_time() - start[1]
    session = _session(model, threads)
    asked = {each.name: inputs[each.name] for each in session.get_inputs() if each.name in inputs}
    wanted = dict(zip((each.name for each in session.get_outputs()), session.run(None, asked), strict=True))
    clock = time.thread_time if threads == 1 else time.perf_counter
    racers = [
        _racer(lambda: ours.run(inputs), clock),
        _racer(lambda: session.run(None, asked), clock),
    ]
    times = [[racer() for racer in racers] for _ in range(ROUNDS)]
    return {
        "ours_us": median(row[0] for row in times),
        "onnxruntime_us": median(row[1] for row in times),
        "ratio": median(row[1] / row[0] for row in times),
        "difference": max(_difference(outputs[name], array) for name, array in wanted.items()),
        "first_answer_s": first[0],
        "first_answer_cpu_s": first[1],
    }


def _session(model: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _racer(work: Callable[[], object], clock: Callable[[], float]) -> Callable[[], float]:
    """A function that measures the us of one run, over as many as fill a round."""
    start = time.thread_time()
    work()
    once = max(time.thread_time() - start, 1e-6)
    times = max(1, round(ROUND_S / once))

    def us() -> float:
        began = clock()
        for _ in range(times):
            work()
        return max(1e-3, (clock() - began) / times * 1e6)

    return us


def _difference(got: Array, wanted: Array) -> float:
    """The largest difference, relative to the largest magnitude."""
    if not wanted.size:
        return 0.0
    far = np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max()
    return float(far / max(float(np.abs(wanted.astype(np.float64)).max()), 1e-30))


def _line(row: Row) -> str:
    head = f"{row['network']:28s} {row['threads']} thread{'s' if row['threads'] > 1 else ' '}"
    if "refused" in row:
        return f"{head}  no library: {row['refused']}"
    return (
        f"{head}  ours {row['ours_us']:10.0f} us   onnxruntime {row['onnxruntime_us']:10.0f} us"
        f"   ratio {row['ratio']:.3f}   largest difference {row['difference']:.1e}"
        f"   code {row['code_bytes'] / 1000:.0f} KB   first answer {row['first_answer_s']:.2f} s"
    )


def _figures(rows: Sequence[Row], *, quick: bool) -> dict[str, Row]:
    """The ratios beside their goals, by number of threads; goals are for a whole budget."""
    figures = {}
    for threads in sorted({row["threads"] for row in rows}):
        ratios = [row["ratio"] for row in rows if row["threads"] == threads and "ratio" in row]
        if ratios:
            mean, (goal, least) = geometric_mean(ratios), GOALS.get(threads, GOALS[2])
            figures[f"networks, {threads} threads"] = {
                "value": f"{mean:.3f}, least {min(ratios):.3f}",
                "goal": f"{goal}, {least}" if not quick else "none: few trials",
                "ok": quick or (mean >= goal and min(ratios) >= least),
            }
    return figures
